"""What a recording holds of alerts is found by partition and offset, and held against the alert's own digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from monitor.recording_writer import RecordingWriter
from monitor.recordings import Message, Recording
from monitor.report import sources
from monitor.report.sources import Evidence, Tape, Window
from schemas import codec
from schemas.alerts import Alert, Input
from schemas.records import News
from tests.golden import day
from tests.monitor.report.test_bars import SECOND_NS, START_NS, trades


def resting_on(inputs: Iterable[Input]) -> Alert:
    alert = day.stored().alerts[0]
    return msgspec.structs.replace(alert, evidence=msgspec.structs.replace(alert.evidence, inputs=list(inputs)))


def told(at: int, *, channel: str = "news", key: str = "ACME.XTOC") -> Message:
    ts = START_NS + at * SECOND_NS
    news = News(
        instrument=key,
        ts_event=ts,
        ts_available=ts,
        document_id=str(at),
        headline=f"told at {at}",
        channel=channel,  # type: ignore[arg-type]
    )
    return Message("news", key.encode(), codec.encode(news), ts, ts, ts // 10**6 + 1)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    with RecordingWriter(tmp_path / "r", source="test", parameters={}) as writer:
        for at in range(20):
            writer.append(told(at))
    return Recording.open(tmp_path / "r")


def digest_of(recording: Recording, offset: int) -> str:
    return next(hashlib.sha256(m.value).hexdigest() for m in recording.messages(["news"]) if m.offset == offset)


def test_an_input_is_verified_differs_or_is_not_there(recording: Recording) -> None:
    inputs = [
        Input(topic="news", partition=0, offset=3, sha256=digest_of(recording, 3)),
        Input(topic="news", partition=0, offset=17, sha256=digest_of(recording, 3)),
        Input(topic="news", partition=0, offset=99, sha256="00"),
        Input(topic="news", partition=1, offset=3, sha256=digest_of(recording, 3)),
        Input(topic="charts", partition=0, offset=0, sha256="00"),
        Input(topic="market", partition=0, offset=0, sha256="00"),
    ]
    found = Evidence.find(recording, [resting_on(inputs)])
    assert [found.state(one) for one in inputs] == [
        "verified",
        "differs",
        "not in this recording",
        "not in this recording",
        "not in this recording",
        "the monitor's own",
    ]


def test_what_is_shown_is_verified_and_newest_first(recording: Recording) -> None:
    places = [5, 2, 9]
    inputs = [Input(topic="news", partition=0, offset=at, sha256=digest_of(recording, at)) for at in places]
    wrong = Input(topic="news", partition=0, offset=11, sha256="00")
    alert = resting_on([*inputs, wrong])
    found = Evidence.find(recording, [alert])
    assert [message.offset for message in found.verified(alert, "news")] == [9, 5, 2]
    assert found.verified(alert, "charts") == []


def test_offsets_far_apart_are_found(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_APART", 2)
    inputs = [Input(topic="news", partition=0, offset=at, sha256=digest_of(recording, at)) for at in (0, 1, 9, 19)]
    found = Evidence.find(recording, [resting_on(inputs)])
    assert [found.state(one) for one in inputs] == ["verified"] * 4


def test_a_tape_keeps_the_frames_of_its_windows_and_passes_all_on() -> None:
    passing = [
        trades([(1.0, 5.0, 1)]),
        trades([(10.0, 6.0, 1), (12.0, 7.0, 1)]),
        trades([(11.0, 8.0, 1)], "OTHER.XTOC"),
        trades([(30.0, 9.0, 1)]),
    ]
    wide = Window("ACME.XTOC", START_NS, START_NS + 20 * SECOND_NS)
    narrow = Window("ACME.XTOC", START_NS + 12 * SECOND_NS, START_NS + 13 * SECOND_NS)
    tape = Tape([wide, narrow])
    assert list(tape.watch(passing)) == passing
    assert [frame.price.tolist() for _, frame in tape.ticks(wide)] == [[5], [6, 7]]
    assert [frame.price.tolist() for _, frame in tape.ticks(narrow)] == [[6, 7]]


def test_news_are_pinned_before_posts_and_the_latest_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_NEWS", 3)
    messages = [told(0), told(1, channel="post"), told(2, channel="post"), told(3), told(4, key="OTHER.XTOC")]
    found = sources.news(messages, ["ACME.XTOC"])
    assert {name: [one.headline for one in held] for name, held in found.items()} == {
        "ACME.XTOC": ["told at 0", "told at 2", "told at 3"]
    }
