"""Replay: the daemon's own agents over what was, in the journal's order where there is one.

`by_journal` reads one partition's journal and topics from the broker and applies what the journal says from the very
beginning: what comes out is what a worker that never failed would have sent. `by_history` takes a recording that was
never run live, in canonical order, the clock moving once a second of available time; what the instrument stage tells
the market's is put into canonical order too. `accounts_of` does so for the account stage, which hears of no other.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import Executor
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import msgspec

from agents.flow import SHED_AT, Item, Said, Scored, Ticked, Value, modality_of
from agents.state import InstrumentState
from engines import episodes
from engines.typologies import TypologySpec
from monitor import kafka
from monitor.arrivals import arrival, dead_letter, header_texts, pending
from monitor.errors import StartupError
from monitor.history import BEGINNING, HORIZON_NS, History, Place, Witness
from monitor.journal import read_journal
from monitor.pseudonyms import Pseudonyms
from monitor.recordings import Message
from monitor.rulebook import NO_RULES, Rulebook
from monitor.sequencer import SECOND_NS, JournalMismatchError, Pending, Sequencer, Taken
from monitor.settings import Settings
from monitor.stage import Stages
from monitor.state import State, StateTable
from monitor.worker import Stage
from schemas import codec
from schemas.alerts import Alert, AlertEvent
from schemas.errors import BadMessage
from schemas.frames import Frame
from schemas.journal import Clock, Decides, Ladder, Rules, Run, Step
from schemas.order_frames import AnyFrame
from schemas.records import DeadLetter, Drift, News, Opening, Score, Signal
from schemas.topics import INSTRUMENT_INPUTS, MARKET, MARKET_INPUTS

_event = msgspec.json.Decoder(AlertEvent)
#: Offset, key, value, Kafka's timestamp in ms, headers: as `monitor.arrivals.pending` takes them.
Read = tuple[int, bytes, bytes, int, dict[str, str]]
Log = Callable[[str, int], AsyncGenerator[Read, None]]


#: Topics whose messages can change what is said.
HEARD = (*INSTRUMENT_INPUTS, *MARKET_INPUTS)
Beat = Callable[[int], Awaitable[None]]


async def breathe(_: int) -> None:
    """Let others run: a replay shares its event loop with a progress bar, and with Ctrl-C."""
    await asyncio.sleep(0)


class Sink(Protocol):
    """Takes what a replay says while it says it, so that nothing but alerts need be held."""

    def begin_stage(self) -> None:
        """Take notice that another stage, or another partition, speaks from here on: time begins again."""

    def take(self, output: object) -> None:
        """Take an output of a stage's agents, whatever it is."""

    def refuse(self, letter: DeadLetter) -> None:
        """Take a dead letter."""


@dataclass(slots=True)
class Replayed:
    """What a replay gave; ``table`` holds the state of every key at the end.

    Where there is a ``sink``, dead letters are its own; ``refusals`` counts them by topic and reason. ``first_ns`` and
    ``last_ns`` are the least and the greatest ``ts_available`` of what was applied, ns; ``elsewhere_s`` is the CPU time
    of other processes that found it.
    """

    sink: Sink | None = None
    alerts: list[Alert] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    scores: int = 0
    signals: int = 0
    drift: list[Drift] = field(default_factory=list)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    messages: int = 0
    by_topic: Counter[str] = field(default_factory=Counter)
    ticks: int = 0
    first_ns: int = 0
    last_ns: int = 0
    clock_ns: int = 0
    elsewhere_s: float = 0.0
    table: StateTable[State] = field(default_factory=StateTable)
    witness: Witness | None = None

    def add(self, other: Replayed) -> None:
        """Add what another partition, or the next stage, gave; its state is left where it is."""
        self.alerts += other.alerts
        self.dead_letters += other.dead_letters
        self.openings += other.openings
        self.scores += other.scores
        self.signals += other.signals
        self.drift += other.drift
        self.refusals += other.refusals
        self.messages += other.messages
        self.ticks += other.ticks
        self.by_topic += other.by_topic
        self.first_ns = min(self.first_ns or other.first_ns, other.first_ns or self.first_ns)
        self.last_ns = max(self.last_ns, other.last_ns)
        self.clock_ns = max(self.clock_ns, other.clock_ns)
        self.elsewhere_s += other.elsewhere_s

    def refuse(self, letter: DeadLetter) -> None:
        """Take a dead letter."""
        self.refusals[letter.topic, letter.reason] += 1
        if self.sink is None:
            self.dead_letters.append(letter)
        else:
            self.sink.refuse(letter)


