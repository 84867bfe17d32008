"""The bundle's model of default: what of it is checked before it serves."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engines.bundle import DEFAULT, MANIFEST, Bundle, BundleError, Manifest
from engines.credit_model import GRAPH, SPEC, CreditModel, of
from tests.engines.bundles import alter_bundle, write_bundle
from tests.statements import model


def test_the_default_bundle_has_it_and_a_bundle_without_has_none(tmp_path: Path) -> None:
    assert of(Bundle.load(DEFAULT)) is not None
    assert of(Bundle.load(write_bundle(tmp_path / "small"))) is None


def test_its_digest_stands_for_both_files(tmp_path: Path) -> None:
    other = alter_bundle(tmp_path / "other", SPEC, b'"PAY_0": 0.0', b'"PAY_0": 1.0')
    assert CreditModel(Bundle.load(other)).digest != model().digest


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [(b'"currency"', b'"coin"', "missing required field"), (b'"PAY_0"', b'"PAY_9"', "expected typical values of")],
)
def test_a_malformed_specification_is_refused(tmp_path: Path, old: bytes, new: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        CreditModel(Bundle.load(alter_bundle(tmp_path / "other", SPEC, old, new)))


def test_a_graph_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    other = alter_bundle(tmp_path / "other", GRAPH, b"LessOrEqual", b"LessOrOther")
    with pytest.raises(BundleError, match=r"credit.onnx: expected log odds of \(1,\) statements, found"):
        CreditModel(Bundle.load(other))


def test_half_of_it_is_refused(tmp_path: Path) -> None:
    folder = alter_bundle(tmp_path / "half", SPEC, b'"currency"', b'"currency"')
    (folder / SPEC).unlink()
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    del manifest.files[SPEC]
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(BundleError, match=r"has credit.onnx alone: expected credit.onnx and credit.json, or neither"):
        of(Bundle.load(folder))
