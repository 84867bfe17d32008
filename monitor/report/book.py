"""The book around an alert as a picture: what rested at each price over time, the account's own orders in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from engines.book_replay import Book, Leg, Spell, Traded, depth
from monitor.numbers import duration, plural
from monitor.render import clock
from monitor.report import figures, inks
from monitor.report.page import MOST_ROWS, Block, Note, Plot, Table
from schemas.alerts import Alert

#: Cells of time and bands of price that the picture has at most; orders and trades that it draws at most.
CELLS, MOST_BANDS = 300, 100
MOST_DRAWN = 2_000
HEIGHT_PX = 540
#: Levels of a side that the table of a moment has.
MOST_LEVELS = 10
#: How far outside of what the market quoted an order of the account may lie to be in the picture, in ranges of that.
_REACH = 4.0
_SIDES = {1: ("buy", inks.ACCENT, "triangle-up"), -1: ("sell", inks.CRITICAL, "triangle-down")}
_TOLD = {"orders": "every order event", "updates": "updates and quotes", "quotes": "the best quotes"}


def blocks(alert: Alert, book: Book, name: str) -> list[Block]:
    """Return the picture of a book and the ladder of its foremost moment; sentences where there is less to show."""
    if not book.instrument:
        return []
    where = f"{book.instrument} around the alert"
    if not book.spells:
        return [Note(f"The recording has neither order frames nor quotes of {where}: no book can be shown.")]
    notes: list[Block] = []
    if book.source != "orders":
        only = _TOLD[book.source]
        notes.append(Note(f"The recording has no order frames of {where}: its book is known from {only} only."))
    if book.left_out:
        told = ", ".join(f"{count:,} {what}" for what, count in sorted(book.left_out.items()))
        looks = f" The book was looked at once in {duration(book.step_ns / 1e9)}." if book.step_ns else ""
        notes.append(Note(f"Not in it: {told}.{looks}"))
    return [*notes, _picture(alert, book, name), _ladder(book, _foremost(alert, book))]


def _picture(alert: Alert, book: Book, name: str) -> Plot:
    prices = _range(book)
    drawn = [leg for leg in book.legs if leg.price and prices[0] <= leg.price <= prices[1]]
    away = sum(leg.price > 0.0 for leg in book.legs) - len(drawn)
    heats, most = _heats(book, prices)
    traces = [*heats, *_quotes(book), *_trades(book.trades), *_orders(book, drawn), *_fills(book.fills)]
    times = alert.times
    lines, flags = figures.moments(times, height_px=HEIGHT_PX)
    window = {
        "type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "x0": times.event_start / 1e6,
        "x1": times.event_end / 1e6, "layer": "below", "fillcolor": inks.MARKED.light, "opacity": 0.35,
        "line": {"width": 0},
    }  # fmt: skip
    told = (
        f"The book of {book.instrument}, of {_TOLD[book.source]}: the darker, the more rested at a price, up to"
        f" {most:,.6g} units; best bid and ask as lines; {plural(len(book.trades), 'trade')}; shaded, the alert's"
        " window."
    )
    if book.account:
        told += (
            f" Of {book.account} {plural(len(book.legs), 'order')}, each a line from its placing or amendment to its"
            " end, thick where larger than what mostly rests at a price, with a cross where it was withdrawn, and"
            f" {plural(len(book.fills), 'fill')}, triangles up for buys and down for sells."
        )
        told += f" {plural(away, 'order')} of it lie outside of these prices." if away else ""
        if len(drawn) > MOST_DRAWN:
            told += f" Of {len(drawn):,} orders {MOST_DRAWN:,} are drawn, spread evenly."
    return Plot(
        name=f"{name}-book",
        figure=figures.figure(
            traces,
            y="price",
            xaxis={"type": "date", "range": [book.from_ns / 1e6, book.to_ns / 1e6]},
            yaxis={"range": list(prices)},
            shapes=[window, *lines],
            annotations=flags,
            margin={"t": 64, "l": 64, "r": 14, "b": 40},
            legend={"orientation": "h", "y": -0.16, "yanchor": "top", "x": 0},
        ),
        alt=told,
        height_px=HEIGHT_PX,
        table=_legs(book) if book.legs else None,
        group=f"{name}-time",
    )


def _range(book: Book) -> tuple[float, float]:
    """Return the prices that are shown: what was quoted and traded, and the account's orders not far from it."""
    quoted = [price for one in book.best for price in one[1:] if price]
    low, high = min(quoted), max(quoted)
    reach = _REACH * max(high - low, _tick(book.spells))
    own = [leg.price for leg in book.legs if leg.price and low - reach <= leg.price <= high + reach]
    traded = [one.price for one in (*book.trades, *book.fills)]
    low, high = min([low, *own, *traded]), max([high, *own, *traded])
    room = max(3.0 * _tick(book.spells), 0.05 * (high - low))
    return low - room, high + room


