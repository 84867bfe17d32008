from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from monitor.rulebook import Rulebook
from monitor.settings import Settings
from monitor.worker import LaneBroker, Worker


class Source:
    """A consumer's side, as it is told to be: each topic's end, position, and how long ago its last fetch came back."""

    def __init__(self) -> None:
        self.ends: dict[str, int] = {}
        self.positions: dict[str, int] = {}
        self.ages_ms: dict[str, float] = {}

    def highwater(self, topic: str, partition: int) -> int | None:
        return self.ends.get(topic)

    def position(self, topic: str, partition: int) -> int | None:
        return self.positions.get(topic)

    def fetched_ms(self, topic: str, partition: int) -> float | None:
        return self.ages_ms.get(topic)

    async def commit(self, offsets: Mapping[tuple[str, int], int]) -> bool:
        return True

    async def seek(self, topic: str, partition: int, offset: int) -> None: ...

    def flow(self, topic: str, partition: int, on: bool) -> None: ...


STAGE = SimpleNamespace(name="instrument", topics=("frames", "news"), journal="journal", checkpoints="checkpoints")


def broker(source: Source, began_ago_s: float = 100.0) -> LaneBroker:
    made = LaneBroker(Settings(), source, cast(Any, STAGE), 0)
    made._flows_s = {topic: time.monotonic() - began_ago_s for topic in STAGE.topics}
    return made


def test_a_topic_is_silent_since_its_last_fetch_or_since_it_flows() -> None:
    source = Source()
    asked = broker(source)
    source.ages_ms = {"tocsin.frames": 20.0}
    unanswered_s = asked.unanswered_s()
    assert unanswered_s["frames"] == 0.02
    assert 100.0 <= unanswered_s["news"] < 101.0  # never answered


def test_a_topic_that_is_held_back_is_not_silent_and_has_time_when_it_flows_again() -> None:
    source = Source()
    asked = broker(source)
    source.ages_ms = {"tocsin.frames": 90_000.0, "tocsin.news": 5.0}
    asked.flow("frames", False)
    assert asked.unanswered_s() == {"news": 0.005}
    asked.flow("frames", True)
    assert asked.unanswered_s()["frames"] < 1.0


def test_what_a_lane_asks_the_broker_by_keeps_no_bundle_in_memory() -> None:
    assert not any(kept is STAGE for kept in vars(broker(Source())).values())


def lag(source: Source, received: int, buffered: int = 0) -> int:
    asked = broker(source)
    asked.last_push_s = dict.fromkeys(STAGE.topics, time.monotonic() - 5.0)
    buffers = {"frames": range(buffered), "news": ()}
    lane = SimpleNamespace(sequencer=SimpleNamespace(buffers=buffers, next_offset={"frames": received, "news": 0}))
    nobody = cast(Any, None)
    worker = Worker(
        Settings(), name="w", stage=cast(Any, STAGE), source=source,
        producer=nobody, pool=nobody, metrics=nobody, trace=None, rulebook=Rulebook(),
    )  # fmt: skip
    worker.lanes[0], worker._brokers[0] = cast(Any, lane), asked
    return worker.lag(0)


def test_what_stands_on_the_broker_and_in_the_lane_is_lag() -> None:
    source = Source()
    source.ends, source.positions = {"tocsin.frames": 10, "tocsin.news": 0}, {"tocsin.frames": 7, "tocsin.news": 0}
    assert lag(source, received=7, buffered=2) == 5


def test_markers_of_transactions_at_the_end_are_no_lag() -> None:
    source = Source()
    source.ends = source.positions = {"tocsin.frames": 10, "tocsin.news": 0}
    assert lag(source, received=9) == 0


async def test_before_a_seek_is_done_a_topic_that_was_read_to_its_end_is_not_at_it() -> None:
    source, sought = Source(), asyncio.Event()
    asked = broker(source)
    source.ends = source.positions = {"tocsin.frames": 10}
    asked.last_push_s["frames"] = time.monotonic() - 60.0
    assert asked.at_end("frames", 0)  # what is missing was deleted, or a transaction's marker

    async def seek(topic: str, partition: int, offset: int) -> None:
        await sought.wait()

    source.seek = seek  # type: ignore[method-assign]
    asked.seek("frames", 0)
    assert not asked.at_end("frames", 0)
    sought.set()
    await asyncio.sleep(0.01)
    assert not asked.at_end("frames", 0)  # what the seek brings is on its way
    assert asked.at_end("frames", 10)
