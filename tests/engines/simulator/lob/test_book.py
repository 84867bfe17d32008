"""The matching engine: by price and then by time, nothing lost, never crossed."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.simulator.lob.book import Book, Order
from schemas.frames import Kind
from schemas.order_frames import Action

steps = st.lists(
    st.tuples(
        st.sampled_from(["new", "take", "market", "cancel", "amend"]),
        st.integers(0, 5),  # account
        st.sampled_from([1, -1]),
        st.integers(95, 105),  # ticks
        st.integers(1, 50),
        st.integers(0, 40),  # which order, of cancels and amendments
    ),
    max_size=80,
)


def played(script: list[tuple[str, int, int, int, int, int]]) -> tuple[Book, list[Order]]:
    book, orders = Book(), []
    for at, (verb, account, side, price, size, which) in enumerate(script):
        if verb in ("cancel", "amend"):
            if which < len(orders):
                if verb == "cancel":
                    book.cancel(at, orders[which])
                else:
                    book.amend(at, orders[which], price, size)
        else:
            price = 0 if verb == "market" else price
            orders.append(book.submit(at, account, side, price, size, rests=verb == "new"))
        assert not (book.best(1) and book.best(-1)) or book.best(1) < book.best(-1)
    return book, orders


@given(steps)
def test_no_unit_is_lost_and_no_number_given_twice(script: list[tuple[str, int, int, int, int, int]]) -> None:
    book, orders = played(script)
    numbers = [row.order for row in book.orders if row.action == Action.NEW]
    assert len(set(numbers)) == len(numbers) == len(orders)
    open_of: dict[int, int] = {}
    for row in book.orders:
        if row.action in (Action.NEW, Action.AMEND):
            open_of[row.order] = row.size
        elif row.action == Action.FILL:
            open_of[row.order] -= row.size
        else:
            assert open_of[row.order] == row.size
            open_of[row.order] = 0
        assert open_of[row.order] >= 0
    assert open_of == {order.number: order.open for order in orders}
    for side in (1, -1):
        resting = sum(order.open for order in orders if order.side == side)
        levels = book.side(side)
        assert sum(level.total for level in levels.levels.values()) == resting
        assert levels.keys == sorted(levels.levels)


@given(steps)
def test_each_trade_has_a_buyer_a_seller_and_a_tick(script: list[tuple[str, int, int, int, int, int]]) -> None:
    book, _ = played(script)
    fills = defaultdict(list)
    for row in book.orders:
        if row.action == Action.FILL:
            fills[row.trade].append((row.side, row.price, row.size))
    for one, other in fills.values():
        assert one[0] == -other[0]
        assert one[1:] == other[1:]
    ticks = {row.trade: (row.price, row.size) for row in book.ticks if row.kind == Kind.TRADE}
    assert ticks == {trade: rows[0][1:] for trade, rows in fills.items()}


@given(steps)
def test_levels_and_quotes_of_the_tape_are_those_of_the_book(script: list[tuple[str, int, int, int, int, int]]) -> None:
    book, _ = played(script)
    told: dict[tuple[int, int], int] = {}
    for row in book.ticks:
        if row.kind == Kind.BOOK:
            told[row.side, row.price] = row.size
    now = {(side, -side * key): level.total for side in (1, -1) for key, level in book.side(side).levels.items()}
    assert {place: size for place, size in told.items() if size} == now
    quotes = [row for row in book.ticks if row.kind == Kind.QUOTE]
    if book.best(1) and book.best(-1):
        assert (quotes[-1].bid, quotes[-1].ask) == (book.best(1), book.best(-1))
        assert (quotes[-1].bid_size, quotes[-1].ask_size) == (book.bids.top(1), book.asks.top(1))


def test_the_better_price_is_met_first_and_of_one_price_the_earlier_order() -> None:
    book = Book()
    late_but_better = [(1, 101, 5), (2, 100, 5), (3, 100, 5)]
    for at, (account, price, size) in enumerate(late_but_better):
        book.submit(at, account, -1, price, size)
    book.submit(9, 7, 1, 101, 12)
    met = [(row.account, row.price, row.size) for row in book.orders if row.action == Action.FILL and row.side < 0]
    assert met == [(2, 100, 5), (3, 100, 5), (1, 101, 2)]


@pytest.mark.parametrize(("price", "size", "first"), [(100, 3, 1), (100, 9, 2), (99, 5, 2)])
def test_an_amended_order_keeps_its_place_only_at_its_price_and_if_it_gets_smaller(
    price: int, size: int, first: int
) -> None:
    book = Book()
    amended = book.submit(0, 1, 1, 100, 5)
    book.submit(1, 2, 1, 100, 5)
    book.amend(2, amended, price, size)
    book.submit(3, 3, -1, 100, 1)
    assert next(row.account for row in book.orders if row.action == Action.FILL) == first


def test_nobody_trades_with_himself_but_who_may() -> None:
    book = Book()
    resting = book.submit(0, 1, -1, 100, 5)
    book.submit(1, 1, 1, 100, 5)
    assert (resting.open, resting.filled, book.best(1)) == (0, 0, 100)
    book.self_trading.add(1)
    taken = book.submit(2, 1, -1, 100, 5)
    assert taken.filled == 5


def test_what_is_to_be_filled_at_once_never_rests() -> None:
    book = Book()
    book.submit(0, 1, -1, 100, 5)
    order = book.submit(1, 2, 1, 100, 8, rests=False)
    assert (order.filled, order.open) == (5, 0)
    assert book.orders[-1].action == Action.EXPIRE
    assert book.orders[-1].size == 3
    assert book.best(1) == 0


def test_an_agreed_trade_stands_within_the_best_prices_and_moves_no_order() -> None:
    book = Book()
    book.submit(0, 1, 1, 99, 5)
    book.submit(0, 2, -1, 103, 5)
    book.cross(1, buyer=3, seller=4, price=101, size=1_000)
    assert (book.best(1), book.best(-1), book.ticks[-1].size) == (99, 103, 1_000)
    with pytest.raises(ValueError, match="at 99 to 103 ticks, found 104"):
        book.cross(2, buyer=3, seller=4, price=104, size=1)
