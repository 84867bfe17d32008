"""Thresholds swept at once ring where the machine of episodes opens, moment by moment and clock by clock."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engines.backtest.sweep import Moments, Sweep, moved, runs
from engines.thinning import Moment, retrace
from engines.typologies import TypologySpec

PATIENCE_NS, HOLD_NS = 2, 5
#: Score, how far event time moves, how far the clock has moved since.
steps = st.lists(
    st.tuples(
        st.sampled_from([0.05, 0.2, 0.3, 0.5, 0.6, 0.9, 1.0]),
        st.sampled_from([0, 0, 1, 1, 2, 4, 9, -3]),
        st.sampled_from([0, 0, 1, 3, 8]),
    ),
    max_size=40,
)


def spec(momentary: bool) -> TypologySpec:
    return TypologySpec(
        name="x",
        version="1",
        title="X",
        open=0.5,
        critical=0.9,
        close=0.3,
        hold_ns=HOLD_NS,
        momentary=momentary,
    )


def told(instruments: list[list[tuple[float, int, int]]]) -> dict[int, list[Moment]]:
    found: dict[int, list[Moment]] = {}
    for number, rows in enumerate(instruments):
        at, clock = 100, 100
        for order, (score, step, passed) in enumerate(rows):
            at, clock = at + step, clock + passed
            found.setdefault(number, []).append(Moment(str(number), "x", at, at, at, score, None, order, clock))
    return found


def columns(found: dict[int, list[Moment]]) -> Moments:
    rows = [(number, m.ts_event, m.ts_available, m.clock_ns) for number, ms in found.items() for m in ms]
    table = np.array(rows, np.int64).reshape(-1, 4)
    return Moments(*table.T, np.array([m.score for ms in found.values() for m in ms], np.float64), table[:, 0] * 0)


def test_an_episode_of_one_account_is_not_over_by_another_ones() -> None:
    one = spec(momentary=True)
    ts = np.array([100, 101, 100, 101])
    made = Moments(ts * 0, ts, ts, ts * 0, np.array([0.9, 0.9, 0.9, 0.9]), np.array([0, 0, 1, 1]))
    assert runs(one, made, patience_ns=0).rings(0.5).tolist() == [0, 2]


@given(st.lists(steps, max_size=3), st.booleans(), st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.55, 0.9, 0.95, 1.0]))
def test_a_threshold_rings_where_stepping_opens(
    instruments: list[list[tuple[float, int, int]]], momentary: bool, threshold: float
) -> None:
    found = told(instruments)
    moments, before = columns(found), spec(momentary)
    after = moved(before, ring=threshold)
    expected = [
        (number, traced.moment.order)
        for number, rows in found.items()
        for traced in retrace(after, rows, patience_ns=PATIENCE_NS, until_ns=0)
        if traced.transition.activity == "create" and traced.moment
    ]
    starts = np.cumsum([0, *(len(rows) for rows in found.values())])
    sweep = Sweep({"x": before}, {"x": moments}, floor=0.0, patience_ns=PATIENCE_NS)
    places = sweep.rings("x", threshold)
    first = dict(zip(found, starts.tolist(), strict=False))
    of = moments.instrument[places].tolist()
    assert [(number, at - first[number]) for number, at in zip(of, places.tolist(), strict=True)] == expected
    assert int((sweep.runs("x", threshold).peaks() >= threshold).sum()) == len(expected)


@given(steps, st.booleans())
def test_what_turns_critical_is_the_first_moment_of_a_run_that_reaches_it(
    rows: list[tuple[float, int, int]], momentary: bool
) -> None:
    found = told([rows])
    expected = [
        traced.moment.order
        for traced in retrace(spec(momentary), found.get(0, []), patience_ns=PATIENCE_NS, until_ns=0)
        if traced.transition.severity == "critical" and traced.transition.activity != "close" and traced.moment
    ]
    assert runs(spec(momentary), columns(found), patience_ns=PATIENCE_NS).rings(0.9).tolist() == expected


def test_a_calm_of_the_hold_parts_two_runs_and_a_shorter_one_does_not() -> None:
    def rung(gap: int) -> int:
        rows = told([[(0.6, 0, 0), (0.05, 1, 0), (0.6, gap, 0)]])
        return len(runs(spec(False), columns(rows), patience_ns=PATIENCE_NS).rings(0.5))

    assert [rung(HOLD_NS - 1), rung(HOLD_NS)] == [1, 2]
