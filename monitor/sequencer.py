"""Which message is next: the order in which one partition's topics meet.

Live, the sequencer is the journal's author: it takes the earliest ``ts_available`` among the heads of its buffers, as
soon as no other topic can still bring an earlier one (it has a head too, or it is known to be at its end). A topic that
piled up while the worker was away therefore waits for the others, and nothing becomes late by it. In recovery and
replay it is the journal's reader and takes from each buffer what the journal says next.

Pure: no asyncio, no clock; time comes as an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from agents.flow import Value
from engines.tracks import Embedding
from schemas.errors import BadMessage
from schemas.journal import Clock, Run, Step

SECOND_NS = 1_000_000_000
#: Behind the wall by more than this, a stream is history being played: the wall does not move its time on.
HISTORY_NS = 7_200 * SECOND_NS


@dataclass(slots=True, eq=False)
class Pending:
    """A message in a buffer: decoded, or the reason why it could not be (``value`` None).

    ``embedding`` asks for what is encoded of it, ``drop`` says that nobody will; ``raw`` is kept where it may yet
    become a dead letter; ``size`` is the value's, bytes.
    """

    offset: int
    key: str
    ts_available: int
    value: Value | None
    sha256: bytes = b""
    refusal: tuple[str, str] | None = None
    raw: tuple[bytes, bytes] = (b"", b"")
    headers: dict[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    embedding: Callable[[], Awaitable[Embedding]] | None = None
    drop: Callable[[], None] | None = None
    received_s: float = 0.0
    sent_ms: int = 0
    size: int = 0

    def refuse(self, refusal: BadMessage) -> None:
        """Hold that it cannot be used after all."""
        self.value, self.refusal = None, (refusal.reason, refusal.detail)


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that was taken, with its topic."""

    topic: str
    message: Pending


class JournalMismatchError(RuntimeError):
    """The journal names a message that its topic no longer has."""


class Sequencer:
    """Buffers of one partition's topics; ``topics`` in the order that breaks ties."""

    def __init__(self, topics: Sequence[str], *, overtake_ns: int, clock_ns: int = 0) -> None:
        self.topics = tuple(topics)
        self.buffers: dict[str, deque[Pending]] = {topic: deque() for topic in topics}
        self.next_offset: dict[str, int] = dict.fromkeys(topics, 0)
        self.clock_ns = clock_ns
        self.latest_ns = 0
        self.held = False
        self._overtake_ns = overtake_ns

    def push(self, topic: str, message: Pending) -> bool:
        """Append a message; False where it came before (a redelivery)."""
        if message.offset < self.next_offset[topic]:
            return False
        self.next_offset[topic] = message.offset + 1
        self.buffers[topic].append(message)
        return True

    def oldest_ms(self) -> int:
        """Return Kafka's timestamp (ms) of the message that has waited longest, 0 if none waits.

        One that was refused does not count: its timestamp may be why, and it takes no work.
        """
        heads = (buffer[0] for buffer in self.buffers.values() if buffer)
        return min((head.sent_ms for head in heads if head.refusal is None), default=0)

    def take(
        self, idle: Collection[str], *, limit: int, wall_ns: int | None = None, before_ns: int = 0
    ) -> tuple[list[Step], list[Clock | Taken]]:
        """Decide what is next, as far as it can be decided now.

        Parameters
        ----------
        idle
            Topics whose end has been read: an empty buffer of theirs holds nobody up.
        limit
            Messages to take at most.
        wall_ns
            Now, where the wall may move time on while everything is idle.
        before_ns
            A whole second that time must not reach yet, 0: none. ``held`` tells whether it would have.
        """
        self.held = False
        steps: list[Step] = []
        items: list[Clock | Taken] = []
        while len(items) < limit:
            heads = [
                (buffer[0].ts_available, rank, topic)
                for rank, (topic, buffer) in enumerate(self.buffers.items())
                if buffer
            ]
            if len(heads) < len(self.topics) and any(not self.buffers[t] and t not in idle for t in self.topics):
                break
            if not heads:
                if wall_ns is not None and self.latest_ns and wall_ns - self.latest_ns < HISTORY_NS:
                    self.held = 0 < before_ns <= wall_ns
                    self._pass_time(before_ns - 1 if self.held else wall_ns, steps, items)
                break
            heads.sort()
            horizon_ns = heads[0][0] + self._overtake_ns
            for ts, _, topic in heads:
                head = self.buffers[topic][0]
                if ts > horizon_ns:
                    return steps, items
                if 0 < before_ns <= ts:
                    self.held = before_ns <= heads[0][0]  # else what is earlier is still being encoded
                    return steps, items
                if head.ready is None or head.ready():
                    self._pass_time(ts, steps, items)
                    message = self._pop(topic)
                    if steps and isinstance(last := steps[-1], Run) and last.topic == topic:
                        steps[-1] = Run(topic, last.count + 1, last.offset)
                    else:
                        steps.append(Run(topic, 1, message.offset))
                    items.append(Taken(topic, message))
                    break
            else:
                break
        return steps, items

    def has(self, run: Run) -> bool:
        """Tell whether the buffer holds all of the run."""
        return len(self.buffers[run.topic]) >= run.count

    def follow(self, run: Run) -> Iterable[Taken]:
        """Take what the journal says next.

        Raises
        ------
        JournalMismatchError
            The topic's next message is not the one that the journal names.
        """
        found = self.buffers[run.topic][0].offset
        if found != run.offset:
            raise JournalMismatchError(
                f"the journal expects offset {run.offset} of {run.topic}, found {found}: the topic has lost messages "
                "that the state does not include yet; keep inputs longer than it takes to recover, or reset the group"
            )
        for _ in range(run.count):
            yield Taken(run.topic, self._pop(run.topic))

    def _pop(self, topic: str) -> Pending:
        message = self.buffers[topic].popleft()
        self.latest_ns = max(self.latest_ns, message.ts_available)
        return message

    def _pass_time(self, ts_ns: int, steps: list[Step], items: list[Clock | Taken]) -> None:
        second_ns = ts_ns - ts_ns % SECOND_NS
        if second_ns > self.clock_ns:
            self.clock_ns = second_ns
            clock = Clock(second_ns)
            steps.append(clock)
            items.append(clock)
