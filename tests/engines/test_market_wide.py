"""Crowds: the p-value is the Poisson tail's, a crowd is no usual thing while it gathers, and nothing grows for ever."""

from __future__ import annotations

import itertools

import pytest

from engines.typologies import market_wide
from engines.typologies.market_wide import COUNTED, SPEC, Crowd, CrowdConfig, explain, join, leave, p_value, score

S = 1_000_000_000
CONFIG = CrowdConfig()


def crowd_of(*seconds: float) -> Crowd:
    """Return a crowd of as many instruments, each of which began at its second."""
    crowd = Crowd()
    for number, second in enumerate(seconds):
        assert join(CONFIG, crowd, int(second * S), f"I{number}", f"e{number}")
    return crowd


@pytest.mark.parametrize(
    ("expected", "count", "tail"),
    [(1.0, 0, 1.0), (1.0, 1, 0.6321206), (2.0, 3, 0.3233236), (0.5, 4, 0.0017516), (10.0, 25, 4.69e-05)],
)
def test_the_p_value_is_the_tail_of_a_poisson_table(expected: float, count: int, tail: float) -> None:
    assert p_value(expected, count) == pytest.approx(tail, rel=2e-3)


def test_a_tail_too_small_for_a_float_is_still_a_number() -> None:
    assert 0.0 < p_value(0.5, 400) <= 1e-299


def test_two_instruments_are_no_crowd_and_five_are() -> None:
    assert score(CONFIG, crowd_of(0, 1)) == 0.0
    assert score(CONFIG, crowd_of(0, 1, 2, 3)) < SPEC.open
    assert score(CONFIG, crowd_of(0, 1, 2, 3, 4)) >= SPEC.open


def test_one_instrument_that_rings_often_is_one() -> None:
    crowd = Crowd()
    for number in range(20):
        join(CONFIG, crowd, number * S, "A", f"e{number}")
    assert score(CONFIG, crowd) == 0.0


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
        scores.add(score(CONFIG, crowd))
    assert len(scores) == 1


def test_an_opening_leaves_when_its_window_has_passed() -> None:
    crowd = crowd_of(0, 10)
    assert leave(CONFIG, crowd, 300 * S - 1) == 0
    assert leave(CONFIG, crowd, 10_000 * S) == 300 * S
    assert leave(CONFIG, crowd, 10_000 * S) == 310 * S
    assert leave(CONFIG, crowd, 10_000 * S) == 0


def test_what_happens_every_window_becomes_usual() -> None:
    crowd, scores = Crowd(), []
    for window in range(2_000):
        at = window * 310 * S
        while leave(CONFIG, crowd, at):
            pass
        for number in range(6):
            join(CONFIG, crowd, at + number * S, f"I{number}", f"e{window}.{number}")
        scores.append(score(CONFIG, crowd))
    assert scores[0] >= SPEC.open
    assert scores[-1] < SPEC.close
    assert len(crowd.counted) == COUNTED
    assert len(crowd.recent) <= 6


def test_the_explanation_names_the_instruments_and_what_would_clear_it() -> None:
    crowd = crowd_of(0, 1, 2, 3, 4, 5)
    found = explain(CONFIG, crowd)
    rules = {rule.name: rule for rule in found.rules}
    assert rules["instruments"].value == 6.0
    assert "I5" in found.clears
    fewer = int(rules["instruments"].threshold) - 1
    assert score(CONFIG, crowd_of(*range(fewer))) < SPEC.open
    assert score(CONFIG, crowd_of(*range(fewer + 1))) >= SPEC.open
    assert market_wide.deadline(CONFIG, Crowd()) == 0
