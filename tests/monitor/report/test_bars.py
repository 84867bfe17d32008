"""Bars of a recording's frames: few enough to draw, and the same however the ticks were framed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.recordings import Message
from monitor.report import bars
from monitor.report.bars import gather
from schemas import codec
from schemas.frames import Kind, frame_of

SECOND_NS = 10**9
START_NS = 1_741_012_200 * SECOND_NS  # 2025-03-03 14:30 UTC


def trades(rows: list[tuple[float, float, float]], instrument: str = "ACME.XTOC", kind: Kind = Kind.TRADE) -> Message:
    """Return a frame of (second, price, size); of quotes the price is the bid, 2 below the ask."""
    ts = [START_NS + int(second * SECOND_NS) for second, _, _ in rows]
    price, size = [price for _, price, _ in rows], [size for _, _, size in rows]
    columns = {"ts_event": ts, "ts_available": ts, "kind": [kind] * len(rows)}
    if kind == Kind.QUOTE:
        columns |= {"bid": price, "ask": [p + 2 for p in price], "bid_size": size, "ask_size": size}
    else:
        columns |= {"price": price, "size": size}
    value = codec.encode(frame_of(instrument, columns))
    return Message("frames", instrument.encode(), value, ts[-1], max(ts), max(ts) // 10**6 + 1)


def found(messages: list[Message], seconds: int = 60) -> dict[str, bars.Bars]:
    return gather(messages, ["ACME.XTOC", "BOREAL.XTOC"], START_NS, START_NS + seconds * SECOND_NS)


def test_a_bar_holds_low_high_close_and_volume_of_its_second() -> None:
    one = found([trades([(0.1, 5.0, 1), (0.5, 7.0, 2), (0.9, 6.0, 3), (2.0, 4.0, 8)])])["ACME.XTOC"]
    assert one.width_ns == SECOND_NS
    assert ((one.start - START_NS) / SECOND_NS).tolist() == [0, 2]
    assert (one.low.tolist(), one.high.tolist(), one.close.tolist()) == ([5, 4], [7, 4], [6, 4])
    assert one.volume.tolist() == [6, 8]
    assert not one.quoted


def test_a_late_trade_closes_no_bar_of_a_later_one() -> None:
    one = found([trades([(0.9, 6.0, 1)]), trades([(0.2, 9.0, 1)])])["ACME.XTOC"]
    assert (one.close.tolist(), one.high.tolist()) == ([6], [9])


def test_what_lies_outside_the_range_and_other_instruments_are_left_out() -> None:
    held = [trades([(-1.0, 5.0, 1), (1.0, 6.0, 1), (60.0, 7.0, 1)]), trades([(1.0, 8.0, 1)], "OTHER.XTOC")]
    assert {name: one.close.tolist() for name, one in found(held).items()} == {"ACME.XTOC": [6]}


def test_where_nothing_is_traded_bars_are_of_the_middle_of_quotes() -> None:
    one = found([trades([(1.0, 9.0, 5), (1.5, 11.0, 5)], kind=Kind.QUOTE)])["ACME.XTOC"]
    assert one.quoted
    assert (one.low.tolist(), one.high.tolist(), one.volume.tolist()) == ([10], [12], [0])
    both = found([trades([(1.0, 9.0, 5)], kind=Kind.QUOTE), trades([(2.0, 3.0, 1)])])["ACME.XTOC"]
    assert (both.quoted, both.close.tolist()) == (False, [3])


def test_a_message_that_is_no_frame_is_passed_over() -> None:
    broken = Message("frames", b"ACME.XTOC", b"no frame", START_NS, START_NS, START_NS // 10**6 + 1)
    assert found([broken, trades([(1.0, 6.0, 1)])])["ACME.XTOC"].close.tolist() == [6]


@pytest.mark.parametrize("seconds", [3_000, 86_400, 40 * 86_400])
def test_bars_are_few_however_long_the_range_and_lose_no_volume(seconds: int) -> None:
    draw = np.random.default_rng(seconds)
    at = np.sort(draw.uniform(0, seconds - 1, 9_000))
    one = found([trades([(float(s), 5.0 + float(s) / seconds, 2.0) for s in at])], seconds)["ACME.XTOC"]
    assert 100 < len(one) <= bars.MOST_BARS
    assert one.volume.sum() == 18_000
    assert (np.diff(one.start) >= one.width_ns).all()
    assert (one.start % one.width_ns == 0).all()


rows = st.lists(
    st.tuples(st.integers(0, 5_900), st.integers(1, 9), st.integers(1, 5)),
    min_size=1,
    max_size=60,
    unique_by=lambda r: r[0],
)


@given(rows, st.integers(1, 7), st.integers(1, 40))
def test_any_framing_gives_the_same_bars(held: list[tuple[int, int, int]], size: int, batch: int) -> None:
    ticks = [(at / 100, float(price), float(volume)) for at, price, volume in held]
    whole = found([trades(ticks)])["ACME.XTOC"]
    bars.BATCH, usual = batch, bars.BATCH
    try:
        cut = found([trades(ticks[at : at + size]) for at in range(0, len(ticks), size)])["ACME.XTOC"]
    finally:
        bars.BATCH = usual
    for name in ("start", "low", "high", "close", "volume"):
        assert getattr(cut, name).tolist() == getattr(whole, name).tolist()


def test_the_price_at_a_moment_is_that_of_its_bar_or_of_the_last_before() -> None:
    one = found([trades([(10.0, 5.0, 1), (20.0, 6.0, 1)])])["ACME.XTOC"]
    assert [one.price_at(START_NS + s * SECOND_NS) for s in (0, 10, 15, 20, 50)] == [5, 5, 5, 6, 6]
