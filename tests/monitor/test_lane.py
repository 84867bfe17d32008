"""One lane over logs in memory. A crash loses what its producer had not delivered, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple, cast
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from agents.flow import Arrival, Item, Settled
from engines.tracks import Embedding
from monitor import checkpoints, lane
from monitor.checkpoints import Loaded
from monitor.journal import FencedError, JournalWriter, valid_entries
from monitor.lane import Lane, LaneConfig, Output
from monitor.outbox import Outbox
from monitor.rulebook import NO_RULES, Rulebook, rank
from monitor.sequencer import SECOND_NS, Pending
from schemas.alerts import Alert, AlertEvent
from schemas.errors import BadMessage
from schemas.journal import Clock, Decides, Entry, Fallback, Ladder, Rules, Run
from schemas.records import DeadLetter, News, Review, Score, Signal
from tests.golden.examples import EXAMPLES

TOPICS = ("frames", "news")
S = 1_000_000_000
T0 = 1_790_000_000 * S
ALERT: Alert = next(cast(AlertEvent, example.record) for example in EXAMPLES if example.topic == "alerts").data


NEWS = News(ts_event=T0, ts_available=T0, instrument="A", document_id="d", headline="x", source="s", channel="news")


# The world outside the lane.


class Metadata(NamedTuple):
    offset: int


class Batch:
    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []

    def append(self, *, key: bytes, value: bytes | None, timestamp: int, headers: Any = ()) -> object:
        self.records.append((key, checkpoints.from_broker(value, headers)))
        return self

    def record_count(self) -> int:
        return len(self.records)


class Logs:
    """One partition of every topic that lanes write, and the offsets that they acknowledged."""

    def __init__(self) -> None:
        self.of: dict[str, list[tuple[bytes, bytes]]] = defaultdict(list)
        self.committed: dict[str, int] = dict.fromkeys(TOPICS, 0)

    def entries(self) -> list[Entry]:
        return valid_entries(((i, value) for i, (_, value) in enumerate(self.of["journal"])), -1)

    def alerts(self) -> list[str]:
        return [msgspec.json.decode(value, type=AlertEvent).id for _, value in self.of["alerts"]]

    def dead_letters(self) -> list[DeadLetter]:
        return [msgspec.json.decode(value, type=DeadLetter) for _, value in self.of["deadletters"]]

    async def load(self) -> Loaded:
        """Load the last checkpoint, and hold it against what the whole log says."""
        log = list(self.of["checkpoints"])

        async def read(start: int, end: int) -> AsyncIterator[tuple[int, bytes, bytes]]:
            for offset, (key, value) in enumerate(log[start:end], start):
                yield offset, key, value

        loaded, whole = [await checkpoints.load(read, len(log), start) for start in (None, 0)]
        assert msgspec.structs.replace(loaded, start=0) == whole
        return loaded

    def loaded(self) -> Loaded:
        return asyncio.run(self.load())


class Producer:
    """Delivers in order and some turns of the loop later; once dead, of what is on its way only a beginning arrives."""

    def __init__(self, logs: Logs, rng: random.Random) -> None:
        self._logs = logs
        self._rng = rng
        self._flying: deque[tuple[str, list[tuple[bytes, bytes]], asyncio.Future[Metadata]]] = deque()
        self.dead = False

    def _put(self, topic: str, records: list[tuple[bytes, bytes]]) -> asyncio.Future[Metadata]:
        future: asyncio.Future[Metadata] = asyncio.get_running_loop().create_future()
        if not self.dead:
            self._flying.append((topic, records, future))
            asyncio.get_running_loop().call_soon(self._later, self._rng.randrange(3))
        return future

    def _later(self, turns: int) -> None:
        if self.dead:
            return
        if turns:
            asyncio.get_running_loop().call_soon(self._later, turns - 1)
        elif self._flying:
            self._land()

    def _land(self) -> None:
        topic, records, future = self._flying.popleft()
        log = self._logs.of[topic]
        offset = len(log)
        log.extend(records)
        if not future.done():
            future.set_result(Metadata(offset))

    def die(self) -> None:
        for _ in range(self._rng.randint(0, len(self._flying))):
            self._land()
        self.dead = True

    async def send_and_wait(self, topic: str, value: bytes, *, partition: int, key: bytes) -> Metadata:
        return await self._put(topic, [(key, value)])

    async def send(self, topic: str, value: bytes, *, key: bytes, **_: Any) -> asyncio.Future[Metadata]:
        return self._put(topic, [(key, value)])

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Metadata]:
        return self._put(topic, batch.records)

    async def flush(self) -> None:
        while self._flying and not self.dead:
            await asyncio.sleep(0)


class Broker:
    """The consumer's side: inputs that are all there, fetched from what is acknowledged on."""

    def __init__(self, logs: Logs, inputs: Mapping[str, list[Pending]], producer: Producer) -> None:
        self._logs = logs
        self._inputs = inputs
        self._producer = producer
        self.fetched = dict(logs.committed)
        self._asked: dict[str, int] = {}
        self.stopped: set[str] = set()
        self.reached_end = True
        self.most = 3

    async def load_checkpoint(self, got_on: Callable[[], None]) -> Loaded:
        await asyncio.sleep(0)
        return await self._logs.load()

    async def read_journal(self, start: int, end: int, epoch: int) -> list[Entry]:
        await asyncio.sleep(0)
        return valid_entries([(i, v) for i, (_, v) in enumerate(self._logs.of["journal"])][start:end], epoch)

    async def read_alert_ids(self, start: int) -> tuple[set[str], int]:
        await asyncio.sleep(0)
        alerts = self._logs.alerts()
        return set(alerts[start:]), len(alerts)

    async def commit(self, offsets: Mapping[str, int]) -> bool:
        await asyncio.sleep(0)
        if not self._producer.dead:
            self._logs.committed |= offsets
        return True

    def seek(self, topic: str, offset: int) -> None:
        self._asked[topic] = offset

    def at_end(self, topic: str, next_offset: int) -> bool:
        return self.reached_end and next_offset >= len(self._inputs[topic])

    def flow(self, topic: str, on: bool) -> None:
        (self.stopped.discard if on else self.stopped.add)(topic)

    async def deliver(self, lane: Lane, rng: random.Random) -> None:
        """Push what comes, a few messages at a time, until cancelled."""
        while True:
            self.fetched |= self._asked
            self._asked.clear()
            for topic in TOPICS:
                if topic not in self.stopped and rng.random() < 0.2:
                    for message in self._inputs[topic][self.fetched[topic] :][: rng.randint(1, self.most)]:
                        self.fetched[topic] = message.offset + 1
                        lane.push(topic, message)
            await asyncio.sleep(0)


