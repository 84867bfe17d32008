"""Conformal p-values: how rare a score is among scores of quiet times, whatever their distribution.

Of n exchangeable scores the (n + 1)th has each rank as likely as any other, so that its p-value is at most a with
probability a (Vovk, Gammerman & Shafer, *Algorithmic learning in a random world*, 2005, chapter 2). A desk sets a
budget of false alarms with it instead of a threshold.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class BudgetError(ValueError):
    """A budget of false alarms that so few calibration scores cannot hold; the message says how many it takes."""


def p_values(calibration: Floats, scores: Floats) -> Floats:
    """Return the p-value of each of ``scores`` (n,): the share of ``calibration`` (m,) as high, itself counted.

    Example
    -------
    >>> p_values(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.35, 0.05])).tolist()
    [0.4, 1.0]
    """
    ordered = np.sort(calibration)
    higher = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return np.asarray((1 + higher) / (len(ordered) + 1), np.float64)


def threshold(calibration: Floats, budget: float) -> float:
    """Return the score that a share ``budget`` of quiet scores exceeds at most; an alarm is a score above it.

    Raises
    ------
    BudgetError
        As `allowed` says.
    """
    return float(np.sort(calibration)[-allowed(len(calibration), budget)])


def allowed(calibration: int, budget: float) -> int:
    """Return the greatest rank among ``calibration`` scores and one's own, 1 the highest, that is within ``budget``.

    Raises
    ------
    BudgetError
        ``budget`` is below 1 / (m + 1) for m calibration scores: no score is rare enough among so few.
    """
    if not 0 < budget < 1:
        raise BudgetError(f"a budget of {budget:g} is no share of scores: expected more than 0 and less than 1")
    rank = round(budget * (calibration + 1))
    rank -= rank / (calibration + 1) > budget  # as a p-value is compared with it, to the last bit
    if not rank:
        raise BudgetError(
            f"a budget of {budget:.2%} false alarms takes {math.ceil(1 / budget) - 1:,} calibration scores, there are "
            f"{calibration:,}: calibrate on more, or allow more alarms"
        )
    return rank
