"""Costs: what every threshold would have cost, which was the cheapest, and which could have been chosen in time.

A threshold's alarms are those that the machine of episodes raises with it (`engines.backtest.sweep`), so a point of the
curve is what a replay with that threshold finds, not an estimate. All heads move together on the scale of urgency, or
one moves on its own.

The cheapest point is found in hindsight. Beside it stands **progressive validation**: on each day the threshold that
was the cheapest by what was known that morning. A label is known ``label_delay_ns`` after it is over and public, and
an alarm counts as false only when a label of its time would be known; until then, neither is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.backtest.cells import DAY_NS
from engines.backtest.field import NEVER, Field, inside, of_typology
from engines.backtest.ranking import RINGS, score_of
from engines.backtest.results import Choice, CostCurve, CostPoint, WalkForward
from engines.backtest.sweep import Sweep

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
#: Urgencies that are tried; today's is among them.
GRID: tuple[float, ...] = tuple(step / 50 for step in range(2, 51))
TODAY = GRID.index(RINGS)
#: Known labels below which no threshold is chosen by them.
LEAST_KNOWN = 5


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """What a threshold raises: ``ts`` (n,) when, ``known`` (n,) when it is known to be a label's (`NEVER`: it is none).

    ``caught`` (labels,) tells which labels it catches.
    """

    threshold: float
    ts: Ints
    known: Ints
    caught: Bools

    def point(self, field: Field) -> CostPoint:
        """Return what it costs in all."""
        false, missed = int((self.known == NEVER).sum()), int((~self.caught).sum())
        return CostPoint(
            threshold=self.threshold,
            cost=field.cost(false, missed),
            episodes=len(self.ts),
            false=false,
            missed=missed,
        )


def tried(field: Field, sweep: Sweep, head: str, ring: float) -> list[Tried]:
    """Return what each urgency of `GRID` raises of one head; ``threshold`` is the score.

    Parameters
    ----------
    ring
        The score at which the head raises an alarm today.
    """
    thresholds = [max(score_of(urgency, ring), sweep.floor) for urgency in GRID]
    return [Tried(threshold, *at_threshold(field, sweep, head, threshold)) for threshold in thresholds]


def together(alone: Sequence[Sequence[Tried]]) -> list[Tried]:
    """Return what each urgency of `GRID` raises of several heads, from what it raises of each."""
    return [
        Tried(
            urgency,
            np.concatenate([one.ts for one in parts]),
            np.concatenate([one.known for one in parts]),
            np.logical_or.reduce([one.caught for one in parts]),
        )
        for urgency, *parts in zip(GRID, *alone, strict=True)
    ]


def at_threshold(field: Field, sweep: Sweep, head: str, threshold: float) -> tuple[Ints, Ints, Bools]:
    """Return when one head's threshold rings (n,), when each is known to be a label's (n,), and what it catches.

    Alarms that are a label's outside of the tested range are not among them.
    """
    moments = sweep.moments[head]
    at = sweep.rings(head, max(threshold, sweep.floor))
    at = at[field.heard.tested(moments.ts_available[at])]
    at = at[np.lexsort((moments.ts_available[at], moments.instrument[at]))]
    instrument, ts = moments.instrument[at], moments.ts_available[at]
    windows = field.windows
    if field.parameters.match == "own":
        windows = of_typology(windows, field.labels, {sweep.specs[head].name})
    when, caught = np.full(len(ts), NEVER), np.zeros(len(field.labels), np.bool_)
    first_in, last_in = (places.tolist() for places in inside(windows, instrument, ts))
    for number, first, last in zip(windows.label.tolist(), first_in, last_in, strict=True):
        if first < last:
            caught[number] = True
            np.minimum(when[first:last], field.known[number], out=when[first:last])
    counts = (when != NEVER) | ~field.strays(instrument, ts, sweep.specs[head].name)
    return ts[counts], when[counts], caught


def cost_curve(field: Field, contender: str, found: Sequence[Tried]) -> CostCurve:
    """Return the curve of what was tried, beside flagging nothing and flagging every cell."""
    points = [one.point(field) for one in found]
    cells = field.cells
    return CostCurve(
        contender=contender,
        points=points,
        flag_nothing=field.cost(0, len(field.labels)),
        flag_all=field.cost(int((~cells.truth).sum()), 0),
        # Of those that cost the same, the one nearest to today's.
        cheapest=min(enumerate(points), key=lambda one: (one[1].cost, abs(one[0] - TODAY)))[1],
        today=points[TODAY],
    )


class _Daily:
    """What a threshold raised and missed on each of some days (days,), each given by its beginning, ns."""

    def __init__(self, field: Field, tried: Tried, days: Ints) -> None:
        hit = tried.known != NEVER
        self._ts = np.sort(tried.ts)
        self._hit_ts, self._hit_known = tried.ts[hit], tried.known[hit]
        self.episodes = _by_day(days, tried.ts)
        self.false = self.episodes - _by_day(days, self._hit_ts)
        self.missed = _by_day(days, field.onset[~tried.caught])

    def false_by(self, horizon_ns: int, now_ns: int) -> int:
        """Return how many of the alarms before ``horizon_ns`` are not known to be a label's at ``now_ns``."""
        known = (self._hit_ts < horizon_ns) & (self._hit_known <= now_ns)
        return int(np.searchsorted(self._ts, horizon_ns)) - int(known.sum())


def _by_day(days: Ints, ts: Ints) -> Ints:
    at = np.searchsorted(days, ts, "right") - 1
    return np.bincount(at[at >= 0], minlength=len(days)).astype(np.int64)


def walk_forward(field: Field, contender: str, found: Sequence[Tried]) -> WalkForward | None:
    """Return what the thresholds cost that could have been chosen day by day; None where nothing was heard."""
    parameters = field.parameters
    days = np.unique(np.concatenate([field.heard.ts, field.onset]) // DAY_NS) * DAY_NS
    if not len(days):
        return None
    daily = [_Daily(field, one, days) for one in found]
    choices, spent = [], np.zeros(len(found))
    for at, day in enumerate(days.tolist()):
        settled = field.known <= day
        horizon = day - parameters.label_delay_ns - parameters.before_ns
        number = TODAY
        if chosen := int(settled.sum()) >= LEAST_KNOWN:
            past = [
                field.cost(one.false_by(horizon, day), int((settled & ~tried.caught).sum()))
                for one, tried in zip(daily, found, strict=True)
            ]
            number = min(range(len(found)), key=lambda which: (past[which], abs(which - TODAY)))
        told = [(int(one.episodes[at]), int(one.false[at]), int(one.missed[at])) for one in daily]
        spent += [field.cost(false, missed) for _, false, missed in told]
        episodes, false, missed = told[number]
        choices.append(
            Choice(
                from_ns=day,
                to_ns=day + DAY_NS,
                threshold=found[number].threshold,
                known=int(settled.sum()),
                chosen=chosen,
                episodes=episodes,
                false=false,
                missed=missed,
            )
        )
    false, missed = sum(one.false for one in choices), sum(one.missed for one in choices)
    return WalkForward(
        contender=contender,
        choices=choices,
        cost=field.cost(false, missed),
        cost_today=float(spent[TODAY]),
        cost_hindsight=float(spent.min()),
        episodes=sum(one.episodes for one in choices),
        false=false,
        missed=missed,
    )
