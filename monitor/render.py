"""Alerts on a terminal: one line each, or the whole card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from schemas.alerts import Activity, Alert, Drifting, Missing, Modality, RuleResult, Severity
from schemas.records import Drift

STYLES: dict[Severity, str] = {"info": "cyan", "warning": "yellow", "critical": "bold red"}
MARKS: dict[Severity, str] = {"info": "·", "warning": "▲", "critical": "■"}
_ACTIVITIES: dict[Activity, str] = {"create": "", "update": "again ", "close": "closed "}
_BARS = "▁▂▃▄▅▆▇█"


def clock(ns: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time in ns UTC as text."""
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime(form)


def plain(text: str) -> Text:
    """Return text of others as it is to be shown: no markup of Rich's, and no control characters for the terminal."""
    return Text("".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text))


def why(rules: Iterable[RuleResult], most: int = 3) -> str:
    """Return the first rules as text: what was measured, against what bound."""
    return ", ".join(f"{rule.name} {rule.value:.3g}{_unit(rule.unit)} ({rule.bound})" for rule in list(rules)[:most])


def stands_on(modalities: Mapping[str, Modality]) -> str:
    """Return which modalities an alert stands on as text, with their shares where there are several.

    Example
    -------
    >>> stands_on({"ticks": Modality(present=True, weight=0.7), "text": Modality(present=True, weight=0.3)})
    'on ticks 70 %, text 30 % '
    """
    shares = {name: held.weight for name, held in modalities.items() if held.weight}
    if not shares:
        return ""
    if len(shares) == 1:
        return f"on {next(iter(shares))} "
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return f"on {', '.join(f'{name} {share:.0%}'.replace('%', ' %') for name, share in ordered)} "


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def alert_line(alert: Alert, form: str = "%Y-%m-%d %H:%M:%S") -> Text:
    """Return an alert on one line: time, severity, whom it concerns, what, score, modalities, why, episode, revision.

    A closed episode is dim, since it asks for nothing any more.
    """
    finding = alert.finding
    closed = alert.activity == "close"
    style = "dim" if closed else STYLES[finding.severity]
    return Text.assemble(
        (f"{clock(alert.times.available_at, form)} ", "dim"),
        (f"{MARKS[finding.severity]} {finding.severity:<8} ", style),
        (f"{alert.subject.named:<14} ", "dim" if closed else "bold"),
        (f"{_ACTIVITIES[alert.activity]}", "dim"),
        (f"{finding.title} ", "dim" if closed else ""),
        (f"{finding.score:.2f} ", style),
        (stands_on(alert.modalities), "cyan"),
        (f"{why(alert.explanation.rules)} ", "dim"),
        (f"[{alert.episode_id[:8]} r{alert.revision}]", "dim"),
    )