# What it does: a count a key, a chain over all that was applied, an alert at every third.


class Counted:
    def __init__(self, n: int = 0, chain: bytes = b"") -> None:
        self.n = n
        self.chain = chain

    def pack(self) -> bytes:
        return self.n.to_bytes(4, "big") + self.chain

    @staticmethod
    def unpack(data: bytes) -> Counted:
        return Counted(int.from_bytes(data[:4], "big"), data[4:])


async def counting(items: AsyncIterator[Item], table: Any, config: str = "") -> AsyncIterator[Output]:
    level = 0
    async for item in items:
        match item:
            case Ladder():
                level = item.level
            case Fallback() | Settled():
                pass
            case Clock():
                for key in sorted(table):
                    kept = table[key]
                    kept.chain = hashlib.sha256(kept.chain + b"clock%d" % item.now_ns).digest()
                    table[key] = kept
            case Arrival():
                kept = table.get(item.key) or Counted()
                kept.n += 1
                kept.chain = hashlib.sha256(
                    kept.chain + f"{item.topic}{item.offset}{item.ordinal}{level}".encode()
                ).digest()
                table[item.key] = kept
                yield Score(
                    ts_event=item.ts_available, ts_available=item.ts_available, instrument=item.key,
                    window_start=0, window_end=1, scores={"n": 0.5}, ages_ns={}, bundle="b",
                )  # fmt: skip
                yield Signal(
                    ts_event=item.ts_available, ts_available=item.ts_available, instrument=item.key,
                    window_start=0, window_end=1,
                )  # fmt: skip
                yield Review(
                    ts_event=item.ts_available, ts_available=item.ts_available, review_id=f"{item.key}-{kept.n}",
                    instrument=item.key, typology="x@1", window_start=0, window_end=1, score=0.25, threshold=0.5,
                    propensity=0.5, config="c",
                )  # fmt: skip
                if kept.n % 3 == 0:
                    name = f"{item.key}-{kept.n}-{kept.chain.hex()[:8]}{config}"
                    yield msgspec.structs.replace(ALERT, alert_id=name, episode_id=name)
            case _:
                raise AssertionError(item)


