"""A lane: one partition of a stage, from its messages to its effects.

    push ─► buffers ─► sequencer ─► journal ─► agents ─► effects ─► checkpoint ─► acknowledgement

A *turn* is what the sequencer can order at once. Its steps are written to the journal, its messages go through the
agents while that write is on its way, and its effects (alerts, scores, signals, drift, dead letters) are sent once it
has arrived. A checkpoint takes a snapshot between two turns, waits for the effects before it, writes what changed and
lets the messages that it covers be acknowledged. Recovery loads the last checkpoint, reads the journal to its end,
applies what that names, keeps back the alerts that are already there, and goes on live.

A bundle is swapped between two turns: behind a checkpoint that includes all that the old one decided, and a step in the
journal that names the new one, other agents go on over the same state, as they would after a restart. Rules take effect
in the same way, before the first message of their time; a step in the journal holds them, so that needs no checkpoint.

An exception ends the process: nothing here is caught and logged.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from agents.flow import SHED_AT, Item, Settled, modality_of
from monitor import crashpoints
from monitor.arrivals import arrival, dead_letter
from monitor.checkpoint_writer import CheckpointWriter, Snapshot
from monitor.checkpoints import Closing, Loaded
from monitor.deciding import Agent, Decider, Output, Ruled, Successor, Unruled
from monitor.inbox import Consumer, Inbox
from monitor.journal import JournalWriter
from monitor.outbox import Effects, Outbox
from monitor.pressure import Pressure
from monitor.rulebook import Rulebook
from monitor.sequencer import Pending, Sequencer, Taken
from monitor.state import State, StateTable
from schemas.alerts import Alert
from schemas.errors import BadMessage
from schemas.journal import Clock, Decides, Entry, Fallback, Ladder, Rules, Run, Step
from schemas.records import DeadLetter

log = structlog.get_logger(__name__)
TURN_MESSAGES = 64
#: Alerts that a warning names one by one.
ALERTS_NAMED = 20

Effect = Output | DeadLetter


class Broker(Consumer, Protocol):
    """What a lane asks of the broker's side: its logs, and what the consumer knows."""

    def reading(self) -> AbstractAsyncContextManager[None]:
        """While the block runs, the logs below can be read."""

    async def load_checkpoint(self, got_on: Callable[[], None]) -> Loaded: ...

    async def read_journal(self, start: int, end: int, epoch: int) -> list[Entry]: ...

    async def read_alert_ids(self, start: int) -> tuple[set[str], int]: ...

    async def commit(self, offsets: Mapping[str, int]) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneConfig:
    """A lane's settings, in their units."""

    stage: str
    partition: int
    topics: tuple[str, ...]
    owner: str
    decides: Decides
    overtake_ns: int
    checkpoint_interval_s: float
    ladder_down_s: float
    wall: Callable[[], int]
    wall_moves_time: bool
    unpack: Callable[[bytes], State]
    #: Marks the keys by which accounts have pseudonyms where events available at a time, ns, are the newest.
    named_by: Callable[[int], tuple[str, ...]]


@dataclass(slots=True)
class LaneStatus:
    """What probes and metrics read of a lane."""

    recovered: bool = False
    messages: int = 0
    refused: int = 0
    checkpoints: int = 0
    checkpoint_s: float = field(default_factory=time.monotonic)
    committed_s: float = field(default_factory=time.monotonic)
    progress_s: float = field(default_factory=time.monotonic)
    level: int = 0
    backlog_s: float = 0.0
    suppressed: int = 0


