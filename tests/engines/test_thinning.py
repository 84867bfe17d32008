"""A thinned track says the same as the whole one, of every threshold at or above the floor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import episodes
from engines.episodes import Episode
from engines.thinning import Moment, Thinner, floor_of, retrace
from engines.tracks import Track
from engines.typologies import TypologySpec
from schemas.alerts import Explanation

S = 1_000_000_000
FLOOR, HOLD_S, PATIENCE_NS = 0.2, 5, 2 * S


def spec(open_: float = 0.5, critical: float = 0.9, close: float = FLOOR, momentary: bool = False) -> TypologySpec:
    return TypologySpec(
        name="x",
        version="1",
        title="X",
        open=open_,
        critical=critical,
        close=close,
        hold_ns=HOLD_S * S,
        momentary=momentary,
    )


def track(moments: list[tuple[int, float]], silent: bool = False) -> Track:
    ts = np.array([at * S for at, _ in moments], np.int64)
    return Track("x", ts, ts + 1, np.array([score for _, score in moments]), ts, lambda _: Explanation(), silent=silent)


def thinned(tracks: list[tuple[int, Track]], floor: float = FLOOR) -> list[Moment]:
    """Return what is kept of tracks, each with the clock that came before it."""
    thinner = Thinner({"x": spec()}, floor, PATIENCE_NS)
    kept = [moment for clock_s, one in tracks for moment in thinner.feed("A", one, clock_s * S)]
    return [*kept, *thinner.finish()]


# Scores mostly below the floor, times that mostly go on and sometimes step back, a clock that mostly follows.
scores = st.one_of(st.just(0.0), st.sampled_from([0.0, 0.1, 0.19, 0.2, 0.3, 0.5, 0.6, 0.9, 1.0]))
steps = st.sampled_from([0, 0, 1, 1, 1, 2, 4, 9, -2, -7])
chunks = st.lists(st.tuples(st.lists(st.tuples(steps, scores), min_size=1, max_size=6), st.integers(0, 6)), max_size=16)
levels = st.lists(st.sampled_from([0.2, 0.25, 0.3, 0.5, 0.6, 0.9, 1.0]), min_size=3, max_size=3).map(sorted)


def streams(found: list[tuple[list[tuple[int, float]], int]]) -> list[tuple[int, Track]]:
    at, clock, tracks = 100, 100, []
    for moments, passed in found:
        clock += passed
        rows = []
        for step, score in moments:
            at += step
            rows.append((at, score))
        at = max(at, clock - 1)
        clock = max(clock, at)
        tracks.append((clock, track(rows, silent=all(score == 0.0 for _, score in rows))))
    return tracks


@given(chunks, levels, st.booleans())
def test_every_threshold_from_the_floor_up_gives_the_same_transitions(
    found: list[tuple[list[tuple[int, float]], int]], levels: list[float], momentary: bool
) -> None:
    tracks = streams(found)
    judged = spec(levels[1], levels[2], levels[0], momentary)
    until_ns = (tracks[-1][0] + HOLD_S if tracks else 0) * S
    few, all_ = thinned(tracks), thinned(tracks, floor=0.0)
    assert len(all_) == sum(len(one.score) for _, one in tracks)
    assert set(few) <= set(all_)

    def told(moments: list[Moment]) -> list[tuple[object, ...]]:
        traced = retrace(judged, moments, patience_ns=PATIENCE_NS, until_ns=until_ns)
        return [
            (t.activity, t.ts, t.severity, t.revision, t.score, moment and moment.order, at) for t, moment, at in traced
        ]

    assert told(few) == told(all_)


@given(chunks, levels, st.booleans())
def test_stepping_and_retracing_agree_where_no_clock_comes_first(
    found: list[tuple[list[tuple[int, float]], int]], levels: list[float], momentary: bool
) -> None:
    judged = spec(levels[1], levels[2], levels[0], momentary)
    tracks = [(0, one) for _, one in streams(found)]
    episode, expected = Episode(), []
    for _, one in tracks:
        expected += [
            (t.activity, t.ts, t.severity, t.revision, t.score)
            for t in episodes.step(judged, episode, one.ts_event, one.score)
        ]
    traced = retrace(judged, thinned(tracks), patience_ns=PATIENCE_NS, until_ns=0)
    assert [(t.activity, t.ts, t.severity, t.revision, t.score) for t, _, _ in traced] == expected


def test_a_long_quiet_costs_a_handful_of_rows() -> None:
    quiet = [(clock, track([(clock, 0.1)] * 100)) for clock in range(200, 1_000)]
    kept = thinned([(100, track([(100, 0.1), (101, 0.7), (102, 0.1)])), *quiet])
    # The moment itself, and the first of the calm: the clock ended it before the rest came.
    assert [(moment.ts_event // S, moment.order) for moment in kept] == [(101, 1), (102, 2)]
    ticks = [(0, track([(second, 0.1)])) for second in range(102, 1_000)]
    kept = thinned([(0, track([(101, 0.7)])), *ticks])
    # Without a clock also what ends the calm: 5 s after the one (for a text) and after the other, and what came before.
    assert [moment.ts_event // S for moment in kept] == [101, 102, 105, 106, 107]
    assert thinned(quiet) == []


def test_the_last_moment_before_the_clock_closes_is_kept_for_its_score() -> None:
    tracks = [
        (100, track([(100, 0.7), (101, 0.19), (102, 0.1)])),
        (103, track([(103, 0.15)])),
        (150, track([(150, 0.0)])),
    ]
    kept = thinned(tracks)
    assert [moment.score for moment in kept] == [0.7, 0.19, 0.15]
    closed = retrace(spec(), kept, patience_ns=PATIENCE_NS, until_ns=150 * S)[-1]
    assert (closed.transition.score, closed.transition.ts, closed.available_at) == (0.15, 106 * S, 108 * S)


def test_instruments_and_heads_are_thinned_apart() -> None:
    thinner = Thinner({"x": spec()}, FLOOR, PATIENCE_NS)
    assert [moment.instrument for moment in thinner.feed("A", track([(1, 0.3)]), 0)] == ["A"]
    assert thinner.feed("B", track([(2, 0.1)]), 0) == []
    (first,) = thinner.feed("A", track([(3, 0.1)]), 0)
    assert (first.instrument, first.score, first.order) == ("A", 0.1, 2)
    assert thinner.seen == 3


@pytest.mark.parametrize(("close", "floor"), [(0.5, 0.05), (0.02, 0.02)])
def test_the_floor_is_no_higher_than_a_spec_closes(close: float, floor: float) -> None:
    assert floor_of([spec(close=close)]) == floor