def inputs(rng: random.Random, n: int = 60) -> dict[str, list[Pending]]:
    """Return messages of two topics and three keys over some seconds; every tenth cannot be used."""
    made: dict[str, list[Pending]] = {topic: [] for topic in TOPICS}
    at = T0
    for number in range(n):
        at += rng.randrange(200_000_000)
        topic = rng.choice(TOPICS)
        key = rng.choice("ABC")
        news = News(
            ts_event=at, ts_available=at, instrument=key, document_id=str(number), headline="x", body="",
            source="s", channel="news",
        )  # fmt: skip
        bad = number % 10 == 9
        made[topic].append(
            Pending(
                len(made[topic]),
                "" if bad else key,
                0 if bad else at,
                None if bad else news,
                refusal=("not_json", "expected JSON") if bad else None,
                raw=(b"k", b"v"),
                sent_ms=at // 1_000_000,
            )
        )
    return made


def under(rules: Rules) -> Any:
    """Return what decides under rules: alerts bear their text."""
    return SimpleNamespace(decides=Decides("", "c" + rules.text), agent=partial(counting, config=f"-{rules.text}"))


class Life:
    """One worker's lane, from its start to its end."""

    def __init__(
        self,
        logs: Logs,
        messages: Mapping[str, list[Pending]],
        rng: random.Random,
        rulebook: Rulebook | None = None,
        **others: Any,
    ) -> None:
        self.rng = rng
        self.producer = Producer(logs, rng)
        self.broker = Broker(logs, messages, self.producer)
        producer = cast(Any, self.producer)
        config: dict[str, Any] = {
            "stage": "test", "partition": 0, "topics": TOPICS, "owner": "test", "decides": Decides("", "c"),
            "overtake_ns": 250_000_000, "checkpoint_interval_s": 1e-9, "ladder_down_s": 0.0,
            "wall": lambda: T0, "wall_moves_time": False, "unpack": Counted.unpack,
        }  # fmt: skip
        agent = cast(Any, partial(counting, config=others["decides"].config if "decides" in others else ""))
        self.lane = Lane(
            LaneConfig(**config | others),
            broker=self.broker,
            journal=JournalWriter(producer, "journal", 0),
            outbox=Outbox(producer, prefix="", source="/t/0", checkpoints="checkpoints", partition=0, wall=lambda: T0),
            agent=agent if rulebook is None else under(NO_RULES).agent,
            ruled=None if rulebook is None else under,
            rulebook=rulebook,
        )
        self.run = asyncio.ensure_future(self.lane.run())
        self.deliver = asyncio.ensure_future(self.broker.deliver(self.lane, rng))

    async def turns(self, n: int) -> None:
        for _ in range(n):
            await asyncio.sleep(0)

    async def crash(self) -> None:
        """End as kill -9 does: what the producer has not delivered is lost."""
        self.producer.die()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def finish(self, messages: int) -> None:
        """Apply everything and stop in order."""
        async with asyncio.timeout(60):
            while self.lane._ordinal < messages and not self.run.done():
                await asyncio.sleep(0.001)
            await self.lane.stop()
            await self.run
        self.deliver.cancel()