def alert_card(alert: Alert) -> RenderableType:
    """Return everything that an alert says, with its evidence."""
    finding, times, quality, made = alert.finding, alert.times, alert.quality, alert.provenance
    facts = pairs(
        [
            ("instrument", " ".join(filter(None, _subject(alert)))),
            ("finding", f"{finding.typology}, severity {finding.severity}, score {finding.score:.3f}"),
            ("threshold", "" if finding.threshold is None else f"{finding.threshold:.3f}, by the budget of alerts"),
            ("p-value", "" if finding.p_value is None else f"{finding.p_value:.3g}"),
            (
                "probability",
                "" if finding.probability is None else f"{finding.probability:.2f}, by what analysts found",
            ),
            ("regulation", ", ".join(finding.regulation)),
            ("event", f"{fine(times.event_start)} to {fine(times.event_end)}"),
            ("available", f"{fine(times.available_at)}, watermark {fine(times.watermark)}"),
            ("detected", fine(times.detected_at) if times.detected_at else ""),
            ("episode", f"{alert.episode_id}, revision {alert.revision}, {alert.activity}"),
            ("fingerprint", alert.fingerprint),
            ("alert id", alert.alert_id),
        ]
    )
    parts: list[RenderableType] = [facts]
    if alert.explanation.rules:
        rules = _table("rule", "value", "bound", "unit", "weight")
        for rule in alert.explanation.rules:
            rules.add_row(rule.name, f"{rule.value:.4g}", rule.bound, rule.unit, f"{rule.weight:.2g}")
        parts += ["", rules]
    if alert.modalities:
        modalities = _table("modality", "score", "weight", "age", "model")
        for name, held in alert.modalities.items():
            if held.present:
                age = "" if held.age_ns is None else f"{held.age_ns / 1e9:,.1f} s"
                modalities.add_row(name, _number(held.score), _number(held.weight), age, held.model)
            else:
                modalities.add_row(name, "absent", "", "", "")
        parts += ["", modalities]
    if alert.explanation.attributions:
        places = _table("attributed to", "where", "weight", "excerpt")
        for place in alert.explanation.attributions:
            places.add_row(place.topic, place.locator, f"{place.weight:.2g}", plain(place.excerpt))
        parts += ["", places]
    if alert.explanation.clears:
        parts += ["", Text(f"It would not have rung if {alert.explanation.clears}.", style="italic")]
    parts += ["", _evidence(alert)]
    parts += [
        "",
        pairs(
            [
                ("made by", f"tocsin {made.code_version}, configuration {made.config[:12]}, {made.mode}"),
                ("model", " ".join(filter(None, (made.bundle, made.backend, made.precision, made.engine)))),
                ("run", made.run_id),
                ("ladder", quality.ladder),
                ("late events", str(quality.late_events or "")),
                ("gaps", str(quality.gaps or "")),
                ("not judged", "; ".join(map(lacking, quality.missing))),
                ("drift", "; ".join(map(drifted, quality.drift))),
                ("warm-up", "not over" if quality.warm_up else ""),
            ]
        ),
    ]
    title = Text(f"{MARKS[finding.severity]} {finding.title}", style=STYLES[finding.severity])
    return Panel(Group(*parts), title=title, title_align="left", border_style=STYLES[finding.severity])


def lacking(missing: Missing) -> str:
    """Say which typologies could not judge order events for want of a field."""
    field = missing.field if missing.field != "session" else "a session of their venue (rules give it under `sessions`)"
    return f"{missing.events:,} order events without {field}, by {', '.join(missing.typologies)}"


def drifted(drift: Drifting) -> str:
    """Say what of an instrument was no longer as it was, and since when."""
    return f"{drift.kind.replace('_', ' ')}: {drift.stream} since {clock(drift.since)} UTC"


def drift_table(told: Iterable[Drift]) -> Table:
    """Return drift signals, one a line."""
    table = _table("known (UTC)", "kind", "subject", "stream", "moved", "before", "after", "since (UTC)", "id")
    for one in told:
        numbers = ("" if value is None else f"{value:.4g}" for value in (one.before, one.after))
        kind = Text(one.kind.replace("_", " "), style="" if one.kind == "market" else "yellow")
        about = map(plain, (one.subject, one.stream, one.moved))
        table.add_row(clock(one.ts_available), kind, *about, *numbers, clock(one.since), plain(one.drift_id[:8]))
    return table


def _subject(alert: Alert) -> tuple[str, ...]:
    subject = alert.subject
    told = {"account": subject.account, "ISIN": subject.isin, "FIGI": subject.figi}
    return subject.instrument, *(f"{name} {value}" for name, value in told.items() if value)


def _evidence(alert: Alert) -> RenderableType:
    evidence = alert.evidence
    head = pairs(
        [
            ("evidence", f"{evidence.count:,} records, {fine(evidence.first_seen)} to {fine(evidence.last_seen)}"),
            ("score", sparkline([score for _, score in evidence.history])),
        ]
    )
    if not evidence.inputs:
        return head
    inputs = _table("topic", "partition", "offset", "SHA-256")
    for one in evidence.inputs:
        inputs.add_row(one.topic, str(one.partition), str(one.offset), one.sha256)
    return Group(head, inputs)


def sparkline(scores: Sequence[float]) -> str:
    """Return scores in [0, 1] as one block character each.

    Example
    -------
    >>> sparkline([0.0, 0.5, 1.0])
    '▁▅█'
    """
    return "".join(_BARS[min(7, max(0, int(score * 8)))] for score in scores)


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Return names and values in two columns, without those that are empty."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        if value:
            grid.add_row(name, plain(value))
    return grid


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="dim")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def fine(ns: int) -> str:
    """Return a time to the millisecond."""
    return clock(ns, "%Y-%m-%d %H:%M:%S.%f")[:-3]
