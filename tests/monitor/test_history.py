"""Frames are taken apart where something falls inside them, and nothing is read, or said, before it could be known."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from agents.flow import Arrival, Item
from monitor.converters.messages import frame_messages, record_message
from monitor.history import Given, History, LookAheadError, Place
from monitor.recordings import RANK, Message, Recording
from monitor.replay_history import Course, by_history
from monitor.state import StateTable
from schemas import codec
from schemas.alerts import Alert, Input, digest
from schemas.frames import DTYPES, Frame, frame_of
from schemas.journal import Clock
from schemas.order_frames import AnyFrame, order_frame_of
from schemas.records import News
from tests.golden import day
from tests.golden.day import RECORDING
from tests.integration import daemon
from tests.integration.daemon import stages

S = 1_000_000_000
T0 = 1_700_000_000 * S
TOPICS = ("frames", "orders", "news")


def frame(*seconds: float, instrument: str = "A.X") -> Message:
    ts = np.array([T0 + round(at * S) for at in seconds], np.int64)
    columns = {"ts_event": ts, "ts_available": ts, "price": np.full(len(ts), 5.0), "size": np.ones(len(ts))}
    (message,) = frame_messages(frame_of(instrument, columns), span_ns=10**15)
    return message


def news(at: float, instrument: str = "A.X") -> Message:
    ts = T0 + round(at * S)
    return record_message(
        "news", News(ts_event=ts, ts_available=ts, instrument=instrument, document_id=str(at), headline="x")
    )


def orders(*seconds: float, instrument: str = "A.X") -> Message:
    ts = np.array([T0 + round(at * S) for at in seconds], np.int64)
    columns = {"ts_event": ts, "ts_available": ts, "side": np.ones(len(ts)), "order": np.arange(len(ts))}
    (message,) = frame_messages(order_frame_of(instrument, columns), span_ns=10**15)
    return message


def shown(messages: Iterable[Message], waits: Callable[[str, int], bool] = lambda key, at: False) -> list[Any]:
    """Return what comes: a second of the clock, a text's moment, or the moments of a part of a frame."""
    found: list[Any] = []
    for item in History(messages, TOPICS, waits):
        if isinstance(item, Clock):
            found.append(("clock", (item.now_ns - T0) // S))
        elif isinstance(item.found.value, AnyFrame):
            found.append([round((at - T0) / S, 1) for at in item.found.value.ts_available.tolist()])
        else:
            found.append(round((item.found.ts_available - T0) / S, 1))
    return [item for item in found if item != ("clock", 0)]


def test_a_frame_is_sliced_where_a_text_of_its_instrument_falls_inside_it() -> None:
    assert shown([news(0.25), frame(0.1, 0.2, 0.3, 0.4), frame(0.5, 0.6)]) == [
        [0.1, 0.2],
        0.2,
        [0.3, 0.4],
        [0.5, 0.6],
    ]


def test_a_text_finds_the_ticks_of_its_own_moment() -> None:
    """As it finds a frame that ends with them: ties go by the topic's rank."""
    assert shown([news(0.2), frame(0.1, 0.2, 0.3)]) == [[0.1, 0.2], 0.2, [0.3]]
    assert shown([news(0.1), frame(0.1, 0.2)]) == [[0.1], 0.1, [0.2]]


def test_a_frame_of_orders_is_sliced_like_one_of_ticks() -> None:
    stream = [news(0.25), orders(0.1, 0.2, 0.3, 0.4), frame(0.15, 0.5)]
    assert shown(stream) == [[0.1, 0.2], [0.1], 0.2, [0.3, 0.4], [0.5]]
    stream = [orders(0.9, 1.0, 1.1), frame(0.8, 1.2)]
    assert shown(stream, lambda key, at: at == T0 + S) == [[0.8], [0.9], ("clock", 1), [1.0, 1.1], [1.2]]
    ns = T0 + round(0.25 * S)
    given = [i for i in History([orders(0.1, 0.3)], TOPICS, end_ns=ns) if isinstance(i, Given)]
    assert [(i.message.topic, i.found.ts_available - T0) for i in given] == [("orders", S // 10)]


def test_what_other_instruments_hear_leaves_a_frame_whole() -> None:
    assert shown([news(0.2, "B.X"), frame(0.1, 0.3)]) == [0.2, [0.1, 0.3]]


def test_several_texts_cut_several_frames_several_times() -> None:
    stream = [news(0.2), news(0.4), frame(0.1, 0.3, 0.5), frame(0.2, 0.6)]
    assert shown(stream) == [[0.1], [0.2], 0.2, [0.3], 0.4, [0.5], [0.6]]


def test_a_frame_is_sliced_at_a_second_only_where_its_instrument_waits_for_it() -> None:
    stream = [frame(0.9, 1.0, 1.1), frame(1.2, 2.1)]
    assert shown(stream) == [("clock", 1), [0.9, 1.0, 1.1], ("clock", 2), [1.2, 2.1]]
    assert shown(stream, lambda key, at: at == T0 + S) == [[0.9], ("clock", 1), [1.0, 1.1], ("clock", 2), [1.2, 2.1]]
    assert shown([frame(0.9, 3.1, 5.2)], lambda key, at: True) == [
        [0.9],
        ("clock", 3),
        [3.1],
        ("clock", 5),
        [5.2],
    ]


def test_a_lane_applies_frames_whole() -> None:
    found = list(History([news(0.2), frame(0.1, 0.3)], TOPICS, lambda key, at: True, sliced=False))
    assert [item.message.topic for item in found if isinstance(item, Given)] == ["news", "frames"]


def test_what_ends_too_late_is_cut_at_the_end() -> None:
    ns = T0 + round(0.25 * S)
    given = [i for i in History([news(0.2), frame(0.1, 0.3), news(0.4)], TOPICS, end_ns=ns) if isinstance(i, Given)]
    assert [(i.message.topic, i.found.ts_available - T0) for i in given] == [("frames", S // 10), ("news", S // 5)]


def test_a_stream_is_taken_up_where_it_was_left_within_frames_and_ties() -> None:
    torn = replace(frame(1.5, instrument="D.X"), value=b"torn")  # it moves no clock, and comes before the seam
    stream = [news(0.2), frame(0.1, 0.9), torn, frame(1.5, instrument="C.X"), frame(0.8, 1.5), news(1.5), news(2.0)]
    whole, items = History(stream, TOPICS, lambda key, at: True), []
    places: list[Place | None] = []
    clock_ns = 0
    for item in whole:
        if isinstance(item, Clock):
            places.append(whole.place(clock_ns))
            clock_ns = item.now_ns
        items.append(item)
    for place in places:
        assert place is not None
        rest = [message for message in stream if message.ts_available >= place.from_ns]
        again = list(History(rest, TOPICS, lambda key, at: True, since=place))
        left = items[len(items) - len(again) :]
        assert list(map(told, again)) == list(map(told, left))
    assert [(place.applied, place.begun) for place in places if place] == [(0, {}), (1, {1: 1}), (0, {})]
    assert whole.place(clock_ns) is None


def told(item: Any) -> tuple[object, ...]:
    if isinstance(item, Clock):
        return (item.now_ns,)
    value = item.found.value
    return item.message, item.first, item.last, value.ts_available.tolist() if isinstance(value, Frame) else value


def test_parts_say_which_is_the_first_and_which_the_last() -> None:
    given = [item for item in History([news(0.2), frame(0.1, 0.3)], TOPICS) if isinstance(item, Given)]
    assert [(item.message.topic, item.first, item.last) for item in given] == [
        ("frames", True, False),
        ("news", True, True),
        ("frames", False, True),
    ]
    assert len({item.found.sha256 for item in given if item.message.topic == "frames"}) == 1


def test_a_message_behind_a_later_one_is_named() -> None:
    early, late = replace(news(1.0), offset=7, partition=3), replace(news(2.0), offset=6)
    with pytest.raises(
        LookAheadError,
        match=rf"The message of A.X at news/3, offset 7, is available at {T0 + S} and stands behind .*offset 6,",
    ):
        list(History([late, early], TOPICS))
    assert len([*History([late, replace(early, topic="charts")], TOPICS)]) == 2  # what does not count is not read


def test_a_row_that_stands_before_its_record_was_available_is_named() -> None:
    with pytest.raises(LookAheadError, match=rf"news/0, offset -1, stands at {T0} and says .* at {T0 + S}"):
        list(History([replace(news(1.0), ts_available=T0)], TOPICS))


def test_an_alert_that_stands_on_what_came_after_it_is_an_error() -> None:
    """Were an agent to look ahead, the replay would say of which record."""
    messages = tuple(Recording.open(RECORDING).messages())
    instrument = stages().instrument

    async def agent(items: AsyncIterator[Item], table: StateTable[Any]) -> AsyncIterator[Any]:
        last: Arrival | None = None

        async def watched() -> AsyncIterator[Item]:
            nonlocal last
            async for item in items:
                last = item if isinstance(item, Arrival) and item.topic == "frames" else last
                yield item

        async for output in instrument.agent(watched(), table):
            if isinstance(output, Alert) and last is not None:
                seen = Input(topic=last.topic, partition=last.partition, offset=last.offset, sha256=last.sha256.hex())
                evidence = msgspec.structs.replace(output.evidence, inputs=[seen])
                times = msgspec.structs.replace(output.times, available_at=last.ts_available - 3600 * S)
                subject = msgspec.structs.replace(output.subject, instrument=last.key)
                yield msgspec.structs.replace(output, evidence=evidence, times=times, subject=subject)

    ahead = replace(stages(), instrument=replace(instrument, agent=agent))
    with pytest.raises(LookAheadError, match=r"Alert .* is available at \d+ and stands on frames/0, offset \d+, of"):
        asyncio.run(by_history(messages, ahead))


def reframed(messages: Iterable[Message], sizes: Iterator[int], span_ns: int) -> list[Message]:
    """Return a stream with its ticks packed anew."""
    ticks: dict[bytes, list[Frame]] = {}
    others = []
    for message in messages:
        if message.topic == "frames":
            read = codec.decode("frames", message.key, message.value, message.timestamp_ms)
            assert isinstance(read, Frame)
            ticks.setdefault(message.key, []).append(read)
        else:
            others.append(message)
    for frames in ticks.values():
        columns = {name: np.concatenate([getattr(one, name) for one in frames]) for name in DTYPES}
        whole, at = frame_of(frames[0].instrument, columns), 0
        while at < len(whole):
            size = next(sizes)
            others += frame_messages(whole[at : at + size], span_ns=span_ns)
            at += size
    return sorted(others, key=lambda message: (message.ts_available, RANK[message.topic]))


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "most", "span_s"), [(0, 1, 1), (1, 7, 1), (2, 100, 1), (3, 500, 50)])
def test_however_ticks_are_packed_a_day_rings_alike(seed: int, most: int, span_s: int) -> None:
    """Also where frames span a minute, with texts and the clock's seconds inside of them."""
    rng = random.Random(seed)
    sizes = iter(lambda: rng.randint(1, most), 0)
    messages = reframed(Recording.open(RECORDING).messages(), sizes, span_s * S)
    replayed = asyncio.run(by_history(messages, stages()))
    assert not replayed.dead_letters
    assert digest(day.settled(day.golden(replayed.alerts).alerts, day.stored().alerts)) == day.stored().digest


@pytest.mark.slow
def test_where_frames_are_applied_whole_the_same_rings_at_most_a_frames_span_later() -> None:
    """As lanes do: what docs/decisions/history-slices-frames.md says of live and history."""
    sliced, whole = (
        asyncio.run(by_history(daemon.day(), stages(), Course(sliced=one))).alerts for one in (True, False)
    )
    assert [alert.alert_id for alert in sliced] == [alert.alert_id for alert in whole]
    later = [b.times.available_at - a.times.available_at for a, b in zip(sliced, whole, strict=True)]
    assert all(0 <= ns < S for ns in later)
    assert 0 < sum(ns > 0 for ns in later) <= 2