def undisturbed(messages: Mapping[str, list[Pending]], seed: int = 0) -> Logs:
    async def live() -> None:
        await Life(logs, messages, random.Random(seed)).finish(sum(map(len, messages.values())))

    logs = Logs()
    asyncio.run(live())
    return logs


def state(logs: Logs) -> dict[str, bytes]:
    return logs.loaded().states


async def test_a_checkpoint_that_takes_its_time_gets_on_while_records_come() -> None:
    life = Life(Logs(), {topic: [] for topic in TOPICS}, random.Random(0))
    got_on: list[bool] = []

    async def slowly(told: Callable[[], None]) -> Loaded:
        before_s = life.lane.status.progress_s
        told()
        got_on.append(life.lane.status.progress_s > before_s)
        return await Broker.load_checkpoint(life.broker, told)

    with patch.object(life.broker, "load_checkpoint", slowly):
        await life.finish(0)
    assert got_on == [True]


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), crashes=st.lists(st.integers(0, 250), max_size=5))
def test_a_lane_that_crashes_anywhere_says_everything_once(seed: int, crashes: list[int]) -> None:
    messages = inputs(random.Random(seed))
    logs, rng = Logs(), random.Random(seed + 1)

    async def live() -> None:
        for turns in crashes:
            life = Life(logs, messages, rng)
            await life.turns(turns)
            await life.crash()
        await Life(logs, messages, rng).finish(60)

    # States leave one by one, and every other checkpoint or so is full.
    with patch.object(lane, "PACKED_AT_ONCE", 1), patch.object(checkpoints, "RECORDS_MORE", 0):
        asyncio.run(live())
    whole = undisturbed(messages)
    assert logs.alerts() == whole.alerts()
    assert state(logs) == state(whole)
    assert logs.committed == {topic: len(messages[topic]) for topic in TOPICS}
    taken = [(step.topic, step.offset, step.count) for entry in logs.entries() for step in entry.steps
             if isinstance(step, Run)]  # fmt: skip
    for topic in TOPICS:
        assert [o for t, first, n in taken if t == topic for o in range(first, first + n)] == list(
            range(len(messages[topic]))
        )


def test_recovery_reads_a_few_records_a_key_however_long_one_was_busy() -> None:
    # Twenty instruments, all but one of which say nothing more.
    keys = [f"K{i}" for i in range(20)] + ["K0"] * 1_000
    messages = {"frames": [], "news": [Pending(i, key, T0 + i, NEWS) for i, key in enumerate(keys)]}
    with patch.object(checkpoints, "RECORDS_MORE", 0), patch.object(lane, "PACKED_AT_ONCE", 1):
        loaded = undisturbed(messages).loaded()
    assert len(loaded.states) == 20
    assert loaded.end > 300
    # Until a full one is due; it; and until it counts.
    assert loaded.end - loaded.start <= 2 * 20 + 2 + 21 + 2 * 5


@pytest.mark.parametrize("config", ["other", "c"])
def test_alerts_that_another_configuration_gives_other_ids_are_named(config: str) -> None:
    messages = inputs(random.Random(19))
    logs = Logs()

    async def live() -> tuple[list[str], list[Any]]:
        life = Life(logs, messages, random.Random(20), decides=Decides("", "c"))
        while not logs.committed["news"]:
            await asyncio.sleep(0)
        await life.crash()
        life = Life(logs, messages, random.Random(21), decides=Decides("", "c"), checkpoint_interval_s=1e9)
        before = len(logs.of["alerts"])
        while len(logs.of["alerts"]) < before + 3:
            await asyncio.sleep(0)
        await life.crash()
        sent = logs.alerts()
        with capture_logs() as logged:
            await Life(logs, messages, random.Random(22), decides=Decides("", config)).finish(60)
        return sent, [entry for entry in logged if entry["log_level"] == "warning"]

    sent, warnings = asyncio.run(live())
    if config == "c":
        assert not warnings
        return
    (warning,) = warnings
    assert "the decision configuration has changed" in warning["event"]
    assert (warning["was"], warning["now"]) == ("c", "other")
    assert warning["alerts"] == len(warning["alert_ids"]) >= 3
    assert set(warning["alert_ids"]) <= set(sent)
    assert {name.removesuffix("c") + "other" for name in warning["alert_ids"]} <= set(logs.alerts())


