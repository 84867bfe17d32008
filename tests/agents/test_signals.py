"""Signals on lists and dicts: when they are told, what they say, and that no framing of the ticks changes a word."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import msgspec
import numpy as np
import pytest

from agents.flow import Arrival, Item
from agents.instrument import instrument
from engines.signals import SignalConfig
from schemas import codec
from schemas.frames import Frame, frame_of
from schemas.records import Signal, TranscriptSegment
from tests.agents.streams import BEGIN, KEY, S, arrivals, cut, engines, news, outputs

PERIOD = SignalConfig().horizon_ns


def told(items: Iterable[Item]) -> list[Signal]:
    return outputs(lambda feed: instrument(feed, {}, engines()), items, Signal)


@cache
def ticks(seed: int = 1, hours: float = 7.0) -> Frame:
    """Return a trade every ten seconds, a session and a little."""
    draw = np.random.default_rng(seed)
    n = int(hours * 360)
    ts = BEGIN + np.arange(n) * 10 * S
    price = 10.0 * np.exp(np.cumsum(draw.normal(0.0, 2e-4, n)))
    return frame_of(KEY, {"ts_event": ts, "ts_available": ts + 1_000_000, "price": price, "size": np.ones(n)})


@cache
def day() -> tuple[Signal, ...]:
    return tuple(told(arrivals(cut(ticks(), [50]), [(news(3_600), 0.9), (news(21_000, "d2"), 0.9)])))


def test_a_period_is_told_once_when_it_has_closed() -> None:
    closed = [signal for signal in day() if signal.window_end > signal.window_start]
    assert len(closed) == 7 * 12 - 1
    starts = [signal.window_start for signal in closed]
    assert starts == [starts[0] + n * PERIOD for n in range(len(starts))]
    for signal in closed:
        assert (signal.window_start % PERIOD, signal.window_end - signal.window_start) == (0, PERIOD)
        assert signal.window_end <= signal.ts_event < signal.ts_available
        assert signal.instrument == KEY
        assert signal.sector == "energy"


def test_the_forecast_comes_once_enough_were_tried_and_stands_until_the_next() -> None:
    known = [signal.forecast is not None for signal in day()]
    assert known == sorted(known)
    first = known.index(True)
    least = SignalConfig().least
    assert first == least + 1  # from the period after the first on, and a text in between
    text = next(n for n, signal in enumerate(day()) if n > first and signal.window_start == signal.window_end)
    assert day()[text].forecast == day()[text - 1].forecast != day()[text + 1].forecast
    # A trade in ten seconds varies by 2e-4: 30 of them by 1.1e-3, of which their range shows most.
    told = day()[-1].forecast
    assert told is not None
    assert 0.5e-3 < told.low < told.volatility < told.high < 2e-3
    assert told.made_at == day()[-1].ts_event
    assert 0.4 < told.p_up < 0.6
    assert 0.0 < told.p_adverse < 0.2


def test_a_text_is_told_at_once_with_what_is_new_of_it() -> None:
    one, other = (signal for signal in day() if signal.window_start == signal.window_end)
    assert (one.ts_event, one.ts_available) == (BEGIN + 3_600 * S, BEGIN + 3_600 * S)
    assert one.sentiment is not None
    assert other.sentiment is not None
    assert (one.sentiment.novelty, other.sentiment.novelty) == (None, 0.0)  # all of these have one vector
    assert (one.sentiment.texts, other.sentiment.texts) == (1, 1)
    after = next(signal for signal in day() if signal.ts_event > one.ts_event)
    assert after.sentiment is not None
    assert (after.sentiment.newest, after.sentiment.novelty) == (one.ts_event, None)
    assert day()[0].sentiment is None


def test_the_index_is_of_the_encoders_tone() -> None:
    items = arrivals([], [(news(0), 0.9), (news(60, "d2"), 0.9)])
    toned = []
    for item, tone in zip((item for item in items if isinstance(item, Arrival)), (0.8, -0.4), strict=True):
        assert item.embedding is not None
        toned.append(msgspec.structs.replace(item, embedding=msgspec.structs.replace(item.embedding, tone=tone)))
    found = [signal.sentiment for signal in told(toned)]
    assert [round(one.index, 3) for one in found if one] == [0.8, 0.2]


def test_a_text_that_is_heard_twice_is_told_once_and_a_call_like_news() -> None:
    first = arrivals([], [(news(0), 0.9)])
    arrival = first[-1]
    assert isinstance(arrival, Arrival)
    segment = TranscriptSegment(
        ts_event=BEGIN + S, ts_available=BEGIN + S, instrument=KEY, call_id="c", segment=1, text="We missed."
    )
    call = msgspec.structs.replace(arrival, topic="transcripts", value=segment, ts_available=BEGIN + S)
    assert len(told([*first, arrival, call])) == 2


@pytest.mark.parametrize("size", [1, 7, 500])
def test_no_framing_of_the_same_ticks_changes_a_signal(size: int) -> None:
    texts = [(news(3_600), 0.9), (news(21_000, "d2"), 0.9)]
    assert tuple(told(arrivals(cut(ticks(), [size]), texts))) == day()


@pytest.mark.parametrize("rows", [7, 500, 5_000])
def test_many_periods_in_one_frame_are_told_as_one_by_one(rows: int) -> None:
    def framed(rows: int) -> list[Signal]:
        parts = [ticks()[at : at + rows] for at in range(0, len(ticks()), rows)]
        return told(Arrival("frames", 0, n, KEY, BEGIN, n, part, bytes(32)) for n, part in enumerate(parts))

    assert framed(rows) == framed(1)
    assert sum(signal.forecast is not None for signal in framed(rows)) > 10


def test_what_is_told_can_be_read_back() -> None:
    for signal in day():
        value = codec.encode(signal)
        assert codec.decode("signals", KEY.encode(), value, signal.ts_available // 10**6) == signal
