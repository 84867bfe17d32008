"""A drift as a page: the values it was told by, before and after, who else drifted then, and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from monitor.numbers import duration, plural
from monitor.render import clock
from monitor.report import figures, inks
from monitor.report.page import MOST_ROWS, Block, Cell, Facts, Note, Page, Plot, Section, Table, write
from schemas.alerts import DRIFT_KINDS
from schemas.records import Drift

HOUR_NS = 3_600 * 10**9
#: How long before it began, and after it was seen, what drifted too is looked for.
AROUND_NS = 4 * HOUR_NS
#: Places of the time axis that have their time beside them.
TICKS = 6
#: What a stream's values are; of what is not named here its name says it.
UNITS = {
    "volatility": "high over low of a minute, less one",
    "volume": "notional of a minute",
    "spread": "mean relative spread of a minute",
    "risk": "mean fused risk of a minute",
    "tone": "P(bullish) - P(bearish) of a text",
    "words": "a text's embedding: distance from the mean of those before, or a projection",
    "ticks": "silence, ns",
    "price": "price",
    "instruments": "instruments that drifted within an hour",
}


def title(drift: Drift) -> str:
    """Return whom a drift concerns, and what moved."""
    return f"{drift.kind.replace('_', ' ')}: {drift.subject}, {drift.stream}"


def page(drift: Drift, told: Sequence[Drift]) -> Page:
    """Return a drift as a page; ``told`` are the signals among which others are looked for."""
    sections = (_moved(drift), _others(drift, told), _rests(drift))
    return Page(
        kicker="Drift",
        title=title(drift),
        subtitle=f"since {clock(drift.since)}, known {clock(drift.ts_available)} UTC",
        facts=_facts(drift),
        warnings=[] if drift.kind == "market" else [f"{DRIFT_KINDS[drift.kind]} It is of the data, not the market."],
        sections=[section for section in sections if section.blocks],
        foot=f"Drift {drift.drift_id}, by configuration {drift.config[:12] or 'unknown'}.",
    )


def write_page(drift: Drift, told: Sequence[Drift], out: Path) -> None:
    """Write a drift to ``out`` as one HTML file, whole or not at all."""
    write(page(drift, told), out)


def _facts(drift: Drift) -> Facts:
    seen_s = (drift.ts_event - drift.since) / 1e9
    return Facts(
        [
            ("Subject", drift.subject),
            ("Kind", drift.kind.replace("_", " ")),
            ("Stream", f"{drift.stream}: {UNITS.get(drift.stream, '')}".removesuffix(": ")),
            ("Moved", drift.moved),
            ("Before", _number(drift.before)),
            ("After", _number(drift.after)),
            ("A value of now above one of before", "" if drift.above is None else f"{drift.above:.2f}"),
            ("p-value", _number(drift.p_value)),
            ("Since", clock(drift.since)),
            ("Seen", f"{clock(drift.ts_event)} ({duration(seen_s)} later)"),
            ("Instruments", plural(len(drift.instruments), "instrument") if drift.instruments else ""),
            ("Asset class", drift.asset_class),
            ("Sector", drift.sector),
            ("By chance", "" if drift.run_time is None else f"once in {drift.run_time:,.0f} values"),
            ("Drift", Cell(text=drift.drift_id, code=True)),
        ]
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _moved(drift: Drift) -> Section:
    return Section(
        anchor="moved",
        title="What moved",
        lead="The values of the stream that it was told by, one after the other; where nothing was traded or written,"
        " there is no room between them.",
        blocks=[_plot(drift)] if drift.values else _numbers(drift),
    )


def _numbers(drift: Drift) -> list[Block]:
    if drift.before is None or drift.after is None:
        return []
    return [Note(f"{UNITS.get(drift.stream, drift.stream)}: {drift.before:.6g} before, {drift.after:.6g} now.")]


def _changed(drift: Drift) -> int:
    """Return how many of the values were before; texts of one moment there may be several, and some come late."""
    places = [at for at, ns in enumerate(drift.times) if ns == drift.since and at]
    return next((at for at in places if float(np.median(drift.values[:at])) == drift.before), places[0])


def _plot(drift: Drift) -> Plot:
    number, values = np.arange(len(drift.values)), np.array(drift.values)
    changed = _changed(drift)
    places = np.unique(np.linspace(0, len(number) - 1, TICKS).round().astype(int)).tolist()
    parts = (("before", slice(0, changed), inks.PLAIN), ("since", slice(changed, None), inks.WARNING))
    traces: list[Any] = [
        go.Scatter(
            x=number[part],
            y=figures.small(values[part]),
            name=name,
            mode="lines+markers",
            marker={"size": 5},
            line={"color": ink.light, "width": 1},
            customdata=[clock(ns) for ns in drift.times[part]],
            hovertemplate="%{customdata}: %{y:.4g}<extra></extra>",
        )
        for name, part, ink in parts
    ]
    medians = ((0, changed - 0.5, drift.before), (changed - 0.5, len(number) - 1, drift.after))
    lines = [
        {"type": "line", "xref": "x", "yref": "y", "x0": x0, "x1": x1, "y0": y, "y1": y,
         "line": {"color": inks.TEXT.light, "width": 2}}
        for x0, x1, y in medians
    ]  # fmt: skip
    since = figures.flag(f"since {clock(drift.since)}", inks.WARNING, x=changed - 0.5, xanchor="right")
    return Plot(
        name="drift",
        figure=figures.figure(
            traces,
            y=UNITS.get(drift.stream, drift.stream).partition(":")[0],  # the rest stands above, and is longer than it
            xaxis=figures.axis(
                tickvals=places, ticktext=[clock(drift.times[at], "%m-%d %H:%M") for at in places], title="UTC"
            ),
            shapes=[figures.upright(changed - 0.5, inks.WARNING, "dash"), *lines],
            annotations=[since],
            showlegend=False,
        ),
        alt=f"{plural(len(values), 'value')} of {drift.stream}: {changed} before, of median {_number(drift.before)},"
        f" {len(values) - changed} since, of median {_number(drift.after)}; its {drift.moved} moved.",
        table=Table(
            caption="its values",
            head=["began (UTC)", "value", "part"],
            rows=[
                [clock(ns), f"{value:.6g}", "before" if at < changed else "since"]
                for at, (ns, value) in enumerate(zip(drift.times, drift.values, strict=True))
            ],
            numeric=frozenset({1}),
        ),
    )


def _others(drift: Drift, told: Sequence[Drift]) -> Section:
    near = [
        one
        for one in told
        if one.drift_id != drift.drift_id and drift.since - AROUND_NS <= one.ts_event <= drift.ts_event + AROUND_NS
    ]
    named = set(drift.instruments) | {drift.subject}
    mine = [one for one in near if one.subject in named]
    rest = [one for one in near if one.subject not in named]
    blocks: list[Block] = []
    if len(drift.instruments) > 1:
        shown = ", ".join(drift.instruments[:MOST_ROWS])
        blocks.append(Note(f"{plural(len(drift.instruments), 'instrument')} together: {shown}."))
    if mine or rest:
        blocks.append(_table(mine, rest))
    elif not blocks:
        blocks.append(Note("Nothing else drifted in the four hours before and after."))
    return Section(
        anchor="others",
        title="Who else drifted",
        lead="Within four hours of it, by when it was seen: what it names itself first, then the others.",
        blocks=blocks,
    )


def _table(mine: Sequence[Drift], rest: Sequence[Drift]) -> Table:
    listed = [*mine, *rest]
    rows: list[list[str | Cell]] = [
        [
            clock(one.ts_event),
            one.subject,
            one.kind.replace("_", " "),
            one.stream,
            one.moved,
            _number(one.before),
            _number(one.after),
            Cell(text=one.drift_id[:8], title=one.drift_id, code=True),
        ]
        for one in listed[:MOST_ROWS]
    ]
    return Table(
        caption=f"{plural(len(mine), 'signal')} of its own instruments, {len(rest):,} of others",
        head=["seen (UTC)", "subject", "kind", "stream", "moved", "before", "after", "id"],
        rows=rows,
        numeric=frozenset({5, 6}),
        more=f"{len(listed) - MOST_ROWS:,} more are left out here." if len(listed) > MOST_ROWS else "",
    )


def _rests(drift: Drift) -> Section:
    rows: list[list[str | Cell]] = [
        [one.topic, str(one.partition), str(one.offset), Cell(text=one.sha256, code=True)] for one in drift.evidence
    ]
    head = ["topic", "partition", "offset", "SHA-256"]
    table = Table(caption="The message that completed it", head=head, rows=rows, numeric=frozenset({1, 2}))
    made = [
        ("Configuration", Cell(text=drift.config, code=True)),
        ("Bundle", Cell(text=drift.bundle, code=True)),
        ("Trace", Cell(text=drift.trace, code=True)),
    ]
    return Section(
        anchor="rests",
        title="What it rests on",
        lead="What decided, and where the last of its values came from.",
        blocks=[*([table] if rows else []), Facts(made)],
    )
