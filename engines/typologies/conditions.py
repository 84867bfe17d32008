"""Conditions: what a typology of orders measured against which bound, and what follows from all of them together.

All must hold, so the weakest decides. A share that must be nearly whole is given as what is missing of it, at most so
much: then it can be met by far, as sizes and rates can.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import NamedTuple

from schemas.alerts import Explanation, RuleResult

#: Met so many times over, a condition is met.
MOST = 1e3
#: What is not met by half is not told; the score is 0.2 then.
LEAST_MET = 0.5
LEAST_SCORE = LEAST_MET**2 / (1.0 + LEAST_MET**2)


class Condition(NamedTuple):
    """``value`` must be at least ``threshold`` (above 0), or where ``at_most`` not more than it; both in ``unit``."""

    name: str
    value: float
    threshold: float
    unit: str
    at_most: bool = False

    @property
    def met(self) -> float:
        """How many times over it is met: 1 where just so, at most `MOST`."""
        if self.at_most:
            return MOST if self.value * MOST <= self.threshold else self.threshold / self.value
        return min(MOST, self.value / self.threshold)


Conditions = tuple[Condition, ...]


def score(conditions: Conditions) -> float:
    """Return the score in [0, 1]: with m of the condition that is met least, m**2 / (1 + m**2).

    Example
    -------
    >>> score((Condition("size", 6.0, 3.0, "median depths"), Condition("filled", 0.1, 0.1, "share", at_most=True)))
    0.5
    """
    least = MOST
    for condition in conditions:
        least = min(least, condition.met)
    square = max(0.0, least) ** 2
    return square / (1.0 + square)


def explain(conditions: Conditions) -> Explanation:
    """Return each condition's value and threshold, and the smallest change that would have cleared the alert."""
    binding = min(conditions, key=lambda condition: condition.met)
    bound = ("above " if binding.at_most else "below ") + clearing(binding.threshold, at_most=binding.at_most)
    return Explanation(
        rules=[
            RuleResult(name=one.name, value=one.value, threshold=one.threshold, unit=one.unit, at_most=one.at_most)
            for one in conditions
        ],
        clears=f"{binding.name} {bound} ({binding.unit}; it was {binding.value:.4g})",
    )


def clearing(bound: float, *, at_most: bool = False) -> str:
    """Return a bound with four digits, rounded to the side on which what lies beyond it clears an alert.

    Example
    -------
    >>> clearing(1.23456), clearing(1.23456, at_most=True), clearing(3.5)
    ('1.234', '1.235', '3.5')
    """
    rounded = Context(prec=4, rounding=ROUND_CEILING if at_most else ROUND_FLOOR).create_decimal(repr(bound))
    return f"{float(rounded):.4g}"
