"""Costs: what every threshold would have cost, which was the cheapest, and which could have been chosen in time.

A threshold's alarms are those that the machine of episodes raises with it (`engines.backtest.sweep`), so a point of the
curve is what a replay with that threshold finds, not an estimate. All heads move together on the scale of urgency, or
one moves on its own.

The cheapest point is found in hindsight. Beside it stands **progressive validation**: on each day the threshold that
was the cheapest by what was known that morning. A label is known ``label_delay_ns`` after it is over and public, and
an alarm counts as false only when a label of its time would be known; until then, neither is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.backtest.cells import DAY_NS, Spans, places
from engines.backtest.field import NEVER, Field, of_typology
from engines.backtest.ranking import RINGS, score_of
from engines.backtest.results import Choice, CostCurve, CostPoint, Parameters, WalkForward
from engines.backtest.sweep import Sweep
from engines.labels import Label

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
#: Urgencies that are tried; today's is among them.
GRID: tuple[float, ...] = tuple(step / 50 for step in range(2, 51))
TODAY = GRID.index(RINGS)
#: Known labels below which no threshold is chosen by them.
LEAST_KNOWN = 5


def known_ns(label: Label, parameters: Parameters) -> int:
    """Return when a label may be used: ``label_delay_ns`` after it is over and, where it ever is, public.

    Not before its window is over either: until then nobody knows whether an alarm will catch it.
    """
    known = max(label.end_ns, label.public_ns) + parameters.label_delay_ns
    return max(known, label.end_ns + parameters.after_ns)


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
            cost=_cost(field, false, missed),
            episodes=len(self.ts),
            false=false,
            missed=missed,
        )


def _cost(field: Field, false: int, missed: int) -> float:
    return field.parameters.cost_false * false + field.parameters.cost_missed * missed


def tried(field: Field, sweep: Sweep, rings: Mapping[str, float], heads: Sequence[str]) -> list[Tried]:
    """Return what each urgency of `GRID` raises, of some heads together.

    ``threshold`` is the urgency, or the score where there is but one head.

    Parameters
    ----------
    rings
        The score at which each head raises an alarm today.
    """
    known = np.array([known_ns(label, field.parameters) for label in field.labels], np.int64)
    found = []
    for urgency in GRID:
        parts = [at_threshold(field, sweep, head, score_of(urgency, rings[head]), known) for head in heads]
        threshold = max(score_of(urgency, rings[heads[0]]), sweep.floor) if len(heads) == 1 else urgency
        found.append(
            Tried(
                threshold,
                np.concatenate([ts for ts, _, _ in parts]),
                np.concatenate([when for _, when, _ in parts]),
                np.logical_or.reduce([caught for _, _, caught in parts]),
            )
        )
    return found


def at_threshold(field: Field, sweep: Sweep, head: str, threshold: float, known: Ints) -> tuple[Ints, Ints, Bools]:
    """Return when one head's threshold rings (n,), when each is known to be a label's (n,), and what it catches."""
    moments = sweep.moments[head]
    at = sweep.rings(head, max(threshold, sweep.floor))
    at = at[(moments.ts_available[at] >= field.heard.from_ns) & (moments.ts_available[at] < field.heard.to_ns)]
    at = at[np.lexsort((moments.ts_available[at], moments.instrument[at]))]
    instrument, ts = moments.instrument[at], moments.ts_available[at]
    windows = field.windows
    if field.parameters.match == "own":
        windows = of_typology(windows, field.labels, {sweep.specs[head].name})
    return (ts, *_matched(windows, len(field.labels), instrument, ts, known))


def _matched(windows: Spans, labels: int, instrument: Ints, ts: Ints, known: Ints) -> tuple[Ints, Bools]:
    """Return when each alarm (n,), sorted by ``ts`` within ``instrument``, is known to be a label's; what is caught."""
    low = places(instrument, ts, windows.instrument, windows.first, "left")
    high = places(instrument, ts, windows.instrument, windows.last, "right")
    when, caught = np.full(len(ts), NEVER), np.zeros(labels, np.bool_)
    for number, first, last in zip(windows.label.tolist(), low.tolist(), high.tolist(), strict=True):
        if first < last:
            caught[number] = True
            np.minimum(when[first:last], known[number], out=when[first:last])
    return when, caught


def cost_curve(field: Field, contender: str, found: Sequence[Tried]) -> CostCurve:
    """Return the curve of what was tried, beside flagging nothing and flagging every cell."""
    points = [one.point(field) for one in found]
    cells = field.cells
    return CostCurve(
        contender=contender,
        points=points,
        flag_nothing=_cost(field, 0, len(field.labels)),
        flag_all=_cost(field, int((~cells.truth).sum()), 0),
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
    known = np.array([known_ns(label, parameters) for label in field.labels], np.int64)
    days = np.unique(np.concatenate([field.heard.ts, field.onset]) // DAY_NS) * DAY_NS
    if not len(days):
        return None
    daily = [_Daily(field, one, days) for one in found]
    choices, spent = [], np.zeros(len(found))
    for at, day in enumerate(days.tolist()):
        settled = known <= day
        horizon = day - parameters.label_delay_ns - parameters.before_ns
        number = TODAY
        if chosen := int(settled.sum()) >= LEAST_KNOWN:
            past = [
                _cost(field, one.false_by(horizon, day), int((settled & ~tried.caught).sum()))
                for one, tried in zip(daily, found, strict=True)
            ]
            number = min(range(len(found)), key=lambda which: (past[which], abs(which - TODAY)))
        told = [(int(one.episodes[at]), int(one.false[at]), int(one.missed[at])) for one in daily]
        spent += [_cost(field, false, missed) for _, false, missed in told]
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
        cost=_cost(field, false, missed),
        cost_today=float(spent[TODAY]),
        cost_hindsight=float(spent.min()),
        episodes=sum(one.episodes for one in choices),
        false=false,
        missed=missed,
    )
