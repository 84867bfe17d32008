"""What if: a threshold or a budget swept over what a replay kept, without running a model.

What each threshold raises is exact (see `engines.backtest.sweep`), of the episodes of the head that is swept; what the
market's stage makes of its openings, `monitor.market_sweep` tells.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from engines.backtest.costs import at_threshold
from engines.backtest.field import NEVER, Field
from engines.backtest.results import Part
from engines.backtest.sweep import Sweep

Ints = npt.NDArray[np.int64]
#: How finely a budget is turned into a threshold.
STEP = 1e-6


class Priced(Part, frozen=True, kw_only=True):
    """What one threshold of one head would have raised; ``today`` where it is the one that served.

    ``critical`` of the ``episodes`` turned critical. ``a_day`` and ``an_instrument_day`` are over the days and
    instrument-days that were covered. ``market`` are the market's own episodes that follow, None where its stage does
    not count such openings. ``caught``, ``missed`` (labels), ``false`` (episodes) and ``cost`` are None without labels.
    """

    threshold: float
    today: bool
    episodes: int
    critical: int
    a_day: float
    an_instrument_day: float
    market: int | None = None
    caught: int | None = None
    missed: int | None = None
    false: int | None = None
    cost: float | None = None


class Rung(Part, frozen=True, kw_only=True):
    """An episode that a threshold opens; times are int64 ns."""

    instrument: str
    opened_ns: int
    available_ns: int
    score: float


class Answer(Part, frozen=True, kw_only=True):
    """What thresholds of a head would have raised; ``episodes`` of each, in order, where they were asked for.

    ``market`` are those of the market's stage that follow, of each.
    """

    head: str
    prices: list[Priced]
    episodes: list[list[Rung]]
    market: list[list[Rung]]


def price(field: Field, sweep: Sweep, head: str, threshold: float, *, labelled: bool) -> Priced:
    """Return what a threshold of a head would have raised within the tested range.

    Parameters
    ----------
    labelled
        Whether the field's labels are all that is known: without any, nothing is said of caught and missed.
    """
    spec = sweep.specs[head]
    _, when, caught = at_threshold(field, sweep, head, threshold)
    opens = len(_within(field, sweep, head, sweep.rings(head, threshold)))
    critical = len(_within(field, sweep, head, sweep.runs(head, threshold).rings(max(threshold, spec.critical))))
    days, instrument_days = (float(share.sum()) for share in field.day_share)
    false, missed = int((when == NEVER).sum()), int((~caught).sum())
    return Priced(
        threshold=threshold,
        today=threshold == spec.open,
        episodes=opens,
        critical=critical,
        a_day=opens / days if days else 0.0,
        an_instrument_day=opens / instrument_days if instrument_days else 0.0,
        caught=int(caught.sum()) if labelled else None,
        missed=missed if labelled else None,
        false=false if labelled else None,
        cost=field.cost(false, missed) if labelled else None,
    )


def budgeted(field: Field, sweep: Sweep, head: str, a_day: float) -> float:
    """Return the lowest threshold, in `STEP`s, that opens no more than ``a_day`` episodes a day in the mean.

    None is looked for below the typology's ``close``; where so many reach 1 that none keeps the budget, it is 1.
    """
    spec = sweep.specs[head]
    runs, moments = sweep.runs(head, spec.close), sweep.moments[head]
    first = np.flatnonzero(np.diff(runs.run, prepend=-1))
    last = np.flatnonzero(np.diff(runs.run, append=-1))
    # A run that lies across the edge of the tested range is counted as one of it: never more than the budget.
    inside = (moments.ts_available[runs.at[last]] >= field.heard.from_ns) & (
        moments.ts_available[runs.at[first]] < field.heard.to_ns
    )
    peaks = np.sort(runs.peaks()[inside])[::-1]
    allowed = int(a_day * float(field.day_share[0].sum()))
    lowest = max(spec.close, sweep.floor)
    if len(peaks) <= allowed:
        return lowest
    # Just above the first peak that there is no room for.
    above = (math.floor(float(peaks[allowed]) / STEP) + 1) / round(1 / STEP)
    return max(lowest, min(1.0, above))


def rung(field: Field, sweep: Sweep, head: str, threshold: float, *, warm_up: bool = False) -> list[Rung]:
    """Return the episodes that a threshold opens within the tested range, in order; those of the ``warm_up`` too."""
    moments = sweep.moments[head]
    at = sweep.rings(head, threshold)
    if not warm_up:
        at = _within(field, sweep, head, at)
    found = [
        Rung(
            instrument=field.heard.names[moments.instrument[i]],
            opened_ns=int(moments.ts_event[i]),
            available_ns=int(moments.ts_available[i]),
            score=float(moments.score[i]),
        )
        for i in at.tolist()
    ]
    return sorted(found, key=lambda one: (one.available_ns, one.instrument))


def _within(field: Field, sweep: Sweep, head: str, at: Ints) -> Ints:
    return at[field.heard.tested(sweep.moments[head].ts_available[at])]


def steps(first: float, last: float, step: float) -> list[float]:
    """Return ``first`` to ``last``, that one too where the steps meet it.

    Example
    -------
    >>> steps(0.4, 0.6, 0.1)
    [0.4, 0.5, 0.6]
    """
    count = int((last - first) / step + 1e-9)
    return [round(first + number * step, 9) for number in range(count + 1)]
