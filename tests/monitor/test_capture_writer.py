"""A recording that grows: wherever it is killed it is whole, goes on, and ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import capture_writer
from monitor.capture_writer import CaptureWriter, Row, merged
from monitor.folders import Folder, Sink
from monitor.recording_format import COLUMNS, Gap, Position
from monitor.recording_writer import RecordingWriter, manifest_bytes, table_of
from monitor.recordings import Message, Recording, RecordingError

DAY_NS = 86_400 * 10**9
NOON_NS = 20_000 * DAY_NS + DAY_NS // 2


class Killed(BaseException):
    """The process ends here."""


class Dying(Folder):
    """A folder whose process is killed before its ``left``-th change of the disk."""

    def __init__(self, path: Path, left: int) -> None:
        super().__init__(path)
        self.left = left

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def create(self, file: str) -> Sink:
        sink = super().create(file)
        keep, discard = sink.keep, sink.discard

        def kept() -> None:
            self._step()
            keep()

        def discarded() -> None:
            # Killed is killed: the system closes files, nobody removes what was half written.
            sink._file.close() if self.left < 0 else discard()  # type: ignore[attr-defined]

        sink.keep, sink.discard = kept, discarded  # type: ignore[method-assign]
        return sink

    def copy(self, file: str, to: str) -> None:
        self._step()
        super().copy(file, to)

    def remove(self, file: str) -> None:
        self._step()
        super().remove(file)


def row(partition: int, offset: int, at: int = 0, value: bytes | None = b"{}") -> Row:
    ns = NOON_NS + at
    return ns, partition, offset, b"ACME.XTOC", value, [("n", b"\x00\xff")], ns // 10**6, ns - 5


def positions(nexts: dict[tuple[str, int], int]) -> dict[str, dict[int, Position]]:
    found: dict[str, dict[int, Position]] = {}
    for (topic, partition), offset in nexts.items():
        found.setdefault(topic, {})[partition] = Position(first=0, next=offset)
    return found


def capture(folder: Folder, stream: Sequence[tuple[str, Row]], every: int = 10**9, seal: bool = True) -> None:
    """Capture a stream from where the recording stopped, committing after ``every`` messages."""
    with CaptureWriter(folder, "cluster", "tocsin.") as writer:
        nexts = {(t, p): at.next for t, of in writer.positions.items() for p, at in of.items()}
        since = 0
        for topic, item in stream:
            _, partition, offset, *_ = item
            if offset < nexts.get((topic, partition), 0):
                continue
            writer.add(topic, item)
            nexts[topic, partition] = offset + 1
            since += 1
            if since >= every:
                since = 0
                writer.commit(positions(nexts))
        writer.commit(positions(nexts))
        if seal:
            writer.seal()


def stream_of(rows: Iterable[tuple[str, int, int]]) -> list[tuple[str, Row]]:
    nexts: dict[tuple[str, int], int] = {}
    made = []
    for topic, partition, at in rows:
        offset = nexts.get((topic, partition), 0)
        nexts[topic, partition] = offset + 1
        made.append((topic, row(partition, offset, at, b"%d" % len(made))))
    return made


def held(recording: Recording) -> list[tuple[str, int, int, bytes]]:
    return sorted((m.topic, m.partition, m.offset, m.value) for m in recording.messages())


STREAMS = st.lists(
    st.tuples(st.sampled_from(["frames", "news"]), st.integers(0, 2), st.integers(0, 3 * DAY_NS)), max_size=25
)


@settings(max_examples=25)
@given(rows=STREAMS, every=st.integers(1, 12), kills=st.lists(st.integers(0, 30), max_size=4))
def test_a_capture_that_is_killed_anywhere_goes_on_and_ends_as_one_that_was_not(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int]], every: int, kills: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("r")
    stream = stream_of(rows)
    for left in kills:
        dying = Dying(folder / "killed", left)
        try:
            capture(dying, stream, every)
        except Killed:
            if (folder / "killed" / "manifest.json").exists():
                there = Recording.open(folder / "killed")
                assert there.manifest.capture is not None
                at = there.manifest.capture.positions
                expected = [
                    (topic, r[1], r[2], r[4])
                    for topic, r in stream
                    if r[1] in at.get(topic, {}) and r[2] < at[topic][r[1]].next
                ]
                assert held(there) == sorted(expected)
    capture(Folder(folder / "killed"), stream, every)
    capture(Folder(folder / "whole"), stream)
    killed, whole = Recording.open(folder / "killed"), Recording.open(folder / "whole")
    assert held(whole) == sorted((topic, r[1], r[2], r[4]) for topic, r in stream)
    assert killed.digest == whole.digest
    on_disk = {p.relative_to(folder / "killed").as_posix() for p in (folder / "killed").rglob("*") if p.is_file()}
    assert on_disk == {*killed.manifest.files, "manifest.json"}
    assert all(name.count(".") == 1 for name in killed.manifest.files)  # TOPIC/DAY.parquet


def test_a_recording_can_be_read_in_order_while_it_grows(tmp_path: Path) -> None:
    late = stream_of([("news", 0, 5), ("news", 1, 9), ("news", 0, 1), ("news", 1, 3), ("news", 0, 10)])
    capture(Folder(tmp_path / "r"), late, every=1, seal=False)
    recording = Recording.open(tmp_path / "r")
    assert len(recording.manifest.files) == 5
    assert [m.value for m in recording.messages()] == [b"2", b"3", b"0", b"1", b"4"]
    assert [m.value for m in recording.partition("news", 0)] == [b"0", b"2", b"4"]


def test_a_day_becomes_one_file_once_it_is_over_and_many_files_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_writer, "_TOGETHER", 3)
    monkeypatch.setattr(capture_writer, "_MOST_FILES", 5)
    today = [("news", 0, at) for at in range(40)]
    capture(Folder(tmp_path / "r"), stream_of(today), every=1, seal=False)
    assert len(Recording.open(tmp_path / "r").manifest.files) <= 5
    tomorrow = [*today, ("news", 0, DAY_NS), ("news", 0, DAY_NS + 1), ("news", 0, 7)]
    capture(Folder(tmp_path / "r"), stream_of(tomorrow), every=1, seal=False)
    names = Recording.open(tmp_path / "r").manifest.files
    assert "news/2024-10-04.parquet" in names
    assert names["news/2024-10-04.parquet"].rows == 40  # the late one waits beside it
    assert len(held(Recording.open(tmp_path / "r"))) == 43


def test_what_has_no_value_key_or_headers_is_kept(tmp_path: Path) -> None:
    bare: Row = (NOON_NS, 0, 0, None, None, [], 0, NOON_NS)
    capture(Folder(tmp_path / "r"), [("news", bare)])
    (message,) = Recording.open(tmp_path / "r").messages()
    assert message == Message("news", b"", b"", NOON_NS, NOON_NS, 0, 0, 0)


def test_what_is_no_capture_is_left_alone(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "simulated", source="simulator"):
        pass
    with pytest.raises(RecordingError, match=r"another kind \(simulator\).*name another folder"):
        CaptureWriter(Folder(tmp_path / "simulated"), "c", "tocsin.")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "thesis.doc").touch()
    with pytest.raises(RecordingError, match=r"is not empty and no recording \(it has thesis\.doc\)"):
        CaptureWriter(Folder(tmp_path / "strange"), "c", "tocsin.")


@pytest.mark.parametrize(("cluster", "prefix"), [("other", "tocsin."), ("cluster", "mine.")])
def test_a_capture_of_another_cluster_or_prefix_is_not_mixed_in(tmp_path: Path, cluster: str, prefix: str) -> None:
    capture(Folder(tmp_path / "r"), stream_of([("news", 0, 0)]))
    with pytest.raises(RecordingError, match=r"was captured from cluster cluster with prefix 'tocsin\.', this is"):
        CaptureWriter(Folder(tmp_path / "r"), cluster, prefix)


def test_one_process_at_a_time_writes_into_a_folder(tmp_path: Path) -> None:
    one = CaptureWriter(Folder(tmp_path / "r"), "c", "p")
    with pytest.raises(RecordingError, match="Another `tocsin record` writes into"):
        CaptureWriter(Folder(tmp_path / "r"), "c", "p")
    one.close()
    CaptureWriter(Folder(tmp_path / "r"), "c", "p").close()


def test_who_writes_into_an_object_store_meanwhile_is_noticed() -> None:
    where = "memory://bucket/meanwhile"
    with CaptureWriter(Folder(where), "c", "p") as one, CaptureWriter(Folder(where), "c", "p") as other:
        one.add("news", row(0, 0))
        one.commit(positions({("news", 0): 1}))
        other.add("news", row(0, 0))
        with pytest.raises(RecordingError, match=r"manifest\.json is not as it was left: somebody else writes there"):
            other.commit(positions({("news", 0): 1}))
    assert Recording.open(where).rows() == 1


def test_a_full_disk_is_one_sentence_and_what_was_committed_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path / "r")
    with CaptureWriter(folder, "c", "p") as writer:
        writer.add("news", row(0, 0))
        writer.commit(positions({("news", 0): 1}))

        class Full(Sink):
            def _put(self, piece: memoryview) -> None:
                raise OSError(28, "No space left on device")

            def discard(self) -> None: ...

        monkeypatch.setattr(folder, "create", lambda file: Full())
        writer.add("news", row(0, 1))
        with pytest.raises(RecordingError, match=r"cannot be written .*No space left on device.* run the command"):
            writer.commit(positions({("news", 0): 2}))
    assert Recording.open(tmp_path / "r").rows() == 1


def test_a_gap_is_told_by_whoever_opens_the_recording(tmp_path: Path) -> None:
    with CaptureWriter(Folder(tmp_path / "r"), "c", "p") as writer:
        writer.add("news", row(0, 0, at=1))
        writer.add("news", row(0, 5, at=9))
        gap = Gap(start=1, end=5, after_ns=NOON_NS + 1, before_ns=NOON_NS + 9)
        writer.commit({"news": {0: Position(first=0, next=6, gaps=[gap])}})
        writer.seal()
    with pytest.raises(RecordingError, match=r"of news, partition 0, offsets 1 to 4 were deleted .*--damaged skip"):
        Recording.open(tmp_path / "r")
    recording = Recording.open(tmp_path / "r", damaged="skip")
    assert [m.offset for m in recording.messages()] == [0, 5]
    (damage,) = recording.damage
    assert (damage.topic, damage.partition, damage.rows) == ("news", 0, 4)
    assert (damage.first_ns, damage.last_ns) == (NOON_NS + 1, NOON_NS + 9)


def test_messages_that_are_in_no_file_are_missed_and_found(tmp_path: Path) -> None:
    capture(Folder(tmp_path / "r"), stream_of([("news", 0, 0), ("news", 0, DAY_NS), ("news", 0, 2 * DAY_NS)]))
    manifest = tmp_path / "r" / "manifest.json"
    recording = Recording.open(tmp_path / "r")
    recording.manifest.files.pop("news/2024-10-05.parquet")
    manifest.write_bytes(manifest_bytes(recording.manifest))
    with pytest.raises(
        RecordingError,
        match=r"of news, partition 0, 1 messages are missing after offset 0, row group 0 of .*/2024-10-04\.parquet",
    ):
        Recording.open(tmp_path / "r")
    assert [one.rows for one in Recording.open(tmp_path / "r", damaged="skip").damage] == [1]


@given(
    streams=st.lists(st.lists(st.integers(0, 6), max_size=12), min_size=1, max_size=4),
    cut=st.integers(1, 4),
)
def test_merging_gives_the_order_of_one_sort(streams: list[list[int]], cut: int) -> None:
    tables, everything = [], []
    for number, times in enumerate(streams):
        rows = sorted((at, number % 2, 100 * number + k) for k, at in enumerate(times))
        everything += rows
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        n = len(rows)
        whole = table_of(
            [["news"] * n, columns[1], columns[2], [b""] * n, [[]] * n, [0] * n, [0] * n, columns[0], [b""] * n]
        )
        tables.append([whole[start : start + cut] for start in range(0, n, cut)])
    found = pa.concat_tables([COLUMNS.empty_table(), *merged([iter(parts) for parts in tables])])
    told = zip(*(found[name].to_pylist() for name in ("ts_available", "partition", "offset")), strict=True)
    assert list(told) == sorted(everything)
