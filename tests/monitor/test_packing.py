from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.packing import Ledger, OpenFrame, Packer, Wait
from schemas.frames import DTYPES, decode, encode
from schemas.records import BookUpdate, Cancel, Correction, Quote, Status, Tick, Trade

ACME = "ACME.XTOC"
_NAN = math.nan


def trade(instrument: str = ACME, ts: int = 1) -> Trade:
    return Trade(ts_event=ts, ts_available=ts + 1, instrument=instrument, price=10.0, size=2.0)


@pytest.mark.parametrize(
    ("tick", "row"),
    [
        (
            Trade(ts_event=1, ts_available=2, instrument=ACME, price=10.5, size=3.0, side="sell", trade_id="77"),
            (1, 2, 0, -1, 10.5, 3.0, _NAN, _NAN, _NAN, _NAN, 77),
        ),
        (
            Quote(ts_event=1, ts_available=2, instrument=ACME, bid=9.0, ask=9.5, bid_size=4.0, ask_size=5.0),
            (1, 2, 1, 0, _NAN, _NAN, 9.0, 9.5, 4.0, 5.0, 0),
        ),
        (
            BookUpdate(ts_event=1, ts_available=2, instrument=ACME, side="buy", price=9.0, size=0.0),
            (1, 2, 2, 1, 9.0, 0.0, _NAN, _NAN, _NAN, _NAN, 0),
        ),
        (
            Correction(
                ts_event=1, ts_available=2, instrument=ACME, price=10.0, size=3.0, original_price=100.0,
                original_size=30.0, trade_id="77",
            ),
            (1, 2, 3, 0, 10.0, 3.0, 100.0, _NAN, 30.0, _NAN, 77),
        ),
        (
            Cancel(ts_event=1, ts_available=2, instrument=ACME, price=10.0, size=3.0, trade_id="78"),
            (1, 2, 4, 0, 10.0, 3.0, _NAN, _NAN, _NAN, _NAN, 78),
        ),
        (
            Status(ts_event=1, ts_available=2, instrument=ACME, status="halted"),
            (1, 2, 5, 0, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, 0),
        ),
        (
            Status(ts_event=1, ts_available=2, instrument=ACME, status="trading"),
            (1, 2, 6, 0, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, 0),
        ),
    ],
)  # fmt: skip
def test_each_kind_of_tick_fills_its_columns(tick: Tick, row: tuple[float, ...]) -> None:
    frame = OpenFrame(ACME, 0.0, 40)
    frame.add(tick, 40)
    closed = frame.close()

    found = tuple(getattr(closed, name)[0].item() for name in DTYPES)
    np.testing.assert_equal(found, (*row, 40))
    assert len(decode(encode(closed), ACME.encode())) == 1


def test_a_frame_is_full_at_its_count_and_keeps_the_order_of_arrival() -> None:
    packer = Packer(max_ticks=3, busy_gap_s=0.02)
    assert packer.add(trade(ts=30), 5, 0.0, 5) is None
    assert packer.add(trade(ts=10), 7, 0.1, 7) is None
    full = packer.add(trade(ts=20), 8, 0.2, 8)

    assert full is not None
    frame = full.close()
    assert frame.ts_event.tolist() == [30, 10, 20]
    assert frame.source_offset.tolist() == [5, 7, 8]
    assert full.first_offset == 5
    assert packer.due_s(Wait(1.0, 1.0)) is None


def test_frames_are_taken_oldest_first_and_count_as_open_until_taken() -> None:
    packer = Packer(max_ticks=100, busy_gap_s=0.02)
    packer.add(trade("A.XTOC"), 1, 1.0, 1)
    packer.add(trade("B.XTOC"), 2, 2.0, 2)
    packer.add(trade("C.XTOC"), 3, 3.0, 3)
    packer.add(trade("A.XTOC"), 4, 4.0, 4)

    taken = packer.take_older(3.0, Wait(1.0, 1.0))
    assert next(taken).instrument == "A.XTOC"
    assert sorted(packer.first_offsets()) == [2, 3]
    assert next(taken).instrument == "B.XTOC"
    assert next(taken, None) is None
    assert packer.due_s(Wait(1.0, 1.0)) == 4.0


