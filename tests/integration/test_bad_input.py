"""Thousands of malformed messages in a good stream: each refused by name, the good ones judged as if alone."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from monitor.recordings import Message
from monitor.settings import Settings
from schemas import codec
from schemas.alerts import digest
from schemas.records import DeadLetter
from schemas.topics import INSTRUMENT_INPUTS
from tests.corpus import Case, cases
from tests.integration.daemon import CANONICAL, Feed, Watch, Worker, account, before_the_end, day, undisturbed, until
from tests.integration.kafka import messages_of
from tests.integration.test_gateway import committed, gateway_process, has_joined, read_all, terminate
from tests.messages import good

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GATEWAY_INPUTS = ("ticks", "documents")
Stream = list[tuple[Message, Case | None]]
BAD = 10_500
#: What may stay after the second half of them, in MiB; frames and pictures of the good stream pass through as well.
FLAT_MB = 40


def corpus(topics: Collection[str], number: int) -> list[Case]:
    """Return malformed messages for these topics."""
    made = (case for case in cases(11, 10 * number, 300_000) if case.message[0] in topics)
    return list(islice(made, number))


def mixed(rng: random.Random, fine: Sequence[Message], bad: list[Case]) -> Stream:
    """Put the bad, each for any partition, among the good, which stay in their order."""
    places = sorted(rng.randrange(len(fine) + 1) for _ in bad)
    stream: Stream = []
    left = list(zip(places, bad, strict=True))
    for number, message in enumerate(fine):
        while left and left[0][0] <= number:
            stream.append(spoilt(rng, left.pop(0)[1]))
        stream.append((message, None))
    return stream + [spoilt(rng, case) for _, case in left]


def spoilt(rng: random.Random, case: Case) -> tuple[Message, Case]:
    topic, key, value, timestamp_ms = case.message
    headers = rng.choice(((), (("traceparent", b"\xff\xfe"),), (("empty", None),)))
    return Message(topic, key, value, 0, 0, timestamp_ms, partition=rng.randrange(4), headers=headers), case  # type: ignore[arg-type]


async def dead_letters(settings: Settings) -> dict[tuple[str, int, int], list[DeadLetter]]:
    found: dict[tuple[str, int, int], list[DeadLetter]] = {}
    for record in await messages_of(settings, "deadletters"):
        letter = msgspec.json.decode(record.value, type=DeadLetter)
        found.setdefault((letter.topic, letter.partition, letter.offset), []).append(letter)
    return found


def refused(settings: Settings, feed: Feed, stream: Stream) -> int:
    """Compare the dead letters with what was malformed in a stream that was fed, and return how many they are."""
    places = {
        (message.topic, *feed.places[number]): case for number, (message, case) in enumerate(stream) if case is not None
    }
    letters = asyncio.run(dead_letters(settings))
    assert letters.keys() == places.keys()
    assert all(len(found) == 1 for found in letters.values())
    wrong = Counter(
        (case.kind, letters[place][0].reason, case.reasons)
        for place, case in places.items()
        if letters[place][0].reason not in case.reasons
    )
    assert not wrong
    return len(letters)


def test_malformed_messages_are_refused_one_by_one_and_change_nothing(
    topics: Settings, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    settings = topics.model_copy(update=CANONICAL)
    stream = mixed(random.Random(12), day(), corpus(INSTRUMENT_INPUTS, BAD))
    watch = Watch(settings)
    # All there before the worker starts: then it is taken in one order, that of its times.
    with Feed(settings, [message for message, _ in stream]) as feed:
        assert feed.finish() == len(stream)
    resident = []
    with Worker(settings, tmp_path) as worker:
        for least in (len(stream) // 2, len(stream)):
            until(lambda least=least: watch.acknowledged() >= least, 120, f"{least} acknowledged", [worker])  # type: ignore[misc]
            resident.append(worker.rss_mb)
        assert worker.drain() == 0
        assert worker.starts == 1

    found = account(settings)
    found.check(messages=len(stream))
    assert digest(before_the_end(found.alerts)) == digest(before_the_end(undisturbed().alerts))
    record_property("resident_mb", [round(mb) for mb in resident])
    record_property("refused", refused(settings, feed, stream))
    assert resident[1] - resident[0] < FLAT_MB


def test_malformed_ticks_and_documents_are_refused_by_the_gateway(
    topics: Settings, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(13)
    made = [good(rng, rng.choice(GATEWAY_INPUTS)) for _ in range(1_000)]
    fine = [Message(topic, key, value, 0, 0, 0, partition=-1) for topic, key, value, _ in made]  # type: ignore[arg-type]
    stream = mixed(rng, fine, corpus(GATEWAY_INPUTS, 1_500))
    with gateway_process(topics, tmp_path / "log") as process:
        with Feed(topics, [message for message, _ in stream]) as feed:
            assert feed.finish() == len(stream)
        until(lambda: has_joined(tmp_path / "log"), 120, "it is a member of its group")
        until(lambda: asyncio.run(committed(topics, GATEWAY_INPUTS)) == len(stream), 120, "all of it is committed")
        assert terminate(process) == 0

    record_property("refused", refused(topics, feed, stream))
    # The good ones came through, each of them and nothing else: ticks by their places, documents by their ids.
    packed = [
        (headers["source"].decode(), offset)
        for frame, headers in asyncio.run(read_all(topics, "frames"))
        for offset in frame.source_offset.tolist()  # type: ignore[union-attr]
    ]
    sent = [
        feed.places[number] for number, (message, case) in enumerate(stream) if not case and message.topic == "ticks"
    ]
    assert sorted(packed) == sorted((f"ticks/{partition}", offset) for partition, offset in sent)
    news = {record.document_id for record, _ in asyncio.run(read_all(topics, "news"))}  # type: ignore[union-attr]
    assert news == {codec.decode(*message).document_id for message in made if message[0] == "documents"}  # type: ignore[arg-type, union-attr]
