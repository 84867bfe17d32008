"""Order frames on the wire: what is written is read, what a row or a table of names may not hold is refused."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import frames, order_frames
from schemas.errors import BadMessage
from schemas.order_frames import DTYPES, FIELDS, Action, OrderFrame, of_events, order_frame_of
from schemas.records import OrderEvent

T = 1_700_000_000_000_000_000
ACME = b"ACME.XTOC"


def frame(n: int = 3, **columns: Any) -> OrderFrame:
    times = T + np.arange(n)
    given = {"ts_event": times, "ts_available": times, "side": np.ones(n), "order": np.arange(n), **columns}
    return order_frame_of("ACME.XTOC", given, ("a1", "a2"), ("t1",))


def written_by_arrow(orders: OrderFrame, **metadata: bytes) -> bytes:
    named = {
        b"instrument": ACME,
        b"accounts": msgspec.json.encode(orders.accounts),
        b"traders": msgspec.json.encode(orders.traders),
        b"version": b"1",
    } | {name.encode(): value for name, value in metadata.items()}
    schema = pa.schema(FIELDS, metadata=named)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([pa.array(getattr(orders, n)) for n in DTYPES], schema=schema))
    return sink.getvalue()


def same(one: OrderFrame, other: OrderFrame) -> bool:
    return (one.instrument, one.accounts, one.traders) == (other.instrument, other.accounts, other.traders) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in DTYPES
    )


NAMES = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=5)


@st.composite
def order_frames_of_any_rows(draw: st.DrawFn) -> OrderFrame:
    n = draw(st.integers(1, 20))
    accounts, traders = draw(NAMES), draw(NAMES)

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=n, max_size=n))

    whole, money = st.integers(0, 2**63 - 1), st.floats(0, 1e15)
    columns = {
        "ts_event": column(whole),
        "ts_available": column(whole),
        "action": column(st.sampled_from(Action)),
        "side": column(st.sampled_from([-1, 1])),
        "price": column(money),
        "size": column(money),
        "order": column(whole),
        "trade": column(whole),
        "account": column(st.integers(-1, len(accounts) - 1)),
        "trader": column(st.integers(-1, len(traders) - 1)),
    }
    return order_frame_of("ACME.XTOC", columns, accounts, traders)


@given(order_frames_of_any_rows())
def test_what_is_written_is_read(orders: OrderFrame) -> None:
    assert same(order_frames.decode(order_frames.encode(orders), ACME), orders)
    assert same(orders[:], orders)


@pytest.mark.parametrize("n", [1, 7, 8, 500, 10_000])
def test_the_encoder_writes_what_arrow_writes(n: int) -> None:
    assert order_frames.encode(frame(n)) == written_by_arrow(frame(n))


def test_a_frame_of_another_writer_is_read_with_its_metadata_in_any_order() -> None:
    value = written_by_arrow(frame(), writer=b"another")
    assert same(order_frames.decode(value, ACME), frame())


def test_a_slice_keeps_its_names() -> None:
    part = frame(5, account=[0, 1, 0, -1, 1])[2:]
    assert (len(part), part.account.tolist(), part.accounts) == (3, [0, -1, 1], ("a1", "a2"))


def event(**fields: Any) -> OrderEvent:
    base: dict[str, Any] = {"ts_event": T, "ts_available": T + 1, "instrument": "ACME.XTOC", "order_id": "o1"}
    return OrderEvent(**{**base, "action": "new", "side": "buy", "price": 5.0, "size": 2.0, **fields})


def test_events_become_rows_and_their_names_places_in_tables() -> None:
    orders = of_events(
        [
            event(order_id="12", account="b", trader="t"),
            event(order_id="12", action="fill", account="a", trade_id="9", side="sell"),
            event(order_id="12", action="expire", account="b"),
        ]
    )
    assert orders.action.tolist() == [Action.NEW, Action.FILL, Action.EXPIRE]
    assert (orders.order.tolist(), orders.trade.tolist(), orders.side.tolist()) == ([12] * 3, [0, 9, 0], [1, -1, 1])
    assert (orders.accounts, orders.account.tolist()) == (("b", "a"), [0, 1, 0])
    assert (orders.traders, orders.trader.tolist()) == (("t",), [0, -1, -1])


def test_events_of_several_instruments_or_none_are_no_frame() -> None:
    for events in ([], [event(), event(instrument="OTHER.XTOC")]):
        with pytest.raises(ValueError, match="one instrument"):
            of_events(events)


@pytest.mark.parametrize(
    ("columns", "reason", "told"),
    [
        ({"action": [0, 6, 0]}, "out_of_range", "action: expected 0 to 5, found 0 to 6"),
        ({"side": [1, 0, -1]}, "out_of_range", "side: expected -1 (sell) or +1 (buy)"),
        ({"side": [1, -128, -1]}, "out_of_range", "side: expected -1 (sell) or +1 (buy)"),
        ({"price": [5.0, float("nan"), 5.0]}, "not_finite", "price: expected finite numbers"),
        ({"price": [5.0, -1.0, 5.0]}, "out_of_range", "price: expected 0 to 1e+15, found -1 to 5"),
        ({"size": [5.0, -2.0, 5.0]}, "out_of_range", "size: expected 0 to 1e+21, found -2 to 5"),
        ({"size": [5.0, float("inf"), 5.0]}, "not_finite", "size: expected finite numbers"),
        ({"order": [1, -1, 1]}, "out_of_range", "order: expected 0 to 9.22337e+18, found -1 to 1"),
        ({"trade": [1, -7, 1]}, "out_of_range", "trade: expected 0 to 9.22337e+18, found -7 to 1"),
        ({"account": [0, 2, -1]}, "out_of_range", "account: expected -1 to 1, found -1 to 2"),
        ({"account": [0, -2, -1]}, "out_of_range", "account: expected -1 to 1, found -2 to 0"),
        ({"trader": [0, 1, -1]}, "out_of_range", "trader: expected -1 to 0, found -1 to 1"),
    ],
)
def test_a_row_that_says_what_cannot_be_is_refused(columns: dict[str, Any], reason: str, told: str) -> None:
    with pytest.raises(BadMessage) as caught:
        order_frames.decode(order_frames.encode(frame(**columns)), ACME)
    assert caught.value.reason == reason
    assert caught.value.detail.startswith(told)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"accounts": b"a1,a2"}, "bad_frame"),
        ({"accounts": b'["a1", 2]'}, "bad_frame"),
        ({"accounts": b'["\xff"]'}, "bad_frame"),
        ({"accounts": b'["a1", ""]'}, "out_of_range"),
        ({"traders": b'["' + b"t" * 129 + b'"]'}, "out_of_range"),
        ({"version": b"2"}, "bad_frame"),
        ({"instrument": b"OTHER.XTOC"}, "wrong_key"),
    ],
)
def test_metadata_that_say_what_cannot_be_are_refused(metadata: dict[str, bytes], reason: str) -> None:
    with pytest.raises(BadMessage) as caught:
        order_frames.decode(written_by_arrow(frame(), **metadata), ACME)
    assert caught.value.reason == reason


def test_a_frame_of_ticks_is_no_order_frame() -> None:
    ticks = frames.frame_of("ACME.XTOC", {"ts_event": [T], "ts_available": [T], "price": [5.0], "size": [1.0]})
    with pytest.raises(BadMessage, match=r"the columns of schemas\.order_frames\.FIELDS"):
        order_frames.decode(frames.encode(ticks), ACME)


@given(st.data())
def test_no_damage_makes_more_than_a_refusal(data: st.DataObject) -> None:
    value = bytearray(order_frames.encode(frame(8)))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(value)))
    try:
        read = order_frames.decode(bytes(value[:cut]), ACME)
    except BadMessage:
        return
    assert len(read) == 8
    assert -1 <= read.account.min() <= read.account.max() < len(read.accounts)
