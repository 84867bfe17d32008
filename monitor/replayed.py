"""What a replay gives, and one stage that gives it: items go to its agents, what they say is counted, held or told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from agents.flow import SHED_AT, Item, Said, Scored, Ticked, modality_of
from monitor.arrivals import arrival, dead_letter
from monitor.history import Witness
from monitor.sequencer import Taken
from monitor.state import State, StateTable
from monitor.worker import Stage
from schemas.alerts import Alert
from schemas.errors import BadMessage
from schemas.frames import Frame
from schemas.records import DeadLetter, Drift, Opening, Score, Signal
from schemas.topics import INSTRUMENT_INPUTS, MARKET_INPUTS

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


async def drive(stage: Stage, items: AsyncIterator[Item], replayed: Replayed, until_ns: int = 0) -> Replayed:
    """Have a stage's agents apply items and add what they say: all, or what was available before ``until_ns``."""
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


async def item_of(
    stage: Stage, taken: Taken, partition: int, level: int, replayed: Replayed, *, again: bool = False
) -> Item | None:
    """Return a message as the stage's agents get it at a level of the ladder; None where it was refused.

    ``again`` says that a part of it was applied before, so it is not counted once more.
    """
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
