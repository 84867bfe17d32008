"""Replay of history: what was never run live, in canonical order, the clock moving once a second of available time.

What the instrument stage tells the market's is put into canonical order too; the account stage hears of no other.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from agents.flow import SHED_AT, Item, Value, modality_of
from agents.instrument_state import InstrumentState
from engines import episodes
from engines.typologies import TypologySpec
from monitor.history import BEGINNING, HORIZON_NS, History, Place, Witness
from monitor.recordings import Message
from monitor.replayed import Beat, Replayed, Sink, breathe, drive, item_of
from monitor.rulebook import Rulebook
from monitor.sequencer import SECOND_NS, Pending, Taken
from monitor.stage import Stages
from monitor.state import State
from monitor.worker import Stage
from schemas import codec
from schemas.journal import Clock, Ladder
from schemas.records import News
from schemas.topics import MARKET, MARKET_INPUTS


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
            item = await item_of(stage, taken, message.partition, course.level, replayed, again=not given.first)
            if item is not None:
                yield item
        if (end_ns := course.until_ns - course.until_ns % SECOND_NS) > replayed.clock_ns:
            if 0 < rules_at_ns <= end_ns:
                held.append(Clock(end_ns))
                return
            replayed.clock_ns = end_ns
            yield Clock(end_ns)

    while True:
        await drive(stage.under(rulebook.at(decided_ns)), items(), replayed)
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
