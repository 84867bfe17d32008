"""Alarms against labels: what was caught, what was missed, what was false.

An alarm is an episode at its first alert of at least some severity. It is a label's if it could be known from
``before_ns`` ahead of the label's start to ``after_ns`` behind its end, on one of its instruments and, where both name
accounts, by one of them; every other one is false. The demo, a backtest and tests call it alike.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from engines.backtest.results import Catch, Match, Opened, Parameters, Stray
from engines.labels import Label
from schemas.alerts import SEVERITIES, Alert, Severity


@dataclass(frozen=True, slots=True)
class Window:
    """How far from a label an alarm may be to be the label's, ns; see `Parameters`."""

    before_ns: int = Parameters().before_ns
    after_ns: int = Parameters().after_ns
    match: Match = "any"

    def of(self, label: Label) -> tuple[int, int]:
        """Return the first and the last moment, ns, at which an alarm is the label's."""
        return label.start_ns - self.before_ns, label.end_ns + self.after_ns


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a stretch went; all in the order of time.

    ``hits`` are the alarms that are a harmful label's, ``aside`` those that are one's outside of the stretch and are
    neither true nor false, ``false`` those that are nobody's; ``notes`` are nobody's, but only inform.
    """

    catches: tuple[Catch, ...]
    missed: tuple[Label, ...]
    hits: tuple[Opened, ...]
    aside: tuple[Opened, ...]
    false: tuple[Stray, ...]
    notes: tuple[Opened, ...] = field(default=())


def reaches(severity: Severity, least: Severity) -> bool:
    """Tell whether a severity is at least another.

    Example
    -------
    >>> reaches("critical", "warning"), reaches("info", "warning")
    (True, False)
    """
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)


def alarms(alerts: Iterable[Alert], least: Severity = "info") -> list[Opened]:
    """Return each episode at its first alert of at least ``least``, earliest first.

    An episode that never reached it is none, and a closing raises nothing.
    """
    found: dict[str, Opened] = {}
    for alert in sorted(alerts, key=lambda alert: (alert.episode_id, alert.revision)):
        if alert.activity == "close" or not reaches(alert.finding.severity, least):
            continue
        known = found.get(alert.episode_id)
        if known is not None:
            if not reaches(known.severity, alert.finding.severity):
                found[alert.episode_id] = msgspec.structs.replace(known, severity=alert.finding.severity)
            continue
        found[alert.episode_id] = Opened(
            episode_id=alert.episode_id,
            alert_id=alert.alert_id,
            typology=alert.finding.typology.partition("@")[0],
            instrument=alert.subject.instrument,
            opened_ns=alert.times.event_end,
            available_ns=alert.times.available_at,
            severity=alert.finding.severity,
            score=alert.finding.score,
            account=alert.subject.account,
            probability=alert.finding.probability,
            weights={name: one.weight for name, one in alert.modalities.items() if one.present and one.weight},
        )
    return sorted(found.values(), key=_order)


def judge(
    labels: Sequence[Label],
    alarms: Iterable[Opened],
    window: Window | None = None,
    least: Severity = "warning",
    outside: Sequence[Label] = (),
) -> Verdict:
    """Give every alarm to the labels that it belongs to; one may be several labels', a label may have several.

    Parameters
    ----------
    least
        What of nobody's is false; below it, it is a note.
    outside
        Labels that are not judged by: nobody's alarms that are a harmful one of these are set aside.

    Example
    -------
    >>> label = Label(event_id="1", typology="pump", start_ns=10, onset_ns=10, end_ns=20, instruments=["A.X"])
    >>> a = Opened(episode_id="e", alert_id="", typology="anomaly", instrument="A.X", opened_ns=15, available_ns=16,
    ...            severity="warning", score=0.9)
    >>> b = msgspec.structs.replace(a, episode_id="f", instrument="B.X")
    >>> verdict = judge([label], [a, b])
    >>> verdict.catches[0].delay_s, verdict.catches[0].own, [stray.opened.episode_id for stray in verdict.false]
    (6e-09, False, ['f'])
    """
    window = window or Window()
    ordered = sorted(alarms, key=_order)
    places = _Places(ordered)

    def of(label: Label) -> list[int]:
        near = places.within(label, window)
        return [at for at in near if window.match == "any" or _own(ordered[at], label)]

    catches, missed = [], []
    hits: set[int] = set()
    for label in sorted(labels, key=lambda label: (label.onset_ns, label.event_id)):
        if label.benign:
            continue
        mine = of(label)
        hits.update(mine)
        if mine:
            catches.append(_catch(label, [ordered[at] for at in mine]))
        else:
            missed.append(label)
    baits: dict[int, str] = {}
    for label in labels:
        if label.benign:
            for at in places.within(label, window):
                baits.setdefault(at, label.event_id)
    aside = {at for label in outside if not label.benign for at in of(label)} - hits
    nobodys = [(at, one) for at, one in enumerate(ordered) if at not in hits | aside]
    return Verdict(
        catches=tuple(catches),
        missed=tuple(missed),
        hits=tuple(ordered[at] for at in sorted(hits)),
        aside=tuple(ordered[at] for at in sorted(aside)),
        false=tuple(Stray(opened=one, bait=baits.get(at, "")) for at, one in nobodys if reaches(one.severity, least)),
        notes=tuple(one for _, one in nobodys if not reaches(one.severity, least)),
    )


class _Places:
    """Where the alarms of each instrument stand in their order."""

    def __init__(self, ordered: Sequence[Opened]) -> None:
        self._accounts = [one.account for one in ordered]
        self._at: dict[str, tuple[list[int], list[int]]] = {}
        for at, one in enumerate(ordered):
            times, places = self._at.setdefault(one.instrument, ([], []))
            times.append(one.available_ns)
            places.append(at)

    def within(self, label: Label, window: Window) -> list[int]:
        """Return the numbers of the alarms that are a label's by time, instrument and account, in order."""
        first_ns, last_ns = window.of(label)
        found: list[int] = []
        for instrument in dict.fromkeys(label.instruments):
            times, places = self._at.get(instrument, ([], []))
            found += places[bisect_left(times, first_ns) : bisect_right(times, last_ns)]
        if label.accounts:
            meant = {"", *label.accounts}
            found = [at for at in found if self._accounts[at] in meant]
        return sorted(found)


def foremost(label: Label, mine: Sequence[Opened]) -> Opened:
    """Return the first of a label's alarms that is of its typology, where there is none the first of any."""
    # A stray alarm of another kind that happened to come before is no early warning.
    return next((one for one in mine if _own(one, label)), mine[0])


def _catch(label: Label, mine: list[Opened]) -> Catch:
    first = foremost(label, mine)
    return Catch(
        label=label,
        opened=mine,
        own=_own(first, label),
        delay_s=(first.available_ns - label.onset_ns) / 1e9,
        lead_s=(label.public_ns - first.available_ns) / 1e9 if label.public_ns else None,
    )


def _own(opened: Opened, label: Label) -> bool:
    return opened.typology == label.typology


def _order(opened: Opened) -> tuple[int, str]:
    return opened.available_ns, opened.episode_id