class Lane:
    """One partition of a stage; `run` lives until it is cancelled or `stop` is called."""

    def __init__(
        self,
        config: LaneConfig,
        *,
        broker: Broker,
        journal: JournalWriter,
        outbox: Outbox,
        agent: Agent,
        on_turn: Callable[[list[Taken], float, float, float], None] | None = None,
        ruled: Ruled | None = None,
        rulebook: Rulebook | None = None,
    ) -> None:
        self._config = config
        self._decider = Decider(config.decides, agent, ruled, rulebook or Rulebook())
        self._ruling: Rules | None = None
        self._broker = broker
        self._journal = journal
        self._outbox = outbox
        self._successors: deque[Successor] = deque()
        self._on_turn = on_turn
        self.sequencer = Sequencer(config.topics, overtake_ns=config.overtake_ns)
        self.status = LaneStatus()
        self._inbox = Inbox(self.sequencer, broker)
        self._pressure = Pressure(config.ladder_down_s)
        self._checkpoint_writer = CheckpointWriter(journal, outbox, broker.commit)
        self._noted: deque[Fallback] = deque()
        self._stopping = False
        self._table: StateTable[State] = StateTable()
        self._outputs: list[Effect] = []
        self._seen_alerts: set[str] = set()
        self._other_config = ""
        self._ordinal = 0
        self._applied: dict[str, int] = {}
        self._checkpoint: asyncio.Task[None] | None = None
        self._checkpoint_ordinal = -1
        self._acknowledge_s = 0.0
        self._entries: deque[deque[Step]] = deque()
        self._began_s = 0.0

    # What arrives.

    def push(self, topic: str, message: Pending) -> None:
        """Take a message in, as `Inbox.push` does."""
        self._inbox.push(topic, message)

    def note(self, fallback: Fallback) -> None:
        """Have it written in the journal that another back end serves, before what is applied next."""
        self._noted.append(fallback)
        self._inbox.wake()

    def swap(
        self, decides: Decides, agent: Agent, begin: Callable[[], None], ruled: Ruled | None = None
    ) -> asyncio.Future[None]:
        """Let another agent go on after this turn, and after those that came before it.

        What is returned is done when it does, never where the lane ends.
        """
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._successors.append(Successor(decides, agent, begin, begun, ruled or Unruled(decides, agent)))
        self._inbox.wake()
        return begun

    def wake(self) -> None:
        """Look again: a text is encoded, or a topic's end may have been reached."""
        self._inbox.wake()

    @property
    def applied(self) -> Mapping[str, int]:
        """The next offset of every input that is not applied yet."""
        return self._applied

    @property
    def rules(self) -> Rules:
        """The rules that are in effect here."""
        return self._decider.rules

    @property
    def behind(self) -> bool:
        """Whether messages were applied that are not acknowledged yet, or a checkpoint is under way."""
        under_way = self._checkpoint is not None and not self._checkpoint.done()
        return under_way or self._ordinal > self._checkpoint_ordinal or bool(self._checkpoint_writer.unacknowledged)

    # Life.

    async def run(self) -> None:
        """Recover, then apply messages until stopped; the last checkpoint is written before it returns."""
        self._began_s = time.monotonic()
        await self._load()
        try:
            while True:
                async for output in self._decider.agent(self._source(), self._table):
                    self._outputs.append(output)
                if self._stopping:
                    break
                if self._ruling is not None:
                    await self._rule(self._ruling)
                elif self._successors:
                    await self._swap()
                else:
                    break
        except asyncio.CancelledError:
            # The next owner reads which alerts are there: what is on its way must have arrived by then. And it
            # acknowledges: nothing older may come after that.
            await self._outbox.flush()
            if self._checkpoint is not None:
                await self._checkpoint
            raise
        await self._checkpoint_now()

    async def stop(self) -> None:
        """Let `run` finish its turn, write its checkpoint and return."""
        self._stopping = True
        self._inbox.wake()

    def _got_on(self) -> None:
        self.status.progress_s = time.monotonic()

    async def _load(self) -> None:
        # Claimed first: what a predecessor still writes of a checkpoint is then void, or seen here.
        await self._journal.claim(self._config.owner)
        async with self._broker.reading():
            await self._read()
        self._checkpoint_ordinal = self._ordinal
        self._inbox.open()
        self._checkpoint = asyncio.ensure_future(self._acknowledge())

    async def _read(self) -> None:
        loaded = await self._broker.load_checkpoint(self._got_on)
        closing = loaded.closing
        await self._checkpoint_writer.take_over(loaded)
        if closing is not None:
            states = {}
            for key, state in loaded.states.items():
                states[key] = self._config.unpack(state)
                self._got_on()
                await asyncio.sleep(0)  # tens of thousands of them must not look like a frozen worker
            self._table = StateTable(states)
            self.sequencer.next_offset.update(closing.offsets)
            self.sequencer.clock_ns = closing.clock_ns
            self.sequencer.latest_ns = closing.latest_ns
            self._ordinal = closing.ordinal
            self.status.level = closing.level
            self._decider.follow(closing.rules)
        self._applied = dict(self.sequencer.next_offset)
        start, epoch = (closing.journal, closing.epoch) if closing else (0, -1)
        entries = await self._broker.read_journal(start, self._journal.epoch, epoch)
        self._entries = deque(deque(entry.steps) for entry in entries)
        journalled = (step for steps in self._entries for step in steps)
        self._other_config, own = self._decider.applied_by_another(journalled, closing.config if closing else "")
        await self._journal.append(self._ordinal, [own])
        self._seen_alerts, alerts_end = await self._broker.read_alert_ids(closing.alerts if closing else 0)
        self._outbox.alerts_end = alerts_end

    async def _rule(self, rules: Rules) -> None:
        self._ruling = None
        self._decider.follow(rules)
        if self.status.recovered:
            await self._journal.append(self._ordinal, [rules, self._decider.decides])
        told = {"stage": self._config.stage, "partition": self._config.partition}
        log.info("rules in effect", **told, effective_ns=rules.effective_ns, config=self._decider.decides.config)

    async def _swap(self) -> None:
        # A worker that recovers with the new bundle then applies nothing again that the old one has applied.
        await self._checkpoint_now()
        successor = self._successors.popleft()
        self._decider.give_way(successor)
        await self._journal.append(self._ordinal, [self._decider.decides])
        successor.begin()
        successor.begun.set_result(None)

    # The order of things: what the agents are fed.

    async def _source(self) -> AsyncIterator[Item]:
        """Yield until the lane is stopped, or other agents go on."""
        yield Ladder(self.status.level, "as it was")
        if not self.status.recovered:
            async for item in self._recovery():
                yield item
            if self._ruling is not None:
                return
        # What the old bundle's back ends told is journalled as the old one's.
        while not self._stopping and (not self._successors or self._noted):
            self._ruling = self._decider.due(self.sequencer.clock_ns)
            if self._ruling is not None:
                return
            steps, items = await self._next_turn()
            if not steps:
                continue
            began_s = time.monotonic()
            ordinal = self._ordinal
            delivery = asyncio.ensure_future(self._journal.append(ordinal, steps))
            for turn_item in items:
                arrived = await self._arrive(turn_item)
                if arrived is not None:
                    yield arrived
            yield Settled()
            applied_s = time.monotonic()
            await delivery
            journalled_s = time.monotonic()
            await self._publish()
            self.status.progress_s = journalled_s
            if self._on_turn:
                taken = [item for item in items if isinstance(item, Taken)]
                self._on_turn(taken, began_s, applied_s, journalled_s)
            self._maybe_checkpoint()

    async def _recovery(self) -> AsyncIterator[Item]:
        async for item in self._recovered():
            yield item
        if self._ruling is not None:
            return
        if self._other_config and self._seen_alerts:
            log.warning(
                "the decision configuration has changed since the last checkpoint, and what was journalled after it was"
                " applied again: these alerts were sent before and did not come again under their ids, so an episode"
                " that they opened may stand there twice; give the older ones the disposition duplicate, and let"
                " workers drain (SIGTERM) before a change",
                partition=self._config.partition,
                was=self._other_config,
                now=self._decider.decides.config,
                alerts=len(self._seen_alerts),
                alert_ids=sorted(self._seen_alerts)[:ALERTS_NAMED],
            )
        self._seen_alerts.clear()
        self.status.committed_s = time.monotonic()  # until now /livez went by whether recovery gets on
        self.status.recovered = True
        log.info(
            "recovered",
            stage=self._config.stage,
            partition=self._config.partition,
            keys=len(self._table),
            messages=self._ordinal,
            suppressed=self.status.suppressed,
            seconds=round(time.monotonic() - self._began_s, 3),
        )

    async def _recovered(self) -> AsyncIterator[Item]:
        """Yield what the journal names, up to rules that take effect in it."""
        while self._entries:
            steps = self._entries[0]
            while steps:
                step = steps.popleft()
                if isinstance(step, Rules):
                    self._ruling = step
                    return
                if isinstance(step, Run):
                    await self._inbox.wait_for(step)
                    for taken in self.sequencer.follow(step):
                        arrived = await self._arrive(taken)
                        if arrived is not None:
                            yield arrived
                    self._inbox.refill()
                elif not isinstance(step, Decides):
                    if isinstance(step, Clock):
                        self.sequencer.clock_ns = step.now_ns
                    elif isinstance(step, Ladder):
                        self.status.level = step.level
                    yield step
            yield Settled()
            self._entries.popleft()
            await self._publish()
            self.status.progress_s = time.monotonic()

    async def _next_turn(self) -> tuple[list[Step], list[Clock | Taken | Ladder | Fallback]]:
        step = self._noted.popleft() if self._noted else self._ladder_step()
        if step is not None:
            return [step], [step]
        idle = self._inbox.idle()
        wall_ns = self._config.wall() if self._config.wall_moves_time else None
        before_ns = self._decider.next_ns(self.sequencer.clock_ns)
        steps, items = self.sequencer.take(idle, limit=TURN_MESSAGES, wall_ns=wall_ns, before_ns=before_ns)
        self._inbox.refill()
        if self.sequencer.held and not steps:
            self._decider.reached(before_ns)
        elif not steps and not self._stopping:
            if len(idle) == len(self._config.topics) and not any(self.sequencer.buffers.values()):
                self.status.progress_s = time.monotonic()  # there is nothing to do
            # Messages wake the lane at once; the ends of topics, the clock and the checkpoint are looked at in between.
            await self._inbox.wait(0.02 if any(self.sequencer.buffers.values()) else 0.25)
            self._maybe_checkpoint()
        return steps, list(items)

    def _ladder_step(self) -> Ladder | None:
        """Take a step of the ladder where messages wait for long, or do not any more."""
        oldest_ms = self.sequencer.oldest_ms()
        waited_s = self.status.backlog_s = self._config.wall() / 1e9 - oldest_ms / 1e3 if oldest_ms else 0.0
        step = self._pressure.step(waited_s, level=self.status.level, now_s=time.monotonic())
        if step is not None:
            self.status.level = step.level
        return step

    async def _arrive(self, item: Clock | Taken | Ladder | Fallback) -> Item | None:
        if not isinstance(item, Taken):
            return item
        message, ordinal = item.message, self._ordinal
        self._ordinal += 1
        self._applied[item.topic] = message.offset + 1
        self.status.messages += 1
        embedding = None
        if message.value and message.embedding and self.status.level < SHED_AT[modality_of(message.value)]:
            try:
                embedding = await message.embedding()
            except BadMessage as refusal:  # a picture or sound that its own header spoke well of
                message.refuse(refusal)
        if message.value is None:
            self.status.refused += 1
            self._outputs.append(dead_letter(item, self._config.partition))
            return None
        return arrival(item, self._config.partition, ordinal, embedding)

    # What leaves.

    async def _publish(self) -> None:
        outputs, self._outputs = self._outputs, []
        effects = Effects()
        for output in outputs:
            if isinstance(output, Alert) and output.alert_id in self._seen_alerts:
                self._seen_alerts.discard(output.alert_id)
                self.status.suppressed += 1
            else:
                effects.add(output)
        if effects.alerts:
            crashpoints.passing("journal-sent")
        await self._outbox.send(effects)

    def _maybe_checkpoint(self) -> None:
        if self._checkpoint is not None:
            if not self._checkpoint.done():
                return
            self._checkpoint.result()
        if not self.behind:  # from now on it counts how long something waits for acknowledgement
            self.status.committed_s = time.monotonic()
        now_s, interval_s = time.monotonic(), self._config.checkpoint_interval_s
        written = self._ordinal <= self._checkpoint_ordinal and not self._table.dirty
        if not written and now_s - self.status.checkpoint_s >= interval_s:
            self._checkpoint = asyncio.ensure_future(self._write(self._snapshot()))
        # Refused, and no message may ever come after it.
        elif self._checkpoint_writer.unacknowledged and now_s - self._acknowledge_s >= interval_s:
            self._checkpoint = asyncio.ensure_future(self._acknowledge())

    async def _checkpoint_now(self) -> None:
        if self._checkpoint is not None:
            await self._checkpoint
        await self._publish()
        await self._write(self._snapshot())

    def _snapshot(self) -> Snapshot:
        self._checkpoint_ordinal = self._ordinal
        self.status.checkpoint_s = time.monotonic()
        closing = Closing(
            epoch=self._journal.epoch,
            journal=self._journal.end,
            ordinal=self._ordinal,
            offsets=dict(self._applied),
            alerts=self._outbox.alerts_end,
            clock_ns=self.sequencer.clock_ns,
            latest_ns=self.sequencer.latest_ns,
            level=self.status.level,
            config=self._decider.decides.config,
            rules=self._decider.rules,
            named_by=self._config.named_by(self.sequencer.latest_ns),
        )
        return self._checkpoint_writer.snapshot(self._table, closing)

    async def _write(self, snapshot: Snapshot) -> None:
        await self._checkpoint_writer.write(self._table, snapshot)
        self.status.checkpoints += 1
        await self._acknowledge()
        crashpoints.passing("committed")

    async def _acknowledge(self) -> None:
        self._acknowledge_s = time.monotonic()
        if await self._checkpoint_writer.acknowledge():
            self.status.committed_s = time.monotonic()
