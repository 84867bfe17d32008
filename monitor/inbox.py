"""What arrives at a lane: taken up where its state ends, and held back where it comes faster than it is applied."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol

from monitor.sequencer import JournalMismatchError, Pending, Sequencer
from schemas.journal import Run

#: Above this many buffered messages a topic is paused, below a quarter of it it flows again. Frames take 42 kB each.
BUFFER_MESSAGES = 256
#: How long a topic must have been read to its end before messages that the journal names are given up for lost.
LOST_S = 10.0


class Consumer(Protocol):
    """What an inbox asks of the consumer of a lane's topics."""

    def seek(self, topic: str, offset: int) -> None: ...

    def at_end(self, topic: str, next_offset: int) -> bool: ...

    def flow(self, topic: str, on: bool) -> None: ...


class Inbox:
    """One lane's way in: fills the buffers of its ``sequencer``."""

    def __init__(self, sequencer: Sequencer, consumer: Consumer) -> None:
        self._sequencer = sequencer
        self._consumer = consumer
        self._woken = asyncio.Event()
        self._open = False
        self._begun: set[str] = set()
        self._gaps: dict[str, int] = {}
        self._paused: set[str] = set()

    def open(self) -> None:
        """Take what comes from now on, and ask for all that the state does not include."""
        self._open = True
        # Of each topic: what came before this is gone, and a quiet topic would never tell.
        for topic in self._sequencer.topics:
            self._consumer.seek(topic, self._sequencer.next_offset[topic])

    def push(self, topic: str, message: Pending) -> None:
        """Take a message in; one that the state already includes, or that came before, is dropped."""
        if not self._open:
            return  # asked for again once the state is there
        if topic not in self._begun and not self._begins(topic, message.offset):
            return
        if self._sequencer.push(topic, message):
            message.received_s = time.monotonic()
            if len(self._sequencer.buffers[topic]) >= BUFFER_MESSAGES and topic not in self._paused:
                self._paused.add(topic)
                self._consumer.flow(topic, False)
            self.wake()

    def _begins(self, topic: str, offset: int) -> bool:
        """Tell whether a topic's messages begin with this one, and where not, ask for what lies before it.

        A fetch from before the assignment may come late and stand ahead of what the state includes. Asked again, the
        topic brings what was left out, or the same message where there is nothing in between (deleted by retention).
        """
        expected = self._sequencer.next_offset[topic]
        if offset > expected:
            if topic not in self._gaps:
                self._gaps[topic] = offset
                self._consumer.seek(topic, expected)
                return False
            if offset > self._gaps[topic]:
                return False
        if offset >= expected:
            self._begun.add(topic)
        return True

    def wake(self) -> None:
        """End a `wait`."""
        self._woken.set()

    async def wait(self, at_most_s: float) -> None:
        """Wait until something comes, or `wake` is called."""
        self._woken.clear()
        with contextlib.suppress(TimeoutError):  # `wait_for` may swallow the cancellation of a lane given back
            async with asyncio.timeout(at_most_s):
                await self._woken.wait()

    async def wait_for(self, run: Run) -> None:
        """Wait until all of a journalled run is here.

        Raises
        ------
        JournalMismatchError
            Its topic has ended without it: the messages are lost.
        """
        ended_s: float | None = None
        while not self._sequencer.has(run):
            await self.wait(0.5)
            if not self._ended(run.topic):
                ended_s = None
            elif ended_s is None:
                ended_s = time.monotonic()
            elif time.monotonic() - ended_s > LOST_S:
                raise JournalMismatchError(
                    f"the journal names {run.count} messages of {run.topic} from offset {run.offset}, and the topic"
                    f" ends before them: they are lost; keep inputs longer than it takes to recover, or reset the group"
                )

    def _ended(self, topic: str) -> bool:
        return self._consumer.at_end(topic, self._sequencer.next_offset[topic])

    def idle(self) -> set[str]:
        """Return the topics that have been read to their end."""
        return {topic for topic in self._sequencer.topics if self._ended(topic)}

    def refill(self) -> None:
        """Let topics flow again of which enough was taken."""
        for topic in tuple(self._paused):
            if len(self._sequencer.buffers[topic]) <= BUFFER_MESSAGES // 4:
                self._paused.discard(topic)
                self._consumer.flow(topic, True)
