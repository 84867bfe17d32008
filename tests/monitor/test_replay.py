"""Nothing that a replay says of a moment depends on what became known after it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from agents.flow import Arrival, Item
from monitor import kafka
from monitor.cli import app
from monitor.converters.messages import frame_messages, record_message
from monitor.errors import StartupError
from monitor.recordings import RANK, Message, Recording
from monitor.replay import broker, by_history, by_journal
from monitor.sequencer import JournalMismatchError
from monitor.settings import Settings
from monitor.state import StateTable
from monitor.worker import Stage
from schemas import codec, frames, journal
from schemas.alerts import Alert
from schemas.frames import Frame, frame_of
from schemas.journal import Claim, Decides, Entry, Ladder, Run
from schemas.records import News, Score, Signal, TranscriptSegment
from tests.golden.day import RECORDING
from tests.integration.daemon import stages

S = 1_000_000_000
T0 = 1_700_000_000 * S
DIRE = "{} collapses as fraud is admitted, trading to be suspended"


@cache
def day() -> tuple[Message, ...]:
    return tuple(Recording.open(RECORDING).messages())


def split(messages: Sequence[Message], t: int) -> tuple[list[Message], list[Message]]:
    """Cut the stream at ``t``: what was available before, and the rest. A frame is cut between its ticks."""
    before, after = [], []
    for message in messages:
        if message.ts_available < t:
            before.append(message)
        elif message.topic == "frames" and (n := int((frame := read(message)).ts_available.searchsorted(t))):
            before += frame_messages(frame[:n])
            after += frame_messages(frame[n:])
        else:
            after.append(message)
    return in_order(before), after


def in_order(messages: Sequence[Message]) -> list[Message]:
    return sorted(messages, key=lambda message: (message.ts_available, RANK[message.topic]))


def read(message: Message) -> Any:
    return codec.decode(message.topic, message.key, message.value, message.timestamp_ms)


def scrambled(rng: random.Random, messages: Sequence[Message], t: int) -> Iterator[Message]:
    """Yield another future of the same kind: other prices and words at other times, some lost, some malformed."""
    pace = rng.choice((0.1, 1.0, 2.0))
    for message in messages:
        fate = rng.random()
        if fate < 0.2:
            continue
        if fate < 0.25:
            yield replace(message, value=message.value[: len(message.value) // 2])
            continue
        record = read(message)
        if isinstance(record, Frame):
            columns = {name: getattr(record, name) for name in frames.DTYPES}
            times = {name: moved(columns[name], t, pace) for name in ("ts_event", "ts_available")}
            price = columns["price"] * rng.choice((0.5, 0.97, 1.0, 1.04, 1.5))
            side = np.full(len(record), rng.choice((-1, 1)), np.int8)
            yield from frame_messages(frame_of(record.instrument, {**columns, **times, "price": price, "side": side}))
            continue
        changes = {name: moved(getattr(record, name), t, pace) for name in ("ts_event", "ts_available")}
        if isinstance(record, News):
            changes |= {"headline": DIRE.format(record.instrument), "body": ""}
        elif isinstance(record, TranscriptSegment):
            changes |= {"text": DIRE.format(record.instrument)}
        yield record_message(message.topic, msgspec.structs.replace(record, **changes))


def moved(ts: Any, t: int, pace: float) -> Any:
    """Return times after ``t`` moved away from it or nearer."""
    if isinstance(ts, np.ndarray):
        return t + ((ts - t) * pace).astype(np.int64)
    return t + int((ts - t) * pace)


def said(messages: Sequence[Message]) -> tuple[list[Alert], list[Score | Signal]]:
    """Return the alerts of a stream, and its scores and signals."""
    scores: list[Score | Signal] = []
    instrument = stages().instrument

    async def agent(items: AsyncIterator[Item], table: StateTable[Any]) -> AsyncIterator[Any]:
        async for output in instrument.agent(items, table):
            if isinstance(output, Score | Signal):
                scores.append(output)
            yield output

    replayed = asyncio.run(by_history(messages, replace(stages(), instrument=replace(instrument, agent=agent))))
    return replayed.alerts, scores


@cache
def moments() -> list[int]:
    """Return when something was found, and the seconds after it, in which what follows is not settled yet."""
    found = {alert.times.available_at for alert in said(day())[0]}
    return sorted({at + after for at in found for after in (1, S // 2, 3 * S // 2, 12 * S)})


@pytest.mark.parametrize("seed", range(8))
def test_scrambling_everything_after_a_moment_changes_nothing_before_it(seed: int) -> None:
    rng = random.Random(seed)
    first, last = day()[0].ts_available, day()[-1].ts_available
    t = rng.choice(moments()) if seed % 2 else rng.randint(first, last)
    before, after = split(day(), t)
    other = list(scrambled(rng, after, t))
    assert min((message.ts_available for message in other), default=t) >= t
    alerts, scores = said([*before, *in_order(after)])
    other_alerts, other_scores = said([*before, *in_order(other)])
    assert [one for one in other_alerts if one.times.available_at < t] == [
        one for one in alerts if one.times.available_at < t
    ]
    assert [one for one in other_scores if one.ts_available < t] == [one for one in scores if one.ts_available < t]
    assert alerts != other_alerts or t > last - 600 * S


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
    monkeypatch.setattr("monitor.replay.kafka", broker)


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


def test_a_recording_is_replayed_with_one_bundle() -> None:
    result = CliRunner().invoke(app, ["replay", str(RECORDING), "--bundle", "a", "--bundle", "b"])
    assert result.exit_code == 2
    assert "A recording is replayed with one bundle" in result.stderr


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
