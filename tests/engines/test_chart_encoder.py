"""The chart encoder on a small bundle: bits that depend on the picture alone, strips, and bundles that are refused."""

from __future__ import annotations

import hashlib
import io
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnx", reason="the small network is written by onnx: install the extra `train`")

import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from engines import chart_encoder, charts
from engines.bundle import Bundle, BundleError, Entry
from engines.chart_encoder import TOGETHER, ChartEncoder, ChartSpec, MediaType
from engines.inference import ORDER, ORT_CPU, TOLERANCE, open_session
from engines.pictures import PictureError
from tests.engines.bundles import write_bundle, write_manifest

SPEC = ChartSpec(dim=32, height_px=64, width_px=60, slope=2.0, intercept=-1.0)


def jpeg(picture: charts.Bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "jpeg")
    return file.getvalue()


QUIET, WILD, BLANK = chart_encoder.probes()
PICTURES: list[tuple[bytes, MediaType]] = [
    (charts.png(QUIET), "image/png"),
    (charts.png(WILD), "image/png"),
    (charts.png(BLANK), "image/png"),
    (charts.png(np.kron(255 - WILD, np.ones((5, 7), np.uint8))), "image/png"),
    (jpeg(np.kron(QUIET, np.ones((3, 2), np.uint8))), "image/jpeg"),
    (charts.png(np.array([[9, 200]], np.uint8)), "image/png"),
]


def write(folder: Path, **files: bytes) -> Bundle:
    """Write a small bundle with ``files`` beside what every bundle has; chart_onnx is chart.onnx."""
    entries = Bundle.load(write_bundle(folder)).manifest.files
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
        entries[name.replace("_", ".")] = Entry(hashlib.sha256(content).hexdigest(), len(content))
    write_manifest(folder, entries)
    return Bundle.load(folder)


def network(dim: int = 32, name: str = "charts") -> bytes:
    """Return a small untrained network: a convolution, a vector of it, a logit of that."""
    rng = np.random.default_rng(0)
    weights = {"kernel": (8, 1, 5, 5), "embed": (8 * 16 * 15, dim), "head": (dim, 1)}
    scaled = {n: rng.normal(0, 3 / np.sqrt(np.prod(s[-2:])), s).astype(np.float32) for n, s in weights.items()}
    nodes = [
        helper.make_node("Conv", [name, "kernel"], ["edges"], strides=[4, 4], pads=[2, 2, 2, 2]),
        helper.make_node("LeakyRelu", ["edges"], ["bright"]),
        helper.make_node("Flatten", ["bright"], ["flat"]),
        helper.make_node("MatMul", ["flat", "embed"], ["raw"]),
        helper.make_node("Tanh", ["raw"], ["vector"]),
        helper.make_node("MatMul", ["vector", "head"], ["logits"]),
    ]
    shapes = {name: ["batch", 1, 64, 60], "vector": ["batch", dim], "logits": ["batch", 1]}
    taken, *given = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items())
    kept = [numpy_helper.from_array(value, n) for n, value in scaled.items()]
    graph = helper.make_graph(nodes, "small", [taken], given, kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("chart") / "bundle"
    return write(folder, chart_onnx=network(), chart_json=msgspec.json.encode(SPEC))


@pytest.fixture(scope="module", params=ORDER)
def encoder(request: pytest.FixtureRequest, bundle: Bundle) -> ChartEncoder:
    encoder = ChartEncoder(bundle, [request.param])
    if encoder.session.backend != request.param:
        pytest.skip(f"{request.param}: {encoder.session.skipped[0].reason}")
    return encoder


def bits(encoder: ChartEncoder, picture: tuple[bytes, MediaType]) -> bytes:
    seen = encoder.encode(*picture)
    strips = np.array(encoder.explain(*picture, seen))
    return seen.vector.tobytes() + seen.logits.tobytes() + seen.score.hex().encode() + strips.tobytes()


def test_a_chart_has_the_same_bits_whatever_was_asked_before_it(encoder: ChartEncoder) -> None:
    first = [bits(encoder, picture) for picture in PICTURES]
    assert len(set(first)) == len(PICTURES)
    assert [bits(encoder, picture) for picture in reversed(PICTURES)] == first[::-1]


def test_a_chart_has_the_same_bits_from_four_threads_at_once(encoder: ChartEncoder) -> None:
    alone = [bits(encoder, picture) for picture in PICTURES]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda picture: bits(encoder, picture), PICTURES * 6)) == alone * 6


def test_an_encoder_agrees_with_the_reference_within_tolerance(encoder: ChartEncoder, bundle: Bundle) -> None:
    reference = ChartEncoder(bundle, [ORT_CPU])
    for picture in PICTURES:
        want, got = reference.encode(*picture), encoder.encode(*picture)
        assert float(np.abs(want.vector - got.vector).max()) <= TOLERANCE
        assert float(np.abs(want.logits - got.logits).max()) <= TOLERANCE