async def _drive(stage: Stage, items: AsyncIterator[Item], replayed: Replayed, until_ns: int = 0) -> Replayed:
    sink = replayed.sink
    async for output in stage.agent(items, replayed.table):
        if until_ns and _available_ns(output) >= until_ns:
            continue
        if sink is not None:
            sink.take(output)
        if isinstance(output, Alert):
            if replayed.witness is not None:
                replayed.witness.check(output, HEARD)
            replayed.alerts.append(output)
        elif isinstance(output, Score):
            replayed.scores += 1
        elif isinstance(output, Signal):
            replayed.signals += 1
        elif isinstance(output, Drift):
            replayed.drift.append(output)
        elif isinstance(output, Opening):
            replayed.openings.append(output)
    return replayed


def _available_ns(output: object) -> int:
    """Return when the first of what an agent says was available, ns; 0 where that has no time of its own."""
    if isinstance(output, Alert):
        return output.times.available_at
    if isinstance(output, Said):
        return output.ts_available
    if isinstance(output, Scored):
        return int(output.track.ts_available.min(initial=2**63 - 1))
    if isinstance(output, Ticked):
        return min((int(track.ts_available.min(initial=2**63 - 1)) for track in output.update.tracks), default=0)
    return 0


async def _item(
    stage: Stage, taken: Taken, partition: int, level: int, replayed: Replayed, *, again: bool = False
) -> Item | None:
    message, ordinal = taken.message, replayed.messages
    if not again:
        replayed.messages += 1
        replayed.by_topic[taken.topic] += 1
    if message.ts_available:
        replayed.first_ns = min(replayed.first_ns or message.ts_available, message.ts_available)
        replayed.last_ns = max(replayed.last_ns, message.ts_available)
    embedding = None
    if message.value is not None:
        if isinstance(message.value, Frame):
            replayed.ticks += len(message.value)
        modality = modality_of(message.value)
        encode = stage.encoders.get(modality)
        if encode is not None and level < SHED_AT[modality]:
            try:
                embedding = await message.embedding() if message.embedding else encode(message.value)
            except BadMessage as refusal:
                message.refuse(refusal)
    if message.value is None:
        replayed.refuse(dead_letter(taken, partition))
        return None
    if replayed.witness is not None:
        replayed.witness.note(taken.topic, message, partition)
    return arrival(taken, partition, ordinal, embedding, again=again)