def _tick(spells: Sequence[Spell]) -> float:
    """Return the least distance of two levels, or what is hardly anything where there is one."""
    prices = np.unique([one.price for one in spells])
    apart = np.diff(prices)
    apart = apart[apart > 1e-9 * prices[-1]]
    return float(apart.min()) if len(apart) else float(1e-4 * prices[-1])


def _usual(book: Book) -> float:
    """Return what mostly rests at a level, units."""
    return float(np.median([one.size for one in book.spells]))


def _heats(book: Book, prices: tuple[float, float]) -> tuple[list[Any], float]:
    """Return what rested on each side as a heat map, and the size that is darkest."""
    tick = _tick(book.spells)
    height = tick * max(1, np.ceil((prices[1] - prices[0]) / (tick * MOST_BANDS)))
    first = round(prices[0] / tick) * tick - tick / 2
    bounds = first + height * np.arange(int(np.ceil((prices[1] - first) / height)) + 1)  # (band + 1,)
    edges = np.linspace(0, book.to_ns - book.from_ns, CELLS + 1).astype(np.int64) + book.from_ns  # (cell + 1,)
    sides = {side: depth([one for one in book.spells if one.side == side], edges, bounds) for side in _SIDES}
    most = max(float(held.max()) for held in sides.values())
    usual = min(0.5, _usual(book) / most) if most else 0.5
    names = {1: "bids", -1: "asks"}
    centres = figures.milliseconds((edges[:-1] + edges[1:]) // 2)
    heats = [
        go.Heatmap(
            z=figures.small(np.where(held > 0.0, held, np.nan)),
            x0=centres[0],
            dx=centres[1] - centres[0],
            y=(bounds[:-1] + bounds[1:]) / 2,
            zmin=0.0,
            zmax=most,
            colorscale=[[0.0, inks.GRID.light], [usual, inks.LINE.light], [1.0, inks.VOLUME.light]],
            showscale=False,
            hovertemplate="%{x|%H:%M:%S}, %{y:.10g}: %{z:,.4g} " + names[side] + "<extra></extra>",
        )
        for side, held in sides.items()
    ]
    return heats, most


def _quotes(book: Book) -> list[Any]:
    """Return the best prices as lines that break where a side is empty; evenly fewer where there are too many."""
    ends = [*(one.ts for one in book.best[1:]), book.to_ns]
    spans = list(zip(book.best, ends, strict=True))[:: -(-len(ends) // MOST_DRAWN)]
    at = figures.milliseconds([ns for best, end in spans for ns in (best.ts, end)])
    return [
        go.Scatter(
            x=at,
            y=np.repeat([price or np.nan for price in column], 2),
            mode="lines",
            name=label,
            line={"width": 1, "color": inks.PLAIN.light, "dash": dash},
            hoverinfo="skip",
        )
        for label, dash, column in (
            ("best bid", "solid", [best.bid for best, _ in spans]),
            ("best ask", "dot", [best.ask for best, _ in spans]),
        )
    ]


def _trades(trades: Sequence[Traded]) -> list[Any]:
    if not trades:
        return []
    shown = trades[:: -(-len(trades) // MOST_DRAWN)]
    label = "trades" if len(shown) == len(trades) else f"trades, one in {-(-len(trades) // MOST_DRAWN)}"
    return [
        go.Scatter(
            x=figures.milliseconds([one.ts for one in shown]),
            y=[one.price for one in shown],
            mode="markers",
            name=label,
            marker={"size": 5, "color": inks.TEXT.light, "opacity": 0.6},
            customdata=[one.size for one in shown],
            hovertemplate="%{x|%H:%M:%S.%L}: %{customdata:,.6g} at %{y:.10g}<extra>trade</extra>",
        )
    ]


def _orders(book: Book, legs: Sequence[Leg]) -> list[Any]:
    """Return the account's orders as lines, and a cross where one was withdrawn."""
    legs = legs[:: -(-len(legs) // MOST_DRAWN) or 1]
    usual = _usual(book)
    found = []
    for side, (verb, ink, _) in _SIDES.items():
        for large in (False, True):
            mine = [leg for leg in legs if leg.side == side and (leg.size > usual) == large]
            if not mine:
                continue
            spans = [(max(leg.from_ns, book.from_ns), leg.to_ns) for leg in mine]
            found.append(
                go.Scatter(
                    x=_gapped(figures.milliseconds(np.array(spans).ravel())),
                    y=_gapped(np.repeat([leg.price for leg in mine], 2)),
                    mode="lines",
                    name=f"its {verb} orders" + (", large" if large else ""),
                    line={"width": 6 if large else 3, "color": ink.light},
                    hovertext=[text for leg in mine for text in [_told(leg)] * 2 + [""]],
                    hoverinfo="text",
                )
            )
        gone = [leg for leg in legs if leg.side == side and leg.end in ("cancelled", "expired", "rejected")]
        if gone:
            found.append(
                go.Scatter(
                    x=figures.milliseconds([leg.to_ns for leg in gone]),
                    y=[leg.price for leg in gone],
                    mode="markers",
                    name=f"{verb} order withdrawn",
                    marker={"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": ink.light}},
                    hovertext=[_told(leg) for leg in gone],
                    hoverinfo="text",
                )
            )
    return found


def _gapped(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return pairs with a gap after each, so that they are lines of their own."""
    return np.insert(values, np.arange(2, len(values) + 1, 2), np.nan)


def _fills(fills: Sequence[Traded]) -> list[Any]:
    found = []
    shown = fills[:: -(-len(fills) // MOST_DRAWN) or 1]
    for side, (verb, ink, symbol) in _SIDES.items():
        mine = [one for one in shown if one.side == side]
        if mine:
            found.append(
                go.Scatter(
                    x=figures.milliseconds([one.ts for one in mine]),
                    y=[one.price for one in mine],
                    mode="markers",
                    name=f"its {verb}s filled",
                    marker={
                        "symbol": symbol,
                        "size": 18 if side > 0 else 11,  # of a trade with itself both are seen
                        "color": ink.light,
                        "line": {"width": 1.5, "color": inks.PANEL.light},
                    },
                    customdata=[one.size for one in mine],
                    hovertemplate="%{x|%H:%M:%S.%L}: %{customdata:,.6g} at %{y:.10g}<extra>its " + verb + "</extra>",
                )
            )
    return found


def _told(leg: Leg) -> str:
    verb = _SIDES[leg.side][0]
    filled = f", {leg.filled:,.6g} filled" if leg.filled else ""
    return (
        f"{verb} {leg.size:,.6g} at {leg.price:.10g}<br>{_fine(leg.from_ns)} to {_fine(leg.to_ns)}<br>{leg.end}{filled}"
    )


def _legs(book: Book) -> Table:
    return Table(
        caption=f"Orders of {book.account}",
        head=["from (UTC)", "to (UTC)", "stood", "side", "price", "size", "filled", "ended", "order"],
        rows=[
            [
                _fine(leg.from_ns),
                _fine(leg.to_ns),
                duration((leg.to_ns - leg.from_ns) / 1e9),
                _SIDES[leg.side][0],
                f"{leg.price:.10g}" if leg.price else "market",
                f"{leg.size:,.6g}",
                f"{leg.filled:,.6g}" if leg.filled else "",
                leg.end,
                str(leg.order),
            ]
            for leg in book.legs[:MOST_ROWS]
        ],
        numeric=frozenset({4, 5, 6}),
        more=f"… and {more:,} more, in what --book writes." if (more := len(book.legs) - MOST_ROWS) > 0 else "",
    )


def _foremost(alert: Alert, book: Book) -> int:
    """Return the moment at which most of the account rested, or at which the alert's cause was complete, ns."""
    resting = [leg for leg in book.legs if leg.price]
    began = [(max(leg.from_ns, book.from_ns), leg.size) for leg in resting]
    changes = sorted([*began, *((leg.to_ns, -leg.size) for leg in resting)])  # those that end come first
    if not changes:
        return min(alert.times.event_end, book.to_ns - 1)
    units = list(accumulate(size for _, size in changes))
    return changes[units.index(max(units))][0]


def _ladder(book: Book, ts: int) -> Table:
    """Return the best levels of a moment, highest price first."""
    levels = book.at(ts)
    asks = [one for one in levels if one.side < 0][:MOST_LEVELS]
    bids = [one for one in levels if one.side > 0][:MOST_LEVELS]
    own = [f"of it {book.account}"] if book.account else []
    head = ["price", "bids", *own, "asks", *own]
    rows = []
    for one in (*asks[::-1], *bids):
        told = [f"{one.size:,.6g}", f"{one.own:,.6g}" if one.own else ""][: 1 + len(own)]
        none = [""] * len(told)
        rows.append([f"{one.price:.10g}", *(told + none if one.side > 0 else none + told)])
    why = ", when most of the account's orders rested" if book.legs else ", when the cause was complete"
    return Table(
        caption=f"The book at {_fine(ts)}{why}, best {MOST_LEVELS} levels of each side",
        head=head,
        rows=rows,
        numeric=frozenset(range(len(head))),
    )


def _fine(ns: int) -> str:
    return clock(ns, "%H:%M:%S.%f")[:-3]
