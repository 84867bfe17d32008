"""Thresholds that follow, so that one instrument opens about as many episodes a day as a budget allows.

A score's distribution moves with the market, and a fixed threshold rings more often, or more rarely, than it was chosen
to. Here the threshold is moved by what rang and by nothing else, in log odds of the score: an opening raises it by
`STEP`, and each day without one lowers it by `STEP` times the budget. So over any stretch of T days

    openings = budget × T + (how far the threshold has moved) / STEP

whatever the scores do: the count is off the budget by the threshold's way, which is bounded (I. Gibbs & E. Candès 2021,
*Adaptive conformal inference under distribution shift*; in continuous time, as A. Angelopoulos, E. Candès & R.
Tibshirani 2023, *Conformal PID control for time series prediction*, track a quantile). Which alerts were right need not
be known.

Scores of rare moves are near 1 - expected number, so that an opening makes what opens next e² times rarer. A threshold
is never lower than the typology's ``close``, below which all is calm, and within `MOST` of where it began: a burst of
hundreds does not silence an instrument for months.
"""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import numpy.typing as npt

from engines import episodes
from engines.episodes import Episode, Transition
from engines.typologies import TypologySpec

DAY_NS = 86_400e9
#: How far an opening raises the threshold, log odds.
STEP = 2.0
#: How far it may be from where it began, log odds.
MOST = 6.0


class Spent(msgspec.Struct, array_like=True):
    """How far the threshold was moved (``lift``, log odds) at ``ts`` (ns), when an episode last opened or it began."""

    lift: float
    ts: int


def lift(spec: TypologySpec, budget: float, spent: Spent, now_ns: int) -> float:
    """Return how far the threshold is moved at an event time (ns), log odds; ``budget`` is openings a day.

    Reckoned from the last opening alone, so that nothing depends on how often it is asked.
    """
    waited = STEP * budget * max(0, now_ns - spent.ts) / DAY_NS
    return max(spent.lift - waited, _least(spec))


def lifted(spec: TypologySpec, by: float) -> TypologySpec:
    """Return a typology whose threshold is moved by so much log odds.

    Example
    -------
    >>> spec = TypologySpec(name="x", version="1", title="X", open=0.5, critical=0.9, close=0.2, hold_ns=10)
    >>> round(lifted(spec, 1.0).open, 3), lifted(spec, 0.0) == spec
    (0.731, True)
    """
    if not by:
        return spec
    opens = max(1 / (1 + math.exp(-_log_odds(spec.open) - by)), spec.close)
    return msgspec.structs.replace(spec, open=opens, critical=max(spec.critical, opens))


def concerned(spec: TypologySpec, budget: float, spent: Spent, last_ns: int, score: npt.NDArray[np.float64]) -> bool:
    """Tell whether any of ``score`` (n,), the last of which is of ``last_ns``, could open an episode."""
    return bool((score >= lifted(spec, lift(spec, budget, spent, last_ns)).open).any())


def step(
    spec: TypologySpec,
    budget: float,
    spent: Spent,
    episode: Episode,
    ts: npt.NDArray[np.int64],
    score: npt.NDArray[np.float64],
) -> list[Transition]:
    """Feed moments to an episode as `episodes.step` does; an episode is judged by the threshold that it opened at.

    Parameters
    ----------
    ts, score
        int64 ns and float64 in [0, 1], shape (n,).
    """
    found: list[Transition] = []
    last_ns, at = int(ts.max(initial=0)), 0
    while at < len(ts):
        if not episode.firing:
            ahead = np.flatnonzero(score[at:] >= lifted(spec, lift(spec, budget, spent, last_ns)).open)
            if not len(ahead):
                episode.score = float(score[-1])
                break
            at += int(ahead[0])
        elif (episode.calm_since or int(ts[at:].min())) + spec.hold_ns > last_ns:
            # It cannot close before the end: nearly always, for a track is of one message.
            rest = episodes.step(lifted(spec, episode.lift), episode, ts[at:], score[at:])
            return [*found, *(replace(one, index=at + one.index) for one in rest)]
        now = int(ts[at])
        if closing := episodes.expire(spec, episode, now):
            found.append(replace(closing, index=at))
        if not episode.firing:
            episode.lift = lift(spec, budget, spent, now)
        for one in episodes.step(lifted(spec, episode.lift), episode, ts[at : at + 1], score[at : at + 1]):
            found.append(replace(one, index=at))
            if one.activity == "create":
                spent.lift, spent.ts = min(episode.lift + STEP, MOST), now
        at += 1
    return found


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share)) if share < 1 else math.inf


def _least(spec: TypologySpec) -> float:
    lowest = _log_odds(spec.close) - _log_odds(spec.open) if spec.close and spec.open < 1 else -math.inf
    return max(-MOST, lowest)