async def by_journal(
    log: Log,
    stage: Stage,
    partition: int,
    *,
    others: Sequence[Stage] = (),
    sink: Sink | None = None,
    progress: Callable[[int], None] | None = None,
    wanted: Callable[[str], bool] | None = None,
    until_ns: int = 0,
    beat: Beat = breathe,
) -> Replayed:
    """Apply a partition's journal from its beginning; everything it names must still be in its topics.

    Topics are read as far as the journal has come, each apart from the others; messages of topics that the stage does
    not hear are passed over. Where the journal says that another bundle decides, the stage of that bundle goes on over
    the same state, as it did live.

    Parameters
    ----------
    log
        Reads a partition of a topic from its beginning.
    stage
        The stage, with the bundle that decides where the journal does not say which (0.1.0 did not write it).
    others
        The same stage with other bundles.
    progress
        Is told how many messages were applied since it was last told.
    wanted
        Keys whose messages are applied; the others are passed over. All, if None.
    until_ns
        What was available from then on is not said; 0: all is. What came late is applied where it came, among what was
        later, so the journal is followed as far as it names something of before.
    beat
        Is awaited at each clock entry, with the clock, ns.

    Raises
    ------
    JournalMismatchError
        A topic has lost messages that the journal names, or the journal its beginning or entries.
    StartupError
        The journal names a bundle that is not among those of the stages.
    """
    replayed = Replayed(sink)
    if sink is not None:
        sink.begin_stage()
    sequencer = Sequencer(stage.topics, overtake_ns=0)
    async with AsyncExitStack() as stack:

        async def opened(topic: str) -> AsyncGenerator[Read, None]:
            return await stack.enter_async_context(aclosing(log(topic, partition)))

        steps: Sequence[Step] = await steps_of(log, stage, partition)
        if until_ns:
            steps = _until(steps, until_ns, await _last_before(log, stage.topics, partition, until_ns, wanted))
        stretches = _stretches(steps, stage, others)
        unread = {topic: await opened(topic) for topic in stage.topics}
        level = 0
        last_ns = (until_ns - 1) // SECOND_NS * SECOND_NS if until_ns else 2**63 - 1

        async def items(deciding: Stage, stretch: Iterable[Step]) -> AsyncIterator[Item]:
            nonlocal level
            yield Ladder(level, "as it was")
            for step in stretch:
                if isinstance(step, Run):
                    if step.topic not in unread:
                        continue
                    while not sequencer.has(step):
                        message = await anext(unread[step.topic], None)
                        if message is None:
                            raise JournalMismatchError(
                                f"the journal names {step.count} messages of {step.topic} from offset {step.offset}"
                                f" on, the topic holds {len(sequencer.buffers[step.topic])} of them"
                            )
                        if wanted is None or wanted(message[1].decode("utf-8", "replace")):
                            sequencer.push(step.topic, pending(step.topic, *message))
                        else:
                            sequencer.push(step.topic, Pending(message[0], "", 0, None))
                    for taken in sequencer.follow(step):
                        if taken.message.value is None and taken.message.refusal is None:
                            continue  # not wanted
                        item = await _item(deciding, taken, partition, level, replayed)
                        if item is not None:
                            yield item
                    if progress is not None:
                        progress(step.count)
                elif not isinstance(step, Decides | Rules):
                    level = step.level if isinstance(step, Ladder) else level
                    if isinstance(step, Clock):
                        replayed.clock_ns = max(replayed.clock_ns, min(step.now_ns, last_ns))
                    yield step
                    if isinstance(step, Clock):
                        await beat(step.now_ns)

        for deciding, stretch in stretches:
            await _drive(deciding, items(deciding, stretch), replayed, until_ns)
        return replayed


async def steps_of(log: Log, stage: Stage, partition: int) -> list[Step]:
    """Return all that the journal of a stage's partition says.

    Raises
    ------
    JournalMismatchError
        The journal has lost its beginning, or entries.
    """
    async with aclosing(log(stage.journal, partition)) as journal:
        return [step for entry in await read_journal(_whole(stage.journal, journal), -1) for step in entry.steps]


def under(stage: Stage, rules: Rules) -> Stage:
    """Return a stage as it decides under rules that were in effect.

    Raises
    ------
    StartupError
        They cannot be followed here.
    """
    try:
        return stage.under(rules)
    except ValueError as error:
        raise StartupError(
            f"Rules that were in effect in the {stage.name} stage cannot be followed here ({error}): set labels as they"
            " were, or use the version that made the alerts."
        ) from error


async def _whole(topic: str, journal: AsyncIterator[Read]) -> AsyncIterator[tuple[int, bytes]]:
    """Yield offsets and values of a journal, of which nothing may be missing: without its claim an entry is void."""
    expected = 0
    async for offset, _, value, *_ in journal:
        if offset != expected:
            raise JournalMismatchError(f"{topic} lacks its offsets {expected} to {offset - 1}")
        expected += 1
        yield offset, value


