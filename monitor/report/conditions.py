"""Why an alert rang: each condition against its bound, what modalities added, and what would have cleared it."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from engines.typologies.conditions import Condition
from monitor.report import figures, inks
from monitor.report.page import Block, Note, Plot, Table
from schemas.alerts import Alert, RuleResult


def clears(alert: Alert) -> list[Block]:
    """Return what would have kept an alert from ringing."""
    told = alert.explanation.clears
    return [Note(f"The smallest change that would have kept it from ringing: {told}.")] if told else []


def rules(alert: Alert, name: str, *, drawn: bool) -> list[Block]:
    """Return the conditions as a table, ``drawn`` against their bounds too; ``name`` begins the names of plots."""
    held = alert.explanation.rules
    if not held:
        return []
    table = Table(
        caption="Conditions",
        head=["condition", "value", "bound", "unit", "weight"],
        rows=[[r.name, f"{r.value:.4g}", r.bound, r.unit, f"{r.weight:.2g}"] for r in held],
        numeric=frozenset({1, 2, 4}),
    )
    if not drawn:
        return [table]
    return [*_against_bounds(alert, name), *_contributions(alert, name), table]


def _against_bounds(alert: Alert, name: str) -> list[Block]:
    bounded = [rule for rule in alert.explanation.rules if rule.value > 0 and rule.threshold > 0][::-1]
    if not bounded:
        return []
    ratios = np.array([_met(rule) for rule in bounded])
    figure = figures.figure(
        [
            go.Bar(
                y=[figures.said(rule.name, 60) for rule in bounded],
                x=figures.small(np.log2(ratios)),
                orientation="h",
                marker={"color": [(inks.CRITICAL if ratio >= 1 else inks.ACCENT).light for ratio in ratios]},
                text=[f"{rule.value:.4g} ({rule.bound}) {figures.said(rule.unit, 40)}" for rule in bounded],
                textposition="auto",
                hoverinfo="text",
                cliponaxis=False,
            )
        ],
        x="how many times over it is met",
        xaxis=_powers(np.log2(ratios)),
        yaxis={"fixedrange": True},
        shapes=[figures.upright(0, inks.TEXT, width=2)],
        bargap=0.35,
        showlegend=False,
    )
    most = max(bounded, key=_met)
    return [
        Plot(
            name=f"{name}-rules",
            figure=figure,
            alt=f"How many times over each is met, on a scale of doublings: highest is {most.name} with"
            f" {most.value:.4g} ({most.bound}).",
            height_px=110 + 38 * len(bounded),
        )
    ]


def _met(rule: RuleResult) -> float:
    return Condition(rule.name, rule.value, rule.threshold, rule.unit, rule.at_most).met


def _contributions(alert: Alert, name: str) -> list[Block]:
    """Return what has no bound to be held against (0): shares that add up, such as log odds of modalities."""
    free = [rule for rule in alert.explanation.rules if not rule.threshold][::-1]
    units = {rule.unit for rule in free}
    if len(free) < 2 or len(units) > 1:
        return []
    figure = figures.figure(
        [
            go.Bar(
                y=[figures.said(rule.name, 60) for rule in free],
                x=figures.small([rule.value for rule in free]),
                orientation="h",
                marker={"color": [(inks.WARNING if rule.value > 0 else inks.GOOD).light for rule in free]},
                text=[f"{rule.value:+.3g}" for rule in free],
                textposition="auto",
                hoverinfo="text",
                cliponaxis=False,
            )
        ],
        x=figures.said(free[0].unit, 40),
        yaxis={"fixedrange": True},
        bargap=0.35,
        showlegend=False,
    )
    most = max(free, key=lambda rule: abs(rule.value))
    return [
        Plot(
            name=f"{name}-shares",
            figure=figure,
            alt=f"What {len(free)} parts add, in {free[0].unit}: most by {most.name} with {most.value:+.3g}.",
            height_px=110 + 34 * len(free),
        )
    ]


def _powers(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> dict[str, object]:
    """Return an axis of doublings that holds ``values`` (log2) and 0."""
    low, high = int(np.floor(min(values.min(), 0) - 0.3)), int(np.ceil(max(values.max(), 0) + 0.3))
    step = max(1, -(-(high - low) // 8))
    at = list(range(low, high + 1, step))
    return {
        "range": [low, high],
        "tickvals": at,
        "ticktext": [f"{2.0**n:g}×" if n >= 0 else f"1/{2**-n:g}" for n in at],
    }