def test_it_says_what_the_network_says_calibrated(bundle: Bundle) -> None:
    seen = ChartEncoder(bundle, [ORT_CPU]).encode(charts.png(WILD), "image/png")
    inputs = {"charts": WILD.astype(np.float32).reshape(1, 1, 64, 60) / np.float32(255)}
    (vector,), ((logit,),) = open_session(network(), [], [ORT_CPU]).run(inputs)
    assert seen.vector.shape == (32,)
    assert seen.logits.shape == (1,)
    assert seen.vector.dtype == seen.logits.dtype == np.float32
    assert seen.vector.tobytes() == vector.tobytes()
    assert seen.logits[0] == logit
    assert seen.score == pytest.approx(1 / (1 + np.exp(1.0 - 2.0 * float(logit))))
    assert 0.01 < seen.score < 0.99


def test_a_chart_says_the_same_in_other_colours_and_sizes(bundle: Bundle) -> None:
    encoder = ChartEncoder(bundle, [ORT_CPU])
    plain = encoder.encode(charts.png(WILD), "image/png")
    larger = encoder.encode(charts.png(np.kron(230 - WILD // 2, np.ones((5, 7), np.uint8))), "image/png")
    assert larger.score == pytest.approx(plain.score, abs=0.02)
    assert encoder.encode(charts.png(QUIET), "image/png").score != pytest.approx(plain.score, abs=0.02)


def test_strips_are_columns_of_the_picture_and_weigh_what_their_ink_adds(bundle: Bundle) -> None:
    encoder = ChartEncoder(bundle, [ORT_CPU])
    seen = encoder.encode(charts.png(WILD), "image/png")
    strips = encoder.explain(charts.png(WILD), "image/png", seen)
    assert [(strip.start, strip.end) for strip in strips] == [(i, i + 10) for i in range(0, 60, 10)]
    without = WILD.copy()
    without[:, 20:30] = 0
    gone = encoder.encode(charts.png(without), "image/png")
    assert strips[2].weight == pytest.approx(2.0 * float(seen.logits[0] - gone.logits[0]), abs=1e-5)
    assert abs(strips[2].weight) > 1e-4


@pytest.mark.parametrize(("width_px", "count"), [(800, 6), (61, 6), (4, 4), (1, 1)])
def test_strips_cover_a_picture_of_any_width_without_a_gap(bundle: Bundle, width_px: int, count: int) -> None:
    encoder = ChartEncoder(bundle, [ORT_CPU])
    picture = charts.png(np.random.default_rng(0).integers(0, 256, (40, width_px), dtype=np.uint8))
    strips = encoder.explain(picture, "image/png", encoder.encode(picture, "image/png"))
    assert len(strips) == count <= TOGETHER
    assert (strips[0].start, strips[-1].end) == (0, width_px)
    assert all(a.end == b.start for a, b in itertools.pairwise(strips))


def test_a_chart_without_ink_has_strips_without_weight(bundle: Bundle) -> None:
    encoder = ChartEncoder(bundle, [ORT_CPU])
    seen = encoder.encode(charts.png(BLANK), "image/png")
    assert 0 < seen.score < 1
    assert [strip.weight for strip in encoder.explain(charts.png(BLANK), "image/png", seen)] == pytest.approx(
        [0.0] * TOGETHER, abs=1e-5
    )


def test_what_is_no_picture_is_an_error_of_its_own(bundle: Bundle) -> None:
    with pytest.raises(PictureError):
        ChartEncoder(bundle, [ORT_CPU]).encode(b"no picture", "image/png")


def test_int8_is_served_in_fp32(bundle: Bundle) -> None:
    assert ChartEncoder(bundle, [ORT_CPU], precision="int8").session.precision == "fp32"


def test_a_bundle_has_a_chart_encoder_or_none_but_no_half_of_one(bundle: Bundle, tmp_path: Path) -> None:
    assert isinstance(chart_encoder.of(bundle, [ORT_CPU]), ChartEncoder)
    assert chart_encoder.of(write(tmp_path / "none")) is None
    half = write(tmp_path / "half", chart_json=msgspec.json.encode(SPEC))
    with pytest.raises(BundleError, match=r"half has no chart\.onnx: expected both files or neither"):
        chart_encoder.of(half)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width_px": 180}, r"chart\.json wants charts of \(64, 180\) pixels, this version makes \(64, 60\)"),
        ({"dim": 16}, r"chart\.onnx gives outputs of shapes \[\(1, 32\).*expected \[\(1, 16\), \(1, 1\)"),
    ],
)
def test_a_spec_that_does_not_go_with_graph_or_version_is_refused(
    bundle: Bundle, tmp_path: Path, changes: dict[str, int], message: str
) -> None:
    spec = msgspec.json.encode(msgspec.structs.replace(SPEC, **changes))
    with pytest.raises(BundleError, match=message):
        ChartEncoder(write(tmp_path / "b", chart_onnx=bundle.read("chart.onnx"), chart_json=spec), [ORT_CPU])


def test_a_graph_of_another_modality_and_a_broken_spec_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    other = write(tmp_path / "a", chart_onnx=network(name="sounds"), chart_json=msgspec.json.encode(SPEC))
    with pytest.raises(BundleError, match=r"chart\.onnx does not take charts"):
        ChartEncoder(other, [ORT_CPU])
    broken = write(tmp_path / "b", chart_onnx=bundle.read("chart.onnx"), chart_json=b'{"dim": 32}')
    with pytest.raises(BundleError, match=r"chart\.json"):
        ChartEncoder(broken, [ORT_CPU])