def test_an_effect_leaves_only_once_its_journal_entry_is_there() -> None:
    messages = inputs(random.Random(3))
    logs = Logs()

    async def live() -> None:
        life = Life(logs, messages, random.Random(4))
        applied = 0
        for _ in range(400):
            await asyncio.sleep(0)
            named = sum(s.count for e in logs.entries() for s in e.steps if isinstance(s, Run))
            said = len(logs.of["scores"]) + len(logs.of["deadletters"])
            assert said <= named
            applied = max(applied, said)
        assert applied
        await life.crash()

    asyncio.run(live())


def test_what_is_said_of_an_instrument_goes_under_its_key() -> None:
    messages = inputs(random.Random(3))
    logs = undisturbed(messages)
    good = sorted(message.key for topic in TOPICS for message in messages[topic] if message.value is not None)
    for topic, record in (("scores", Score), ("signals", Signal), ("reviews", Review)):
        found = [(key.decode(), msgspec.json.decode(value, type=record)) for key, value in logs.of[topic]]
        assert sorted(key for key, _ in found) == good
        assert all(one.instrument == key for key, one in found)


def test_a_checkpoint_names_what_it_includes() -> None:
    messages = inputs(random.Random(5))
    logs = undisturbed(messages)
    closing = logs.loaded().closing
    assert closing is not None
    assert closing.offsets == {topic: len(messages[topic]) for topic in TOPICS}
    assert closing.ordinal == 60
    assert closing.journal == len(logs.of["journal"])
    # Alerts that were on their way at that moment stand behind it, never before.
    assert closing.alerts <= len(logs.of["alerts"])


def test_a_refused_message_becomes_a_dead_letter_with_its_position() -> None:
    messages = inputs(random.Random(6))
    logs = undisturbed(messages)
    bad = [(topic, message.offset) for topic in TOPICS for message in messages[topic] if message.value is None]
    assert sorted((letter.topic, letter.offset) for letter in logs.dead_letters()) == sorted(bad)
    assert {letter.reason for letter in logs.dead_letters()} == {"not_json"}


def test_a_lane_that_was_replaced_says_nothing_more() -> None:
    messages = inputs(random.Random(7))
    logs = Logs()

    async def live() -> None:
        old = Life(logs, messages, random.Random(8))
        while not logs.of["alerts"]:
            await asyncio.sleep(0)
        new = Producer(logs, random.Random(9))
        await JournalWriter(cast(Any, new), "journal", 0).claim("new")
        before, said = len(logs.entries()), list(logs.of["alerts"])
        with pytest.raises(FencedError, match="another worker has taken the partition over"):
            await old.run
        assert len(logs.entries()) == before
        # What its last good entry covers may still arrive; of the void one, nothing.
        named = sum(s.count for e in logs.entries() for s in e.steps if isinstance(s, Run))
        assert len(logs.of["scores"]) + len(logs.of["deadletters"]) <= named
        assert logs.of["alerts"][: len(said)] == said
        old.deliver.cancel()

    asyncio.run(live())


def test_a_step_of_the_ladder_is_journalled_and_recovered() -> None:
    messages = inputs(random.Random(10))
    logs = Logs()

    async def live() -> None:
        life = Life(logs, messages, random.Random(11), ladder_down_s=10.0, wall=lambda: T0 + 3_600 * S)
        life.broker.reached_end = False  # the last messages of one topic wait for the other
        async with asyncio.timeout(60):
            while not any(isinstance(step, Ladder) for entry in logs.entries() for step in entry.steps):
                await asyncio.sleep(0.01)
        await life.crash()
        again = Life(logs, messages, random.Random(12))
        await again.finish(60)
        assert again.lane.status.level == 1

    asyncio.run(live())
    steps = [step for entry in logs.entries() for step in entry.steps if isinstance(step, Ladder)]
    assert [step.level for step in steps] == [1]
    assert "messages have waited for" in steps[0].reason


