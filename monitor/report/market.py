"""Sections that show where alerts stand: price and volume with alerts and news pinned, and the alerts one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from engines.labels import Label
from monitor.render import clock
from monitor.report import dossier, figures, inks
from monitor.report.bars import Bars
from monitor.report.material import Material
from monitor.report.numbers import NONE, duration
from monitor.report.page import Block, Cell, Fold, Note, Plot, Section, Table
from schemas.alerts import SEVERITIES, Alert
from schemas.records import News

#: Instruments that are shown at once; the others unfold.
OPEN = 3
#: Rows of the table of alarms, and of labels, that are listed.
MOST_ROWS = 300
_HALF = 0.5


def prices(material: Material) -> Section:
    """Return price and volume of the busiest instruments, alerts, news and labels pinned."""
    blocks: list[Block] = []
    for number, name in enumerate(material.bars):
        plot = _price(material, name, number)
        opened = sum(a.activity == "create" for a in _of(material, name))
        told = f"{opened} {'episode' if opened == 1 else 'episodes'}"
        if labels := [label for label in material.labels if name in label.instruments and not label.benign]:
            told += f", {', '.join(label.typology for label in labels)}"
        blocks.append(Fold(anchor=f"price-{number}", title=name, aside=told, blocks=[plot], open=number < OPEN))
    if material.left_out:
        blocks.append(Note(f"{material.left_out} more instruments with alerts or labels are left out here."))
    return Section(
        anchor="prices",
        title="Price and volume",
        lead="The instruments with most labels and alerts. Drag to zoom: all of them follow. Shaded: labelled events, their"
        " onset (solid) and when the public could read of it (dotted).",
        blocks=blocks,
    )


def _of(material: Material, name: str) -> list[Alert]:
    return [alert for alert in material.alerts if alert.subject.instrument == name]


def _price(material: Material, name: str, number: int) -> Plot:
    bars = material.bars[name]
    alerts = _of(material, name)
    labels = [label for label in material.labels if name in label.instruments]
    news = material.news.get(name, ())
    opened = [alert for alert in alerts if alert.activity == "create"]
    tested = material.found.tested
    width = bars.width_ns / 1e9
    what = "mid quote" if bars.quoted else "price"
    told = (
        f"{name}: {what} and volume in bars of {duration(width)}, {len(opened)} episodes, {len(news)} news and posts,"
        f" {len(labels)} labels."
    )
    return Plot(
        name=f"price-{number}",
        figure=figures.figure(
            [*_bars(bars), *_pins(news), *_episodes(alerts, tested.to_ns), *_markers(alerts, bars)],
            xaxis={
                "type": "date",
                "anchor": "y2",
                "range": [tested.from_ns / 1e6, tested.to_ns / 1e6] if len(bars) == 0 else None,
            },
            yaxis={"domain": [0.4, 1], "title": what},
            yaxis2=figures.axis(domain=[0, 0.18], title="volume", rangemode="tozero", nticks=3),
            yaxis3=figures.axis(
                domain=[0.21, 0.37],
                range=[-_HALF, 1 + _HALF],
                fixedrange=True,
                tickvals=[0, 1],
                ticktext=["news", "episodes"],
                showgrid=False,
                zeroline=False,
            ),
            shapes=[shape for label in labels for shape in _shading(label)],
            annotations=[_named(label) for label in labels],
            margin={"l": 64, "r": 14, "t": 56, "b": 30},
            legend={"orientation": "h", "y": -0.08, "yanchor": "top", "x": 0},
            hovermode="closest",
        ),
        alt=told,
        height_px=470,
        table=_episode_table(alerts, f"Episodes of {name}") if opened else None,
        group="time",
    )


def _bars(bars: Bars) -> list[Any]:
    """Return the range of a bar as a band, its close as a line, its volume below; lines break where nothing traded."""
    # A gap of many bars (a night, a halt) is not joined.
    cut = np.flatnonzero(np.diff(bars.start) > max(60 * bars.width_ns, 1_800 * 10**9)) + 1
    at = figures.milliseconds(np.insert(bars.start, cut, bars.start[cut - 1] + bars.width_ns))
    low, high, close = (figures.small(np.insert(c, cut, np.nan)) for c in (bars.low, bars.high, bars.close))
    volume = figures.small(np.insert(bars.volume, cut, 0.0))
    faint = {"width": 0, "color": inks.VOLUME.light, "shape": "hv"}
    traces = [
        go.Scatter(x=at, y=high, mode="lines", line=faint, hoverinfo="skip", showlegend=False),
        go.Scatter(
            x=at, y=low, mode="lines", line=faint, fill="tonexty", fillcolor=inks.SOFT.light, hoverinfo="skip",
            name="low to high",
        ),
        go.Scatter(
            x=at, y=close, mode="lines", name="close", line={"width": 1.5, "color": inks.ACCENT.light, "shape": "hv"},
            hovertemplate="%{x|%Y-%m-%d %H:%M:%S}: %{y:.6g}<extra></extra>",
        ),
    ]  # fmt: skip
    if not bars.quoted:
        traces.append(
            go.Scatter(
                x=at, y=volume, mode="lines", name="volume", yaxis="y2", fill="tozeroy", fillcolor=inks.VOLUME.light,
                line={"width": 0.5, "color": inks.VOLUME.light, "shape": "hv"}, showlegend=False,
                hovertemplate="%{x|%H:%M:%S}: %{y:,.6g} traded<extra></extra>",
            )
        )  # fmt: skip
    return traces


def _pins(news: Sequence[News]) -> list[Any]:
    found = []
    for channel, symbol, ink in (("news", "diamond", inks.TEXT), ("post", "circle-open", inks.MUTED)):
        mine = [one for one in news if one.channel == channel]
        if mine:
            found.append(
                go.Scatter(
                    x=figures.milliseconds([one.ts_event for one in mine]),
                    y=np.zeros(len(mine), np.int8),
                    yaxis="y3",
                    mode="markers",
                    name="news" if channel == "news" else "posts",
                    marker={"symbol": symbol, "size": 9 if channel == "news" else 6, "color": ink.light},
                    hovertext=[_news(one) for one in mine],
                    hoverinfo="text",
                )
            )
    return found


def _news(one: News) -> str:
    """Return a document's hover: the words of others, letter for letter."""
    source = figures.said(one.source, 40)
    return f"{figures.wrapped(one.headline)}<br>{source} {clock(one.ts_event, '%H:%M:%S')}".strip()


