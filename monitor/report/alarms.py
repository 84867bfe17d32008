"""Sections that go through it one by one: labelled events, alarms, and dossiers of those that matter most."""

from __future__ import annotations

from collections.abc import Sequence

from engines.backtest.matching import foremost
from engines.labels import Label
from monitor.numbers import NONE, duration, plural
from monitor.render import clock
from monitor.report import dossier
from monitor.report.material import Material
from monitor.report.page import MOST_ROWS, Block, Cell, Fold, Section, Table
from schemas.alerts import SEVERITIES, Alert


def events(material: Material) -> Section:
    """Return the labelled events: what was caught, when, and what was missed."""
    rows: list[tuple[int, list[str | Cell]]] = []
    for catch in material.found.catches:
        first = foremost(catch.label, catch.opened)  # delay and lead go by it
        lead = NONE if catch.lead_s is None else duration(catch.lead_s)
        rows.append(
            (
                catch.label.start_ns,
                [
                    *_label(catch.label),
                    Cell(text="caught" if catch.own else "caught as another kind", mark="hit"),
                    _linked(material, first.alert_id, first.typology),
                    duration(catch.delay_s),
                    lead,
                    str(len(catch.opened)),
                ],
            )
        )
    rows += [
        (label.start_ns, [*_label(label), Cell(text="missed", mark="false"), NONE, NONE, NONE, "0"])
        for label in material.found.missed
    ]
    rows.sort(key=lambda row: row[0])
    head = ["event", "onset (UTC)", "where", "outcome", "first alarm", "delay", "lead", "alarms"]
    blocks: list[Block] = []
    if rows:
        blocks.append(
            Table(
                caption="Labelled harmful events",
                head=head,
                rows=[row for _, row in rows[:MOST_ROWS]],
                numeric=frozenset({5, 6, 7}),
                more=f"… and {len(rows) - MOST_ROWS} more." if len(rows) > MOST_ROWS else "",
            )
        )
    return Section(
        anchor="events",
        title="Caught and missed",
        lead="Every labelled event with its first alarm. Delay counts from the onset, lead to when the public could"
        " read of it.",
        blocks=blocks,
    )


def _label(label: Label) -> list[str | Cell]:
    where = ", ".join(label.instruments[:2]) + (
        f" and {len(label.instruments) - 2} more" if label.instruments[2:] else ""
    )
    return [
        Cell(text=label.typology, title=label.event_id),
        clock(label.onset_ns, "%Y-%m-%d %H:%M:%S"),
        Cell(text=where, title=", ".join(label.instruments)),
    ]


def _linked(material: Material, alert_id: str, text: str) -> Cell:
    shown = any(case.alert.alert_id == alert_id for case in material.cases)
    return Cell(text=text, href=f"#dossier-{alert_id}" if shown else "", title=alert_id)


def alarms(material: Material) -> Section:
    """Return the alarms, those that matter most first, with what they turned out to be."""
    opened = [alert for alert in material.alerts if alert.episode_id in material.verdicts or alert.activity == "create"]
    first: dict[str, Alert] = {}
    for alert in opened:
        alarm = material.opened.get(alert.episode_id)
        if alarm is None or alarm.alert_id == alert.alert_id:
            first.setdefault(alert.episode_id, alert)
    ordered = sorted(
        first.values(),
        key=lambda a: (
            a.episode_id not in material.verdicts,
            -SEVERITIES.index(a.finding.severity),
            -a.finding.score,
            a.alert_id,
        ),
    )
    judged = [alert for alert in ordered if alert.episode_id in material.verdicts]
    others = ordered[len(judged) :]
    asked = material.found.parameters.severity
    blocks: list[Block] = []
    if judged:
        blocks.append(_alarm_table(material, judged, f"Episodes by their first alert of at least {asked}"))
    if others:
        table = _alarm_table(material, others, f"Episodes that stayed below {asked}, or were raised during warm-up")
        title = f"{plural(len(others), 'episode')} that no figure counts"
        blocks.append(Fold(anchor="uncounted", title=title, aside=f"below {asked}, or warm-up", blocks=[table]))
    return Section(
        anchor="alarms",
        title="Alerts",
        lead="What rang, the alarms first; whether each belongs to a labelled event.",
        blocks=blocks,
    )


def _alarm_table(material: Material, alerts: Sequence[Alert], caption: str) -> Table:
    rows: list[list[str | Cell]] = []
    for alert in alerts[:MOST_ROWS]:
        verdict, about = material.verdicts.get(alert.episode_id, ("none", ""))
        said = {
            "hit": about.typology if isinstance(about, Label) else "",
            "bait": f"met a benign event ({about})",
            "false": "belongs to no label",
            "aside": "belongs to an event outside the tested range: not counted",
            "none": "raised during warm-up" if alert.quality.warm_up else "not counted",
        }[verdict]
        rows.append(
            [
                _linked(material, alert.alert_id, clock(alert.times.available_at)),
                Cell(text=alert.finding.severity, mark=alert.finding.severity),
                alert.subject.named,
                Cell(text=alert.finding.title, title=alert.finding.typology),
                f"{alert.finding.score:.3f}",
                Cell(text=said, mark="none" if verdict == "aside" else verdict),
            ]
        )
    return Table(
        caption=f"{caption}; linked ones have a dossier below",
        head=["known (UTC)", "severity", "instrument", "what", "score", "turned out"],
        rows=rows,
        numeric=frozenset({4}),
        more=f"… and {len(alerts) - MOST_ROWS:,} more, in the replay's alerts.parquet." if alerts[MOST_ROWS:] else "",
    )


def dossiers(material: Material) -> Section:
    """Return short dossiers of the foremost alerts."""
    blocks: list[Block] = []
    for number, case in enumerate(material.cases):
        alert = case.alert
        finding = alert.finding
        blocks.append(
            Fold(
                anchor=f"dossier-{alert.alert_id}",
                title=f"{finding.title}: {alert.subject.named}",
                mark=finding.severity,
                aside=f"{finding.severity}, {clock(alert.times.available_at)}, score {finding.score:.3f}",
                blocks=dossier.short(case, f"dossier-{number}"),
            )
        )
    return Section(
        anchor="dossiers",
        title="Dossiers",
        lead="The alerts that matter most, with their evidence; `tocsin dossier` writes one of any alert, in full.",
        blocks=blocks,
    )