def test_a_back_ends_fall_is_journalled_and_changes_nothing_else() -> None:
    messages = inputs(random.Random(10))
    logs, quiet = Logs(), Logs()
    told = Fallback("text", "openvino", "onnxruntime-cpu", "the device is gone")

    async def live() -> None:
        life = Life(logs, messages, random.Random(11))
        life.lane.note(told)
        await life.finish(60)
        await Life(quiet, messages, random.Random(11)).finish(60)
        again = Life(logs, messages, random.Random(12))
        await again.finish(60)

    asyncio.run(live())
    assert [step for entry in logs.entries() for step in entry.steps if isinstance(step, Fallback)] == [told]
    assert logs.of["alerts"] == quiet.of["alerts"]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), turns=st.integers(0, 200), crash=st.none() | st.integers(0, 60))
def test_a_swap_is_told_by_the_journal_and_nothing_is_lost_or_told_twice(
    seed: int, turns: int, crash: int | None
) -> None:
    """The swap is asked for after some turns; where the worker crashes in it, the next begins with what it finds."""
    messages = inputs(random.Random(seed))
    logs, rng = Logs(), random.Random(seed + 1)
    old, new = Decides("old-bundle", "-old"), Decides("new-bundle", "-new")
    begun: list[int] = []

    def swap(life: Life) -> asyncio.Future[None]:
        agent = cast(Any, partial(counting, config=new.config))
        return life.lane.swap(new, agent, lambda: begun.append(life.lane._ordinal))

    async def live() -> None:
        life = Life(logs, messages, rng, decides=old)
        await life.turns(turns)
        over = swap(life)
        if crash is not None:
            await life.turns(crash)
            await life.crash()
            told = any(step == new for entry in logs.entries() for step in entry.steps)
            life = Life(logs, messages, rng, decides=new if told else old)
            over = asyncio.get_running_loop().create_future() if told else swap(life)
            if told:
                over.set_result(None)
        async with asyncio.timeout(60):
            await over
        await life.finish(60)

    with capture_logs() as logged:
        asyncio.run(live())
    assert not [entry for entry in logged if entry["log_level"] == "warning"]
    # The last time that the journal says so; a worker that starts says it too, and changes nothing by it.
    steps = [step for entry in logs.entries() for step in entry.steps]
    deciding = [step for step in steps if isinstance(step, Decides)]
    first = deciding.index(new)
    assert deciding[0] == old
    assert set(deciding[:first]) == {old}
    assert set(deciding[first:]) == {new}
    before = sum(step.count for step in steps[: steps.index(new)] if isinstance(step, Run))
    if begun:
        assert begun[-1] == before
    whole = undisturbed(messages)
    names = [name.rpartition("-") for name in logs.alerts()]
    assert [name for name, _, _ in names] == whole.alerts()
    assert [config for *_, config in names] == sorted((config for *_, config in names), reverse=True)
    assert state(logs) == state(whole)
    closing = logs.loaded().closing
    assert closing is not None
    assert closing.config == new.config


def published(*seconds: int) -> Rulebook:
    """Return rules "0", "1", … that are to take effect so many seconds after the first message."""
    book = Rulebook()
    for offset, second in enumerate(seconds):
        book.add(Rules(effective_ns=T0 + second * SECOND_NS, offset=offset, text=str(offset)))
    return book


