"""Sections of time: precision by day, when alarms ring, how early, and how long after their cause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from engines.backtest.results import Day
from monitor.numbers import duration, estimate, plural
from monitor.render import clock
from monitor.report import figures, inks
from monitor.report.inks import Ink
from monitor.report.material import Material
from monitor.report.nights import between
from monitor.report.page import Block, Plot, Section, Table

DAY_MS = 86_400_000
#: Rows of a heat map whose cells have room for a number.
NUMBERED = 40
#: Points of a curve of delays at most.
MOST_POINTS = 1_000
#: Days that a heat map has a row of their own for.
MOST_DAYS = 366


def by_day(material: Material) -> Section:
    """Return precision@k of each day under what that day allowed."""
    found = material.found
    k, days = found.parameters.k, found.days
    blocks: list[Block] = []
    if days:
        at = figures.milliseconds([day.day_ns for day in days])
        noon = at + DAY_MS / 2
        traces = [
            go.Bar(
                x=noon,
                y=figures.small([day.ceiling for day in days]),
                name="ceiling: knowing everything",
                marker={"color": inks.SOFT.light},
                hoverinfo="skip",
                width=DAY_MS * 0.75,
            ),
            go.Bar(
                x=noon,
                y=figures.small([day.precision for day in days]),
                name=f"precision@{k}",
                marker={"color": inks.ACCENT.light},
                text=[
                    f"{clock(day.day_ns, '%a %Y-%m-%d')}<br>{day.hits:g} of {day.k}: {day.precision:.2f}<br>"
                    f"ceiling {day.ceiling:.2f} ({day.positives} instruments with a label)<br>"
                    f"{day.alarms} alarms, {day.caught} of {day.labels} labels caught"
                    for day in days
                ],
                textposition="none",
                hoverinfo="text",
                width=DAY_MS * 0.45,
            ),
        ]
        blocks.append(
            Plot(
                name="precision-at-k",
                figure=figures.figure(
                    traces,
                    y=f"precision@{k}",
                    barmode="overlay",
                    yaxis={"range": [0, 1.04], "fixedrange": True},
                    xaxis={"type": "date", **(_few_days(at) or _weekends(days))},
                ),
                alt=f"Precision@{k} of {plural(len(days), 'day')}: {estimate(found.precision_at_k)} on average, where"
                f" {estimate(found.ceiling_at_k)} was to be reached.",
                group="days",
                table=Table(
                    caption=f"Precision@{k} by day (UTC)",
                    head=["day", "right", "k", "precision", "ceiling", "alarms", "labels", "caught", "instruments"],
                    rows=[
                        [
                            clock(day.day_ns, "%Y-%m-%d"),
                            f"{day.hits:g}",
                            str(day.k),
                            f"{day.precision:.2f}",
                            f"{day.ceiling:.2f}",
                            str(day.alarms),
                            str(day.labels),
                            str(day.caught),
                            str(day.instruments),
                        ]
                        for day in days
                    ],
                    numeric=frozenset(range(1, 9)),
                ),
            )
        )
    return Section(
        anchor="days",
        title=f"Precision@{k} by day",
        lead=f"Of the {k} instruments that scored highest on a day, how many had a labelled event; a day with fewer"
        " events than that has a lower ceiling.",
        blocks=blocks,
    )


def _weekends(days: Sequence[Day]) -> dict[str, Any]:
    """Return an axis without the days of which nothing was heard."""
    start = np.array([day.day_ns for day in days])
    day_ns = DAY_MS * 1_000_000
    return between(start, start + day_ns, int(start.min()), int(start.max()) + day_ns, day_ns).axis()


def _few_days(at: Any) -> dict[str, Any]:
    """Return an axis that names each day where there are few of them."""
    if len(at) > 10:
        return {}
    # One bar alone would be as wide as the page.
    middle, half = (at[0] + at[-1] + DAY_MS) / 2, max(10 * DAY_MS, at[-1] - at[0] + 2 * DAY_MS) / 2
    ticks = {"tickvals": list(at + DAY_MS / 2), "tickformat": "%a %d %b"}
    return {**ticks, "range": [middle - half, middle + half]}


def rates(material: Material) -> Section:
    """Return when alarms ring: days by hours."""
    found = material.found
    blocks: list[Block] = []
    if found.rates:
        days = sorted({day.day_ns for day in found.days} | {rate.day_ns for rate in found.rates})[-MOST_DAYS:]
        row = {day: number for number, day in enumerate(days)}
        grid = np.zeros((len(days), 24), np.int64)  # (day, hour)
        kinds: dict[str, np.ndarray[Any, np.dtype[np.int64]]] = {}
        for rate in found.rates:
            if rate.day_ns in row:
                grid[row[rate.day_ns], rate.hour] += rate.alarms
            kinds.setdefault(rate.typology, np.zeros(24, np.int64))[rate.hour] += rate.alarms
        names = [clock(day, "%Y-%m-%d") for day in days]
        blocks.append(_heat("rate-days", names, grid, "day", f"Alarms by hour (UTC), {plural(len(days), 'day')}"))
        if len(kinds) > 1:
            ordered = sorted(kinds, key=lambda name: int(kinds[name].sum()))
            stacked = np.stack([kinds[name] for name in ordered])
            blocks.append(_heat("rate-kinds", ordered, stacked, "typology", "Alarms by hour (UTC) of each typology"))
    return Section(
        anchor="rates",
        title="When it rings",
        lead="Alarms that became available in each hour of a day, UTC; an empty row is a quiet day.",
        blocks=blocks,
    )


def _heat(name: str, rows: list[str], grid: np.ndarray[Any, np.dtype[np.int64]], what: str, title: str) -> Plot:
    hours = [f"{hour:02d}" for hour in range(24)]
    numbered = len(rows) <= NUMBERED
    most = int(grid.max())
    at = np.unravel_index(int(grid.argmax()), grid.shape)
    used = np.flatnonzero(grid.sum(0))
    return Plot(
        name=name,
        figure=figures.figure(
            [
                go.Heatmap(
                    z=grid.astype(np.int32),
                    x=hours,
                    y=[figures.said(row) for row in rows],
                    xgap=2,
                    ygap=2 if len(rows) < 80 else 0,
                    colorscale=[[0, inks.GRID.light], [0.001, inks.SOFT.light], [1, inks.ACCENT.light]],
                    text=[[str(count or "") for count in row] for row in grid.tolist()] if numbered else None,
                    texttemplate="%{text}" if numbered else None,
                    showscale=not numbered,
                    zmin=0,
                    zmax=max(1, most),
                    colorbar={
                        "thickness": 10,
                        "outlinewidth": 0,
                        "title": {"text": "alarms"},
                        "dtick": max(1, most // 4),
                    },
                    hovertemplate="%{y}, %{x}:00 UTC: %{z} alarms<extra></extra>",
                )
            ],
            x="hour of the day (UTC)",
            xaxis={"type": "category", "showgrid": False, "nticks": 24},
            yaxis={"type": "category", "showgrid": False, "autorange": "reversed" if what == "day" else True},
        ),
        alt=f"{title}: {int(grid.sum())} in all, at most {most} in an hour ({rows[at[0]]}, {hours[at[1]]}:00).",
        height_px=int(min(900, 130 + max(22, min(34, 700 // len(rows))) * len(rows))),
        table=Table(
            caption=title,
            head=[what, *(hours[hour] for hour in used)],
            rows=[[row, *(str(grid[number, hour] or "") for hour in used)] for number, row in enumerate(rows)],
            numeric=frozenset(range(1, len(used) + 1)),
        ),
    )


def leads(material: Material) -> Section:
    """Return how long before the public event alarms rang, and how long after the onset."""
    found = material.found
    blocks: list[Block] = []
    for name, values, title, ink, zero in (
        ("lead", found.leads_s, "lead before the public event", inks.ACCENT, "public"),
        ("delay", found.delays_s, "delay after the onset", inks.RANDOM, "onset"),
    ):
        if values:
            blocks.append(_histogram(name, values, title, ink, zero))
    return Section(
        anchor="leads",
        title="How early",
        lead="Lead runs from the first alarm to when the public could read of it: right of zero the desk was first."
        " Delay runs from the onset of harm to the first alarm.",
        blocks=blocks,
    )


def _histogram(name: str, values: list[float], title: str, ink: Ink, zero: str) -> Plot:
    s = np.asarray(values)
    unit, size = next(
        (u, n) for u, n, most in (("s", 1, 300), ("min", 60, 14_400), ("h", 3_600, 1e18)) if abs(s).max() < most
    )
    scaled = s / size
    edges = np.histogram_bin_edges(scaled, bins=min(40, max(8, int(2 * len(s) ** 0.5))))
    counts, _ = np.histogram(scaled, edges)
    middle, p10 = float(np.median(scaled)), float(np.quantile(scaled, 0.1))
    lines = [(0.0, inks.TEXT, "solid", zero), (middle, inks.GOOD, "dash", "median"), (p10, inks.WARNING, "dot", "p10")]
    return Plot(
        name=name,
        figure=figures.figure(
            [
                go.Bar(
                    x=figures.small((edges[:-1] + edges[1:]) / 2),
                    y=counts.astype(np.int32),
                    width=figures.small(np.diff(edges)),
                    marker={"color": ink.light, "line": {"color": inks.PANEL.light, "width": 1}},
                    customdata=np.stack([edges[:-1], edges[1:]], 1),
                    hovertemplate=f"%{{customdata[0]:.3g}} to %{{customdata[1]:.3g}} {unit}: %{{y}}<extra></extra>",
                )
            ],
            x=f"{title}, {unit}",
            y="events",
            showlegend=False,
            yaxis={"fixedrange": True},
            shapes=[figures.upright(x, line, dash) for x, line, dash, _ in lines],
            annotations=[
                figures.flag(label, line, x=x, y=1 + 0.055 * row) for row, (x, line, _, label) in enumerate(lines)
            ],
            margin={"t": 58, "l": 52, "r": 14, "b": 40},
        ),
        alt=f"Histogram of {title} of {len(s)} events: median {duration(float(np.median(s)))}, p10"
        f" {duration(float(np.quantile(s, 0.1)))}, {int((s > 0).sum())} of them above zero.",
        height_px=300,
        table=Table(
            caption=title,
            head=[f"from, {unit}", f"to, {unit}", "events"],
            rows=[[f"{a:.3g}", f"{b:.3g}", str(n)] for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True) if n],
            numeric=frozenset({0, 1, 2}),
        ),
    )  # fmt: skip


def latency(material: Material) -> Section:
    """Return how long after their cause alerts could be known."""
    curves = [
        (label, np.sort(np.array(values)), ink)
        for label, values, ink in (
            (
                "cause complete → alert available",
                [(a.times.available_at - a.times.event_end) / 1e9 for a in material.alerts if a.activity == "create"],
                inks.ACCENT,
            ),
            (
                "available → detected (processing)",
                [
                    (a.times.detected_at - a.times.available_at) / 1e9
                    for a in material.alerts
                    if a.activity == "create" and a.times.detected_at and a.provenance.mode == "live"
                ],
                inks.WARNING,
            ),
            ("onset of harm → first alarm", [s for s in material.found.delays_s if s > 0], inks.RANDOM),
        )
        if values
    ]
    blocks: list[Block] = []
    if curves:
        traces = []
        for label, values, ink in curves:
            # Of many as many are drawn as a screen can show, evenly by rank. A logarithm needs more than 0.
            rank = np.unique(np.linspace(0, len(values) - 1, MOST_POINTS).astype(int))
            seconds = np.maximum(values[rank], 1e-4)
            traces.append(
                go.Scatter(
                    x=figures.small(seconds),
                    y=figures.small((rank + 1) / len(values)),
                    mode="lines",
                    name=f"{label} ({len(values)})",
                    line={"color": ink.light, "width": 2.5, "shape": "hv"},
                    hovertemplate="%{y:.0%} within %{x:.3g} s<extra></extra>",
                )
            )
        ranks = (0.5, 0.9, 0.95, 0.99, 1.0)
        label, values, _ = curves[0]
        blocks.append(
            Plot(
                name="latency",
                figure=figures.figure(
                    traces,
                    x="seconds",
                    y="share of alerts",
                    xaxis={"type": "log", "tickvals": [10.0**n for n in range(-4, 7)], "ticktext": _DECADES},
                    yaxis={"range": [0, 1.03], "tickformat": ".0%", "fixedrange": True},
                ),
                alt="; ".join(
                    f"{label}: half within {duration(float(np.quantile(values, 0.5)))}, 95 % within"
                    f" {duration(float(np.quantile(values, 0.95)))}"
                    for label, values, _ in curves
                )
                + ".",
                table=Table(
                    caption="Quantiles",
                    head=["delay", *(f"p{rank * 100:g}" if rank < 1 else "longest" for rank in ranks)],
                    rows=[
                        [label, *(duration(float(np.quantile(values, rank))) for rank in ranks)]
                        for label, values, _ in curves
                    ],
                    numeric=frozenset(range(1, 6)),
                ),
            )
        )
    return Section(
        anchor="latency",
        title="Latency",
        lead="From the event that completed an alert's cause to when it could be known, in the data's own time: what"
        " bars and feeds take, whatever the machine.",
        blocks=blocks,
    )


_DECADES = ["0.1 ms", "1 ms", "10 ms", "0.1 s", "1 s", "10 s", "100 s", "1,000 s", "10⁴ s", "10⁵ s", "10⁶ s"]
