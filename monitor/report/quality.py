"""Sections that price the alerts: how many were right, how early, at what cost, and what a threshold would change."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from engines.backtest.results import NOTHING, Calibration, Contender, CostCurve, Estimate, PrCurve
from monitor.render import clock
from monitor.report import figures, inks
from monitor.report.inks import Ink
from monitor.report.material import Material
from monitor.report.numbers import NONE, count, duration, estimate, interval, money, number, spans
from monitor.report.page import Block, Card, Cards, Cell, Facts, Note, Plot, Section, Table

#: Days that a heat map has a row of their own for.
MOST_DAYS = 366
#: Lines of curves beside Tocsin's own.
_OTHERS = ("#0b6a8e", "#955600", "#6d5b9c", "#187546", "#b4231c", "#6a737d")


def brief(material: Material) -> Section:
    """Return the headline figures beside the detectors that know nothing, and the table of all contenders."""
    found = material.found
    own, random, always = material.tocsin, material.contender("random"), material.contender("always")

    def shared(title: str, field: str, note: str = "") -> Card:
        mine: Estimate = getattr(own, field)
        others = [
            (kind, getattr(one, field).value, f"{name} {number(getattr(one, field).value)}")
            for kind, name, one in (("random", "random", random), ("always", "always firing", always))
            if one is not None
        ]
        at = None
        if mine.value is not None:
            at = (
                mine.value,
                mine.value if mine.low is None else mine.low,
                mine.value if mine.high is None else mine.high,
            )
        return Card(
            title=title,
            value=number(mine.value),
            interval=f"95 %: {interval(mine)}" if interval(mine) else "no interval",
            at=at,
            others=others,
            note=note,
        )

    lead = own.lead_median_s
    rate = own.alerts_per_day
    cards = [
        shared("Precision of alarms", "precision", f"{count(own.hits)} of {count(own.episodes)} alarms"),
        shared("Recall of labelled events", "recall", f"{len(found.catches)} of {found.tested.labels} caught"),
        Card(
            title=f"Precision@{found.parameters.k} by day",
            value=number(found.precision_at_k.value),
            interval=f"95 %: {interval(found.precision_at_k)}" if interval(found.precision_at_k) else "no interval",
            at=_on_scale(found.precision_at_k),
            others=[("always", found.ceiling_at_k.value, f"ceiling {number(found.ceiling_at_k.value)}")],
        ),
        Card(
            title="Alarms a day",
            value=number(rate.value, ".3g"),
            interval=f"95 %: {interval(rate, '.3g')}" if interval(rate, ".3g") else "no interval",
            others=[
                ("none", None, f"{number(own.alerts_per_instrument_day.value, '.2g')} an instrument"),
                ("none", None, f"{number(own.alerts_per_analyst_day.value, '.3g')} an analyst"),
            ],
        ),
        Card(
            title="Lead before the public event",
            value=duration(lead.value),
            interval=f"95 %: {duration(lead.low)} to {duration(lead.high)}" if lead.low is not None else "no interval",
            others=[
                ("none", None, f"p10 {duration(own.lead_p10_s.value)}"),
                ("none", None, f"delay from onset {duration(own.delay_median_s.value)}"),
            ],
        ),
        shared("PR-AUC of cells", "pr_auc", f"base rate {number(found.base_rate, '.3g')}"),
    ]
    if found.cost_curves:
        curve = found.cost_curves[0]
        cards.append(
            Card(
                title="Cost",
                value=money(own.cost.value),
                interval=f"95 %: {money(own.cost.low)} to {money(own.cost.high)}" if own.cost.low is not None else "",
                others=[
                    ("none", None, f"flag nothing {money(curve.flag_nothing)}"),
                    ("none", None, f"flag all {money(curve.flag_all)}"),
                ],
            )
        )
    return Section(
        anchor="brief",
        title="In brief",
        lead=(
            f"An alarm is an episode's first alert of at least {found.parameters.severity}. Each figure stands beside a"
            " detector that rings at random as often, and one that never stops ringing."
        ),
        blocks=[Cards(cards), _contenders(found.contenders), *(Note(text) for text in found.notes)],
    )


def _on_scale(one: Estimate) -> tuple[float, float, float] | None:
    if one.value is None:
        return None
    return one.value, one.value if one.low is None else one.low, one.value if one.high is None else one.high


def _contenders(contenders: list[Contender]) -> Table:
    rows: list[list[str | Cell]] = [
        [
            Cell(text=one.name, title=one.title) if one.title else one.name,
            count(one.episodes),
            count(one.hits),
            estimate(one.precision),
            estimate(one.recall),
            estimate(one.own_recall) if one.own_recall != NOTHING else NONE,
            estimate(one.alerts_per_day, ".3g"),
            spans(one.lead_median_s),
            spans(one.delay_median_s),
            estimate(one.pr_auc, ".3f"),
            estimate(one.brier, ".3f"),
            estimate(one.nab, ".1f"),
            money(one.cost.value),
        ]
        for one in contenders
    ]
    head = [
        "detector", "alarms", "right", "precision", "recall", "own recall", "a day", "lead", "delay", "PR-AUC", "Brier",
        "NAB", "cost",
    ]  # fmt: skip
    return Table(
        caption="Every detector on the same labels; in brackets 95 % intervals of the block bootstrap",
        head=head,
        rows=rows,
        numeric=frozenset(range(1, len(head))),
    )


def by_day(material: Material) -> Section:
    """Return precision@k of each day under what that day allowed."""
    found = material.found
    k, days = found.parameters.k, found.days
    blocks: list[Block] = []
    if days:
        at = figures.milliseconds([day.day_ns for day in days])
        noon = at + 43_200_000
        traces = [
            go.Bar(
                x=noon,
                y=figures.small([day.ceiling for day in days]),
                name="ceiling: knowing everything",
                marker={"color": inks.SOFT.light},
                hoverinfo="skip",
                width=43_200_000 * 1.5,
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
                width=43_200_000 * 0.9,
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
                    xaxis={"type": "date", **_few_days(at)},
                ),
                alt=f"Precision@{k} of {len(days)} days: {estimate(found.precision_at_k)} on average, where"
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


def _few_days(at: Any) -> dict[str, Any]:
    """Return an axis that names each day where there are few of them."""
    return {"tickvals": list(at + 43_200_000), "tickformat": "%a %d %b"} if len(at) <= 10 else {}


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
        blocks.append(_heat("rate-days", names, grid, "day", f"Alarms by hour (UTC) on each of {len(days)} days"))
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
                    y=rows,
                    xgap=2,
                    ygap=2 if len(rows) < 80 else 0,
                    colorscale=[[0, inks.GRID.light], [0.001, inks.SOFT.light], [1, inks.ACCENT.light]],
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
        alt=f"{title}: {int(grid.sum())} in all, at most {most} ({rows[at[0]]}, {hours[at[1]]}:00);"
        f" {len(used)} hours of the day have any.",
        height_px=int(min(900, 130 + max(22, min(34, 700 // len(rows))) * len(rows))),
        table=Table(
            caption=title,
            head=[what, *(hours[hour] for hour in used)],
            rows=[[row, *(str(grid[number, hour] or "") for hour in used)] for number, row in enumerate(rows)],
            numeric=frozenset(range(1, len(used) + 1)),
        ),
    )


def _line_ink(number: int) -> str:
    return _OTHERS[number % len(_OTHERS)]


def precision_recall(material: Material) -> Section:
    """Return precision against recall of every contender that has a score."""
    found = material.found
    curves = [curve for curve in found.pr_curves if curve.points]
    blocks: list[Block] = []
    if curves:
        traces: list[Any] = []
        for number_, curve in enumerate(curves):
            ink = _line_ink(number_)
            recall = [point.recall for point in curve.points]
            traces.append(
                go.Scatter(
                    x=figures.small(recall),
                    y=figures.small([point.precision for point in curve.points]),
                    mode="lines+markers" if len(recall) < 60 else "lines",
                    name=curve.contender,
                    line={"color": ink, "width": 3 if number_ == 0 else 1.5, "shape": "hv"},
                    marker={"size": 5},
                    customdata=figures.small([point.threshold for point in curve.points]),
                    hovertemplate="recall %{x:.2f}, precision %{y:.2f} from %{customdata:.3g}<extra>"
                    + figures.said(curve.contender)
                    + "</extra>",
                )
            )
            if curve.operating is not None:
                traces.append(_dot(curve, ink))
        base = found.base_rate
        figure = figures.figure(
            traces,
            x="recall",
            y="precision",
            xaxis={"range": [0, 1.02]},
            yaxis={"range": [0, 1.04]},
            shapes=[] if base is None else [_level(base, inks.PLAIN, "dash")],
            annotations=[] if base is None else [_at_level(f"base rate {base:.3g}", base, inks.PLAIN)],
        )
        own = material.tocsin.pr_auc
        blocks.append(
            Plot(
                name="pr",
                figure=figure,
                alt=f"Precision against recall of {len(curves)} detectors; PR-AUC of {material.tocsin.name} is"
                f" {estimate(own, '.3f')} over a base rate of {number(base, '.3g')}. Diamonds are where each rings today.",
                height_px=420,
                table=_pr_table(curves),
            )
        )
    return Section(
        anchor="pr",
        title="Precision and recall",
        lead=f"Of cells of {duration(found.parameters.cell_ns / 1e9)} of one instrument: {found.positive_cells:,} of"
        f" {found.cells:,} belong to a label.",
        blocks=blocks,
    )


def _dot(curve: PrCurve, ink: str) -> Any:
    point = curve.operating
    assert point is not None
    return go.Scatter(
        x=[point.recall],
        y=[point.precision],
        mode="markers",
        name=f"{curve.contender} today",
        showlegend=False,
        marker={"symbol": "diamond", "size": 13, "color": ink, "line": {"color": inks.PANEL.light, "width": 2}},
        hovertemplate=f"today ({point.threshold:.3g}): recall %{{x:.2f}}, precision %{{y:.2f}}<extra></extra>",
    )


def _pr_table(curves: list[PrCurve]) -> Table:
    rows: list[list[str | Cell]] = []
    for curve in curves:
        step = -(-len(curve.points) // 20)
        rows += [
            [curve.contender, f"{p.threshold:.3g}", f"{p.precision:.3f}", f"{p.recall:.3f}"]
            for p in curve.points[::step]
        ]
    head = ["detector", "threshold", "precision", "recall"]
    return Table(caption="Points of the curves", head=head, rows=rows, numeric=frozenset({1, 2, 3}))


def _level(y: float, ink: Ink, dash: str) -> dict[str, Any]:
    line = {"color": ink.light, "width": 1.5, "dash": dash}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": line}


def _at_level(text: str, y: float, ink: Ink) -> dict[str, Any]:
    return {
        "xref": "paper", "x": 1, "xanchor": "right", "y": y, "yanchor": "bottom", "text": text, "showarrow": False,
        "font": {"color": ink.light, "size": 11},
    }  # fmt: skip


def costs(material: Material) -> Section:
    """Return what each threshold would have cost, and what choosing one as time went by would have."""
    found = material.found
    blocks: list[Block] = []
    for number_, curve in enumerate(found.cost_curves):
        if curve.points:
            blocks.append(_cost(curve, number_))
    if found.walk_forward is not None:
        blocks += _walked(material)
    given = found.parameters
    return Section(
        anchor="costs",
        title="Cost of a threshold",
        lead=f"A false alarm costs {given.cost_false:g}, a missed event {given.cost_missed:g}. The cheapest threshold is"
        " found in hindsight; the choice below it used only labels that were known by then.",
        blocks=blocks,
    )


def _cost(curve: CostCurve, number_: int) -> Plot:
    traces = [
        go.Scatter(
            x=figures.small([point.threshold for point in curve.points]),
            y=figures.small([point.cost for point in curve.points]),
            mode="lines",
            name="cost",
            line={"color": inks.ACCENT.light, "width": 2.5, "shape": "hv"},
            text=[
                f"from {p.threshold:.3g}: cost {money(p.cost)}<br>{p.false} false, {p.missed} missed, {p.episodes} alarms"
                for p in curve.points
            ],
            hoverinfo="text",
        )
    ]
    for label, point, ink, symbol in (
        ("today", curve.today, inks.TEXT, "diamond"),
        ("cheapest", curve.cheapest, inks.GOOD, "star"),
    ):
        traces.append(
            go.Scatter(
                x=[point.threshold],
                y=[point.cost],
                mode="markers",
                name=f"{label}: {money(point.cost)} at {point.threshold:.3g}",
                marker={
                    "symbol": symbol,
                    "size": 13,
                    "color": ink.light,
                    "line": {"color": inks.PANEL.light, "width": 1},
                },
                hovertemplate=f"{label}: {point.false} false, {point.missed} missed<extra></extra>",
            )
        )
    most = max([point.cost for point in curve.points] + [curve.flag_nothing])
    # Ringing always may cost a hundred times as much: then it is told, not drawn.
    levels = [("flag nothing", curve.flag_nothing, inks.PLAIN)]
    if curve.flag_all <= 3 * most:
        levels.append(("flag all", curve.flag_all, inks.WARNING))
    return Plot(
        name=f"cost-{number_}",
        figure=figures.figure(
            traces,
            x=f"threshold of {figures.said(curve.contender)}",
            y="cost",
            yaxis={"rangemode": "tozero"},
            shapes=[_level(y, ink, "dash") for _, y, ink in levels],
            annotations=[_at_level(f"{label} {money(y)}", y, ink) for label, y, ink in levels],
        ),
        alt=f"Cost of {curve.contender} by threshold: {money(curve.today.cost)} today, {money(curve.cheapest.cost)} at the"
        f" cheapest ({curve.cheapest.threshold:.3g}, in hindsight), {money(curve.flag_nothing)} if nothing was flagged,"
        f" {money(curve.flag_all)} if all was.",
        table=Table(
            caption=f"Cost of {curve.contender} by threshold",
            head=["threshold", "cost", "alarms", "false", "missed"],
            rows=[
                [f"{p.threshold:.3g}", money(p.cost), str(p.episodes), str(p.false), str(p.missed)]
                for p in curve.points[:: -(-len(curve.points) // 40)]
            ],
            numeric=frozenset(range(5)),
        ),
    )


def _walked(material: Material) -> list[Block]:
    walk = material.found.walk_forward
    assert walk is not None
    rows: list[list[str | Cell]] = [
        [
            clock(one.from_ns, "%Y-%m-%d %H:%M"),
            clock(one.to_ns, "%Y-%m-%d %H:%M"),
            str(one.known),
            f"{one.threshold:.3g}" + ("" if one.chosen else " (today's)"),
            str(one.episodes),
            str(one.false),
            str(one.missed),
        ]
        for one in walk.choices
    ]
    head = ["from (UTC)", "to", "labels known", "threshold", "alarms", "false", "missed"]
    return [
        Note(
            f"Chosen as time went by, each label known {duration(material.found.parameters.label_delay_ns / 1e9)} after it"
            f" was over: cost {money(walk.cost)}, where today's threshold cost {money(walk.cost_today)} on the same blocks"
            f" and the best in hindsight {money(walk.cost_hindsight)}."
        ),
        Table(caption="Progressive validation", head=head, rows=rows, numeric=frozenset({2, 3, 4, 5, 6})),
    ]


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
            shapes=[
                {
                    "type": "line", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1,
                    "line": {"color": line.light, "width": 1.5, "dash": dash},
                }
                for x, line, dash, _ in lines
            ],
            annotations=[
                {
                    "x": x, "y": 1 + 0.055 * row, "yref": "paper", "yanchor": "bottom", "text": label, "showarrow": False,
                    "font": {"color": line.light, "size": 11},
                }
                for row, (x, line, _, label) in enumerate(lines)
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


def reliability(material: Material) -> Section:
    """Return how far scores are probabilities."""
    blocks: list[Block] = []
    for number_, one in enumerate(material.found.calibrations):
        if one.bins:
            blocks.append(_reliability(one, number_))
    return Section(
        anchor="reliability",
        title="Reliability",
        lead="Cells whose score says 0.3 should belong to a label three times in ten: on the diagonal a score can be"
        " trusted as a probability.",
        blocks=blocks,
    )


def _reliability(one: Calibration, number_: int) -> Plot:
    share = np.array([np.nan if b.share.value is None else b.share.value for b in one.bins])
    low = np.array([np.nan if b.share.low is None else b.share.low for b in one.bins])
    high = np.array([np.nan if b.share.high is None else b.share.high for b in one.bins])
    mean, cells = np.array([b.mean for b in one.bins]), np.array([b.cells for b in one.bins])
    traces = [
        go.Scatter(
            x=[0, 1], y=[0, 1], mode="lines", name="perfect", hoverinfo="skip",
            line={"color": inks.PLAIN.light, "dash": "dash", "width": 1.5},
        ),
        go.Scatter(
            x=figures.small(mean),
            y=figures.small(share),
            mode="lines+markers",
            name=one.contender,
            line={"color": inks.ACCENT.light, "width": 2},
            marker={"size": 8},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": figures.small(np.nan_to_num(high - share)),
                "arrayminus": figures.small(np.nan_to_num(share - low)),
                "thickness": 1.5,
                "width": 4,
                "color": inks.ACCENT.light,
            },
            text=[f"says {m:.3f}, was {s:.3f}<br>{n:,} cells" for m, s, n in zip(mean, share, cells, strict=True)],
            hoverinfo="text",
        ),
        go.Bar(
            x=figures.small([(b.low + b.high) / 2 for b in one.bins]),
            y=cells,
            width=figures.small([b.high - b.low for b in one.bins]),
            yaxis="y2",
            showlegend=False,
            marker={"color": inks.VOLUME.light},
            text=[f"{b.low:.2f} to {b.high:.2f}: {b.cells:,} cells" for b in one.bins],
            textposition="none",
            hoverinfo="text",
        ),
    ]  # fmt: skip
    return Plot(
        name=f"reliability-{number_}",
        figure=figures.figure(
            traces,
            x="score",
            xaxis={"range": [-0.02, 1.02], "anchor": "y2"},
            yaxis={"domain": [0.34, 1], "range": [-0.04, 1.06], "title": "share with a label"},
            yaxis2=figures.axis(domain=[0, 0.24], title="cells", type="log", fixedrange=True, dtick=2),
        ),
        alt=f"Reliability of {one.contender}: expected calibration error {estimate(one.ece, '.3f')}, Brier score"
        f" {estimate(one.brier, '.3f')} where the base rate alone reaches {one.brier_base:.3f}. Scores below"
        f" {one.floor:g} count as 0.",
        height_px=440,
        table=Table(
            caption=f"Reliability of {one.contender}",
            head=["score from", "to", "cells", "mean score", "share with a label"],
            rows=[
                [f"{b.low:.2f}", f"{b.high:.2f}", f"{b.cells:,}", f"{b.mean:.3f}", estimate(b.share, ".3f")]
                for b in one.bins
            ],
            numeric=frozenset(range(5)),
        ),
    )


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
            # Nothing is quicker than a nanosecond; a logarithm needs something.
            seconds = np.maximum(values, 1e-4)
            traces.append(
                go.Scatter(
                    x=figures.small(seconds),
                    y=figures.small(np.arange(1, len(values) + 1) / len(values)),
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
                    head=["", *(f"p{rank * 100:g}" if rank < 1 else "longest" for rank in ranks)],
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
        lead="From the event that completed an alert's cause to when it could be known, in the data's own time: what bars"
        " and feeds take, whatever the machine.",
        blocks=blocks,
    )


_DECADES = ["0.1 ms", "1 ms", "10 ms", "0.1 s", "1 s", "10 s", "100 s", "1,000 s", "10⁴ s", "10⁵ s", "10⁶ s"]


def ablation(material: Material) -> Section:
    """Return what each modality is worth."""
    found = material.found
    blocks: list[Block] = []
    if found.ablations:
        whole = material.tocsin
        rows: list[tuple[str, Estimate, Estimate]] = [("everything", whole.recall, whole.precision)]
        rows += [(f"without {one.modality}", one.recall, one.precision) for one in found.ablations]
        traces = [
            go.Scatter(
                x=figures.small([np.nan if v.value is None else v.value for v in column]),
                y=[name for name, _, _ in rows],
                mode="markers",
                name=label,
                marker={"symbol": symbol, "size": 11, "color": ink.light},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": figures.small(
                        [(v.high or 0) - (v.value or 0) if v.high is not None else 0 for v in column]
                    ),
                    "arrayminus": figures.small(
                        [(v.value or 0) - (v.low or 0) if v.low is not None else 0 for v in column]
                    ),
                    "thickness": 2,
                    "width": 5,
                    "color": ink.light,
                },
                hovertemplate="%{y}: " + label + " %{x:.2f}<extra></extra>",
            )
            for label, symbol, ink, column in (
                ("recall", "circle", inks.ACCENT, [recall for _, recall, _ in rows]),
                ("precision", "diamond", inks.WARNING, [precision for _, _, precision in rows]),
            )
        ]
        blocks.append(
            Plot(
                name="ablation",
                figure=figures.figure(
                    traces,
                    xaxis={"range": [-0.02, 1.02]},
                    yaxis={"autorange": "reversed", "fixedrange": True},
                ),
                alt=f"Recall and precision with everything and without each of {len(found.ablations)} modalities.",
                height_px=120 + 46 * len(rows),
            )
        )
        head = ["without", "how", "alarms", "fallen", "partly on it", "false", "recall", "precision", "lost", "gained"]
        blocks.append(
            Table(
                caption="What would be without each modality",
                head=head,
                rows=[
                    [
                        one.modality,
                        "replayed without it" if one.how == "rerun" else "by the shares that alerts tell",
                        str(one.episodes),
                        str(one.fallen),
                        str(one.leaning),
                        str(one.false),
                        estimate(one.recall),
                        estimate(one.precision),
                        _named(one.lost),
                        _named(one.gained),
                    ]
                    for one in found.ablations
                ],
                numeric=frozenset({2, 3, 4, 5}),
            )
        )
    return Section(
        anchor="ablation",
        title="What each modality is worth",
        lead="The same stretch with one modality left out.",
        blocks=blocks,
    )


def _named(events: list[str]) -> str | Cell:
    if not events:
        return NONE
    return Cell(text=f"{len(events)}: {events[0]}" + (" …" if len(events) > 1 else ""), title=", ".join(events))


def method(material: Material) -> Section:
    """Return what the figures depend on."""
    given, tested = material.found.parameters, material.found.tested
    match = "of any typology" if given.match == "any" else "of the label's own typology"
    unknown = ", ".join(tested.unknown_instruments[:20])
    return Section(
        anchor="method",
        title="How it was judged",
        lead="What the figures depend on beside the data.",
        blocks=[
            Facts(
                [
                    ("An alarm", f"an episode's first alert of at least {given.severity}"),
                    (
                        "Belongs to a label",
                        f"{match}, from {duration(given.before_ns / 1e9)} before its start to"
                        f" {duration(given.after_ns / 1e9)} behind its end",
                    ),
                    ("A cell", f"one instrument for {duration(given.cell_ns / 1e9)}"),
                    ("Cells", f"{material.found.cells:,}, {material.found.positive_cells:,} of them a label's"),
                    ("Labels", f"{tested.labels:,} harmful, {tested.benign:,} benign"),
                    ("Outside the range", f"{tested.labels_outside:,} labels" if tested.labels_outside else ""),
                    ("Skipped", f"{tested.labels_skipped:,} labels of {unknown}" if tested.labels_skipped else ""),
                    ("Costs", f"{given.cost_false:g} a false alarm, {given.cost_missed:g} a missed event"),
                    ("A label is known", f"{duration(given.label_delay_ns / 1e9)} after it is over"),
                    ("Intervals", f"95 %, bootstrap of {given.draws:,} draws by {given.block}, seed {given.seed}"),
                    ("Analysts", str(given.analysts)),
                    ("Looked at a day", f"{given.k} instruments"),
                ]
            )
        ],
    )