def rules_run(logs: Logs) -> list[tuple[Rules, int, int]]:
    """Return the rules that the journal says took effect, with the latest time before and the earliest after, ns."""
    steps = [step for entry in logs.entries() for step in entry.steps if isinstance(step, Rules | Clock)]
    found = []
    for at, step in enumerate(steps):
        if isinstance(step, Rules):
            before = [one.now_ns for one in steps[:at] if isinstance(one, Clock)]
            after = [one.now_ns for one in steps[at:] if isinstance(one, Clock)]
            found.append((step, max(before, default=0), min(after, default=1 << 62)))
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    seconds=st.lists(st.integers(0, 7), min_size=1, max_size=3),
    crashes=st.lists(st.integers(0, 250), max_size=4),
)
def test_rules_take_effect_at_their_time_wherever_it_crashes(seed: int, seconds: list[int], crashes: list[int]) -> None:
    messages, book = inputs(random.Random(seed)), published(*seconds)
    logs, whole = Logs(), Logs()
    rng = random.Random(seed + 1)

    async def live() -> None:
        for turns in crashes:
            life = Life(logs, messages, rng, book)
            await life.turns(turns)
            await life.crash()
        await Life(logs, messages, rng, book).finish(60)

    async def once() -> None:
        await Life(whole, messages, random.Random(seed), book).finish(60)

    asyncio.run(once())
    with capture_logs() as logged:
        asyncio.run(live())
    assert not [entry for entry in logged if entry["log_level"] == "warning"]
    assert logs.alerts() == whole.alerts()
    assert state(logs) == state(whole)
    for told in (rules_run(logs), rules_run(whole)):
        for rules, before_ns, after_ns in told:
            assert before_ns < rules.effective_ns <= after_ns
        # Of two that are of one time, the one that was published last.
        assert [rules for rules, _, _ in told] == sorted(
            {book.at(rules.effective_ns) for rules, _, _ in told}, key=rank
        )
    last = logs.loaded().closing
    assert last is not None
    assert last.rules == book.at(max(last.clock_ns, last.rules.effective_ns))
    assert last.config == "c" + last.rules.text


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), turns=st.integers(0, 200), crash=st.none() | st.integers(0, 60))
def test_rules_that_come_late_take_effect_from_there_on_and_nothing_is_told_twice(
    seed: int, turns: int, crash: int | None
) -> None:
    messages, book = inputs(random.Random(seed)), Rulebook()
    logs, rng = Logs(), random.Random(seed + 1)

    async def live() -> None:
        life = Life(logs, messages, rng, book)
        await life.turns(turns)
        book.add(Rules(effective_ns=T0, offset=0, text="late"))
        life.lane.wake()
        if crash is not None:
            await life.turns(crash)
            await life.crash()
            life = Life(logs, messages, rng, book)
        await life.finish(60)

    asyncio.run(live())
    whole = undisturbed(messages)
    names = [name.rpartition("-") for name in logs.alerts()]
    assert [name for name, *_ in names] == whole.alerts()
    assert [text for *_, text in names] == sorted((text for *_, text in names))
    assert state(logs) == state(whole)
    assert len(rules_run(logs)) <= 1  # none where it was stopped before


def test_rules_that_a_worker_was_started_with_give_way_to_its_next_starts() -> None:
    messages = inputs(random.Random(5))
    logs = Logs()

    async def live() -> None:
        life = Life(logs, messages, random.Random(6), Rulebook(Rules(0, -1, "first")))
        while not logs.committed["news"]:
            await asyncio.sleep(0)
        await life.crash()
        await Life(logs, messages, random.Random(7), Rulebook(Rules(0, -1, "second"))).finish(60)
        await Life(logs, messages, random.Random(8), Rulebook()).finish(60)

    asyncio.run(live())
    assert [rules.text for rules, _, _ in rules_run(logs)] == ["first", "second", ""]


def test_rules_stay_in_effect_where_the_control_topic_lost_them() -> None:
    messages = inputs(random.Random(5))
    logs = Logs()

    async def live() -> None:
        await Life(logs, messages, random.Random(6), published(0)).finish(60)
        await Life(logs, messages, random.Random(7), Rulebook()).finish(60)

    asyncio.run(live())
    assert len(rules_run(logs)) == 1
    closing = logs.loaded().closing
    assert closing is not None
    assert closing.rules.text == "0"


