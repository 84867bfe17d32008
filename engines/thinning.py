"""Thinning: what is kept of a track so that any threshold can be tried on it later, without the models.

Most moments of a track lie far below every threshold and change nothing. Of a run of moments below ``floor`` only those
are kept that `engines.episodes.step` can still need for a spec with ``close`` >= ``floor`` and the same ``hold_ns``:

    score   0.7  0.1  0.1  0.1  0.1  0.1  0.1  0.1  0.1
            hot  run            last due
    kept     x    x              x    x

- the first of the run: the calm may begin with it;
- the first at or after the moment at which a calm that began somewhere before has lasted for ``hold_ns``: it closes
  the episode; and the one before it, whose score the closing carries, also where the clock closes it.

So the number of rows is bounded by a few for each moment at or above the floor, however long the quiet.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from engines import episodes
from engines.episodes import Episode, Transition
from engines.tracks import Track
from engines.typologies import TypologySpec

#: No threshold is looked for below it, unless a spec says so.
FLOOR = 0.05
SECOND_NS = 1_000_000_000


class Moment(NamedTuple):
    """One moment of a track. Times are int64 ns; ``p_value`` None where the score was not made of one.

    ``account`` is the track's, "" where it names none.

    ``order`` numbers all moments that triage saw, those left out too; ``clock_ns`` is the clock that it had seen by
    then, which closes episodes as well.
    """

    instrument: str
    head: str
    ts_event: int
    ts_available: int
    window_start: int
    score: float
    p_value: float | None
    order: int
    clock_ns: int
    account: str = ""


class _Run:
    """What is remembered of one instrument's head, and of each account there."""

    __slots__ = ("below", "dues", "hold_ns", "last")

    def __init__(self, hold_ns: int) -> None:
        self.hold_ns = hold_ns
        self.below = True
        self.dues: list[int] = []  # sorted, ns: when a calm that began with a kept moment has lasted
        self.last: Moment | None = None  # where it was not kept


def floor_of(specs: Iterable[TypologySpec]) -> float:
    """Return the floor below which no threshold of these specs lies.

    Example
    -------
    >>> floor_of([TypologySpec(name="x", version="1", title="X", open=0.5, critical=0.9, close=0.02, hold_ns=10)])
    0.02
    """
    return min([FLOOR, *(spec.close for spec in specs)])


class Thinner:
    """Takes tracks as triage saw them, and returns the moments that are to be kept.

    They come in order a head of an instrument, or of one account there.

    Parameters
    ----------
    specs
        A track's head → its typology, of which only ``hold_ns`` counts; tracks of others are passed over.
    floor
        The least score that is a threshold.
    patience_ns
        How long after it is due the clock closes an episode, ns.
    """

    def __init__(self, specs: Mapping[str, TypologySpec], floor: float, patience_ns: int) -> None:
        self._hold_ns = {head: spec.hold_ns for head, spec in specs.items()}
        self._floor = floor
        self._patience_ns = patience_ns
        self._runs: dict[tuple[str, str, str], _Run] = {}
        self.seen = 0

    def feed(self, instrument: str, track: Track, clock_ns: int) -> list[Moment]:
        """Return the moments that are to be kept now that ``track`` has come."""
        n = len(track.score)
        if not n or track.head not in self._hold_ns:  # a scenario of rules that the journal brought
            return []
        scope = (instrument, track.head, track.account)
        run = self._runs.get(scope)
        if run is None:
            run = self._runs[scope] = _Run(self._hold_ns[track.head])
        first, self.seen = self.seen, self.seen + n
        kept: list[Moment] = []
        if run.dues and run.dues[0] + self._patience_ns <= clock_ns:  # the clock came first
            del run.dues[: bisect_right(run.dues, clock_ns - self._patience_ns)]
            self._keep_last(run, kept)
        quiet = run.below and (0.0 if track.silent else track.score.max().item()) < self._floor
        if quiet and not (run.dues and run.dues[0] <= track.ts_event.max().item()):
            run.last = _moment(instrument, track, n - 1, first + n - 1, clock_ns)
            return kept
        for i, (ts, score) in enumerate(zip(track.ts_event.tolist(), track.score.tolist(), strict=True)):
            now = _moment(instrument, track, i, first + i, clock_ns)
            keep, below = False, score < self._floor
            if run.dues and run.dues[0] <= ts:
                del run.dues[: bisect_right(run.dues, ts)]
                self._keep_last(run, kept)
                keep = True
            if not below or not run.below:  # a calm may begin here
                if not run.dues or run.dues[-1] != ts + run.hold_ns:
                    insort(run.dues, ts + run.hold_ns)
                keep = True
            run.below = below
            run.last = now
            if keep:
                self._keep_last(run, kept)
        return kept

    def finish(self) -> list[Moment]:
        """Return what the clock may still need at the end."""
        kept: list[Moment] = []
        for run in self._runs.values():
            if run.dues:
                self._keep_last(run, kept)
        return kept

    @staticmethod
    def _keep_last(run: _Run, kept: list[Moment]) -> None:
        if run.last is not None:
            kept.append(run.last)
            run.last = None


def _moment(instrument: str, track: Track, i: int, order: int, clock_ns: int) -> Moment:
    return Moment(
        instrument,
        track.head,
        track.ts_event.item(i),
        track.ts_available.item(i),
        track.window_start.item(i),
        track.score.item(i),
        None if track.p_value is None else track.p_value.item(i),
        order,
        clock_ns,
        track.account,
    )


class Traced(NamedTuple):
    """A transition, the moment of the track at which it was found (None: by the clock), and when it was known, ns."""

    transition: Transition
    moment: Moment | None
    available_at: int


def retrace(spec: TypologySpec, moments: Iterable[Moment], *, patience_ns: int, until_ns: int) -> list[Traced]:
    """Return what triage would have found of one head of one instrument, or of one account there, by another spec.

    Parameters
    ----------
    spec
        Its ``close`` is at least the floor by which the track was thinned, its ``hold_ns`` the same.
    moments
        In order.
    patience_ns
        How long after it is due the clock closes an episode, ns.
    until_ns
        The last clock, ns.
    """
    episode = Episode()
    found: list[Traced] = []

    def expire(clock_ns: int) -> None:
        transition = episodes.expire(spec, episode, clock_ns - patience_ns)
        if transition is not None:
            due_ns = transition.ts + patience_ns
            found.append(Traced(transition, None, due_ns - due_ns % -SECOND_NS))

    for moment in moments:
        expire(moment.clock_ns)
        ts, score = np.array([moment.ts_event], np.int64), np.array([moment.score])
        changed = episodes.step(spec, episode, ts, score)
        found += [Traced(transition, moment, moment.ts_available) for transition in changed]
    expire(until_ns)
    return found
