"""Fusion: a model small enough to work out by hand, and the one that ships."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines import features
from engines.bundle import Bundle, BundleError
from engines.fusion import FusionModel, FusionSpec
from tests.conftest import ROOT
from tests.engines.bundles import write_bundle

HOUR = 3_600_000_000_000

# One feature, one hidden unit, the text's first number alone. Standardised, "move" 5 is (5 - 1) / 2 = 2.
# Weights exp(gate): ticks exp(0) = 1, text exp(ln 2) = 2. Values: ticks 2, text 1.
BY_HAND = FusionSpec(
    features=["move"],
    low=[-10.0],
    high=[10.0],
    mean=[1.0],
    scale=[2.0],
    projection=[[1.0]] + [[0.0]] * 383,
    min_age_ns=60_000_000_000,
    max_age_ns=240 * HOUR,
    hidden_ticks=[[1.0]],
    bias_ticks=[0.0],
    hidden_text=[[1.0], [0.0], [0.0], [0.0]],
    bias_text=[0.0],
    hidden_age=[0.0],
    gate=[[0.0], [0.0]],
    gate_bias=[0.0, math.log(2)],
    value=[[1.0], [1.0]],
    value_bias=[0.0, 0.0],
    missing=[-1.0, -0.5],
    bias=-1.0,
    slope=1.0,
    intercept=0.0,
)
VECTOR = np.eye(384, dtype=np.float32)[0]
LOGITS = np.zeros(3, np.float32)


@pytest.fixture
def by_hand(tmp_path: Path) -> FusionModel:
    return FusionModel(Bundle.load(write_bundle(tmp_path / "bundle", fusion_json=msgspec.json.encode(BY_HAND))))


@pytest.fixture(scope="module")
def shipped() -> FusionModel:
    return FusionModel(Bundle.load(ROOT / "bundles" / "default"))


def bars(*moves: float) -> np.ndarray:
    rows = np.zeros((len(moves), len(features.NAMES)), np.float32)
    rows[:, features.NAMES.index("move")] = moves
    return rows


def test_both_modalities_by_hand(by_hand: FusionModel) -> None:
    # (1 x 2 + 2 x 1) / (1 + 1 + 2) - 1 = 0. Without ticks 2 x 1 / 3 - 1 - 1, without text 2 / 2 - 0.5 - 1.
    fused = by_hand.score(bars(5), VECTOR, LOGITS, np.array([HOUR]))
    assert fused.risk == pytest.approx([0.5])
    assert fused.contribution[0] == pytest.approx([4 / 3, 0.5])
    assert fused.present.tolist() == [[True, True]]


def test_without_a_text_by_hand(by_hand: FusionModel) -> None:
    # 2 / 2 - 0.5 - 1 = -0.5; without ticks -1 - 0.5 - 1, a difference of 2.
    fused = by_hand.score(bars(5))
    assert fused.risk == pytest.approx([1 / (1 + math.exp(0.5))])
    assert fused.contribution[0] == pytest.approx([2, 0])
    assert fused.present.tolist() == [[True, False]]


def test_a_text_beyond_its_age_is_missing(by_hand: FusionModel) -> None:
    fused = by_hand.score(bars(5, 5), VECTOR, LOGITS, np.array([240 * HOUR, 240 * HOUR + 1]))
    assert fused.present.tolist() == [[True, True], [True, False]]
    assert fused.risk[1] == by_hand.score(bars(5)).risk[0]


def test_a_text_before_any_bar_by_hand(by_hand: FusionModel) -> None:
    # 2 x 1 / 3 - 1 - 1 = -4/3; without text -1 - 0.5 - 1.
    fused = by_hand.score(None, VECTOR, LOGITS, np.array([HOUR]))
    assert fused.risk == pytest.approx([1 / (1 + math.exp(4 / 3))])
    assert fused.contribution[0] == pytest.approx([0, 7 / 6])


def test_a_feature_beyond_training_counts_as_the_farthest_in_it(by_hand: FusionModel) -> None:
    far, farther = by_hand.score(bars(10, 1000)).risk
    assert far == farther


def test_nothing_to_fuse_is_an_error(by_hand: FusionModel) -> None:
    with pytest.raises(ValueError, match="nothing to fuse"):
        by_hand.score(None)


def test_features_that_this_version_does_not_compute_are_refused(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(BY_HAND, features=["moon_phase"])
    bundle = Bundle.load(write_bundle(tmp_path / "bundle", fusion_json=msgspec.json.encode(spec)))
    with pytest.raises(BundleError, match=r"wants features \['moon_phase'\], this version computes"):
        FusionModel(bundle)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 33, 500])
def test_a_row_has_the_same_bits_alone_and_in_any_company(shipped: FusionModel, n: int) -> None:
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(n, len(features.NAMES)), scale=3).astype(np.float32)
    vector = rng.normal(size=384).astype(np.float32) / 20
    logits = rng.normal(size=3).astype(np.float32)
    ages = rng.integers(HOUR, 300 * HOUR, n)
    together = shipped.score(rows, vector, logits, ages)
    for i in range(n):
        alone = shipped.score(rows[i : i + 1], vector, logits, ages[i : i + 1])
        assert alone.risk.tobytes() == together.risk[i : i + 1].tobytes()
        assert alone.contribution.tobytes() == together.contribution[i : i + 1].tobytes()


def test_what_ships_ranks_a_violent_bar_above_a_quiet_one(shipped: FusionModel) -> None:
    rows = np.zeros((2, len(features.NAMES)), np.float32)
    for name, value in {"move": -6.0, "range": 4.0, "notional": 2.5, "location": -1.0}.items():
        rows[1, features.NAMES.index(name)] = value
    quiet, violent = shipped.score(rows).risk
    assert violent > quiet