def test_a_worker_that_starts_with_the_bundle_that_was_swapped_away_names_the_alerts() -> None:
    messages = inputs(random.Random(19))
    logs = Logs()
    old, new = Decides("a", "-old"), Decides("b", "-new")

    async def live() -> list[Any]:
        life = Life(logs, messages, random.Random(20), decides=old, checkpoint_interval_s=1e9)
        await life.lane.swap(new, cast(Any, partial(counting, config="-new")), lambda: None)
        before = len(logs.of["alerts"])
        while len(logs.of["alerts"]) < before + 3:
            await asyncio.sleep(0)
        await life.crash()
        with capture_logs() as logged:
            await Life(logs, messages, random.Random(22), decides=old).finish(60)
        return [entry for entry in logged if entry["log_level"] == "warning"]

    (warning,) = asyncio.run(live())
    assert (warning["was"], warning["now"]) == ("-new", "-old")
    assert all(name.endswith("-new") for name in warning["alert_ids"])


def test_a_lane_that_is_given_back_before_its_swap_ends_with_what_served() -> None:
    messages = inputs(random.Random(19))
    logs = Logs()

    async def live() -> bool:
        life = Life(logs, messages, random.Random(20))
        await life.turns(50)
        begun = life.lane.swap(Decides("b", "d"), cast(Any, counting), lambda: None)
        await life.lane.stop()
        await life.run
        life.deliver.cancel()
        return begun.done()

    assert not asyncio.run(live())
    closing = logs.loaded().closing
    assert closing is not None
    assert closing.config == "c"


def test_what_its_encoder_cannot_read_is_a_dead_letter_with_its_bytes() -> None:
    messages = inputs(random.Random(10))
    logs = Logs()
    broken = next(message for message in messages[TOPICS[0]] if message.value is not None)

    async def refuse() -> Embedding:
        raise BadMessage("bad_media", "expected a PNG file, found another")

    broken.ready, broken.embedding, broken.raw = lambda: True, refuse, (b"k", b"not a picture")

    async def live() -> None:
        await Life(logs, messages, random.Random(11)).finish(60)

    asyncio.run(live())
    (letter,) = [one for one in logs.dead_letters() if one.reason == "bad_media"]
    assert (letter.offset, letter.value, letter.detail[:8]) == (broken.offset, b"not a picture", "expected")


def test_a_late_fetch_from_before_the_assignment_loses_nothing() -> None:
    #   asked for   0 1 2 3 4 …
    #   comes       20 21 … (fetched before), then, asked again, 0 1 2 …
    messages = inputs(random.Random(13))
    logs = Logs()

    async def live() -> None:
        life = Life(logs, messages, random.Random(14))
        life.broker.fetched = {topic: min(20, len(messages[topic]) // 2) for topic in TOPICS}
        await life.finish(60)

    asyncio.run(live())
    assert state(logs) == state(undisturbed(messages))


def test_a_topic_whose_beginning_is_deleted_begins_where_it_does() -> None:
    messages = inputs(random.Random(15))
    logs = Logs()
    gone = 5

    class Shortened(Broker):
        def seek(self, topic: str, offset: int) -> None:
            super().seek(topic, max(offset, gone if topic == "news" else 0))

    async def live() -> None:
        life = Life(logs, messages, random.Random(16))
        life.broker.__class__ = Shortened
        life.broker.fetched["news"] = gone
        await life.finish(60 - gone)

    asyncio.run(live())
    first = next(s for e in logs.entries() for s in e.steps if isinstance(s, Run) and s.topic == "news")
    assert first.offset == gone


def test_a_slow_lane_holds_its_input_back() -> None:
    many = [Pending(i, "A", T0 + i, NEWS) for i in range(3_000)]
    logs, held = Logs(), 0

    async def live() -> None:
        nonlocal held
        life = Life(logs, {"frames": [], "news": many}, random.Random(17))
        life.broker.most = 100
        while life.lane._ordinal < 3_000:
            held = max(held, sum(map(len, life.lane.sequencer.buffers.values())))
            await asyncio.sleep(0)
        await life.finish(3_000)

    asyncio.run(live())
    assert held < 600
