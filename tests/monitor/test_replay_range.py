"""What of a stream is replayed, and how it is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from monitor.errors import StartupError
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Message, Recording
from monitor.replay_range import Range, offsets_of, require_some

DAY_NS = 86_400 * 10**9


def test_reading_begins_with_the_warm_up_and_never_before_time() -> None:
    assert Range(from_ns=3 * DAY_NS, warm_up_ns=DAY_NS).start_ns == 2 * DAY_NS
    assert Range(from_ns=3, warm_up_ns=DAY_NS).start_ns == 0
    assert Range(warm_up_ns=DAY_NS).start_ns == 0  # no --from: all that is there
    with pytest.raises(StartupError, match="--to is no later than --from"):
        Range(from_ns=2, to_ns=2)


def test_no_instruments_are_all() -> None:
    assert Range().keys is None
    assert Range().wants("A")
    some = Range(instruments=frozenset({"A"}))
    assert (some.keys, some.wants("A"), some.wants("B")) == ({b"A"}, True, False)


def test_offsets_of_a_partition_come_before_those_of_its_topic() -> None:
    wanted = Range(offsets=offsets_of(["news=1:3", "news/1=:1"]))
    rows = [
        Message(topic, b"A", b"", 0, 0, 0, partition, offset)
        for topic in ("news", "frames")
        for partition in (0, 1)
        for offset in range(4)
    ]
    kept = [(m.topic, m.partition, m.offset) for m in wanted.within_offsets(rows)]
    assert [place for place in kept if place[0] == "news"] == [("news", 0, 1), ("news", 0, 2), ("news", 1, 0)]
    assert len(kept) == 3 + 8
    assert offsets_of(wanted.offsets_named()) == wanted.offsets


@pytest.mark.parametrize("text", ["news", "news=1", "mystery=1:2", "news/x=1:2", "news=a:b"])
def test_offsets_that_name_nothing_are_told(text: str) -> None:
    with pytest.raises(StartupError, match="--offsets: expected TOPIC=FIRST:LAST"):
        offsets_of([text])


def recording(path: Path, *messages: Message) -> Recording:
    with RecordingWriter(path, source="test") as writer:
        for message in messages:
            writer.append(message)
    return Recording.open(path)


def test_a_recording_that_holds_nothing_of_a_range_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    at_ns = 20_000 * DAY_NS
    some = recording(tmp_path / "some", Message("news", b"A", b"", at_ns, at_ns, at_ns // 10**6))
    for wanted in (Range(), Range(from_ns=at_ns), Range(to_ns=at_ns + 1)):
        require_some(some, wanted, "some")
    for wanted in (Range(from_ns=at_ns + 1), Range(from_ns=1, to_ns=at_ns - DAY_NS)):
        with pytest.raises(StartupError, match=r"some is of 2024-10-04 00:00:00 UTC to .* between --from and --to"):
            require_some(some, wanted, "some")
    with pytest.raises(StartupError, match=r"holds nothing to replay: expected messages of frames, .* found none"):
        require_some(recording(tmp_path / "empty"), Range(), "empty")
    ticks = Message("ticks", b"A", b"", at_ns, at_ns, at_ns // 10**6)
    with pytest.raises(StartupError, match="found ticks"):
        require_some(recording(tmp_path / "ticks", ticks), Range(), "ticks")
    require_some(recording(tmp_path / "idle", dataclasses.replace(ticks, topic="journal")), Range(), "idle")
