"""Crowds: the p-value is a negative binomial's tail, chance rings no more often than it may, and nothing grows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from engines.typologies import market_wide
from engines.typologies.market_wide import (
    COUNTED,
    NAMED,
    RECENT,
    SPEC,
    Crowd,
    CrowdConfig,
    explain,
    find,
    join,
    leave,
    p_value,
)

S = 1_000_000_000
CONFIG = CrowdConfig()


def crowd_of(*seconds: float) -> Crowd:
    """Return a crowd of as many instruments, each of which began at its second."""
    crowd = Crowd()
    for number, second in enumerate(seconds):
        assert join(CONFIG, crowd, int(second * S), f"I{number}", f"e{number}")
    return crowd


def score(crowd: Crowd) -> float:
    return market_wide.score(CONFIG, find(CONFIG, crowd))


@pytest.mark.parametrize(
    ("openings", "time", "window", "count", "tail"),
    [
        # One success is a geometric distribution: (window / (time + window)) to the power of the count.
        (1.0, 600.0, 300.0, 0, 1.0),
        (1.0, 600.0, 300.0, 1, 1 / 3),
        (1.0, 600.0, 300.0, 9, 3.0**-9),
        # Two: (1 - q)^2 (k + 1) q^k, summed from 3 on with q = 1/4: 4 q^3 - 3 q^4.
        (2.0, 3.0, 1.0, 3, 4 / 4**3 - 3 / 4**4),
        # Much evidence of a rate of 2 a window: nearly Poisson, whose tail from 5 on is in every table.
        (2e6, 1e6, 1.0, 5, 0.052653),
    ],
)
def test_the_p_value_is_the_tail_that_can_be_had_by_hand(
    openings: float, time: float, window: float, count: int, tail: float
) -> None:
    assert p_value(openings, time, window, count) == pytest.approx(tail, rel=1e-4)


def test_a_tail_too_small_for_a_float_is_still_a_number() -> None:
    assert 0.0 < p_value(1.0, 600.0, 300.0, 2_000) <= 1e-299


def test_before_anything_is_known_of_the_rate_ten_instruments_are_a_crowd() -> None:
    # Nine others by chance: 3^-9, 144 times a day, is 0.0073 a day; eight are 0.022.
    assert score(crowd_of(*range(9))) < SPEC.open
    assert score(crowd_of(*range(10))) >= SPEC.open
    assert score(crowd_of(0)) == 0.0


def test_where_openings_are_rare_fewer_are_a_crowd() -> None:
    crowd = Crowd()
    for number in range(6):  # one in three quarters of an hour
        while leave(CONFIG, crowd, number * 2_700 * S):
            pass
        join(CONFIG, crowd, number * 2_700 * S, "A", f"e{number}")
    while leave(CONFIG, crowd, 20_000 * S):
        pass
    for number in range(5):
        join(CONFIG, crowd, (20_000 + number) * S, f"I{number}", f"f{number}")
    assert score(crowd) >= SPEC.open


@pytest.mark.parametrize("a_day", [20, 150, 900])
def test_openings_that_are_independent_ring_at_most_once_in_weeks(a_day: int) -> None:
    rng, crowd, rung = np.random.default_rng(a_day), Crowd(), 0
    for day in range(20):
        for at_s in np.sort(rng.uniform(0.0, 6.5 * 3_600, rng.poisson(a_day))):
            now_ns = int((day * 86_400 + at_s) * S)
            while leave(CONFIG, crowd, now_ns):
                pass
            before = score(crowd)
            join(CONFIG, crowd, now_ns, f"I{rng.integers(2_000)}", f"{day} {at_s}")
            rung += before < SPEC.open <= score(crowd)
    assert rung <= 2


def test_one_instrument_that_rings_often_is_one() -> None:
    crowd = Crowd()
    for number in range(20):
        join(CONFIG, crowd, number * S, "A", f"e{number}")
    assert find(CONFIG, crowd).instruments == 1
    assert score(crowd) == 0.0


def test_an_episode_that_is_announced_again_counts_once() -> None:
    crowd = crowd_of(0, 1, 2)
    before = crowd.recent[:]
    assert not join(CONFIG, crowd, 2 * S, "I2", "e2")
    assert crowd.recent == before


def test_what_comes_a_window_late_is_counted_as_late() -> None:
    crowd = crowd_of(1_000)
    assert not join(CONFIG, crowd, 0, "B", "late")
    assert crowd.late == 1
    assert join(CONFIG, crowd, 900 * S, "C", "in time")


def test_order_of_arrival_within_the_window_does_not_matter() -> None:
    scores = set()
    for order in itertools.permutations(range(5)):
        crowd = Crowd()
        for at in order:
            join(CONFIG, crowd, at * S, f"I{at}", f"e{at}")
        scores.add(score(crowd))
    assert len(scores) == 1


def test_an_opening_leaves_when_its_window_has_passed() -> None:
    crowd = crowd_of(0, 10)
    assert leave(CONFIG, crowd, 300 * S - 1) == 0
    assert leave(CONFIG, crowd, 10_000 * S) == 300 * S
    assert leave(CONFIG, crowd, 10_000 * S) == 310 * S
    assert leave(CONFIG, crowd, 10_000 * S) == 0


def test_what_happens_every_window_becomes_usual_and_a_night_does_not_make_it_rare() -> None:
    crowd, scores = Crowd(), []
    for window in range(2_000):
        at = (window * 310 + (window // 70) * 60_000) * S
        while leave(CONFIG, crowd, at):
            pass
        for number in range(12):
            join(CONFIG, crowd, at + number * S, f"I{number}", f"e{window}.{number}")
        scores.append(score(crowd))
    assert scores[0] >= SPEC.open
    assert max(scores[300:]) < SPEC.close
    assert len(crowd.counted) == COUNTED


def test_a_crash_of_thousands_is_bounded() -> None:
    crowd = crowd_of(*(number / 100 for number in range(3 * RECENT)))
    assert len(crowd.recent) == RECENT
    assert score(crowd) >= SPEC.critical
    assert explain(CONFIG, crowd).clears.endswith(f"and {RECENT - NAMED} more")


def test_the_explanation_names_the_instruments_and_what_would_clear_it() -> None:
    crowd = crowd_of(*range(11))
    found = explain(CONFIG, crowd)
    rules = {rule.name: rule for rule in found.rules}
    assert rules["instruments"].value == 11.0
    assert "I10" in found.clears
    fewer = int(rules["instruments"].threshold) - 1
    assert score(crowd_of(*range(fewer))) < SPEC.open
    assert score(crowd_of(*range(fewer + 1))) >= SPEC.open
    assert market_wide.deadline(CONFIG, Crowd()) == 0
