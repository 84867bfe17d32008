"""Scenarios: how typologies count together, for how long, and for whom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.rules import Scenario
from engines.scenarios import ACCOUNTS, STEPS, Judged, Kept, Moment, Peaks, explain, judge, score

SECOND_NS = 10**9
PAIR = Scenario(
    name="pair", title="Both", weights={"pump_and_dump": 0.5, "adverse_text": 0.8}, within_ns=60 * SECOND_NS, open=0.6
)
unit = st.floats(0, 1)


def said(*moments: tuple[float, str, float] | tuple[float, str, float, str], kept: Kept | None = None) -> list[Judged]:
    """Return what `PAIR` says of moments given as (s, typology, score) or with an account."""
    made = [Moment(int(s * SECOND_NS), name, of[0] if of else "", value) for s, name, value, *of in moments]
    return judge([PAIR], {} if kept is None else kept, made)[0]


def test_scores_count_together_while_they_are_in_the_window() -> None:
    found = said((0, "pump_and_dump", 0.8), (59, "adverse_text", 0.5), (61, "adverse_text", 0.25))
    # 1 - (1 - 0.5 × 0.8); then 1 - 0.6 × 0.6; then the pump is gone, and 0.5 the highest of the words: 1 - 0.6
    assert [round(one.score, 9) for one in found] == [0.4, 0.64, 0.4]


def test_the_highest_counts_not_the_last() -> None:
    assert said((0, "adverse_text", 0.9), (1, "adverse_text", 0.1))[1].peaks == (0.0, 0.9)


def test_what_a_scenario_does_not_weigh_says_nothing_in_it() -> None:
    assert said((0, "market_anomaly", 1.0)) == []


def test_an_account_hears_the_instrument_and_others_do_not_hear_it() -> None:
    found = said(
        (0, "pump_and_dump", 0.8, "A"), (1, "pump_and_dump", 0.2, "B"), (2, "adverse_text", 0.5)
    )  # fmt: skip
    assert [(one.account, one.peaks) for one in found] == [
        ("A", (0.8, 0.0)),
        ("B", (0.2, 0.0)),
        ("A", (0.8, 0.5)),
        ("B", (0.2, 0.5)),
        ("", (0.0, 0.5)),
    ]


@given(st.lists(unit, min_size=3, max_size=3), st.integers(0, 2), unit)
def test_a_higher_score_never_lowers_a_scenario(peaks: list[float], index: int, more: float) -> None:
    weights = (0.3, 0.6, 1.0)
    higher = [max(peak, more) if at == index else peak for at, peak in enumerate(peaks)]
    assert 0 <= score(weights, peaks) <= score(weights, higher) <= 1


moments = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from(list(PAIR.weights)), unit.filter(bool), st.sampled_from(["", "A"])),
    max_size=40,
).map(lambda rows: [Moment(t * SECOND_NS, name, account, s) for t, name, s, account in sorted(rows)])


@given(moments, st.lists(st.integers(0, 40), max_size=5), st.integers(-(10**9), 10**9))
def test_packing_and_a_shift_of_time_change_nothing(rows: list[Moment], cuts: Sequence[int], shift_s: int) -> None:
    whole = judge([PAIR], {}, rows)[0]
    kept: Kept = {}
    parts: list[Judged] = []
    edges = [0, *sorted(cuts), len(rows)]
    for first, last in pairwise(edges):
        moved = [row._replace(ts=row.ts + shift_s * SECOND_NS) for row in rows[first:last]]
        parts += [one._replace(ts=one.ts - shift_s * SECOND_NS) for one in judge([PAIR], kept, moved)[0]]
    assert sorted(parts) == sorted(whole)


@given(st.lists(st.tuples(st.integers(0, 100), unit), max_size=STEPS))
def test_a_peak_is_the_highest_of_its_window(rows: list[tuple[int, float]]) -> None:
    peaks = Peaks()
    for ts, value in sorted(rows, key=lambda row: row[0]):
        peaks.add(ts, "a", value)
    for after in range(-1, 101):
        assert peaks.peak("a", after).score == max((value for ts, value in rows if ts > after), default=0.0)


def test_state_is_bounded() -> None:
    kept: Kept = {}
    for at in range(1000):
        said((at / 100, "pump_and_dump", 1 - at / 2000, f"account {at}"), kept=kept)
        said((at / 100, "adverse_text", 1 - at / 2000), kept=kept)
    assert len(kept) <= ACCOUNTS + 1
    assert all(len(steps) <= STEPS for peaks in kept.values() for steps in peaks.steps.values())


@pytest.mark.parametrize(("pump", "words", "clears"), [(0.8, 0.6, "adverse_text below 0.4166"), (0.9, 1.0, "all of")])
def test_the_smallest_change_that_clears_it_is_told(pump: float, words: float, clears: str) -> None:
    found = said((0, "pump_and_dump", pump), (1, "adverse_text", words))[-1]
    told = explain(PAIR, found)
    if clears != "all of":
        assert told.clears == clears
        least = float(clears.rpartition(" ")[2])
        assert PAIR.open - 1e-3 < score((0.5, 0.8), (pump, least)) < PAIR.open
    assert [(rule.name, rule.value, rule.weight) for rule in told.rules[1:]] == [
        ("pump_and_dump", pump, 0.5), ("adverse_text", words, 0.8),
    ]  # fmt: skip
