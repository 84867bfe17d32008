"""Conformal p-values: how rare a score is among scores of quiet times, whatever their distribution.

Of n exchangeable scores the (n + 1)th has each rank as likely as any other, so that its p-value is at most a with
probability a (Vovk, Gammerman & Shafer, *Algorithmic learning in a random world*, 2005, chapter 2). A desk sets a
budget of false alarms with it instead of a threshold.

Scores of markets are not exchangeable: their level moves from month to month, and a fixed set of quiet scores rings far
more or far less often than it was told to. `Follow` holds the budget whatever the level does: thresholds are quantiles
of the last scores, quiet or not, plus what every score that was found to be quiet has added to them by having rung or
not (Gibbs & Candès 2021, *Adaptive conformal inference under distribution shift*, in the form of Angelopoulos, Candès &
Tibshirani 2023, *Conformal PID control for time series prediction*, whose integrator and forecaster these two are).
"""

from __future__ import annotations

import math

import msgspec
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
        As `allowed` says, or a calibration score is NaN.
    """
    rank = allowed(len(calibration), budget)
    if unknown := int(np.isnan(calibration).sum()):
        raise BudgetError(f"{unknown:,} calibration scores are NaN: expected numbers")
    return float(np.sort(calibration)[-rank])


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
            f"a budget of {budget:.2%} false alarms takes {math.ceil(round(1 / budget, 6)) - 1:,} calibration scores,"
            f" there are {calibration:,}: calibrate on more, or allow more alarms"
        )
    return rank


class Follow(msgspec.Struct, frozen=True, kw_only=True):
    """How p-values follow a drift.

    ``levels`` are the p-values that are kept true, ascending; others are interpolated, and none is below the first.
    ``kept`` scores are looked back on: about as many as come at one moment, where scores of many instruments do.
    ``step`` is how far one settled score moves a threshold, in spreads of the first scores: where n come a moment and
    settle after d moments, a step above 1 / (n d) or so overshoots.

    Raises
    ------
    BudgetError
        So few scores are kept that none is rare enough for the first level.
    """

    levels: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    kept: int = 100
    step: float = 0.002

    def __post_init__(self) -> None:
        if not self.levels or list(self.levels) != sorted(set(self.levels)) or self.step < 0:
            raise ValueError(f"expected ascending levels and a step of at least 0, found {self.levels}, {self.step:g}")
        for level in self.levels:
            allowed(self.kept, level)


class Followed(msgspec.Struct, frozen=True, array_like=True):
    """What is kept to follow a drift.

    ``scores`` are the last ones, float64, little-endian, oldest first; ``spread`` is how far the first level lay above
    the median to begin with; ``shifts`` is what settled scores have added to each level's threshold.
    """

    scores: bytes
    spread: float
    shifts: tuple[float, ...]


def follow(config: Follow, quiet: Floats) -> Followed:
    """Return what to begin with, from quiet scores (m,), oldest first.

    Raises
    ------
    BudgetError
        They are too few for the first level, or one is NaN.
    """
    rare, middle = threshold(quiet, config.levels[0]), float(np.median(quiet))
    return seen(config, Followed(b"", rare - middle, (0.0,) * len(config.levels)), quiet)


def seen(config: Follow, state: Followed, scores: Floats) -> Followed:
    """Return the state that knows ``scores`` (n,) too; whether they are quiet need not be known.

    Raises
    ------
    ValueError
        A score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is NaN: expected numbers")
    kept = np.append(np.frombuffer(state.scores, "<f8"), scores)[-config.kept :]
    return msgspec.structs.replace(state, scores=kept.astype("<f8").tobytes())


def thresholds(config: Follow, state: Followed) -> Floats:
    """Return the score that each of ``config.levels`` rings from, (level,), descending."""
    quantiles = np.quantile(np.frombuffer(state.scores, "<f8"), 1 - np.array(config.levels))  # (level,)
    return np.maximum.accumulate((quantiles + np.array(state.shifts))[::-1])[::-1]


def followed_p_values(config: Follow, state: Followed, scores: Floats) -> Floats:
    """Return the p-value of each of ``scores`` (n,), from the first of ``config.levels`` to 1.

    Scores of one moment should be `seen` before: then what moves them all makes none of them rare.

    Example
    -------
    >>> config = Follow(levels=(0.1, 0.5), kept=10)
    >>> state = follow(config, np.arange(1.0, 11.0))
    >>> followed_p_values(config, state, np.array([0.0, 5.5, 9.1, 50.0])).round(3).tolist()
    [1.0, 0.5, 0.1, 0.1]
    """
    rising = thresholds(config, state)[::-1]  # (level,)
    lowest = min(float(np.frombuffer(state.scores, "<f8").min()), float(rising[0]))
    told = np.log((1.0, *config.levels[::-1]))  # (1 + level,)
    # From above, so that of levels that share a threshold the highest is told.
    return np.asarray(np.exp(np.interp(-scores, -np.append(lowest, rising)[::-1], told[::-1])), np.float64)


def rings(config: Follow, p_values: Floats, budget: float) -> npt.NDArray[np.bool_]:
    """Return which of ``p_values`` (n,) ring where a share ``budget`` of quiet scores may.

    Raises
    ------
    BudgetError
        ``budget`` is no share, or below the first level: p-values end there.
    """
    if not config.levels[0] <= budget < 1:
        raise BudgetError(
            f"a budget of {budget:g} false alarms is not between {config.levels[0]:g}, the rarest level that is "
            "followed, and 1: allow more alarms, or follow a rarer level"
        )
    return np.asarray(p_values <= budget * (1 + 1e-9))


def settled(config: Follow, state: Followed, p_values: Floats) -> Followed:
    """Return the state after it became known that the scores of ``p_values`` (n,), as told then, were quiet.

    Where one rang it raises its level's threshold by 1 - level steps, where not it lowers it by level steps. So over n
    settled scores the share that rang is off the level by (the shift's way in steps) / n and no more, whatever came.
    """
    levels = np.array(config.levels)
    rang = p_values[:, None] <= levels * (1 + 1e-9)  # (n, level)
    moved = np.array(state.shifts) + config.step * state.spread * (rang - levels).sum(0)  # (level,)
    return msgspec.structs.replace(state, shifts=tuple(moved.tolist()))