async def _last_before(
    log: Log, topics: Iterable[str], partition: int, until_ns: int, wanted: Callable[[str], bool] | None
) -> dict[str, int]:
    """Return of each topic the offset of the last message of which something was available before a moment."""
    last = {}
    for topic in topics:
        async with aclosing(log(topic, partition)) as reads:
            async for read in reads:
                if wanted is not None and not wanted(read[1].decode("utf-8", "replace")):
                    continue
                found = pending(topic, *read)
                first_ns = found.ts_available
                if isinstance(found.value, AnyFrame):
                    first_ns = int(found.value.ts_available.min(initial=first_ns))
                if found.value is not None and first_ns < until_ns:
                    last[topic] = found.offset
    return last


def _until(steps: Sequence[Step], until_ns: int, last: Mapping[str, int]) -> Sequence[Step]:
    """Return the steps up to the first clock by which all is said of the time before a moment.

    ``last`` holds the offset of each topic's last message of before.
    """
    named = -1
    for number, step in enumerate(steps):
        if isinstance(step, Run) and step.offset <= last.get(step.topic, -1):
            named = number
    for number, step in enumerate(steps):
        if number > named and isinstance(step, Clock) and step.now_ns >= until_ns:
            return steps[: number + 1]
    return steps


def _stretches(steps: Iterable[Step], stage: Stage, others: Sequence[Stage]) -> list[tuple[Stage, list[Step]]]:
    """Return the steps cut where another bundle or other rules decide, each stretch with what does."""
    known = {one.decides.bundle: one for one in (*others, stage)}
    cut: list[tuple[str, Rules, list[Step]]] = [(stage.decides.bundle, NO_RULES, [])]
    for step in steps:
        bundle, rules, found = cut[-1]
        if isinstance(step, Rules):
            cut.append((bundle, step, []))
        elif isinstance(step, Decides) and step.bundle not in ("", bundle):
            cut.append((step.bundle, rules, [step]))
        else:
            found.append(step)
    # One that only said that it would decide decided nothing.
    cut = [one for one in cut if any(not isinstance(step, Decides) for step in one[2])]
    if missing := sorted({bundle for bundle, _, _ in cut} - known.keys()):
        raise StartupError(
            f"The journal of the {stage.name} stage says that bundle {', '.join(missing)} decided part of it, given is"
            f" {', '.join(sorted(known))}: name the folder of each by a --bundle of its own (`tocsin models"
            " fetch` brings one from a registry)."
        )
    return [(under(known[bundle], rules), found) for bundle, rules, found in cut]


class Partitioned(Protocol):
    """A recording that holds whole partitions."""

    def partition(self, topic: str, partition: int) -> Iterable[Message]:
        """Return the messages of one partition in order of offset."""
        ...


def broker(settings: Settings) -> Log:
    """Return what reads the messages of a partition that are on the broker now, with pseudonyms for accounts."""
    names = Pseudonyms.of(settings)

    async def read(topic: str, partition: int) -> AsyncGenerator[Read, None]:
        name = kafka.full_name(settings.prefix, topic)
        async with kafka.reader(settings) as consumer:
            end = (await kafka.end_offsets(consumer, name, [partition]))[partition]
            async for r in kafka.read_partition(consumer, name, partition, 0, end):
                key, value = r.key or b"", r.value or b""
                if names is not None:
                    key, value = names.for_recording(topic, key, value, r.timestamp)
                yield r.offset, key, value, r.timestamp, header_texts(r.headers)

    return read


