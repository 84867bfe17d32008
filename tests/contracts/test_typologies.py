"""What every typology that judges ticks owes: scores in [0, 1], row by row the same, explained, tied to articles."""

from __future__ import annotations

import numpy as np
import pytest

from engines import anomaly
from engines.ticks import TickConfig, TickEngine
from engines.tracks import Track
from engines.typologies import TypologySpec, pump_and_dump
from schemas.frames import Frame, frame_of

S = 1_000_000_000
SPECS = {"anomaly": anomaly.SPEC, "pump_and_dump": pump_and_dump.SPEC}


def pump() -> Frame:
    """A quiet day, a trade every 20 s, then 40 s in which ten orders a second lift the price by 30 %."""
    draw = np.random.default_rng(0)
    quiet = 1_700_000_000 * S + np.arange(0, 86_400 * S, 20 * S)
    rush = quiet[-1] + S + np.arange(400) * S // 10
    price = np.concatenate([100 + draw.normal(0, 0.1, len(quiet)), 100 * (1 + 0.3 * np.arange(1, 401) / 400)])
    size = np.concatenate([np.ones(len(quiet)), np.full(400, 5.0)])
    side = np.concatenate([draw.choice([-1, 1], len(quiet)), np.ones(400)])
    ts = np.concatenate([quiet, rush])
    return frame_of("A", {"ts_event": ts, "ts_available": ts, "price": price, "size": size, "side": side})


@pytest.fixture(scope="module")
def tracks() -> dict[str, Track]:
    engine = TickEngine(TickConfig())
    return {track.head: track for track in engine.apply(engine.new_state(), pump()).tracks}


def test_every_track_has_a_specification(tracks: dict[str, Track]) -> None:
    assert tracks.keys() == SPECS.keys()


@pytest.mark.parametrize("head", SPECS)
def test_scores_are_probabilities_with_a_row_a_trade(tracks: dict[str, Track], head: str) -> None:
    track = tracks[head]
    assert len(track.score) == len(track.ts_event) == len(track.window_start) == len(pump())
    assert ((track.score >= 0) & (track.score <= 1)).all()
    assert (track.window_start <= track.ts_event).all()


@pytest.mark.parametrize("head", SPECS)
def test_the_pump_is_found_and_the_quiet_is_not(tracks: dict[str, Track], head: str) -> None:
    spec, track = SPECS[head], tracks[head]
    assert (track.score[-400:] >= spec.open).any()
    assert not (track.score[:-400] >= spec.open).any()


@pytest.mark.parametrize("head", SPECS)
def test_an_alert_explains_itself(tracks: dict[str, Track], head: str) -> None:
    track = tracks[head]
    at = int(np.argmax(track.score >= SPECS[head].open))
    why = track.explain(at)
    assert why.rules
    assert why.clears
    assert all(rule.unit and np.isfinite([rule.value, rule.threshold]).all() for rule in why.rules)


def test_the_pump_opens_with_the_tick_that_meets_the_last_condition(tracks: dict[str, Track]) -> None:
    track = tracks["pump_and_dump"]
    at = int(np.argmax(track.score >= 0.5))
    # 150 orders within a minute are the last condition to be met, 3 of them from the quiet.
    assert at - (len(track.score) - 400) + 1 == pytest.approx(147, abs=1)
    assert all(rule.value >= rule.threshold for rule in track.explain(at).rules)
    assert any(rule.value < rule.threshold for rule in track.explain(at - 1).rules)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_specification_names_its_articles_and_a_hold(spec: TypologySpec) -> None:
    assert spec.regulation
    assert spec.title
    assert spec.hold_ns > 0
