"""The section of prices: price and volume of instruments, alerts and news pinned, labels shaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from engines.labels import Label
from monitor.numbers import duration, plural
from monitor.render import clock
from monitor.report import figures, inks
from monitor.report.bars import Bars
from monitor.report.material import Material
from monitor.report.nights import Nights
from monitor.report.page import MOST_ROWS, Block, Cell, Fold, Note, Plot, Section, Table
from schemas.alerts import SEVERITIES, Alert
from schemas.records import News

#: Instruments that are shown at once; the others unfold.
OPEN = 3
#: Episodes of an instrument that are drawn, and labels up to which each bears its name.
MOST_EPISODES, MOST_NAMES = 200, 12
_HALF = 0.5


def prices(material: Material) -> Section:
    """Return price and volume of the busiest instruments, alerts, news and labels pinned."""
    blocks: list[Block] = []
    for number, name in enumerate(material.bars):
        plot = _price(material, name, number)
        opened = sum(a.activity == "create" for a in _of(material, name))
        told = plural(opened, "episode")
        kinds = Counter(label.typology for label in material.labels if name in label.instruments and not label.benign)
        told += "".join(f", {kind}" + (f" {count:,} times" if count > 1 else "") for kind, count in kinds.items())
        inside = [plot, *_thinned(material, name), *_news_fold(material.news.get(name, ()), name, number)]
        blocks.append(Fold(anchor=f"prices-{number}", title=name, aside=told, blocks=inside, open=number < OPEN))
    if material.left_out:
        blocks.append(Note(f"{material.left_out} more instruments with alerts or labels are left out here."))
    return Section(
        anchor="prices",
        title="Price and volume",
        lead="The instruments with most labels and alerts. Drag to zoom: all of them follow. Shaded: labelled events,"
        " their onset (solid) and when the public could read of it (dotted). Nights and weekends have no room: what"
        " came then stands at their end.",
        blocks=blocks,
    )


def _of(material: Material, name: str) -> list[Alert]:
    return [alert for alert in material.alerts if alert.subject.instrument == name]


def _drawn(alerts: Sequence[Alert]) -> list[Alert]:
    """Return the alerts of `MOST_EPISODES` at most: those of the highest severity and score."""
    worst: dict[str, tuple[int, float]] = {}
    for alert in alerts:
        told = SEVERITIES.index(alert.finding.severity), alert.finding.score
        worst[alert.episode_id] = max(worst.get(alert.episode_id, told), told)
    kept = set(sorted(worst, key=lambda episode: (worst[episode], episode), reverse=True)[:MOST_EPISODES])
    return [alert for alert in alerts if alert.episode_id in kept]


def _thinned(material: Material, name: str) -> list[Block]:
    """Return what must be said where not all is drawn."""
    episodes = len({alert.episode_id for alert in _of(material, name)})
    if episodes <= MOST_EPISODES:
        return []
    return [Note(f"Of {episodes:,} episodes the {MOST_EPISODES} of the highest severity and score are drawn.")]


def _price(material: Material, name: str, number: int) -> Plot:
    bars = material.bars[name]
    alerts = _of(material, name)
    labels = [label for label in material.labels if name in label.instruments]
    news = material.news.get(name, ())
    opened = [alert for alert in alerts if alert.activity == "create"]
    drawn, nights = _drawn(alerts), material.nights
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
            [
                *_bars(bars, nights),
                *_pins(news, nights),
                *_episodes(drawn, tested.to_ns, nights),
                *_markers(drawn, bars, nights),
            ],
            xaxis={
                "type": "date",
                "anchor": "y2",
                "range": [tested.from_ns / 1e6, tested.to_ns / 1e6],
                **nights.axis(),
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
            shapes=[shape for label in labels for shape in _shading(label, nights)],
            annotations=[
                _named(label, row % 2, tested.from_ns, tested.to_ns)
                for row, label in enumerate(labels if len(labels) <= MOST_NAMES else ())
            ],
            margin={"l": 64, "r": 14, "t": 36, "b": 78},
            legend={
                "orientation": "h",
                "yref": "container",
                "y": 0,
                "yanchor": "bottom",
                "x": 0,
                "traceorder": "normal",
            },
        ),
        alt=told,
        height_px=480,
        table=_episode_table(alerts, f"Episodes of {name}") if opened else None,
        group="time",
    )


def _bars(bars: Bars, nights: Nights) -> list[Any]:
    """Return the range of a bar as a band, its close as a line, its volume below; lines break where nothing traded."""
    # A gap of many bars (a night, a halt) is not joined: the band has no height there, and the close no line.
    cut = np.flatnonzero(np.diff(bars.start) > max(60 * bars.width_ns, 1_800 * 10**9)) + 1
    at = nights.milliseconds(np.insert(bars.start, cut, bars.start[cut - 1] + bars.width_ns))
    low, high = (figures.small(np.insert(column, cut, bars.close[cut - 1])) for column in (bars.low, bars.high))
    close = figures.small(np.insert(bars.close, cut, np.nan))
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


def _pins(news: Sequence[News], nights: Nights) -> list[Any]:
    found = []
    for channel, symbol, ink in (("news", "diamond", inks.TEXT), ("post", "circle-open", inks.MUTED)):
        mine = [one for one in news if one.channel == channel]
        if mine:
            found.append(
                go.Scatter(
                    x=nights.milliseconds([one.ts_event for one in mine]),
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


def _news_fold(news: Sequence[News], name: str, number: int) -> list[Block]:
    """Return what was written of an instrument, for those to whom a pin's hover says nothing."""
    if not news:
        return []
    table = Table(
        caption=f"News and posts of {name}",
        head=["event (UTC)", "channel", "source", "headline"],
        rows=[[clock(one.ts_event), one.channel, one.source, Cell(text=one.headline, quoted=True)] for one in news],
    )
    title = f"{len(news):,} news and posts"
    return [Fold(anchor=f"news-{number}", title=title, blocks=[table])]


