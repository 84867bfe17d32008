"""A bundle is whole or refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from engines import onnx_files
from engines.bundle import FORMAT, MAX_BYTES, MAX_FILES, REQUIRED, Bundle, BundleError, Entry
from tests.conftest import ROOT
from tests.engines.bundles import write_bundle, write_manifest

DEFAULT = ROOT / "bundles" / "default"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("name", REQUIRED)
def test_a_changed_byte_in_any_file_of_the_default_bundle_is_refused(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(DEFAULT, copy)
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} has SHA-256 \w+, the manifest says \w+"):
        Bundle.load(copy)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_file_is_refused(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        Bundle.load(folder)


def test_a_longer_file_is_refused_by_its_size(folder: Path) -> None:
    (folder / "text.json").write_bytes(b"{} ")
    with pytest.raises(BundleError, match=r"text\.json has 3 bytes, the manifest says 2"):
        Bundle.load(folder)


def test_a_file_that_the_manifest_does_not_list_is_refused(folder: Path) -> None:
    (folder / "weights.pkl").write_bytes(b"")
    with pytest.raises(BundleError, match=r"weights\.pkl, which its manifest does not list"):
        Bundle.load(folder)


def test_a_manifest_without_a_required_file_is_refused(folder: Path) -> None:
    write_manifest(folder, {})
    with pytest.raises(BundleError, match=r"does not list encoder\.onnx"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "", ".hidden", "manifest.json", "a\\b"])
def test_a_name_that_leaves_the_folder_is_refused(name: str, folder: Path) -> None:
    write_manifest(folder, {name: Entry("0" * 64, 1)})
    with pytest.raises(BundleError, match="expected the name of a file that lies beside the manifest"):
        Bundle.load(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    (folder / "text.json").rename(outside)
    os.symlink(outside, folder / "text.json")
    with pytest.raises(BundleError, match=r"text\.json is missing or no plain file"):
        Bundle.load(folder)


def test_more_than_60_megabytes_are_refused_before_they_are_read(folder: Path) -> None:
    entries = dict(Bundle.load(folder).manifest.files)
    write_manifest(folder, entries | {"encoder.onnx": Entry("0" * 64, MAX_BYTES + 1)})
    with pytest.raises(BundleError, match=r"holds 60,000,00\d bytes, a bundle may hold 60,000,000"):
        Bundle.load(folder)


def test_another_format_is_refused(folder: Path) -> None:
    write_manifest(folder, {}, version=FORMAT + 1)
    with pytest.raises(BundleError, match="has format 3, this version of Tocsin reads format 2"):
        Bundle.load(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff\xfe"])
def test_a_malformed_manifest_is_refused(content: bytes, folder: Path) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match="is no manifest of a bundle"):
        Bundle.load(folder)


def test_a_folder_that_is_not_there_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="build one with `make bundle`"):
        Bundle.load(tmp_path / "nowhere")


# Protobuf by hand. A tensor that keeps its data elsewhere has field 14 = 1 (70 01) or entries in field 13 (6a ..).
# It may lie in model.graph.initializer (3a .. 2a ..) or in an attribute of a node (3a .. 0a .. 2a .. 2a ..).
@pytest.mark.parametrize(
    "model",
    [
        pytest.param("3a042a027001", id="an initializer's data_location"),
        pytest.param("3a042a026a00", id="an initializer's external_data"),
        pytest.param("3a080a062a042a027001", id="a constant in a node's attribute"),
        pytest.param("3a0a0a082a0632042a027001", id="an initializer of a subgraph"),
        pytest.param("3a052a03708100", id="a number written longer than it needs to be"),
    ],
)
def test_an_onnx_file_that_points_outside_of_itself_is_refused(model: str, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", encoder_onnx=bytes.fromhex(model))
    with pytest.raises(BundleError, match=r"encoder\.onnx keeps tensors in other files"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        pytest.param("3aff", "is no ONNX file", id="a length that runs off the end"),
        pytest.param("3b", "is no ONNX file", id="a wire type that ONNX does not use"),
        pytest.param("42030a01ff", "is no ONNX file", id="a domain that is no text"),
        pytest.param("ff" * 10 + "00", "is no ONNX file", id="a number of more than 64 bits"),
        pytest.param("ba80808010042a027001", "is no ONNX file", id="a field's number that runtimes cut off to 7"),
        pytest.param("42030a0178", r"has operators of 'x': expected those of ai\.onnx", id="an operator set"),
        pytest.param("3a050a033a0178", "has operators of 'x'", id="a node"),
        pytest.param("ca0103520178", "has operators of 'x'", id="a function"),
        pytest.param("42021063", "wants operator set 99 of ONNX: expected 22 at most", id="a version to come"),
    ],
)
def test_an_onnx_file_that_does_not_parse_or_has_operators_of_others_is_refused(
    model: str, wrong: str, tmp_path: Path
) -> None:
    folder = write_bundle(tmp_path / "bundle", encoder_onnx=bytes.fromhex(model))
    with pytest.raises(BundleError, match=rf"encoder\.onnx {wrong}"):
        Bundle.load(folder)


def test_an_onnx_file_that_nests_without_end_is_refused() -> None:
    model = b""
    for _ in range(40):  # an attribute that holds a graph of a node with such an attribute
        for field in (0x2A, 0x0A, 0x32):
            length = len(model)
            model = bytes([field, length & 0x7F | 0x80, length >> 7]) + model
    length = len(model) - 3
    assert onnx_files.fault(bytes([0x3A, length & 0x7F | 0x80, length >> 7]) + model[3:]) == (
        "nests more than 64 messages deep"
    )


def test_a_pickle_is_refused_though_the_manifest_lists_it(folder: Path) -> None:
    write_manifest(folder, Bundle.load(folder).manifest.files | {"weights.pkl": Entry("0" * 64, 0)})
    with pytest.raises(BundleError, match=r"lists weights\.pkl: expected files \.onnx, \.json, \.md alone"):
        Bundle.load(folder)


def test_a_manifest_that_is_too_large_or_lists_too_much_is_refused(folder: Path) -> None:
    entries = dict(Bundle.load(folder).manifest.files)
    write_manifest(folder, entries | {f"file{i}.json": Entry("0" * 64, 0) for i in range(MAX_FILES)})
    with pytest.raises(BundleError, match="lists more than 64 files, or sizes below 0"):
        Bundle.load(folder)
    write_manifest(folder, entries | {"text.json": Entry("0" * 64, -1)})
    with pytest.raises(BundleError, match="lists more than 64 files, or sizes below 0"):
        Bundle.load(folder)
    (folder / "manifest.json").write_bytes(b" " * 4_000_001)
    with pytest.raises(BundleError, match="has 4,000,001 bytes, a manifest may have 4,000,000"):
        Bundle.load(folder)


def test_the_id_stands_for_what_computes_and_not_for_the_card(tmp_path: Path) -> None:
    plain = Bundle.load(write_bundle(tmp_path / "plain"))
    other_card = Bundle.load(write_bundle(tmp_path / "card", MODEL_CARD_md=b"# corrected"))
    other_head = Bundle.load(write_bundle(tmp_path / "head", text_json=b"{ }"))
    assert plain.id == other_card.id
    assert plain.id != other_head.id
    assert len(plain.id) == 12


def test_the_default_bundle_ships_only_what_licences_allow(data_dir: Path) -> None:
    allowed = {
        cells[1]: cells[5].startswith("yes")
        for line in (data_dir / "README.md").read_text().splitlines()
        if len(cells := [cell.strip() for cell in line.split("|")]) == 7
    }
    lineage = Bundle.load(DEFAULT).manifest.lineage
    trained_on = [source for source in lineage if source.stage == "training"]
    ours = [source for source in trained_on if source.name.startswith("simulated ")]
    assert {(source.name, source.licence) for source in ours} == {
        ("simulated voices", "Apache-2.0"),
        ("simulated order books", "Apache-2.0"),
    }
    trained_on = [source for source in trained_on if source not in ours]
    assert {source.name for source in trained_on} == {"twitter_fin_news", "stocknet", "credit"}
    assert all(allowed[source.name] for source in trained_on)
    assert all(source.may_train_what_ships for source in lineage)
    assert {source.licence for source in lineage} == {"MIT", "Apache-2.0", "CC BY 4.0"}
    assert all(source.window and source.sha256 for source in lineage)


def test_the_default_bundle_reports_itself_beside_a_dummy_and_a_simple_baseline() -> None:
    parts = Bundle.load(DEFAULT).manifest.parts
    text, fusion = parts["text"].metrics, parts["fusion"].metrics
    assert text["encoder, calibrated"].keys() >= {"macro_f1", "accuracy", "ece", "brier"}
    assert text["encoder, calibrated"]["macro_f1"].low > text["TF-IDF + logistic"]["macro_f1"].high
    assert text["majority"]["macro_f1"].value < 0.4
    assert {"prevalence", "past volatility + logistic", "fusion, text withheld"} <= fusion.keys()
    for metrics in (text, fusion):
        for row in metrics.values():
            assert all(metric.low <= metric.high for metric in row.values())