def _episodes(alerts: Sequence[Alert], to_ns: int) -> list[Any]:
    """Return a line for each episode, from its window's begin to its close."""
    found = []
    stories: dict[str, list[Alert]] = {}
    for alert in alerts:
        stories.setdefault(alert.episode_id, []).append(alert)
    for severity in SEVERITIES:
        x: list[float | None] = []
        for story in stories.values():
            if max((SEVERITIES.index(a.finding.severity) for a in story)) != SEVERITIES.index(severity):
                continue
            end = story[-1].times.available_at if story[-1].activity == "close" else to_ns
            x += [story[0].times.event_start / 1e6, end / 1e6, None]
        if x:
            found.append(
                go.Scatter(
                    x=x,
                    y=[None if at is None else 1 for at in x],
                    yaxis="y3",
                    mode="lines",
                    line={"width": 7, "color": inks.SEVERITY_INKS[severity].light},
                    opacity=0.55,
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
    return found


def _markers(alerts: Sequence[Alert], bars: Bars) -> list[Any]:
    found = []
    first = {alert.episode_id: alert for alert in reversed(alerts)}
    for severity in SEVERITIES:
        mine = [alert for alert in alerts if alert.finding.severity == severity and alert.activity != "close"]
        if mine:
            found.append(
                go.Scatter(
                    x=figures.milliseconds([alert.times.event_end for alert in mine]),
                    y=[bars.price_at(alert.times.event_end) for alert in mine],
                    mode="markers",
                    name=severity,
                    marker={
                        "symbol": inks.SEVERITY_SHAPES[severity],
                        "size": 9 if severity == "info" else 12,
                        "color": inks.SEVERITY_INKS[severity].light,
                        "line": {"color": inks.PANEL.light, "width": 1.5},
                    },
                    hovertext=[_alert(alert, first[alert.episode_id]) for alert in mine],
                    hoverinfo="text",
                )
            )
    return found


def _alert(alert: Alert, first: Alert) -> str:
    finding, times = alert.finding, alert.times
    again = "" if alert is first else f", again since {clock(first.times.event_end, '%H:%M:%S')}"
    return (
        f"<b>{figures.said(finding.title)}</b><br>{finding.typology}, {finding.severity}{again}<br>score"
        f" {finding.score:.3f}<br>complete {clock(times.event_end, '%H:%M:%S')}, known"
        f" {duration((times.available_at - times.event_end) / 1e9)} later"
    )


def _shading(label: Label) -> list[dict[str, Any]]:
    ink = inks.BENIGN if label.benign else inks.HARM
    edge = inks.GOOD if label.benign else inks.CRITICAL
    shared = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1}
    found: list[dict[str, Any]] = [
        {
            "type": "rect", **shared, "x0": label.start_ns / 1e6, "x1": label.end_ns / 1e6, "layer": "below",
            "fillcolor": ink.light, "opacity": 0.75, "line": {"width": 0},
        }
    ]  # fmt: skip
    for ns, dash in ((label.onset_ns, "solid"), (label.public_ns, "dot")):
        if ns:
            line = {"color": edge.light, "width": 1.25, "dash": dash}
            found.append({"type": "line", **shared, "x0": ns / 1e6, "x1": ns / 1e6, "line": line})
    return found


def _named(label: Label) -> dict[str, Any]:
    ink = inks.GOOD if label.benign else inks.CRITICAL
    return {
        "x": label.start_ns / 1e6, "y": 1, "yref": "paper", "yanchor": "bottom", "xanchor": "left", "showarrow": False,
        "text": figures.said(label.typology + (" (benign)" if label.benign else ""), 40),
        "font": {"color": ink.light, "size": 11},
    }  # fmt: skip


def _episode_table(alerts: Sequence[Alert], caption: str) -> Table:
    return Table(
        caption=caption,
        head=["known (UTC)", "severity", "what", "score", "activity"],
        rows=[
            [
                clock(alert.times.available_at),
                Cell(text=alert.finding.severity, mark=alert.finding.severity),
                alert.finding.title,
                f"{alert.finding.score:.3f}",
                alert.activity,
            ]
            for alert in alerts[:MOST_ROWS]
        ],
        numeric=frozenset({3}),
    )


def events(material: Material) -> Section:
    """Return the labelled events: what was caught, when, and what was missed."""
    rows: list[tuple[int, list[str | Cell]]] = []
    for catch in material.found.catches:
        first = catch.opened[0]
        lead = NONE if catch.lead_s is None else duration(catch.lead_s)
        rows.append(
            (
                catch.label.start_ns,
                [
                    *_label(catch.label),
                    Cell(text="caught" if catch.own else "caught as another", mark="hit"),
                    _linked(material, first.alert_id, first.typology),
                    clock(first.available_ns, "%m-%d %H:%M:%S"),
                    duration(catch.delay_s),
                    lead,
                    str(len(catch.opened)),
                ],
            )
        )
    rows += [
        (label.start_ns, [*_label(label), Cell(text="missed", mark="false"), NONE, NONE, NONE, NONE, "0"])
        for label in material.found.missed
    ]
    rows.sort(key=lambda row: row[0])
    head = ["event", "onset (UTC)", "where", "", "first alarm", "known (UTC)", "delay", "lead", "alarms"]
    blocks: list[Block] = []
    if rows:
        blocks.append(
            Table(
                caption="Labelled harmful events",
                head=head,
                rows=[row for _, row in rows[:MOST_ROWS]],
                numeric=frozenset({6, 7, 8}),
                more=f"… and {len(rows) - MOST_ROWS} more." if len(rows) > MOST_ROWS else "",
            )
        )
    return Section(
        anchor="events",
        title="Caught and missed",
        lead="Every labelled event with its first alarm. Delay counts from the onset, lead to when the public could read"
        " of it.",
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
    rows: list[list[str | Cell]] = []
    for alert in ordered[:MOST_ROWS]:
        verdict, about = material.verdicts.get(alert.episode_id, ("none", ""))
        said = {
            "hit": about.typology if isinstance(about, Label) else "",
            "bait": f"met a benign event ({about})",
            "false": "belongs to no label",
            "none": "warm-up" if alert.quality.warm_up else "below the asked severity",
        }[verdict]
        rows.append(
            [
                _linked(material, alert.alert_id, clock(alert.times.available_at)),
                Cell(text=alert.finding.severity, mark=alert.finding.severity),
                alert.subject.instrument,
                Cell(text=alert.finding.title, title=alert.finding.typology),
                f"{alert.finding.score:.3f}",
                Cell(text=said, mark=verdict),
            ]
        )
    blocks: list[Block] = []
    if rows:
        blocks.append(
            Table(
                caption="Episodes by their first alert of the asked severity; linked ones have a dossier below",
                head=["known (UTC)", "severity", "instrument", "what", "score", "turned out"],
                rows=rows,
                numeric=frozenset({4}),
                more=f"… and {len(ordered) - MOST_ROWS:,} more, in alerts.parquet." if len(ordered) > MOST_ROWS else "",
            )
        )
    return Section(
        anchor="alarms",
        title="Alerts",
        lead="What rang, the alarms first; whether each belongs to a labelled event.",
        blocks=blocks,
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
                title=f"{finding.title}: {alert.subject.instrument}",
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
