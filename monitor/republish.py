"""A replay's output to topics of its own prefix, never to the live ones: consumers can be tried on history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

from monitor import kafka
from monitor.errors import StartupError
from monitor.outbox import Effects, Outbox, source_of
from monitor.replay_run import warm_up
from monitor.sealing import Seal
from monitor.settings import Settings
from schemas.alerts import Alert
from schemas.records import DeadLetter, Drift, Score, Signal
from schemas.topics import MARKET

#: What a replay says to the outside. Openings are the market stage's own input, and reach it without a topic.
TOPICS = ("alerts", "scores", "signals", "drift", "deadletters")
#: What waits to be sent before the replay waits for it.
_HELD = 2_000


class Republisher:
    """Takes what a replay says and sends it, when `flush` is awaited, to the topics of a prefix; see `republishing`."""

    def __init__(self, outboxes: list[Outbox], from_ns: int) -> None:
        self._outboxes = outboxes
        self._from_ns = from_ns
        self._effects: dict[int, Effects] = defaultdict(Effects)
        self._held = 0

    def begin_stage(self) -> None:
        """Take notice of the next stage: nothing of it depends on time."""

    def take(self, output: object) -> None:
        """Hold an output that has a topic."""
        if isinstance(output, Alert):
            marked = warm_up(output) if output.times.available_at < self._from_ns else output
            self._of(output.subject.instrument).alerts.append(marked)
        elif isinstance(output, Score):
            self._of(output.instrument).scores.append(output)
        elif isinstance(output, Signal):
            self._of(output.instrument).signals.append(output)
        elif isinstance(output, Drift):
            self._of(output.subject).drift.append(output)

    def refuse(self, letter: DeadLetter) -> None:
        """Hold a dead letter."""
        self._of(MARKET).dead_letters.append(letter)

    def _of(self, instrument: str) -> Effects:
        self._held += 1
        return self._effects[kafka.partition_for(instrument, len(self._outboxes))]

    async def flush(self, *, all_of_it: bool = False) -> None:
        """Send what is held, if that is much or ``all_of_it`` is asked for, and then wait for its delivery."""
        if self._held < _HELD and not all_of_it:
            return
        for partition, effects in sorted(self._effects.items()):
            await self._outboxes[partition].send(effects)
        self._effects.clear()
        self._held = 0
        if all_of_it:
            for outbox in self._outboxes:
                for delivery in outbox.take_pending():
                    await delivery


def require_another(settings: Settings, prefix: str) -> None:
    """Raise `StartupError` where a prefix is the live one's."""
    if prefix == settings.prefix:
        raise StartupError(
            f"--to-prefix {prefix} is the prefix of the live topics, to which no replay may write: name another, such"
            " as `replay.`"
        )


@asynccontextmanager
async def republishing(settings: Settings, prefix: str, from_ns: int) -> AsyncIterator[Republisher]:
    """Yield what sends to the topics of ``prefix``, which are made where they are missing; all is sent at the end.

    Alerts that are available before ``from_ns`` are marked as of the warm-up.

    Raises
    ------
    StartupError
        The prefix is the live one's, or a daemon keeps its journal under it.
    """
    require_another(settings, prefix)
    own = settings.model_copy(update={"prefix": prefix})
    counts = await kafka.partition_counts(settings)
    if any(prefix + name in counts for name in ("journal", "market.journal", "accounts.journal")):
        raise StartupError(
            f"--to-prefix {prefix} is that of a daemon, which keeps {prefix}journal: name a prefix of the replay's own."
        )
    await kafka.create_topics(own, TOPICS)
    partitions = (await kafka.partition_counts(own))[kafka.full_name(prefix, "alerts")]
    seal = Seal.of(settings)
    producer = AIOKafkaProducer(
        **kafka.client_options(own), acks="all", enable_idempotence=True, max_request_size=kafka.MAX_MESSAGE_BYTES
    )
    await kafka.start(producer, own)
    try:
        made = Republisher(
            [
                Outbox(
                    producer,
                    prefix=prefix,
                    source=source_of(prefix, "replay", n),
                    checkpoints="",
                    partition=n,
                    seal=seal,
                )
                for n in range(partitions)
            ],
            from_ns,
        )
        yield made
        await made.flush(all_of_it=True)
    finally:
        await producer.stop()
