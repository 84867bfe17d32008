"""Sections that sum up: the headline figures beside detectors that know nothing, what each modality is worth, how."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go

from engines.backtest.results import Contender, Estimate
from monitor.numbers import NONE, between, count, duration, interval, money, number, rate
from monitor.report import figures, inks
from monitor.report.material import Material
from monitor.report.page import Block, Card, Cards, Cell, Facts, Note, Plot, Section, Table


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
        return Card(
            title=title,
            value=number(mine.value),
            interval=_interval(mine),
            at=_on_scale(mine),
            others=others,
            note=note,
        )

    lead = own.lead_median_s
    a_day = own.alerts_per_day
    cards = [
        shared("Precision of alarms", "precision", f"{count(own.hits)} of {count(own.episodes)} alarms"),
        shared("Recall of labelled events", "recall", f"{len(found.catches)} of {found.tested.labels} caught"),
        Card(
            title=f"Precision@{found.parameters.k} by day",
            value=number(found.precision_at_k.value),
            interval=_interval(found.precision_at_k),
            at=_on_scale(found.precision_at_k),
            others=[("always", found.ceiling_at_k.value, f"ceiling {number(found.ceiling_at_k.value)}")],
        ),
        Card(
            title="Alarms a day",
            value=rate(a_day.value),
            interval=_interval(a_day, rate),
            others=[
                ("none", None, f"{rate(own.alerts_per_instrument_day.value)} an instrument"),
                ("none", None, f"{rate(own.alerts_per_analyst_day.value)} an analyst"),
            ],
        ),
        Card(
            title="Lead before the public event",
            value=duration(lead.value),
            interval=_interval(lead, duration),
            others=[
                ("none", None, f"one in ten below {duration(own.lead_p10_s.value)}"),
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
                interval=_interval(own.cost, money),
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


def _interval(one: Estimate, said: Callable[[float | None], str] = number) -> str:
    told = between(one, said)
    return f"95 %: {told}" if told else "no interval"


def _cell(one: Estimate, said: Callable[[float | None], str] = number, to: str = "\N{EN DASH}") -> Cell:
    """Return an estimate as a table's cell, its interval below it; ``to`` is a word where there may be a minus."""
    return Cell(text=said(one.value), under=between(one, said, to))


def _on_scale(one: Estimate) -> tuple[float, float, float] | None:
    if one.value is None:
        return None
    return one.value, one.value if one.low is None else one.low, one.value if one.high is None else one.high


def _contenders(contenders: list[Contender]) -> Table:
    rows: list[list[str | Cell]] = [
        [
            Cell(text=one.name, title=one.title) if one.title else one.name,
            Cell(text=count(one.episodes), under=f"{count(one.hits)} right"),
            _cell(one.precision),
            _cell(one.recall),
            _cell(one.own_recall),
            _cell(one.alerts_per_day, rate),
            _cell(one.lead_median_s, duration, " to "),
            _cell(one.delay_median_s, duration, " to "),
            _cell(one.pr_auc),
            _cell(one.brier),
            Cell(text=number(one.nab.value, "z.0f"), under=interval(one.nab, "z.0f")),
            money(one.cost.value),
        ]
        for one in contenders
    ]
    head = [
        "detector", "alarms", "precision", "recall", "own recall", "a day", "lead", "delay", "PR-AUC", "Brier",
        "NAB", "cost",
    ]  # fmt: skip
    return Table(
        caption="Every detector on the same labels; below each figure the 95 % interval of the block bootstrap (of"
        " random, what 95 % of such detectors reach)",
        head=head,
        rows=rows,
        numeric=frozenset(range(1, len(head))),
        more="Precision: the share of alarms that belong to an event. Recall: the share of events with an alarm; own"
        " recall: by an alarm of the event's kind. Lead and delay: medians. PR-AUC: how well scores rank cells, 1 at"
        " best. Brier: how far scores are from the truth, 0 at best. NAB: 0 without alarms, 100 at best.",
    )


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
                        "replayed" if one.how == "rerun" else "by shares",
                        str(one.episodes),
                        str(one.fallen),
                        str(one.leaning),
                        str(one.false),
                        _cell(one.recall),
                        _cell(one.precision),
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
    aside, covered = len(material.found.aside), material.found.days_covered
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
                    ("Set aside", f"{aside:,} alarms of events outside the range" if aside else ""),
                    ("Days covered", f"{covered:.3g}, a whole one of {duration(given.trading_day_ns / 1e9)}"),
                    ("Skipped", f"{tested.labels_skipped:,} labels of {unknown}" if tested.labels_skipped else ""),
                    ("Costs", f"{given.cost_false:g} a false alarm, {given.cost_missed:g} a missed event"),
                    ("A label is known", f"{duration(given.label_delay_ns / 1e9)} after it is over and public"),
                    ("Intervals", f"95 %, bootstrap of {given.draws:,} draws by {given.block}, seed {given.seed}"),
                    ("Analysts", str(given.analysts)),
                    ("Looked at a day", f"{given.k} instruments"),
                ]
            )
        ],
    )
