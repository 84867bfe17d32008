"""`tocsin record`: what is in the topics is in the recording, row for row, however often it was stopped or killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from monitor import kafka
from monitor.capture import Captured, capture, times
from monitor.cli import app
from monitor.errors import StartupError
from monitor.folders import Folder
from monitor.journal import read_journal
from monitor.recordings import Message, Recording
from monitor.replay_history import by_history
from monitor.settings import Settings
from schemas import codec
from schemas.records import News
from schemas.topics import INSTRUMENT_INPUTS
from tests.integration.daemon import ROOT, Feed, Watch, Worker, day, stages, until
from tests.integration.kafka import messages_of

BROKERS = ["embedded", pytest.param("kafka", marks=pytest.mark.integration)]

#: What is sent is recent: a broker with retention deletes what is old.
NOW_MS = int(time.time() * 1000)
#: topic, partition, offset, key, value, headers, Kafka's timestamp.
Told = tuple[str, int, int, bytes, bytes, tuple[tuple[str, bytes], ...], int]


@pytest.fixture(params=BROKERS)
def where(request: pytest.FixtureRequest, settings_of: Callable[..., Settings]) -> Settings:
    return settings_of(request.getfixturevalue(request.param))


async def topic_rows(settings: Settings, topics: Sequence[str]) -> list[Told]:
    """Return what stands in topics, each partition in order."""
    rows = [
        (topic, r.partition, r.offset, r.key or b"", r.value or b"", tuple(r.headers), r.timestamp)
        for topic in topics
        for r in await messages_of(settings, topic)
    ]
    return sorted(rows)


def recorded_rows(recording: Recording, topics: Sequence[str]) -> list[Told]:
    return [
        (m.topic, m.partition, m.offset, m.key, m.value, m.headers, m.timestamp_ms)
        for topic in sorted(topics)
        for partition in recording.partitions(topic)
        for m in recording.partition(topic, partition)
    ]


async def send(settings: Settings, topic: str, *values: bytes | None, partition: int = 0, at_ms: int = NOW_MS) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap)
    await producer.start()
    for value in values:
        await producer.send_and_wait(
            settings.prefix + topic, value, key=b"ACME.XTOC", partition=partition, timestamp_ms=at_ms,
            headers=[("trace", b"\x00\xff")],
        )  # fmt: skip
    await producer.stop()


async def take(settings: Settings, out: Path | str, **more: object) -> Captured:
    return await capture(settings, Folder(out), until="now", **more)  # type: ignore[arg-type]


@pytest.mark.slow
async def test_the_day_is_captured_and_goes_on_and_is_history_for_a_replay(where: Settings, tmp_path: Path) -> None:
    part = day()[:1_500]
    await asyncio.to_thread(fed, where, part[:700])
    first = await take(where, tmp_path / "r")
    await asyncio.to_thread(fed, where, part[700:])
    second = await take(where, tmp_path / "r")
    assert (first.messages, second.messages, second.lag) == (700, 800, 0)
    assert (first.resumed, second.resumed) == (False, True)
    recording = Recording.open(tmp_path / "r")
    assert recorded_rows(recording, recording.topics) == await topic_rows(where, recording.topics)
    assert all(name.count(".") == 1 for name in recording.manifest.files)
    # As history it is what was fed, and gives what that gives.
    read = list(recording.messages(INSTRUMENT_INPUTS))
    assert [(m.topic, m.key, m.value, m.ts_event, m.ts_available) for m in read] == [
        (m.topic, m.key, m.value, m.ts_event, m.ts_available) for m in part
    ]
    assert not (await by_history(read, stages())).dead_letters


def texts(count: int) -> list[Message]:
    """Return news of three instruments, a second apart."""
    made = []
    for number in range(count):
        ns = (NOW_MS - 60_000) * 10**6 + number * 10**9
        key = f"{'ABC'[number % 3]}.XTOC"
        record = News(ts_event=ns, ts_available=ns, document_id=str(number), headline="said", instrument=key)
        made.append(Message("news", key.encode(), codec.encode(record), ns, ns, ns // 10**6, partition=-1))
    return made


def fed(settings: Settings, messages: Sequence[Message]) -> None:
    with Feed(settings, messages) as feed:
        feed.finish()


async def test_what_cannot_be_decoded_comes_late_or_has_no_value_is_kept(where: Settings, tmp_path: Path) -> None:
    noon_ms = 20_000 * 86_400_000 + 43_200_000
    said = b'{"document_id":"%s","ts_event":%d,"ts_available":%d,"headline":"x","instrument":"ACME.XTOC"}'
    late_ns = (noon_ms - 86_400_000) * 10**6
    await send(where, "news", b"\xff no JSON", at_ms=noon_ms)
    await send(where, "news", said % (b"a", late_ns, late_ns), None, at_ms=noon_ms)
    await send(where, "news", said % (b"b", late_ns, 0), partition=3, at_ms=noon_ms + 5)
    await take(where, tmp_path / "r", topics=["news", "alerts"])
    recording = Recording.open(tmp_path / "r")
    assert recorded_rows(recording, ["news"]) == await topic_rows(where, ["news"])
    found = {(m.partition, m.offset): (m.ts_event, m.ts_available) for m in recording.messages()}
    noon_ns = noon_ms * 10**6
    assert found == {
        (0, 0): (noon_ns, noon_ns),
        (0, 1): (late_ns, late_ns),
        (0, 2): (noon_ns, noon_ns),
        (3, 0): (late_ns, noon_ns + 5 * 10**6),
    }
    assert sorted(recording.manifest.files) == ["news/2024-10-03.parquet", "news/2024-10-04.parquet"]


def test_a_message_without_a_time_has_kafkas() -> None:
    assert times("journal", b"0", b"anything", 7) == (7 * 10**6, 7 * 10**6)
    assert times("checkpoints", b"x", None, 7) == (7 * 10**6, 7 * 10**6)
    assert times("news", b"k", b"?", -1) == (0, 0)
    assert times("news", b"k", b"?", 2**62)[1] == 2**63 - 1


async def test_begin_latest_takes_what_comes_then(where: Settings, tmp_path: Path) -> None:
    await send(where, "news", b"before")
    assert (await take(where, tmp_path / "r", topics=["news"], begin="latest")).messages == 0
    await send(where, "news", b"after")
    assert (await take(where, tmp_path / "r", topics=["news"])).messages == 1
    assert [m.value for m in Recording.open(tmp_path / "r").messages()] == [b"after"]


@pytest.mark.integration
async def test_times_are_kafkas_timestamps(topics: Settings, tmp_path: Path) -> None:
    for number in range(4):
        await send(topics, "news", b"%d" % number, at_ms=NOW_MS + number)
    end_ns = (NOW_MS + 3) * 10**6
    captured = await capture(topics, Folder(tmp_path / "r"), topics=["news"], begin=end_ns - 2 * 10**6, until=end_ns)
    assert captured.messages == 2
    assert [m.value for m in Recording.open(tmp_path / "r").messages()] == [b"1", b"2"]


async def test_a_missing_or_unknown_topic_is_named(where: Settings, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="There is no topic gossip; Tocsin has ticks"):
        await take(where, tmp_path / "r", topics=["gossip"])
    nowhere = Settings(bootstrap=where.bootstrap, prefix="nobody.")
    with pytest.raises(StartupError, match=r"Missing on .*: nobody\.news; run `tocsin topics create`"):
        await take(nowhere, tmp_path / "r", topics=["news"])
    with pytest.raises(StartupError, match=r"No topic at .* is Tocsin's with prefix 'nobody\.'"):
        await take(nowhere, tmp_path / "r")


def admin(settings: Settings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})


@pytest.mark.integration
async def test_what_retention_deleted_is_refused_or_written_down(topics: Settings, tmp_path: Path) -> None:
    await send(topics, "news", *(b"%d" % n for n in range(4)))
    await take(topics, tmp_path / "r", topics=["news"])
    await send(topics, "news", *(b"%d" % n for n in range(4, 10)), at_ms=NOW_MS + 7)
    name = topics.prefix + "news"
    async with kafka.admin(topics) as client:
        await client.delete_records({TopicPartition(name, 0): RecordsToDelete(before_offset=8)})
    with pytest.raises(StartupError, match=rf"{name}, partition 0, has lost offsets 4 to 7, .*--accept-gaps"):
        await take(topics, tmp_path / "r", topics=["news"])
    assert Recording.open(tmp_path / "r").rows() == 4

    assert (await take(topics, tmp_path / "r", topics=["news"], accept_gaps=True)).messages == 2
    with pytest.raises(StartupError, match="news, partition 0, offsets 4 to 7 were deleted"):
        Recording.open(tmp_path / "r")
    recording = Recording.open(tmp_path / "r", damaged="skip")
    assert [m.value for m in recording.partition("news", 0)] == [b"0", b"1", b"2", b"3", b"8", b"9"]
    (gap,) = recording.damage
    assert (gap.rows, gap.first_ns, gap.last_ns) == (4, NOW_MS * 10**6, (NOW_MS + 7) * 10**6)


class Meanwhile(Folder):
    """A folder beside which retention deletes messages, once, when its manifest is written."""

    def __init__(self, path: Path, settings: Settings, before: int) -> None:
        super().__init__(path)
        self._settings = settings
        self._before = before

    def write(self, file: str, content: bytes) -> None:
        super().write(file, content)
        asyncio.run(self._delete())

    async def _delete(self) -> None:
        async with kafka.admin(self._settings) as client:
            tp = TopicPartition(self._settings.prefix + "news", 0)
            await client.delete_records({tp: RecordsToDelete(before_offset=self._before)})


@pytest.mark.integration
async def test_retention_that_overtakes_a_capture_is_noticed(topics: Settings, tmp_path: Path) -> None:
    await send(topics, "news", *(b"%d" % n for n in range(6)))
    began = Meanwhile(tmp_path / "r", topics, before=2)
    assert (await capture(topics, began, topics=["news"], until="now")).messages == 4
    assert [m.offset for m in Recording.open(tmp_path / "r").partition("news", 0)] == [2, 3, 4, 5]

    await send(topics, "news", *(b"%d" % n for n in range(6, 9)))
    resumed = Meanwhile(tmp_path / "r", topics, before=8)
    with pytest.raises(StartupError, match="has lost offsets 6 to 7, which come next"):
        await capture(topics, resumed, topics=["news", "orders"], until="now")
    assert Recording.open(tmp_path / "r").rows() == 4


@pytest.mark.integration
async def test_a_topic_that_was_made_anew_is_not_mixed_in(topics: Settings, tmp_path: Path) -> None:
    name, client = topics.prefix + "news", admin(topics)
    for number, again in enumerate(([b"x"], [b"other", *[b"x"] * 9])):  # shorter than what was captured, and longer
        out = tmp_path / f"r{number}"
        await send(topics, "news", b"a", b"b")
        captured = await take(topics, out, topics=["news"])
        client.delete_topics([name])[name].result()
        until(lambda: name not in client.list_topics(timeout=5).topics, 120, "deleted")
        client.create_topics([NewTopic(name, 4, 1)])[name].result()
        await asyncio.sleep(0.5)
        await send(topics, "news", *again)
        with pytest.raises(StartupError, match=r"was captured up to offset \d and is not the same any more"):
            await take(topics, out, topics=["news"])
        assert Recording.open(out).rows() == captured.messages


class Recorder:
    """`tocsin record` as a process that commits every half second."""

    def __init__(self, settings: Settings, out: Path) -> None:
        self._command = [
            *(sys.executable, "-m", "monitor.cli", "record", "--out", str(out), "--commit-s", "0.5"),
            *("--bootstrap", settings.bootstrap, "--prefix", settings.prefix),
        ]

    def __enter__(self) -> Recorder:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    @property
    def hears(self) -> bool:
        """Whether it ends in order where it is told to: on a busy machine it takes a while to begin."""
        (caught,) = (
            line.split()[1] for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
            if line.startswith("SigCgt")
        )  # fmt: skip
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

    def end(self, how: signal.Signals) -> tuple[int, str]:
        self._process.send_signal(how)
        said, _ = self._process.communicate(timeout=120)
        return self._process.returncode, said


@pytest.mark.integration
@pytest.mark.slow
def test_a_live_daemons_topics_are_captured_whole_though_the_recorder_is_killed(
    kafka: str, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_of(kafka, clock="data", checkpoint_interval_s=1.0, ladder_down_s=0.0)
    part = day()[:3_000]
    out = tmp_path / "r"
    watch = Watch(settings)
    manifest = out / "manifest.json"
    with Worker(settings, tmp_path) as worker, Feed(settings, part, rate=150) as feed:
        for _ in range(3):
            with Recorder(settings, out) as recorder:
                before = manifest.read_bytes() if manifest.exists() else b""
                until(lambda: manifest.exists() and manifest.read_bytes() != before, 120, "a commit", [worker])  # noqa: B023
                time.sleep(0.7)
                assert recorder.end(signal.SIGKILL)[0] == -signal.SIGKILL
            Recording.open(out)
        with Recorder(settings, out) as recorder:
            feed.finish()
            watch.until_acknowledged(len(part), worker)
            assert worker.drain() == 0
            until(lambda: recorder.hears, 120, "the recorder has begun")
            code, said = recorder.end(signal.SIGTERM)
            assert code == 0, said
            assert "the same command goes on from here" in said
    watch.close()
    asyncio.run(take(settings, out))
    recording = Recording.open(out)
    assert {*INSTRUMENT_INPUTS[:3], "journal", "alerts", "scores", "signals", "market", "market.journal"} <= {
        *recording.topics, "orders",
    }  # fmt: skip
    assert recorded_rows(recording, recording.topics) == asyncio.run(topic_rows(settings, recording.topics))
    assert all(
        name.count(".") == 1 + ("market.journal" in name or "accounts.journal" in name)
        for name in recording.manifest.files
    )

    async def journal(partition: int) -> int:
        async def values() -> object:
            for message in recording.partition("journal", partition):
                yield message.offset, message.value

        return len(await read_journal(values(), -1))  # type: ignore[arg-type]

    assert all(asyncio.run(journal(partition)) for partition in recording.partitions("journal"))


# An object store.


async def test_an_object_store_holds_the_same_recording(
    bucket: str, embedded: str, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = await asyncio.to_thread(settings_of, embedded)
    part = texts(30)
    for start in (0, 15):
        await asyncio.to_thread(fed, settings, part[start : start + 15])
        await take(settings, f"{bucket}/deep/day")
    await take(settings, tmp_path / "day")
    there, here = Recording.open(f"{bucket}/deep/day"), Recording.open(tmp_path / "day")
    assert there.digest == here.digest
    assert list(there.messages()) == list(here.messages())
    assert set(Folder(f"{bucket}/deep/day").files()) == {*here.manifest.files, "manifest.json"}


def test_what_is_no_place_in_a_store_is_one_sentence(bucket: str) -> None:
    with pytest.raises(StartupError, match="is no recording: it has no manifest"):
        Recording.open(f"{bucket}/nothing")
    with pytest.raises(StartupError, match=r"s3://tocsin-none/manifest.json cannot be reached .*AWS_ENDPOINT_URL"):
        Folder("s3://tocsin-none").write("manifest.json", b"{}")


def run(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(
        app, [*arguments, "--bootstrap", settings.bootstrap, "--prefix", settings.prefix]
    )
    return result.exit_code, result.stdout, result.stderr


def test_the_command_says_what_it_captured_and_feeds_go_by_it(where: Settings, bucket: str, tmp_path: Path) -> None:
    fed(where, texts(30))
    for out, held in ((str(tmp_path / "r"), 30), (f"{bucket}/r", 60)):
        code, said, _ = run(where, "record", "--out", out, "--until", "now")
        assert code == 0
        assert f"{out}: {held} messages" in said
        assert f"{held} messages, " in said.splitlines()[-1]
        assert "the same command goes on from here" in said
        code, said, error = run(where, "feed", out, "--speed", "max")
        assert code == 0, error
        assert f"{held} messages delivered" in said
        code, said, _ = run(where, "record", "--out", out, "--until", "now")
        assert "captured more in" in said.splitlines()[-1]
    assert Recording.open(tmp_path / "r").rows() == 60
    assert Recording.open(f"{bucket}/r").rows() == 120


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--from", "yesterday"], "--from: expected `beginning`, an age such as 15m, 1h or 7d, or a time in ISO 8601"),
        (["--until", "dawn"], "--until: expected"),
        (["--topic", "gossip"], "There is no topic gossip"),
    ],
)
def test_what_cannot_be_captured_is_one_sentence(
    embedded: str, settings_of: Callable[..., Settings], tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    code, _, error = run(settings_of(embedded), "record", "--out", str(tmp_path / "r"), *arguments)
    assert code == 2
    assert f"tocsin: {sentence}" in error
    assert not (tmp_path / "r").exists()
