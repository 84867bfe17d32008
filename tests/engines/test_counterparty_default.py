"""A counterparty's probability of default: what rings, by which condition, and what would clear it."""

from __future__ import annotations

import pytest

from engines.library import library
from engines.typologies.conditions import explain, score
from engines.typologies.counterparty_default import SPEC, CounterpartyConfig, Evidence, measure

CONFIG = CounterpartyConfig(probability=0.2, rise=2.0)


@pytest.mark.parametrize(
    ("probability", "first", "expected"),
    [
        (0.2, 0.0, 0.5),  # the level is just met
        (0.2, 0.1, 0.5),  # and so is the rise
        (0.4, 0.2, 0.5),  # twice the level, but only the rise that is asked for
        (0.4, 0.1, 0.8),  # both twice
        (0.1, 0.0, 0.2),  # half of the level
        (0.0, 0.1, 0.0),
    ],
)
def test_the_weaker_condition_decides(probability: float, first: float, expected: float) -> None:
    assert score(measure(CONFIG, Evidence(probability, first))) == pytest.approx(expected)


def test_a_higher_probability_never_scores_less() -> None:
    scores = [score(measure(CONFIG, Evidence(percent / 100, 0.05))) for percent in range(101)]
    assert scores == sorted(scores)
    assert 0 <= scores[0] < scores[-1] < 1


def test_it_says_what_would_clear_it() -> None:
    why = explain(measure(CONFIG, Evidence(0.5, 0.2)))
    assert [(rule.name, rule.value, rule.threshold) for rule in why.rules] == [
        ("probability of default", 0.5, 0.2),
        ("rise since first", 2.5, 2.0),
    ]
    assert why.clears == "rise since first below 2 (multiple; it was 2.5)"


def test_it_speaks_of_accounts() -> None:
    assert library()[SPEC.name].scope == "account"
