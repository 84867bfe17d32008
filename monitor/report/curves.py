"""Sections of curves: precision against recall, what a threshold costs, how far scores are probabilities."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import plotly.graph_objects as go

from engines.backtest.results import Calibration, CostCurve, PrCurve
from monitor.numbers import duration, estimate, money, number
from monitor.render import clock
from monitor.report import figures, inks
from monitor.report.inks import Ink
from monitor.report.material import Material
from monitor.report.page import Block, Cell, Fold, Note, Plot, Section, Table

#: Lines of curves beside Tocsin's own.
_OTHERS = ("#0b6a8e", "#955600", "#6d5b9c", "#187546", "#b4231c", "#6a737d")


def precision_recall(material: Material) -> Section:
    """Return precision against recall of every contender that has a score."""
    found = material.found
    curves = [curve for curve in found.pr_curves if curve.points]
    blocks: list[Block] = []
    if curves:
        traces: list[Any] = []
        for number_, curve in enumerate(curves):
            ink = _line_ink(number_)
            # A step is as high as the precision at its end: so the area below is average precision.
            points = [msgspec.structs.replace(curve.points[0], recall=0.0), *curve.points]
            traces.append(
                go.Scatter(
                    x=figures.small([point.recall for point in points]),
                    y=figures.small([point.precision for point in points]),
                    mode="lines+markers" if len(points) < 60 else "lines",
                    name=curve.contender,
                    line={"color": ink, "width": 3 if number_ == 0 else 1.5, "shape": "vh"},
                    marker={"size": 5},
                    customdata=figures.small([point.threshold for point in points]),
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
            shapes=[] if base is None else [figures.level(base, inks.PLAIN)],
            annotations=[] if base is None else [_at_level(f"base rate {base:.3g}", base, inks.PLAIN)],
        )
        own = material.tocsin.pr_auc
        blocks.append(
            Plot(
                name="pr",
                figure=figure,
                alt=f"Precision against recall of {len(curves)} detectors; PR-AUC of {material.tocsin.name} is"
                f" {estimate(own, '.3f')} over a base rate of {number(base, '.3g')}. Diamonds: where each rings today.",
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


def _line_ink(number: int) -> str:
    return _OTHERS[number % len(_OTHERS)]


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


def costs(material: Material) -> Section:
    """Return what each threshold would have cost, and what choosing one as time went by would have."""
    found = material.found
    drawn = [(curve.contender, _cost(curve, n)) for n, curve in enumerate(found.cost_curves) if curve.points]
    blocks: list[Block] = [plot for _, plot in drawn[:1]]
    if found.walk_forward is not None:
        blocks += _walked(material)
    blocks += [Fold(anchor=plot.name, title=f"Cost of {name} alone", blocks=[plot]) for name, plot in drawn[1:]]
    given = found.parameters
    return Section(
        anchor="costs",
        title="Cost of a threshold",
        lead=f"A false alarm costs {given.cost_false:g}, a missed event {given.cost_missed:g}. The cheapest threshold"
        " is found in hindsight; the choice below it used only labels that were known by then.",
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
                f"from {p.threshold:.3g}: cost {money(p.cost)}<br>"
                f"{p.false} false, {p.missed} missed, {p.episodes} alarms"
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
            shapes=[figures.level(y, ink) for _, y, ink in levels],
            annotations=[_at_level(f"{label} {money(y)}", y, ink) for label, y, ink in levels],
        ),
        alt=f"Cost of {curve.contender} by threshold: {money(curve.today.cost)} today, {money(curve.cheapest.cost)} at"
        f" the cheapest ({curve.cheapest.threshold:.3g}, in hindsight), {money(curve.flag_nothing)} if nothing was"
        f" flagged, {money(curve.flag_all)} if all was.",
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
    if not any(one.chosen for one in walk.choices):
        text = "No threshold could be chosen as time went by: too few labels were known."
        return [Note(text)]
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
            f"Chosen as time went by, each label known {duration(material.found.parameters.label_delay_ns / 1e9)} after"
            f" it was over and public: cost {money(walk.cost)}; on the same days today's threshold cost"
            f" {money(walk.cost_today)}, and the best in hindsight {money(walk.cost_hindsight)}."
        ),
        Table(
            caption="The threshold of each day, chosen on the days before (progressive validation)",
            head=head,
            rows=rows,
            numeric=frozenset({2, 3, 4, 5, 6}),
        ),
    ]


def reliability(material: Material) -> Section:
    """Return how far scores are probabilities."""
    found = material.found.calibrations
    drawn = [(one.contender, _reliability(one, number_)) for number_, one in enumerate(found) if one.bins]
    blocks: list[Block] = [plot for _, plot in drawn[:1]]
    blocks += [Fold(anchor=plot.name, title=f"Reliability of {name}", blocks=[plot]) for name, plot in drawn[1:]]
    return Section(
        anchor="reliability",
        title="Reliability",
        lead="Cells whose score says 0.3 should belong to a label three times in ten: on the diagonal a score can be"
        " trusted as a probability. Tocsin's own is an urgency, 0.5 where a typology rings: it ranks, and is no"
        " probability.",
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


def _at_level(text: str, y: float, ink: Ink) -> dict[str, Any]:
    return figures.flag(text, ink, xref="paper", x=1, xanchor="right", y=y, yref="y")
