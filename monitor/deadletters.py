"""Dead letters: what could not be used, to be looked at, and to be sent again once the cause is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaProducer

from monitor import kafka, reading
from monitor.errors import StartupError
from monitor.sealing import Seal
from monitor.settings import Settings
from schemas.records import DeadLetter
from schemas.topics import BY_NAME

#: Header of a message that was sent again; its value counts how often.
RESENT = "resent"
_decode = msgspec.json.Decoder(DeadLetter).decode


@dataclass(frozen=True)
class Selection:
    """Which dead letters are meant; what is None selects nothing out. ``since_ns``: refused then or later."""

    ids: frozenset[str] | None = None
    reason: str | None = None
    topic: str | None = None
    since_ns: int = 0

    def takes(self, letter: DeadLetter) -> bool:
        """Say whether a letter is meant."""
        return (
            (self.ids is None or letter_id(letter) in self.ids)
            and self.reason in (None, letter.reason)
            and self.topic in (None, letter.topic)
            and letter.ts_available >= self.since_ns
        )


def letter_id(letter: DeadLetter) -> str:
    """Return where the message stood: `TOPIC/PARTITION/OFFSET`, the topic without prefix."""
    return f"{letter.topic}/{letter.partition}/{letter.offset}"


async def read(settings: Settings, selection: Selection) -> list[DeadLetter]:
    """Return the letters that are meant, oldest first, each position once, opened where the key is at hand.

    Raises
    ------
    StartupError: no broker, or no topic of dead letters.
    """
    async with kafka.reader(settings) as consumer:
        records, _ = await reading.history(consumer, settings, "deadletters")
        refused = (_decode(record.value) async for record in records)
        short = (msgspec.structs.replace(one, topic=one.topic.removeprefix(settings.prefix)) async for one in refused)
        seal = Seal.of(settings)
        opened = (seal.open(letter) async for letter in short)
        # A worker that crashed may have refused the same message twice.
        letters = {letter_id(letter): letter async for letter in opened if selection.takes(letter)}
    return sorted(letters.values(), key=lambda letter: (letter.ts_available, letter.topic, letter.offset))


def obstacle(letter: DeadLetter) -> str | None:
    """Return why a letter cannot be sent again, in one sentence; None if it can."""
    if letter.sealed:
        return (
            f"{letter_id(letter)} is encrypted by key {letter.sealed_by}: set TOCSIN_DEADLETTER_KEY_FILE to the file"
            " that holds it."
        )
    if letter.size > len(letter.value):
        return (
            f"{letter_id(letter)} cannot be sent again: of its {letter.size} bytes the dead letter keeps the first"
            f" {len(letter.value)}; have its producer send it anew."
        )
    if letter.topic not in BY_NAME:
        return f"{letter_id(letter)} cannot be sent again: Tocsin has no topic {letter.topic!r}."
    return None


async def resend(settings: Settings, letters: Iterable[DeadLetter], sent: Callable[[DeadLetter], None]) -> None:
    """Send messages again as they were: key, value, headers, timestamp and partition, and the header `resent`.

    ``sent`` is called for each one that the broker has acknowledged. None of them may have an `obstacle`.

    Raises
    ------
    StartupError: no broker; or a topic that is missing.
    """
    letters = list(letters)
    if problems := await kafka.check_topics(settings, sorted({letter.topic for letter in letters})):
        raise StartupError(" ".join(problems))
    producer = AIOKafkaProducer(
        **kafka.client_options(settings), acks="all", enable_idempotence=True, max_request_size=kafka.MAX_MESSAGE_BYTES
    )
    await kafka.start(producer, settings)
    try:
        for letter in letters:
            headers = {name: value.encode() for name, value in letter.headers.items()}
            headers[RESENT] = str(_times(letter) + 1).encode()
            await producer.send_and_wait(
                kafka.full_name(settings.prefix, letter.topic),
                letter.value,
                key=letter.key or None,
                partition=letter.partition,
                timestamp_ms=letter.ts_available // 1_000_000,
                headers=list(headers.items()),
            )
            sent(letter)
    finally:
        await producer.stop()


def _times(letter: DeadLetter) -> int:
    held = letter.headers.get(RESENT, "0")
    return int(held) if held.isdecimal() else 0
