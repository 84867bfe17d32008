"""Two replays side by side: which episodes both raised, and which only one of them.

Ids differ wherever configurations do, so episodes are told apart by what they are about: one of A and one of B are the
same where typology and instrument are, and their times overlap. Each has one partner at most, the earliest that is
free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from engines.backtest.matching import alarms
from engines.backtest.results import Opened, Part
from schemas.alerts import Alert, Severity

_EVER = 2**63 - 1


class Both(Part, frozen=True, kw_only=True):
    """An episode that both raised; ``shift_s`` is by how much B's came later."""

    a: Opened
    b: Opened
    shift_s: float


class ByTypology(Part, frozen=True, kw_only=True):
    """One typology: episodes of A and of B, how many are ``both``'s, and how those differ.

    ``severity`` counts pairs of another severity, ``shift_median_s`` is of all pairs, None where there is none.
    """

    typology: str
    a: int
    b: int
    both: int
    only_a: int
    only_b: int
    severity: int
    shift_median_s: float | None


class Comparison(Part, frozen=True, kw_only=True):
    """What two replays say; lists are in the order of time."""

    typologies: list[ByTypology]
    both: list[Both]
    only_a: list[Opened]
    only_b: list[Opened]


@dataclass(frozen=True, slots=True)
class _Episode:
    opened: Opened
    end_ns: int


def compare(a: Iterable[Alert], b: Iterable[Alert], least: Severity = "info") -> Comparison:
    """Return which episodes of at least a severity two replays have in common, and which they have not."""
    mine, theirs = _episodes(a, least), _episodes(b, least)
    both, only_a, taken = [], [], set[str]()
    waiting: dict[tuple[str, str], deque[_Episode]] = {}
    for one in theirs:
        waiting.setdefault(_place(one.opened), deque()).append(one)
    for one in mine:
        queue = waiting.get(_place(one.opened), deque())
        while queue and queue[0].end_ns < one.opened.available_ns:
            queue.popleft()
        if not queue or queue[0].opened.available_ns > one.end_ns:
            only_a.append(one.opened)
            continue
        other = queue.popleft()
        taken.add(other.opened.episode_id)
        shift_s = (other.opened.available_ns - one.opened.available_ns) / 1e9
        both.append(Both(a=one.opened, b=other.opened, shift_s=shift_s))
    only_b = [one.opened for one in theirs if one.opened.episode_id not in taken]
    names = sorted({one.opened.typology for one in (*mine, *theirs)})
    return Comparison(
        typologies=[_summed(name, both, only_a, only_b) for name in names], both=both, only_a=only_a, only_b=only_b
    )


def _episodes(alerts: Iterable[Alert], least: Severity) -> list[_Episode]:
    """Return alarms, and until when each episode went on: one that never closed, for ever.

    An episode that rang in the warm-up does not ring anew behind it.
    """
    kept = list(alerts)
    warm_up = {alert.alert_id for alert in kept if alert.quality.warm_up}
    ends = {alert.episode_id: alert.times.available_at for alert in kept if alert.activity == "close"}
    found = [one for one in alarms(kept, least) if one.alert_id not in warm_up]
    return [_Episode(one, ends.get(one.episode_id, _EVER)) for one in found]


def _summed(name: str, both: Sequence[Both], only_a: Sequence[Opened], only_b: Sequence[Opened]) -> ByTypology:
    pairs = [one for one in both if one.a.typology == name]
    left = sum(one.typology == name for one in only_a)
    right = sum(one.typology == name for one in only_b)
    return ByTypology(
        typology=name,
        a=len(pairs) + left,
        b=len(pairs) + right,
        both=len(pairs),
        only_a=left,
        only_b=right,
        severity=sum(one.a.severity != one.b.severity for one in pairs),
        shift_median_s=float(np.median([one.shift_s for one in pairs])) if pairs else None,
    )


def _place(opened: Opened) -> tuple[str, str]:
    return opened.typology, opened.instrument