def _news(one: News) -> str:
    """Return a document's hover: the words of others, letter for letter."""
    source = figures.said(one.source, 40)
    return f"{figures.wrapped(one.headline)}<br>{source} {clock(one.ts_event)}".strip()


def _episodes(alerts: Sequence[Alert], to_ns: int, nights: Nights) -> list[Any]:
    """Return a line for each episode, from its window's begin to its close."""
    found = []
    stories: dict[str, list[Alert]] = {}
    for alert in alerts:
        stories.setdefault(alert.episode_id, []).append(alert)
    for severity in SEVERITIES:
        x: list[float | None] = []
        for story in stories.values():
            if max(SEVERITIES.index(a.finding.severity) for a in story) != SEVERITIES.index(severity):
                continue
            end = story[-1].times.available_at if story[-1].activity == "close" else to_ns
            x += [*nights.milliseconds([story[0].times.event_start, end]).tolist(), None]
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


def _markers(alerts: Sequence[Alert], bars: Bars, nights: Nights) -> list[Any]:
    found = []
    first = {alert.episode_id: alert for alert in reversed(alerts)}
    for severity in SEVERITIES:
        mine = [alert for alert in alerts if alert.finding.severity == severity and alert.activity != "close"]
        if mine:
            found.append(
                go.Scatter(
                    x=nights.milliseconds([alert.times.event_end for alert in mine]),
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
    again = "" if alert is first else f", again since {clock(first.times.event_end)}"
    return (
        f"<b>{figures.said(finding.title)}</b><br>{finding.typology}, {finding.severity}{again}<br>score"
        f" {finding.score:.3f}<br>complete {clock(times.event_end)}, known"
        f" {duration((times.available_at - times.event_end) / 1e9)} later"
    )


def _shading(label: Label, nights: Nights) -> list[dict[str, Any]]:
    ink = inks.BENIGN if label.benign else inks.HARM
    edge = inks.GOOD if label.benign else inks.CRITICAL
    first, last, *edges = nights.milliseconds([label.start_ns, label.end_ns, label.onset_ns, label.public_ns]).tolist()
    shade = {
        "type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "x0": first, "x1": last, "layer": "below",
        "fillcolor": ink.light, "opacity": 0.75, "line": {"width": 0},
    }  # fmt: skip
    dashes = zip(edges, ("solid", "dot"), strict=True)
    return [shade, *(figures.upright(x, edge, dash, 1.25) for x, dash in dashes if x)]


def _named(label: Label, row: int, from_ns: int, to_ns: int) -> dict[str, Any]:
    late = label.start_ns > from_ns + 0.85 * (to_ns - from_ns)
    ink = inks.GOOD if label.benign else inks.CRITICAL
    text = figures.said(label.typology + (" (benign)" if label.benign else ""), 40)
    return figures.flag(text, ink, x=label.start_ns / 1e6, xanchor="right" if late else "left", yshift=13 * row)


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
        more=f"… and {len(alerts) - MOST_ROWS:,} more alerts, in the replay's alerts.parquet."
        if alerts[MOST_ROWS:]
        else "",
    )
