"""What runs plans: its checks anywhere, the rest where a GPU is."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engines import cuda, plans
from engines.bundle import Bundle
from engines.inference import ORT_CPU, TOLERANCE, Inputs, open_session
from engines.tensorrt import Tensor, check, open_plan
from tests.conftest import ROOT

IDS = Tensor("ids", np.dtype(np.int64), (1, 16), (32, 128))
#: Largest difference from fp32 that vectors (of length 1) and logits may have by precision.
ALLOWED = {"fp32": TOLERANCE, "fp16": 2e-3}


def test_inputs_within_the_profile_pass_and_become_contiguous() -> None:
    every_other = np.zeros((6, 64), np.int64)[:, ::2]
    assert check([IDS], {"ids": every_other})["ids"].flags.c_contiguous


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({}, "expected inputs ids, found "),
        ({"ids": np.zeros((1, 16), np.int64), "mask": np.zeros(1)}, "expected inputs ids, found ids, mask"),
        ({"ids": np.zeros((1, 16), np.int32)}, "input ids: expected int64, found int32"),
        ({"ids": np.zeros((33, 16), np.int64)}, r"from \(1, 16\) to \(32, 128\), found \(33, 16\)"),
        ({"ids": np.zeros((1, 8), np.int64)}, r"from \(1, 16\) to \(32, 128\), found \(1, 8\)"),
        ({"ids": np.zeros(16, np.int64)}, r"from \(1, 16\) to \(32, 128\), found \(16,\)"),
    ],
)
def test_inputs_that_the_plan_was_not_built_for_are_refused(inputs: Inputs, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check([IDS], inputs)


def test_without_a_driver_the_reason_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    try:
        pytest.skip(f"a GPU is here: {cuda.device().name}")
    except cuda.CudaError as error:
        reason = str(error)
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (extra: rtx)", exc_type=ImportError)
    with pytest.raises(cuda.CudaError) as raised:
        open_plan("tensorrt-rtx", b"", tmp_path)
    assert str(raised.value) == reason
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def encoder() -> bytes:
    return Bundle.load(ROOT / "bundles" / "default").read("encoder.onnx")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans")


def tokens(rows: int, length: int) -> Inputs:
    ids = np.random.default_rng(rows * length).integers(1_000, 20_000, (rows, length))
    mask = np.ones_like(ids)
    mask[:, length - 3 :] = 0
    return {"ids": ids, "mask": mask}


@pytest.mark.gpu
@pytest.mark.parametrize("precision", plans.PRECISIONS)
@pytest.mark.parametrize("flavour", plans.MODULES)
def test_a_plan_agrees_with_the_reference_and_with_itself(
    flavour: str, precision: str, encoder: bytes, cache: Path
) -> None:
    try:
        run, _ = open_plan(flavour, encoder, cache, precision)
    except (cuda.CudaError, plans.PlanError) as reason:
        # What is not here is skipped; a plan that was built and does not open is a failure.
        if not re.search("not installed|no CUDA driver|sees no device|does not build for|not supported", str(reason)):
            raise
        pytest.skip(f"{flavour} {precision}: {reason}")
    reference = open_session(encoder, [], [ORT_CPU])
    shapes = [(1, 16), (1, 32), (6, 24), (32, 128), (1, 16)]
    alone = []
    for shape in shapes:
        outputs = run(tokens(*shape))
        alone.append([output.tobytes() for output in outputs])
        for want, got in zip(reference.run(tokens(*shape)), outputs, strict=True):
            assert got.dtype == want.dtype
            assert got.shape == want.shape
            assert float(np.abs(want - got).max()) <= ALLOWED[precision]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda shape: [output.tobytes() for output in run(tokens(*shape))], shapes * 4))
    assert together == alone * 4
    with pytest.raises(ValueError, match="expected a shape from"):
        run(tokens(1, 129))
