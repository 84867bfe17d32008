"""Thousands of malformed messages in a good stream: each refused by name, the good ones judged as if alone."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from monitor import kafka
from monitor.recordings import Message
from monitor.settings import Settings
from schemas.alerts import digest
from schemas.records import DeadLetter
from schemas.topics import BY_NAME, INSTRUMENT_INPUTS
from tests.corpus import Case, cases
from tests.integration.daemon import Feed, Watch, Worker, account, before_the_end, day, undisturbed, until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

BAD = 10_500
#: What may stay after the second half of them, in MiB; frames and pictures of the good stream pass through as well.
FLAT_MB = 40


def corpus() -> list[Case]:
    """Return malformed messages for the instrument stage's inputs, to any partition."""
    made = (case for case in cases(11, 2 * BAD, 300_000) if case.message[0] in INSTRUMENT_INPUTS)
    return [case for case, _ in zip(made, range(BAD), strict=False)]


def mixed(rng: random.Random, bad: list[Case]) -> list[tuple[Message, Case | None]]:
    """Put the bad among the good, which stay in their order."""
    places = sorted(rng.randrange(len(day()) + 1) for _ in bad)
    stream: list[tuple[Message, Case | None]] = []
    left = list(zip(places, bad, strict=True))
    for number, message in enumerate(day()):
        while left and left[0][0] <= number:
            stream.append(spoilt(rng, left.pop(0)[1]))
        stream.append((message, None))
    return stream + [spoilt(rng, case) for _, case in left]


def spoilt(rng: random.Random, case: Case) -> tuple[Message, Case]:
    topic, key, value, timestamp_ms = case.message
    headers = rng.choice(((), (("traceparent", b"\xff\xfe"),), (("empty", None),)))
    return Message(topic, key, value, 0, 0, timestamp_ms, partition=rng.randrange(4), headers=headers), case  # type: ignore[arg-type]


async def keep_everything(settings: Settings) -> None:
    """Turn retention off: it goes by the messages' timestamps, and some of these are from 1970."""
    async with kafka.admin(settings) as client:
        for topic in INSTRUMENT_INPUTS:
            config = kafka.topic_config(BY_NAME[topic]) | {"retention.ms": "-1"}
            name = kafka.full_name(settings.prefix, topic)
            await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=config)])


async def dead_letters(settings: Settings) -> dict[tuple[str, int, int], list[DeadLetter]]:
    found: dict[tuple[str, int, int], list[DeadLetter]] = {}
    async with kafka.reader(settings) as consumer:
        name = kafka.full_name(settings.prefix, "deadletters")
        ends = await kafka.end_offsets(consumer, name, range((await kafka.partition_counts(settings))[name]))
        for partition, end in ends.items():
            async for record in kafka.read_partition(consumer, name, partition, 0, end):
                letter = msgspec.json.decode(record.value, type=DeadLetter)
                found.setdefault((letter.topic, letter.partition, letter.offset), []).append(letter)
    return found


def test_malformed_messages_are_refused_one_by_one_and_change_nothing(
    topics: Settings, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    settings = topics.model_copy(update={"clock": "data", "checkpoint_interval_s": 1.0, "ladder_down_s": 0.0})
    stream = mixed(random.Random(12), corpus())
    watch = Watch(settings)
    asyncio.run(keep_everything(settings))
    # All there before the worker starts: then it is taken in one order, that of its times.
    with Feed(settings, [message for message, _ in stream]) as feed:
        assert feed.finish() == len(stream)
    places = {
        (message.topic, *feed.places[number]): case for number, (message, case) in enumerate(stream) if case is not None
    }
    resident = []
    with Worker(settings, tmp_path) as worker:
        for least in (len(stream) // 2, len(stream)):
            until(lambda least=least: watch.acknowledged() >= least, 120, f"{least} acknowledged", [worker])  # type: ignore[misc]
            resident.append(worker.rss_mb)
        assert worker.drain() == 0
        assert worker.starts == 1

    letters = asyncio.run(dead_letters(settings))
    assert letters.keys() == places.keys()
    assert all(len(found) == 1 for found in letters.values())
    wrong = Counter(
        (case.kind, letters[place][0].reason, case.reasons)
        for place, case in places.items()
        if letters[place][0].reason not in case.reasons
    )
    assert not wrong
    found = account(settings)
    found.check(messages=len(stream))
    assert digest(before_the_end(found.alerts)) == digest(before_the_end(undisturbed().alerts))
    record_property("resident_mb", [round(mb) for mb in resident])
    record_property("refused", len(letters))
    assert resident[1] - resident[0] < FLAT_MB
