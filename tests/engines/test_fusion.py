"""Fusion: a model small enough to work out by hand, and the one that ships."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines import features
from engines.bundle import Bundle, BundleError
from engines.fusion import Fused, FusionModel, FusionSpec, Kept, SlotSpec
from tests.conftest import ROOT
from tests.engines.bundles import write_bundle

HOUR = 3_600_000_000_000
NOW = 10**18
TEXT = Kept(np.eye(387, dtype=np.float32)[0], NOW - HOUR)
SPEC = FusionSpec(
    kind="mid",
    slots=[
        SlotSpec(name="ticks", width=1, min_age_ns=60_000_000_000, max_age_ns=240 * HOUR),
        SlotSpec(name="text", width=387, min_age_ns=60_000_000_000, max_age_ns=240 * HOUR),
    ],
    features=["move"],
    heads=["elevated_risk"],
)


def graph() -> bytes:
    """Return a fusion of one feature, one hidden unit, and the text's first number alone.

    Standardised, "move" 5 is (5 - 1) / 2 = 2. Weights exp(gate): ticks exp(0) = 1, text exp(ln 2) = 2. Values: ticks 2,
    text 1. Missing: ticks -1, text -0.5; the constant is -1.
    """
    pytest.importorskip("torch", reason="training needs torch: install the extra `train`")
    import torch
    from torch import nn

    from engines.training.models.fusion import Fusion, Head, Slot, to_onnx

    model = Fusion("mid", [Slot("ticks", 0, 1, False), Slot("text", 384, 3, False)], [Head("elevated_risk", "binary")])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.low[0], model.high[0], model.mean[0], model.scale[0] = -10.0, 10.0, 1.0, 2.0
        project, ticks, text = model.project[1], model.enter[0], model.enter[1]
        assert isinstance(project, nn.Linear)
        assert isinstance(ticks, nn.Linear)
        assert isinstance(text, nn.Linear)
        project.weight[0, 0] = ticks.weight[0, 0] = text.weight[0, 0] = 1.0
        model.gate_bias[1] = math.log(2)
        model.value[:, 0] = 1.0
        model.missing[0], model.missing[1] = -1.0, -0.5
        model.bias.fill_(-1.0)
    return to_onnx(model, [1.0], [0.0])


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> FusionModel:
    folder = tmp_path_factory.mktemp("fusion") / "bundle"
    return FusionModel(Bundle.load(write_bundle(folder, fusion_json=msgspec.json.encode(SPEC), fusion_onnx=graph())))


def scored(model: FusionModel, bars: np.ndarray | None, kept: dict[str, Kept], *now: int) -> Fused:
    at = np.array(now or [NOW] * len(bars if bars is not None else "1"), np.int64)
    return model.score(bars, at, kept, at)


@pytest.fixture(scope="module")
def shipped() -> FusionModel:
    return FusionModel(Bundle.load(ROOT / "bundles" / "default"))


def bars(*moves: float) -> np.ndarray:
    rows = np.zeros((len(moves), len(features.NAMES)), np.float32)
    rows[:, features.NAMES.index("move")] = moves
    return rows


def test_both_modalities_by_hand(by_hand: FusionModel) -> None:
    # (1 x 2 + 2 x 1) / (1 + 1 + 2) - 1 = 0. Without ticks 2 x 1 / 3 - 1 - 1, without text 2 / 2 - 0.5 - 1.
    fused = scored(by_hand, bars(5), {"text": TEXT})
    assert fused.risk == pytest.approx([0.5])
    assert fused.share[0] == pytest.approx([4 / 3, 0.5])
    assert fused.present.tolist() == [[True, True]]


def test_without_a_text_by_hand(by_hand: FusionModel) -> None:
    # 2 / 2 - 0.5 - 1 = -0.5; without ticks -1 - 0.5 - 1, a difference of 2.
    fused = scored(by_hand, bars(5), {})
    assert fused.risk == pytest.approx([1 / (1 + math.exp(0.5))])
    assert fused.share[0] == pytest.approx([2, 0])
    assert fused.present.tolist() == [[True, False]]


def test_a_text_beyond_its_age_is_missing(by_hand: FusionModel) -> None:
    until = TEXT.ts_event + 240 * HOUR
    fused = scored(by_hand, bars(5, 5), {"text": TEXT}, until, until + 1)
    assert fused.present.tolist() == [[True, True], [True, False]]
    assert fused.risk[1] == scored(by_hand, bars(5), {}).risk[0]


def test_a_bar_beyond_its_age_is_missing_too(by_hand: FusionModel) -> None:
    late = np.array([NOW + 241 * HOUR])
    stale = by_hand.score(bars(5), np.array([NOW]), {"text": Kept(TEXT.values, int(late[0]) - HOUR)}, late)
    assert stale.present.tolist() == [[False, True]]
    assert stale.risk == scored(by_hand, None, {"text": TEXT}, NOW).risk


def test_a_text_before_any_bar_by_hand(by_hand: FusionModel) -> None:
    # 2 x 1 / 3 - 1 - 1 = -4/3; without text -1 - 0.5 - 1.
    fused = scored(by_hand, None, {"text": TEXT}, NOW)
    assert fused.risk == pytest.approx([1 / (1 + math.exp(4 / 3))])
    assert fused.share[0] == pytest.approx([0, 7 / 6])


def test_a_feature_beyond_training_counts_as_the_farthest_in_it(by_hand: FusionModel) -> None:
    far, farther = scored(by_hand, bars(10, 1000), {}).risk
    assert far == farther


def test_what_the_model_does_not_know_has_no_say(by_hand: FusionModel) -> None:
    sound = {"audio": Kept(np.ones(33, np.float32), NOW)}
    assert scored(by_hand, bars(5), sound).risk == scored(by_hand, bars(5), {}).risk


def test_what_is_no_number_never_reaches_the_engine(by_hand: FusionModel) -> None:
    with pytest.raises(ValueError, match="expected finite numbers"):
        scored(by_hand, bars(float("nan")), {})


def test_features_that_this_version_does_not_compute_are_refused(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(SPEC, features=["moon_phase"])
    bundle = Bundle.load(write_bundle(tmp_path / "bundle", fusion_json=msgspec.json.encode(spec)))
    with pytest.raises(BundleError, match=r"wants features \['moon_phase'\], this version computes"):
        FusionModel(bundle)


def test_a_graph_of_other_modalities_than_its_json_says_is_refused(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(SPEC, slots=[*SPEC.slots, msgspec.structs.replace(SPEC.slots[1], name="chart")])
    folder = write_bundle(tmp_path / "bundle", fusion_json=msgspec.json.encode(spec), fusion_onnx=graph())
    with pytest.raises(BundleError, match=r"fusion\.onnx: expected a graph"):
        FusionModel(Bundle.load(folder))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 33, 500])
def test_a_row_has_the_same_bits_alone_and_in_any_company(shipped: FusionModel, n: int) -> None:
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(n, len(features.NAMES)), scale=3).astype(np.float32)
    kept = {
        name: Kept(rng.normal(size=part.stop - part.start).astype(np.float32) / 20, NOW)
        for name, part in shipped.columns.items()
        if name != "ticks"
    }
    now = NOW + rng.integers(HOUR, 300 * HOUR, n)
    together = shipped.score(rows, now, kept, now)
    for i in range(n):
        alone = shipped.score(rows[i : i + 1], now[i : i + 1], kept, now[i : i + 1])
        assert alone.risk.tobytes() == together.risk[i : i + 1].tobytes()
        assert alone.share.tobytes() == together.share[i : i + 1].tobytes()


def test_what_ships_ranks_a_violent_bar_above_a_quiet_one(shipped: FusionModel) -> None:
    rows = np.zeros((2, len(features.NAMES)), np.float32)
    for name, value in {"move": -6.0, "range": 4.0, "notional": 2.5, "location": -1.0}.items():
        rows[1, features.NAMES.index(name)] = value
    quiet, violent = scored(shipped, rows, {}).risk
    assert violent > quiet
