"""Thresholds, many at once: when each would have rung, from the moments that a replay kept.

An episode ends where its scores stay calm, which the threshold that opened it has no part in. So the moments of one
head at one instrument fall into **runs**, at whose ends every episode is over, whatever opened it:

    score   0.6  0.9  0.1            0.1  0.7
            ── run 1 ──── hold_ns ────    run 2

and a threshold rings once in each run that reaches it, at the first moment that does. What `engines.episodes.step` and
the clock find with a threshold, `engines.thinning.retrace` finds step by step; this finds the same for all thresholds
with one pass over the moments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from engines.typologies import TypologySpec

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The moments of one head that a replay kept, sorted by instrument, by account, and then as triage saw them.

    All of shape (n,): ``instrument`` and ``account`` (int64) number them, times are int64 ns, ``clock_ns`` is the clock
    that triage had seen by then, ``score`` float64 in [0, 1].
    """

    instrument: Ints
    ts_event: Ints
    ts_available: Ints
    clock_ns: Ints
    score: Floats
    account: Ints

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Moments at which something may open, and the run of each: ``at`` (k,) are places in `Moments`, ``run`` (k,)."""

    at: Ints
    run: Ints
    score: Floats

    def rings(self, threshold: float) -> Ints:
        """Return the places in `Moments` at which a threshold rings, the first of each run that reaches it."""
        reached = np.flatnonzero(self.score >= threshold)
        _, first = np.unique(self.run[reached], return_index=True)
        return self.at[reached[first]]

    def peaks(self) -> Floats:
        """Return the highest score of each run: a threshold rings as often as runs reach it."""
        if not len(self.run):
            return np.empty(0)
        return np.maximum.reduceat(self.score, np.flatnonzero(np.diff(self.run, prepend=-1)))


def runs(spec: TypologySpec, moments: Moments, *, patience_ns: int) -> Runs:
    """Return the runs of a head's moments.

    Parameters
    ----------
    spec
        Its ``close``, ``hold_ns`` and ``momentary`` count.
    patience_ns
        How long after it is due the clock closes an episode, ns.

    Example
    -------
    >>> spec = TypologySpec(name="x", version="1", title="X", open=0.5, critical=0.9, close=0.2, hold_ns=10)
    >>> ts = np.array([1, 2, 3, 20])
    >>> found = runs(spec, Moments(ts * 0, ts, ts, ts * 0, np.array([0.6, 0.9, 0.1, 0.7]), ts * 0), patience_ns=0)
    >>> found.rings(0.5).tolist(), found.rings(0.8).tolist()
    ([0, 3], [1])
    """
    hot = np.flatnonzero(moments.score >= spec.close)
    if len(hot) < 2:
        return Runs(hot, np.zeros(len(hot), np.int64), moments.score[hot])
    # When a calm that has begun is found to have lasted: by a moment, or by the clock that came before it.
    found_ns = np.maximum(moments.ts_event, moments.clock_ns - patience_ns)
    before, behind = hot[:-1], hot[1:]
    calm = before + 1
    due_ns = moments.ts_event[before] + spec.hold_ns
    if not spec.momentary:
        # The calm begins with the first moment below, which itself cannot end it.
        due_ns = moments.ts_event[calm] + spec.hold_ns
        found_ns[calm[calm < behind]] = _NEVER
    latest_ns = np.maximum.reduceat(found_ns, calm)[: len(before)]
    if len(before) and behind[-1] + 1 < len(found_ns):
        latest_ns[-1] = found_ns[calm[-1] : behind[-1] + 1].max()
    over = latest_ns >= due_ns
    if not spec.momentary:
        over &= calm < behind
    for of in (moments.instrument, moments.account):
        over |= of[before] != of[behind]
    return Runs(hot, np.concatenate([[0], np.cumsum(over)]).astype(np.int64), moments.score[hot])


def moved(spec: TypologySpec, *, ring: float) -> TypologySpec:
    """Return a typology that rings at another threshold: what would contradict it moves along.

    Example
    -------
    >>> spec = TypologySpec(name="x", version="1", title="X", open=0.5, critical=0.9, close=0.2, hold_ns=10)
    >>> [(s.close, s.open, s.critical) for s in (moved(spec, ring=0.95), moved(spec, ring=0.1))]
    [(0.2, 0.95, 0.95), (0.1, 0.1, 0.9)]
    """
    return msgspec.structs.replace(spec, close=min(spec.close, ring), open=ring, critical=max(spec.critical, ring))


class Sweep:
    """The runs of every head, made when they are first asked for.

    Thresholds are exact from ``floor`` up: what scored less was thinned out.
    """

    def __init__(
        self, specs: Mapping[str, TypologySpec], moments: Mapping[str, Moments], *, floor: float, patience_ns: int
    ) -> None:
        self.specs, self.moments, self.floor = specs, moments, floor
        self._patience_ns = patience_ns
        self._runs: dict[tuple[str, float], Runs] = {}

    def runs(self, head: str, threshold: float) -> Runs:
        """Return the runs in which ``threshold`` rings: one below the typology's ``close`` takes its place."""
        close = min(self.specs[head].close, threshold)
        if (head, close) not in self._runs:
            spec = msgspec.structs.replace(self.specs[head], close=close)
            self._runs[head, close] = runs(spec, self.moments[head], patience_ns=self._patience_ns)
        return self._runs[head, close]

    def rings(self, head: str, threshold: float) -> Ints:
        """Return the places in the head's moments at which a threshold rings."""
        return self.runs(head, threshold).rings(threshold)
