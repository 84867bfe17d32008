"""What a report is made of, gathered once: figures of a backtest, alerts of a replay, and what the recording shows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from engines.backtest.results import Backtest, Contender, Opened
from engines.labels import Label
from monitor.recordings import Recording
from monitor.report import bars, dossier, nights, sources
from monitor.report.bars import Bars
from monitor.report.dossier import Case
from monitor.report.nights import Nights
from monitor.report.sources import Evidence, Tape
from schemas.alerts import SEVERITIES, Alert
from schemas.records import News

#: Instruments whose price and volume are drawn, and alerts that have a dossier within the page, at most.
MOST_INSTRUMENTS = 8
MOST_DOSSIERS = 12
#: What an alarm turned out to be; "aside" is an event's outside of the tested range.
Verdict = Literal["hit", "false", "bait", "aside"]


@dataclass(frozen=True)
class Material:
    """A backtest with what it speaks of.

    ``bars`` and ``news`` are by instrument, ``cases`` the alerts that are shown closely; ``left_out`` instruments have
    alerts or labels too and are not drawn.
    """

    found: Backtest
    alerts: Sequence[Alert]
    labels: Sequence[Label]
    bars: Mapping[str, Bars]
    news: Mapping[str, Sequence[News]]
    cases: Sequence[Case]
    left_out: int = 0

    @property
    def tocsin(self) -> Contender:
        """The row of the table that everything else is held against."""
        return self.found.contenders[0]

    def contender(self, kind: str) -> Contender | None:
        """Return the first contender of a kind, such as ``random``."""
        return next((one for one in self.found.contenders if one.kind == kind), None)

    @cached_property
    def verdicts(self) -> dict[str, tuple[Verdict, Label | str]]:
        """An alarm's episode → whether it belongs to a label (and to which), met a benign one, or neither."""
        told: dict[str, tuple[Verdict, Label | str]] = {one.episode_id: ("aside", "") for one in self.found.aside}
        for stray in self.found.false:
            told[stray.opened.episode_id] = ("bait", stray.bait) if stray.bait else ("false", "")
        for catch in self.found.catches:
            for opened in catch.opened:
                told[opened.episode_id] = ("hit", catch.label)
        return told

    @cached_property
    def nights(self) -> Nights:
        """When none of the instruments that are drawn is traded."""
        drawn = [bars for bars in self.bars.values() if len(bars)]
        start = np.concatenate([bars.start for bars in drawn]) if drawn else np.empty(0, np.int64)
        end = np.concatenate([bars.start + bars.width_ns for bars in drawn]) if drawn else start
        return nights.between(start, end, self.found.tested.from_ns, self.found.tested.to_ns)

    @cached_property
    def opened(self) -> dict[str, Opened]:
        """The alarms by episode."""
        return {one.episode_id: one for one in _alarms(self.found)}


def gather(found: Backtest, alerts: Sequence[Alert], recording: Recording | None) -> Material:
    """Read what a report shows of a recording: bars, news, and the evidence of the alerts that get a dossier.

    Raises
    ------
    RecordingError
        A file cannot be read.
    """
    labels = [*(catch.label for catch in found.catches), *found.missed, *found.benign]
    bait = {stray.bait for stray in found.false}
    labels.sort(key=lambda label: label.start_ns)
    chosen = _foremost(found, alerts)
    stories: dict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        stories[alert.episode_id].append(alert)
    if recording is None:
        return Material(found, alerts, labels, {}, {}, [Case(one, stories[one.episode_id]) for one in chosen])
    named = _busiest(found, alerts, labels, bait)
    instruments = named[:MOST_INSTRUMENTS]
    tested = found.tested
    tape = Tape(map(dossier.window, chosen))
    passing = tape.watch(recording.messages(["frames"], tested.from_ns, tested.to_ns + dossier.AROUND_NS))
    drawn = bars.gather(passing, instruments, tested.from_ns, tested.to_ns)
    written = sources.news(recording.messages(["news"], tested.from_ns, tested.to_ns), instruments)
    evidence = Evidence.find(recording, chosen)
    cases = [Case(one, stories[one.episode_id], evidence, tape.ticks(dossier.window(one))) for one in chosen]
    return Material(found, alerts, labels, drawn, written, cases, len(named) - len(instruments))


def _alarms(found: Backtest) -> list[Opened]:
    """Return the alarms of a backtest; one that is several labels' comes as often."""
    return [
        *found.aside,
        *(stray.opened for stray in found.false),
        *(one for catch in found.catches for one in catch.opened),
    ]


def _foremost(found: Backtest, alerts: Sequence[Alert]) -> list[Alert]:
    """Return the alerts that get a dossier: the first of each label that was caught, the best of each typology, others.

    Within each group those of higher severity and score come first.
    """
    caught = {opened.alert_id for catch in found.catches for opened in catch.opened[:1]}
    ordered = sorted(
        (alert for alert in alerts if alert.activity == "create" or alert.alert_id in caught),
        key=lambda alert: (SEVERITIES.index(alert.finding.severity), alert.finding.score, alert.alert_id),
        reverse=True,
    )
    best = {alert.finding.typology: alert for alert in reversed(ordered)}
    groups = ([alert for alert in ordered if alert.alert_id in caught], best.values(), ordered)
    return list({alert.alert_id: alert for group in groups for alert in group}.values())[:MOST_DOSSIERS]


def _busiest(found: Backtest, alerts: Sequence[Alert], labels: Sequence[Label], bait: set[str]) -> list[str]:
    """Return the instruments that have alerts or labels, those with most of them first, alarms and labels weighing."""
    weight: Counter[str] = Counter()
    for alert in alerts:
        if alert.activity == "create":
            weight[alert.subject.instrument] += 1
    for opened in _alarms(found):
        weight[opened.instrument] += 10
    for label in labels:
        # What struck the whole market singles nobody out.
        for name in label.instruments if len(label.instruments) <= MOST_INSTRUMENTS else ():
            weight[name] += 100 if not label.benign else 10 if label.event_id in bait else 1
    return [name for name, _ in sorted(weight.items(), key=lambda item: (-item[1], item[0])) if name != "market"]
