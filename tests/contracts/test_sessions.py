"""What every back end that is here must hold: the same bits for the same text, and agreement with the reference."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from engines.bundle import Bundle
from engines.inference import OPENVINO, ORDER, ORT_CPU, TOLERANCE
from engines.text import TextEncoder
from tests.conftest import ROOT

DEFAULT = ROOT / "bundles" / "default"
TEXTS = [
    "",
    "Acme falls",
    "Acme beats estimates and raises its outlook for the year, shares jump in early trade",
    "Acme said its auditor resigned. " * 4,
    "Acme said on Monday that creditors will meet. " * 30,
]
_DIGEST = """
import hashlib, sys
from engines.bundle import Bundle
from engines.text import TextEncoder
encoder = TextEncoder(Bundle.load(sys.argv[1]), [sys.argv[2]])
sha = hashlib.sha256()
for text in sys.stdin.read().split("\\x1e"):
    encoded = encoder.encode(text)
    sha.update(encoded.vector.tobytes() + encoded.logits.tobytes() + encoded.score.hex().encode())
print(sha.hexdigest())
"""


@pytest.fixture(scope="module", params=ORDER)
def encoder(request: pytest.FixtureRequest) -> TextEncoder:
    encoder = TextEncoder(Bundle.load(DEFAULT), [request.param])
    if encoder.session.backend != request.param:
        pytest.skip(f"{request.param}: {encoder.session.skipped[0].reason}")
    return encoder


def bits(encoder: TextEncoder, text: str) -> bytes:
    encoded = encoder.encode(text)
    return encoded.vector.tobytes() + encoded.logits.tobytes() + encoded.score.hex().encode()


def test_a_text_has_the_same_bits_whatever_was_asked_before_it(encoder: TextEncoder) -> None:
    first = [bits(encoder, text) for text in TEXTS]
    assert [bits(encoder, text) for text in reversed(TEXTS)] == first[::-1]


def test_a_text_has_the_same_bits_from_four_threads_at_once(encoder: TextEncoder) -> None:
    alone = [bits(encoder, text) for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: bits(encoder, text), TEXTS * 6)) == alone * 6


def test_a_text_has_the_same_bits_in_another_process(encoder: TextEncoder) -> None:
    command = [sys.executable, "-c", _DIGEST, str(DEFAULT), encoder.session.backend]
    told = subprocess.run(command, cwd=ROOT, input="\x1e".join(TEXTS), capture_output=True, text=True, check=True)
    assert told.stdout.strip() == hashlib.sha256(b"".join(bits(encoder, text) for text in TEXTS)).hexdigest()


def test_texts_that_run_together_have_the_bits_that_they_have_alone(encoder: TextEncoder) -> None:
    rows = [encoder.inputs(text) for text in TEXTS * 2]
    for length in {row["ids"].shape for row in rows}:
        some = [row for row in rows if row["ids"].shape == length]
        for n in range(1, len(some) + 1):
            together = encoder.encode_all(some[:n])
            assert [found.vector.tobytes() for found in together] == [
                encoder.encode_all([row])[0].vector.tobytes() for row in some[:n]
            ]


def test_openvino_may_run_texts_together_and_onnx_runtime_may_not() -> None:
    assert TextEncoder(Bundle.load(DEFAULT), [ORT_CPU]).most() == 1
    pytest.importorskip("openvino", reason="openvino: not installed (extra: openvino)")
    assert TextEncoder(Bundle.load(DEFAULT), [OPENVINO]).most() == 8


def test_an_encoder_agrees_with_the_reference_within_tolerance(encoder: TextEncoder) -> None:
    reference = TextEncoder(Bundle.load(DEFAULT), [ORT_CPU])
    for text in TEXTS:
        want, got = reference.encode(text), encoder.encode(text)
        assert float(np.abs(want.vector - got.vector).max()) <= TOLERANCE
        assert float(np.abs(want.logits - got.logits).max()) <= TOLERANCE


def test_the_daemons_rooms_need_neither_torch_nor_transformers() -> None:
    # refused as if not installed: River takes scikit-learn where it is, and does without where it is not
    code = """
import importlib, pkgutil, sys, engines
class Absent:
    def find_spec(name, path=None, target=None):
        if name in {"torch", "transformers", "onnx", "polars", "sklearn"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent)
for module in pkgutil.walk_packages(engines.__path__, "engines."):
    if not module.name.startswith("engines.training"):
        importlib.import_module(module.name)
print("imported")
"""
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (told.stdout.strip(), told.stderr) == ("imported", "")
