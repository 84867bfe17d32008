"""A partition's journal says what is applied, how far, and by which bundle."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agents.flow import Arrival, Item
from monitor import kafka
from monitor.errors import StartupError
from monitor.replay_journal import by_journal
from monitor.replay_logs import broker
from monitor.sequencer import JournalMismatchError
from monitor.settings import Settings
from monitor.state import StateTable
from monitor.worker import Stage
from schemas import codec, journal
from schemas.journal import Claim, Clock, Decides, Entry, Ladder, Run
from schemas.records import News, Score
from tests.integration.daemon import stages

S = 1_000_000_000
T0 = 1_700_000_000 * S


def serve(
    monkeypatch: pytest.MonkeyPatch, logs: dict[str, list[bytes]], seen: Callable[[str], None] = lambda _: None
) -> None:
    """Have replays read these topics, one partition each; ``seen`` is told of each message's topic."""

    @asynccontextmanager
    async def reader(_: Settings) -> AsyncIterator[None]:
        yield None

    async def end_offsets(_: None, topic: str, partitions: list[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, len(logs[topic]))

    async def read_partition(_: None, topic: str, partition: int, start: int, end: int) -> AsyncIterator[Any]:
        for offset in range(start, end):
            seen(topic)
            value = logs[topic][offset]
            yield SimpleNamespace(offset=offset, key=b"A.X", value=value, timestamp=T0 // 10**6, headers=())

    broker = SimpleNamespace(
        full_name=kafka.full_name, reader=reader, end_offsets=end_offsets, read_partition=read_partition
    )
    monkeypatch.setattr("monitor.replay_logs.kafka", broker)


async def test_what_came_late_is_said_of_its_time_and_nothing_of_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay to T0 + 3 s applies what was later too where something late came behind it, but says nothing of it."""
    steps: list[Any] = [
        Run("news", 2, 0),
        Clock(T0 + 3 * S),
        Run("news", 2, 2),
        Clock(T0 + 5 * S),
        Run("news", 1, 4),
    ]
    texts = [
        codec.encode(News(ts_event=at_ns, ts_available=at_ns, instrument="A.X", document_id=str(n), headline="x"))
        for n, at_ns in enumerate((T0, T0 + S, T0 + 4 * S, T0 + 2 * S, T0 + 5 * S))
    ]
    entries = [journal.encode(Claim("w")), journal.encode(Entry(0, 0, steps))]
    serve(monkeypatch, {"tocsin.news": texts, "tocsin.journal": entries})
    applied: list[int] = []

    async def agent(items: AsyncIterator[Item], table: StateTable[Any]) -> AsyncIterator[Any]:
        async for item in items:
            if isinstance(item, Arrival | Clock):
                ts = item.ts_available if isinstance(item, Arrival) else item.now_ns
                applied.append((ts - T0) // S)
                yield Score(ts_event=ts, ts_available=ts, instrument="A.X", window_start=ts, window_end=ts, scores={})

    stage = replace(stages().instrument, topics=("news",), agent=agent, encoders={})
    for until_ns, seen, scores in (
        (T0 + 3 * S, [0, 1, 3, 4, 2, 5], 3),
        (T0 + S, [0, 1, 3], 1),
        (T0 + 5 * S, [0, 1, 3, 4, 2, 5], 5),
        (0, [0, 1, 3, 4, 2, 5, 5], 7),
    ):
        applied.clear()
        replayed = await by_journal(broker(Settings()), stage, 0, until_ns=until_ns)
        assert (applied, replayed.scores) == (seen, scores)
        assert not until_ns or replayed.clock_ns < until_ns


async def test_a_replay_goes_on_with_the_bundle_that_the_journal_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which bundle judged which text, and what a later one finds of the earlier one's state."""
    steps: list[list[Any]] = [
        [Run("news", 1, 0)],  # 0.1.0 did not say whose
        [Decides("a", "c1")],
        [Run("news", 1, 1), Ladder(1, "much"), Run("news", 1, 2)],
        [Decides("b", "c2")],
        [Run("news", 1, 3)],
        [Decides("b", "c2")],
        [Run("news", 1, 4)],
        [Decides("a", "c1")],
        [Run("news", 1, 5)],
        [Decides("never", "c3")],
    ]
    texts = [
        codec.encode(News(ts_event=T0, ts_available=T0, instrument="A.X", document_id=str(n), headline="x"))
        for n in range(6)
    ]
    entries = [journal.encode(Entry(0, 0, found)) for found in steps]
    serve(monkeypatch, {"tocsin.news": texts, "tocsin.journal": [journal.encode(Claim("w")), *entries]})
    judged: list[tuple[str, str, str, int]] = []

    def of(bundle: str) -> Stage:
        async def agent(items: AsyncIterator[Item], table: StateTable[Any]) -> AsyncIterator[Any]:
            level = -1
            async for item in items:
                if isinstance(item, Ladder):
                    level = item.level
                if isinstance(item, Arrival):
                    assert isinstance(item.value, News)
                    judged.append((bundle, item.value.document_id, cast(Any, item.embedding), level))
                    table["seen"] = table.get("seen", 0) + 1
                yield item

        made = replace(stages().instrument, topics=("news",), agent=agent, decides=Decides(bundle, "c"))
        return replace(made, encoders={"text": lambda _: cast(Any, f"by {bundle}")})

    with pytest.raises(StartupError, match="says that bundle b decided part of it, given is a: name the folder"):
        await by_journal(broker(Settings()), of("a"), 0)
    with pytest.raises(StartupError, match="says that bundle a decided part of it, given is b: name the folder"):
        await by_journal(broker(Settings()), of("b"), 0)
    assert not judged
    replayed = await by_journal(broker(Settings()), of("a"), 0, others=[of("b")])
    assert [(bundle, document, level) for bundle, document, _, level in judged] == [
        ("a", "0", 0),
        ("a", "1", 0),
        ("a", "2", 1),
        ("b", "3", 1),
        ("b", "4", 1),
        ("a", "5", 1),
    ]
    assert all(embedding == f"by {bundle}" for bundle, _, embedding, _ in judged)
    assert replayed.messages == cast(Any, replayed.table["seen"]) == 6


async def test_a_replay_by_the_journal_reads_no_further_than_the_journal_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count, read, applied, ahead = 50, 0, 0, 0
    texts = [
        codec.encode(News(ts_event=T0, ts_available=T0, instrument="A.X", document_id=str(n), headline="x"))
        for n in range(count)
    ]
    runs = [journal.encode(Entry(0, n, [Run("news", 1, n)])) for n in range(count)]
    logs = {"tocsin.news": texts, "tocsin.journal": [journal.encode(Claim("w")), *runs]}

    def seen(topic: str) -> None:
        nonlocal read
        read += topic == "tocsin.news"

    serve(monkeypatch, logs, seen)

    async def agent(items: AsyncIterator[Item], _: StateTable[Any]) -> AsyncIterator[Any]:
        nonlocal applied, ahead
        async for item in items:
            if isinstance(item, Arrival):
                applied += 1
                ahead = max(ahead, read - applied)
            yield item

    stage = replace(stages().instrument, topics=("news",), agent=agent, encoders={})
    replayed = await by_journal(broker(Settings()), stage, 0)
    assert (replayed.messages, applied, ahead) == (count, count, 0)

    logs["tocsin.news"].pop()
    with pytest.raises(JournalMismatchError, match="names 1 messages of news from offset 49 on, the topic holds 0"):
        await by_journal(broker(Settings()), stage, 0)
