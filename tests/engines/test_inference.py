"""Which back end serves, and why the others do not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from engines.bundle import Bundle
from engines.inference import ORT_CPU, TENSORRT, TOLERANCE, Inputs, Unavailable, open_session, parity
from tests.conftest import ROOT

PROBES: list[Inputs] = [{"x": np.arange(3, dtype=np.float32)}]


def test_a_back_end_within_tolerance_passes_with_its_difference() -> None:
    found = parity(lambda i: (i["x"] + np.float32(2**-14),), lambda i: (i["x"],), PROBES)
    assert found == pytest.approx(2**-14, rel=1e-2)


def test_a_back_end_beyond_tolerance_is_refused_with_both_numbers() -> None:
    with pytest.raises(Unavailable, match=r"differs from the reference by 0\.5, allowed is 0\.0001"):
        parity(lambda i: (i["x"] + np.float32(0.5),), lambda i: (i["x"],), PROBES)


def test_a_back_end_that_gives_nan_is_refused() -> None:
    with pytest.raises(Unavailable, match="differs from the reference by nan"):
        parity(lambda i: (i["x"] * np.float32("nan"),), lambda i: (i["x"],), PROBES)


def test_a_back_end_whose_bits_wander_is_refused_even_within_tolerance() -> None:
    step = itertools.count()
    with pytest.raises(Unavailable, match="other bits for the same input"):
        parity(lambda i: (i["x"] + np.float32(next(step) * TOLERANCE / 10),), lambda i: (i["x"],), PROBES)


def test_an_unknown_back_end_is_named_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="unknown back end onnxruntime-gpu; expected some of tensorrt, tensorrt-rtx"):
        open_session(b"", [], ["onnxruntime-gpu"])


def test_what_is_not_here_is_skipped_with_its_reason_and_the_reference_serves() -> None:
    model = Bundle.load(ROOT / "bundles" / "default").read("encoder.onnx")
    session = open_session(model, [], [TENSORRT, ORT_CPU])
    assert session.backend == ORT_CPU
    assert session.equality == "reference"
    assert [skip.backend for skip in session.skipped] == [TENSORRT]
    assert "tensorrt" in session.skipped[0].reason or "CUDA" in session.skipped[0].reason