def recorded(recording: Partitioned) -> Log:
    """Return what reads the messages of a partition as a recording holds them."""

    async def read(topic: str, partition: int) -> AsyncGenerator[Read, None]:
        for m in recording.partition(topic, partition):
            yield m.offset, m.key, m.value, m.timestamp_ms, header_texts(m.headers)

    return read


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How history is gone through.

    Parameters
    ----------
    end_ns
        What is available from then on is left out, of a frame its ticks; 0: nothing.
    until_ns
        Where time goes on to at the end, in whole seconds: what was left out may have moved it.
    sliced
        False: frames are applied whole, as a lane does that gets all in this order; nothing is then held against the
        times of what it stands on.
    beat
        Is awaited at each second of the instrument stage's clock, with the clock, ns.
    level
        The level of the ladder at which all of it is replayed (`schemas.journal.Ladder`).
    pool
        Where texts, charts and sound are encoded ahead of their turn; in turn, by this thread, if None. What comes of
        them is the same.
    since
        Where the messages begin, if something was applied before: they are given from its ``from_ns`` on.
    stop_ns
        The clock before which to stop, in whole seconds; 0 at the end of the messages. They may, and for frames that
        span it must, go on beyond it.
    """

    end_ns: int = 0
    until_ns: int = 0
    sliced: bool = True
    beat: Beat = breathe
    level: int = 0
    pool: Executor | None = None
    since: Place = BEGINNING
    stop_ns: int = 0


async def by_history(
    messages: Iterable[Message],
    stages: Stages,
    course: Course = Course(),
    *,
    sink: Sink | None = None,
    market: bool = True,
) -> Replayed:
    """Apply messages in the order in which they are given, time moving with their ``ts_available``.

    What is returned is the instrument stage's, with, where ``market`` says that the stages hear what is of no single
    instrument, what the account stage makes of the transfers among the messages (they are kept until then) and the
    market stage's alerts; ``sink`` hears all three, one after the other.

    Raises
    ------
    LookAheadError
        A message, or an alert, comes before what it stands on.
    """
    replayed = Replayed(sink)
    transfers: list[Message] = []
    heard = _putting_aside(messages, stages.account.topics, transfers) if market else messages
    await instruments(heard, stages, replayed, course)
    if market:
        await accounts_of(transfers, replayed, stages, end_ns=course.end_ns, level=course.level)
        await market_of(replayed, stages)
    return replayed


def _putting_aside(messages: Iterable[Message], topics: Collection[str], aside: list[Message]) -> Iterator[Message]:
    for message in messages:
        if message.topic in topics:
            aside.append(message)
        else:
            yield message


async def instruments(messages: Iterable[Message], stages: Stages, replayed: Replayed, course: Course) -> Place | None:
    """Do what `by_history` does for the instrument stage, or for a part of the stream.

    Parameters
    ----------
    replayed
        What is found is added to it; its ``table`` holds the states at the place where the messages begin.

    Returns
    -------
    Where it stopped; None at the end of the messages.
    """
    return await _history(messages, stages.instrument, replayed, stages.specs, stages.rulebook, course)


async def accounts_of(
    messages: Iterable[Message], replayed: Replayed, stages: Stages, *, end_ns: int = 0, level: int = 0
) -> None:
    """Have the account stage hear its inputs, time going on to where it is, and add what comes of it."""
    found = Replayed(replayed.sink)
    course = Course(end_ns=end_ns, until_ns=replayed.clock_ns, level=level)
    await _history(messages, stages.account, found, stages.specs, stages.rulebook, course)
    replayed.add(found)


async def market_of(replayed: Replayed, stages: Stages) -> None:
    """Have the market stage hear what opened at instruments, and add its alerts, signals and drift."""
    told = sorted((o.ts_available, o.instrument, o.episode_id, codec.encode(o)) for o in replayed.openings)
    heard = (
        Message(MARKET_INPUTS[0], MARKET.encode(), value, ts, ts, ts // 1_000_000 + 1, offset=offset)
        for offset, (ts, _, _, value) in enumerate(told)
    )
    crowds = Replayed(replayed.sink)
    course = Course(until_ns=replayed.clock_ns)
    await _history(heard, stages.market, crowds, stages.specs, stages.rulebook, course)
    replayed.alerts += crowds.alerts
    replayed.signals += crowds.signals
    replayed.drift += crowds.drift


async def _history(
    messages: Iterable[Message],
    stage: Stage,
    replayed: Replayed,
    specs: Mapping[str, TypologySpec],
    rulebook: Rulebook,
    course: Course,
) -> Place | None:
    if replayed.sink is not None:
        replayed.sink.begin_stage()
    heard = partial(_heard, course.level)
    rules_at_ns = 0

    def waits(key: str, second_ns: int) -> bool:
        # Where rules take effect, ticks of before and after are told apart.
        return 0 < rules_at_ns <= second_ns or _waits(replayed.table, specs, key, second_ns)

    history = History(
        messages,
        stage.topics,
        waits,
        course.end_ns,
        sliced=course.sliced,
        # What looks into orders hears of news at every level.
        heard=lambda value: isinstance(value, News) or heard(value),
        begin=partial(_begin_encoding, stage, heard, course.pool),
        since=course.since,
    )
    given_items = iter(history)
    rules_at_ns = rulebook.next_after(history.clock_ns)
    replayed.clock_ns = history.clock_ns
    if replayed.sink is not None and history.clock_ns:
        replayed.sink.take(Clock(history.clock_ns))
    replayed.witness = Witness() if course.sliced else None
    stopped: Place | None = None
    # The second at which other rules take effect, and what was given then: theirs to judge.
    held: list[Clock] = []
    decided_ns = history.clock_ns

    async def items() -> AsyncIterator[Item]:
        nonlocal stopped
        yield Ladder(course.level, "as asked" if course.level else "as it was")
        for given in itertools.chain([held.pop()] if held else [], given_items):
            if isinstance(given, Clock):
                if course.stop_ns and given.now_ns >= course.stop_ns:
                    stopped = history.place(replayed.clock_ns)
                    return
                if 0 < rules_at_ns <= given.now_ns:
                    held.append(given)
                    return
                replayed.clock_ns = given.now_ns
                yield given
                await course.beat(given.now_ns)
                continue
            message = given.message
            taken = Taken(message.topic, given.found)
            item = await _item(stage, taken, message.partition, course.level, replayed, again=not given.first)
            if item is not None:
                yield item
        if (end_ns := course.until_ns - course.until_ns % SECOND_NS) > replayed.clock_ns:
            if 0 < rules_at_ns <= end_ns:
                held.append(Clock(end_ns))
                return
            replayed.clock_ns = end_ns
            yield Clock(end_ns)

    while True:
        await _drive(stage.under(rulebook.at(decided_ns)), items(), replayed)
        if not held:
            return stopped
        decided_ns = rules_at_ns
        rules_at_ns = rulebook.next_after(decided_ns)


def _heard(level: int, value: Value) -> bool:
    modality = modality_of(value)
    return bool(modality) and level < SHED_AT[modality]


def _begin_encoding(stage: Stage, heard: Callable[[Value], bool], pool: Executor | None, found: Pending) -> None:
    """Have what is encoded of a message that was just read be there when its turn comes."""
    if pool is None or found.value is None or not heard(found.value):
        return
    encode = stage.encoders.get(modality_of(found.value))
    if encode is not None:
        started = asyncio.get_running_loop().run_in_executor(pool, encode, found.value)
        found.embedding = lambda: started


def _waits(table: Mapping[str, State], specs: Mapping[str, TypologySpec], key: str, second_ns: int) -> bool:
    """Tell whether something of an instrument may be due by the clock at a second.

    A bar that is not open yet may be before a tick that is still on its way opens it.
    """
    kept = table.get(key)
    if not isinstance(kept, InstrumentState):
        return True
    ticks_ns, orders_ns = kept.deadlines_ns
    if ticks_ns <= second_ns or 0 < orders_ns <= second_ns:
        return True
    return any(
        (spec := specs.get(head)) is None  # rules that are not in effect any more had it
        or spec.hold_ns < HORIZON_NS
        or 0 < episodes.deadline(spec, running.episode) <= second_ns
        for (head, _), running in kept.episodes.items()
    )


async def alerts_on_broker(settings: Settings, partition: int) -> list[Alert]:
    """Return the alerts of a partition as they stand on the broker, in order."""
    async with kafka.reader(settings) as consumer:
        name = kafka.full_name(settings.prefix, "alerts")
        end = (await kafka.end_offsets(consumer, name, [partition]))[partition]
        records = kafka.read_partition(consumer, name, partition, 0, end)
        return [_event.decode(record.value).data async for record in records]