def test_frames_wait_where_the_next_tick_is_usually_soon_there() -> None:
    packer, wait, at_s = Packer(max_ticks=100, busy_gap_s=0.02), Wait(quiet_s=0.001, busy_s=0.02), 0.0
    sizes: dict[str, list[int]] = {"BUSY.XTOC": [], "QUIET.XTOC": []}
    for number in range(200):  # a tick every 8 ms, and one every 80 ms
        at_s = number * 0.008
        for frame in packer.take_older(at_s, wait):
            sizes[frame.instrument].append(len(frame.rows))
        packer.add(trade("BUSY.XTOC"), number, at_s, number)
        if number % 10 == 0:
            packer.add(trade("QUIET.XTOC"), number, at_s, number)
            assert packer.due_s(wait) <= at_s + wait.quiet_s or number == 0  # type: ignore[operator]
    assert set(sizes["QUIET.XTOC"]) == {1}
    assert set(sizes["BUSY.XTOC"][5:]) == {3}
    # The ticks stop coming closely: its frames no longer wait.
    for number in range(20):
        at_s += 0.5
        list(packer.take_older(at_s, wait))
        packer.add(trade("BUSY.XTOC"), 1_000 + number, at_s, 1_000 + number)
    assert packer.due_s(wait) == at_s + wait.quiet_s


def test_of_instruments_whose_ticks_have_ended_nothing_is_kept() -> None:
    packer = Packer(max_ticks=2, busy_gap_s=0.02)
    packer.add(trade(), 0, 0.0, 0)
    for number in range(1, 20_000):  # two a second, as options come and go
        packer.add(trade(f"S{number}.XTOC"), 2 * number, 0.5 * number, -1)
        packer.add(trade(f"S{number}.XTOC"), 2 * number + 1, 0.5 * number, -1)
    assert len(packer._pace) <= 2 * 601  # twice what came in five minutes, with the one that is still open
    assert packer.add(trade(), 40_000, 10_000.0, -1) is not None


def test_nothing_past_an_undelivered_sending_is_committed() -> None:
    ledger = Ledger()
    ledger.position = 20
    first, second = ledger.sent(5), ledger.sent(9)

    assert ledger.committable() == 5
    ledger.delivered(first)
    assert ledger.committable() == 9
    assert ledger.committable(open_offsets=[7, 12]) == 7
    ledger.delivered(second)
    assert ledger.committable() == 20


@given(
    st.lists(st.sampled_from(["A", "B", "C"]), min_size=1, max_size=60),
    st.integers(1, 5),
    st.data(),
)
def test_what_is_committed_has_been_delivered(names: list[str], max_ticks: int, data: st.DataObject) -> None:
    packer, ledger = Packer(max_ticks, busy_gap_s=2.0), Ledger()
    under_way: dict[int, list[int]] = {}
    delivered: set[int] = set()

    def send(frame: OpenFrame) -> None:
        under_way[ledger.sent(frame.first_offset)] = frame.close().source_offset.tolist()

    for offset, name in enumerate(names):
        full = packer.add(trade(name), offset, float(offset), offset)
        if full is not None:
            send(full)
        ledger.position = offset + 1
        if under_way and data.draw(st.booleans()):
            ticket = data.draw(st.sampled_from(sorted(under_way)))
            delivered.update(under_way.pop(ticket))
            ledger.delivered(ticket)
        if data.draw(st.integers(0, 4)) == 0:
            for frame in packer.take_older(float(offset), Wait(1.0, 3.0)):
                send(frame)
        assert set(range(ledger.committable(packer.first_offsets()))) <= delivered

    for frame in packer.take_older(float("inf"), Wait(1.0, 3.0)):
        send(frame)
    for ticket, offsets in under_way.items():
        delivered.update(offsets)
        ledger.delivered(ticket)
    assert ledger.committable(packer.first_offsets()) == len(names)
    assert delivered == set(range(len(names)))
