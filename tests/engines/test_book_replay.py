"""A rebuilt book is the book: at every moment what a naive count of the open orders gives, however frames are cut."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import book_replay
from engines.book_replay import Best, Spell, Traded, depth, of_orders, of_ticks, thinned
from schemas.frames import Frame, Kind, frame_of
from schemas.order_frames import Action, OrderFrame, order_frame_of

NEW, AMEND, CANCEL, FILL, REJECT, EXPIRE = Action
ACCOUNTS = ("fund", "maker")
END = 1_000


class Row(NamedTuple):
    ts: int
    action: Action
    order: int
    side: int
    price: float
    size: float
    account: int = 1
    trade: int = 0


def frame(rows: list[Row]) -> OrderFrame:
    ts, action, order, side, price, size, account, trade = zip(*rows, strict=True)
    columns = {"ts_event": ts, "ts_available": ts, "action": action, "order": order, "side": side, "price": price}
    return order_frame_of("ACME.XTOC", columns | {"size": size, "account": account, "trade": trade}, ACCOUNTS)


def rebuilt(*rows: Row, from_ns: int = 0, account: str = "fund") -> book_replay.Book:
    return of_orders([frame(list(rows))], account, from_ns, END)


def levels(book: book_replay.Book, ts: int) -> dict[tuple[int, float], tuple[float, float]]:
    return {(one.side, one.price): (one.size, one.own) for one in book.at(ts)}


def test_an_order_is_placed_amended_partly_filled_and_withdrawn() -> None:
    book = rebuilt(
        Row(10, NEW, 1, 1, 99.0, 5.0),
        Row(20, NEW, 2, 1, 99.0, 60.0, account=0),
        Row(30, AMEND, 2, 1, 98.0, 40.0, account=0),
        Row(40, FILL, 2, 1, 98.0, 15.0, account=0, trade=7),
        Row(50, CANCEL, 2, 1, 98.0, 25.0, account=0),
    )
    assert [levels(book, ts) for ts in (9, 10, 20, 30, 40, 50)] == [
        {},
        {(1, 99.0): (5.0, 0.0)},
        {(1, 99.0): (65.0, 60.0)},
        {(1, 99.0): (5.0, 0.0), (1, 98.0): (40.0, 40.0)},
        {(1, 99.0): (5.0, 0.0), (1, 98.0): (25.0, 25.0)},
        {(1, 99.0): (5.0, 0.0)},
    ]
    assert [tuple(leg) for leg in book.legs] == [
        (2, 1, 99.0, 60.0, 0.0, 20, 30, "amended"),
        (2, 1, 98.0, 40.0, 15.0, 30, 50, "cancelled"),
    ]
    assert book.fills == [Traded(40, 98.0, 15.0, 1, 2, 7)]
    assert book.trades == [Traded(40, 98.0, 15.0, trade=7)]


def test_an_order_that_crosses_trades_and_never_stands_on_the_other_side() -> None:
    book = rebuilt(
        Row(10, NEW, 1, -1, 101.0, 5.0),
        Row(10, NEW, 2, 1, 99.0, 5.0),
        Row(20, NEW, 3, 1, 101.0, 8.0, account=0),
        Row(20, FILL, 1, -1, 101.0, 5.0, trade=9),
        Row(20, FILL, 3, 1, 101.0, 5.0, account=0, trade=9),
    )
    assert book.best == [Best(10, 99.0, 101.0), Best(20, 101.0, 0.0)]
    assert levels(book, 20) == {(1, 101.0): (3.0, 3.0), (1, 99.0): (5.0, 0.0)}
    assert len(book.trades) == 1, "both sides of a trade are one trade"
    assert [one.side for one in book.fills] == [1]


def test_orders_at_the_markets_price_trade_and_do_not_rest() -> None:
    book = rebuilt(
        Row(10, NEW, 1, -1, 101.0, 5.0),
        Row(20, NEW, 2, 1, 0.0, 5.0, account=0),
        Row(20, FILL, 2, 1, 101.0, 5.0, account=0, trade=9),
        Row(20, FILL, 1, -1, 101.0, 5.0, trade=9),
    )
    assert [tuple(one) for one in book.spells] == [(-1, 101.0, 5.0, 0.0, 1, 10, 20)]
    assert [(leg.price, leg.filled, leg.end) for leg in book.legs] == [(0.0, 5.0, "filled")]


def test_what_was_placed_before_stands_and_what_was_never_placed_is_counted() -> None:
    book = rebuilt(
        Row(10, NEW, 1, 1, 99.0, 5.0, account=0),
        Row(20, CANCEL, 404, 1, 99.0, 5.0),
        Row(120, CANCEL, 404, 1, 99.0, 5.0),
        Row(130, NEW, 1, 1, 99.0, 5.0),
        from_ns=100,
    )
    assert [tuple(one) for one in book.spells] == [(1, 99.0, 5.0, 5.0, 1, 100, END)]
    assert [(leg.from_ns, leg.to_ns, leg.end) for leg in book.legs] == [(10, END, "open")]
    assert book.left_out == {"events of orders placed before": 1, "orders placed twice": 1}


def test_a_late_event_counts_as_of_the_newest_before_it() -> None:
    book = rebuilt(Row(50, NEW, 1, 1, 99.0, 5.0), Row(30, NEW, 2, 1, 98.0, 5.0))
    assert [(one.price, one.from_ns) for one in book.spells] == [(98.0, 50), (99.0, 50)]


def test_prices_alike_in_twelve_digits_are_one_level() -> None:
    book = rebuilt(Row(10, NEW, 1, 1, 100.27, 5.0), Row(20, NEW, 2, 1, 100.29 - 0.02, 5.0))
    assert levels(book, 20) == {(1, 100.27): (10.0, 0.0)}


@st.composite
def events(draw: st.DrawFn) -> list[Row]:
    rows, ts = list[Row](), 0
    for _ in range(draw(st.integers(1, 40))):
        ts += draw(st.integers(0, 20))
        action, side = draw(st.sampled_from(Action)), draw(st.sampled_from([1, -1]))
        price, size = draw(st.integers(0, 4)), draw(st.integers(1, 5))
        rows.append(
            Row(
                ts,
                action,
                draw(st.integers(1, 6)),
                side,
                price,
                size,
                draw(st.integers(-1, 1)),
                draw(st.integers(0, 9)),
            )
        )
    return rows


def naive(rows: list[Row], ts: int) -> dict[tuple[int, float], tuple[float, float]]:
    """Follow each order by itself, and count what is open at the end."""
    held: dict[int, Row] = {}
    for row in rows:
        if row.ts > ts:
            continue
        known = held.get(row.order)
        if row.action == NEW:
            held.setdefault(row.order, row)
        elif known is None:
            continue
        elif row.action == AMEND:
            held[row.order] = known._replace(price=row.price, size=row.size)
        elif row.action == FILL and known.size > row.size:
            held[row.order] = known._replace(size=known.size - row.size)
        else:
            del held[row.order]
    book: dict[tuple[int, float], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in held.values():
        if row.price:
            book[row.side, row.price][0] += row.size
            book[row.side, row.price][1] += row.size * (row.account == 0)
    return {level: (size, own) for level, (size, own) in book.items()}


@given(events(), st.integers(1, 40), st.integers(0, 100))
def test_every_moment_is_what_a_naive_count_gives_however_frames_are_cut(
    rows: list[Row], cut: int, from_ns: int
) -> None:
    parts = [frame(rows[at : at + cut]) for at in range(0, len(rows), cut)]
    book = of_orders(parts, "fund", from_ns, END)
    for ts in {from_ns, *(row.ts for row in rows if row.ts >= from_ns)}:
        expected = naive(rows, ts)
        assert levels(book, ts) == expected
        best = next((one for one in reversed(book.best) if one.ts <= ts), Best(0, 0.0, 0.0))
        assert best.bid == max((price for side, price in expected if side > 0), default=0.0)
        assert best.ask == min((price for side, price in expected if side < 0), default=0.0)
    for one, other in zip(book.spells, book.spells[1:], strict=False):
        assert from_ns <= one.from_ns <= other.from_ns
        assert one.from_ns < one.to_ns


def ticks(**columns: list[float]) -> Frame:
    return frame_of("ACME.XTOC", columns)


def test_of_quotes_the_best_of_each_side_stands_until_the_next() -> None:
    quotes = ticks(
        ts_event=[10, 15, 20], kind=[Kind.QUOTE, Kind.TRADE, Kind.QUOTE], bid=[9.0, np.nan, 10.0],
        ask=[11.0, np.nan, 11.0], bid_size=[3.0, np.nan, 4.0], ask_size=[5.0, np.nan, 6.0], price=[0.0, 9.5, 0.0],
        size=[0.0, 1.0, 0.0],
    )  # fmt: skip
    book = of_ticks([quotes], 12, END)
    assert book.source == "quotes"
    assert [(one.side, one.price, one.size, one.from_ns, one.to_ns) for one in book.spells] == [
        (1, 9.0, 3.0, 12, 20),
        (-1, 11.0, 5.0, 12, 20),
        (1, 10.0, 4.0, 20, END),
        (-1, 11.0, 6.0, 20, END),
    ]
    assert book.trades == [Traded(15, 9.5, 1.0)]


def test_of_updates_each_level_stands_as_last_told_and_none_is_better_than_the_best_quote() -> None:
    updates = ticks(
        ts_event=[10, 11, 20, 30], kind=[Kind.BOOK, Kind.BOOK, Kind.QUOTE, Kind.BOOK], side=[-1, -1, 0, -1],
        price=[11.0, 12.0, 0.0, 12.0], size=[5.0, 6.0, 0.0, 0.0], bid=[np.nan, np.nan, 11.0, np.nan],
        ask=[np.nan, np.nan, 11.5, np.nan], bid_size=[np.nan, np.nan, 1.0, np.nan],
        ask_size=[np.nan, np.nan, 2.0, np.nan],
    )  # fmt: skip
    book = of_ticks([updates], 0, END)
    assert book.source == "updates"
    assert [tuple(one) for one in book.spells] == [
        (-1, 11.0, 5.0, 0.0, 0, 10, 20),
        (-1, 12.0, 6.0, 0.0, 0, 11, 30),
        (1, 11.0, 1.0, 0.0, 0, 20, END),
        (-1, 11.5, 2.0, 0.0, 0, 20, END),
    ]


def test_nothing_told_is_an_empty_book() -> None:
    assert of_orders([], "fund", 0, END).source == of_ticks([], 0, END).source == ""


def test_too_many_changes_are_looked_at_in_steps_and_what_no_look_sees_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ms = 1_000_000
    spells = [Spell(1, 9.0, 1.0 + n, 0.0, 1, n * ms // 2, (n + 1) * ms // 2) for n in range(8)]
    assert thinned(spells, 8) == (spells, 0)
    seen, step_ns = thinned(spells, 4)
    assert step_ns == ms
    assert [(one.size, one.from_ns, one.to_ns) for one in seen] == [
        (1.0, 0, ms), (3.0, ms, 2 * ms), (5.0, 2 * ms, 3 * ms), (7.0, 3 * ms, 4 * ms),
    ]  # fmt: skip
    monkeypatch.setattr(book_replay, "MOST_SPELLS", 1)
    monkeypatch.setattr(book_replay, "MOST_LEGS", 2)
    book = rebuilt(*(Row(n, NEW, n + 1, 1, 1.0 + n, 5.0, account=0) for n in range(5)))
    assert len(book.spells) <= 1
    assert [leg.order for leg in book.legs] == [1, 4]
    assert book.left_out == {"levels between two looks": 5 - len(book.spells), "orders of the account": 3}


def test_depth_is_the_mean_over_a_cells_time_of_what_rested_in_a_band() -> None:
    spells = [Spell(1, 9.0, 4.0, 0.0, 1, 0, 10), Spell(1, 9.4, 8.0, 0.0, 1, 5, 15), Spell(1, 10.0, 2.0, 0.0, 1, 0, 20)]
    found = depth(spells, np.array([0, 10, 20]), np.array([8.5, 9.5, 10.5, 11.5]))
    assert found.tolist() == [[8.0, 4.0], [2.0, 2.0], [0.0, 0.0]]
