"""Recordings: what was written is what is read, in an order that no partition decides, or one sentence why not."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.labels import Label
from monitor.recording_writer import RecordingWriter
from monitor.recordings import RANK, Message, Recording, RecordingError
from tests.damage import damage_group

DAY_NS = 86_400 * 10**9
NOON_NS = 20_000 * DAY_NS + DAY_NS // 2


def message(topic: str = "news", key: str = "ACME.XTOC", value: bytes = b"{}", at: int = 0, **more: object) -> Message:
    ns = NOON_NS + at
    return Message(topic, key.encode(), value, ns - 5, ns, ns // 10**6 + 1, **more)  # type: ignore[arg-type]


def write(path: Path, messages: Iterable[Message], labels: list[Label] | None = None) -> Path:
    with RecordingWriter(path, source="test", parameters={"seed": 1}) as writer:
        for item in messages:
            writer.append(item)
        if labels is not None:
            writer.add_labels(labels)
    return path


def values(path: Path, **select: object) -> list[bytes]:
    return [m.value for m in Recording.open(path).messages(**select)]  # type: ignore[arg-type]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = [
        message("frames", value=bytes(range(256)), at=0, partition=3, offset=17, headers=(("trace", b"\x00\xff"),)),
        message("frames", key="BOREAL.XTOC", value=b"two", at=DAY_NS, partition=1, offset=2),
        message("news", key="market", value=b"three", at=DAY_NS + 1, partition=0, offset=9),
    ]
    recording = Recording.open(write(tmp_path / "r", written))
    assert list(recording.messages()) == written
    assert recording.topics == ("frames", "news")
    assert recording.rows() == 3
    assert (recording.first_ns, recording.last_ns) == (NOON_NS, NOON_NS + DAY_NS + 1)
    days = ["frames/2024-10-04.parquet", "frames/2024-10-05.parquet", "news/2024-10-05.parquet"]
    assert sorted(recording.manifest.files) == days


def test_labels_and_symbols_travel_with_the_recording(tmp_path: Path) -> None:
    label = Label(
        event_id="1", typology="pump_and_dump", start_ns=1, onset_ns=2, end_ns=3, instruments=["A.B"], accounts=["X"]
    )
    with RecordingWriter(tmp_path / "r", source="test") as writer:
        writer.append(message())
        writer.add_labels([label])
        writer.bring("symbols", "symbol,venue\nACME,XTOC\n")
        writer.bring("sanctions", "name,aliases\n")
    recording = Recording.open(tmp_path / "r")
    assert recording.labels() == [label]
    assert {setting: file.read_text() for setting, file in recording.brought.items()} == {
        "symbols": "symbol,venue\nACME,XTOC\n",
        "sanctions": "name,aliases\n",
    }


def test_equal_content_has_equal_bytes(tmp_path: Path) -> None:
    written = [message(value=str(k).encode(), at=k) for k in range(100)]
    first, second = (Recording.open(write(tmp_path / name, written)) for name in "ab")
    assert first.digest == second.digest
    assert first.manifest.files == second.manifest.files


def test_order_is_time_then_rank_then_key_then_content(tmp_path: Path) -> None:
    rows = [
        message("charts", value=b"6", at=10),
        message("frames", key="B.X", value=b"2", at=10),
        message("news", value=b"0", at=9),
        message("news", key="B.X", value=b"5", at=10),
        message("news", key="A.X", value=b"b", at=10),
        message("news", key="A.X", value=b"a", at=10),
    ]
    # SHA-256 of b"a" begins with ca97, that of b"b" with 3e23.
    assert values(write(tmp_path / "r", rows)) == [b"0", b"2", b"b", b"a", b"5", b"6"]


def test_frames_of_one_key_keep_the_order_of_arrival_at_one_time(tmp_path: Path) -> None:
    rows = [message("frames", value=str(k).encode(), at=1) for k in range(20)]
    assert values(write(tmp_path / "r", rows)) == [str(k).encode() for k in range(20)]


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["frames", "news", "orders", "transfers"]),
            st.sampled_from(["A.X", "B.X"]),
            st.binary(max_size=2),
        ),
        max_size=25,
    ),
    partitions=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_order_does_not_depend_on_partitions(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, str, str, bytes]],
    partitions: tuple[int, int],
) -> None:
    """Two layouts of one history: keys on other partitions, and with that other offsets, but in a key's own order."""
    read = []
    for count in partitions:
        offsets: dict[tuple[str, int], int] = {}
        made = []
        for at, topic, key, value in sorted(rows, key=lambda row: row[0]):
            partition = key.encode()[0] % count
            offset = offsets.get((topic, partition), 0)
            offsets[topic, partition] = offset + 1
            made.append(message(topic, key, value, at, partition=partition, offset=offset))
        path = write(tmp_path_factory.mktemp("r") / "r", made)
        read.append([(m.topic, m.key, m.value, m.ts_available) for m in Recording.open(path).messages()])
    assert read[0] == read[1]
    order = [(at, RANK[topic]) for topic, _, _, at in read[0]]
    assert order == sorted(order)


def test_a_range_is_half_open_and_topics_can_be_chosen(tmp_path: Path) -> None:
    rows = [message("news", value=b"n%d" % k, at=k * DAY_NS // 4) for k in range(8)]
    rows += [message("orders", value=b"o", at=DAY_NS)]
    path = write(tmp_path / "r", rows)
    start, end = NOON_NS + DAY_NS // 4, NOON_NS + DAY_NS
    assert values(path, start_ns=start, end_ns=end) == [b"n1", b"n2", b"n3"]
    assert values(path, topics=["orders"]) == [b"o"]


def test_many_row_groups_are_read_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "r", (message("ticks", value=b"%d" % k, at=k) for k in range(10_000)))
    assert values(path) == [b"%d" % k for k in range(10_000)]


def test_a_damaged_file_is_refused_with_its_name_and_a_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "r", [message()])
    file = path / "news" / "2024-10-04.parquet"
    damaged = bytearray(file.read_bytes())
    damaged[10] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(RecordingError, match=r"2024-10-04\.parquet has SHA-256 .* copy the recording again"):
        Recording.open(path)


def test_a_truncated_file_is_refused_where_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "r", [message(value=b"x" * 999)])
    file = path / "news" / "2024-10-04.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(RecordingError, match=r"2024-10-04\.parquet has \d+ bytes, its manifest says \d+; copy"):
        Recording.open(path)
    with pytest.raises(
        RecordingError, match=r"2024-10-04\.parquet cannot be read .*; copy or make the recording again"
    ):
        list(Recording.open(path, verify=False).messages())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "r", [message()])
    (path / "news" / "2024-10-04.parquet").unlink()
    with pytest.raises(RecordingError, match=r"2024-10-04\.parquet is missing; copy the recording again"):
        Recording.open(path, verify=False)


def test_a_folder_without_manifest_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"has no manifest\.json; make one with `tocsin simulate"):
        Recording.open(tmp_path)
    (tmp_path / "r.part").mkdir()
    with pytest.raises(RecordingError, match=r"r\.part is an unfinished one: write it again"):
        Recording.open(tmp_path / "r")


def test_the_folder_of_a_replay_is_told_from_a_recording(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"layout": 1, "digest": "d"}')
    (tmp_path / "alerts.ndjson").touch()
    with pytest.raises(RecordingError, match="is the folder of a replay: name the recording"):
        Recording.open(tmp_path)


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "r", [message()])
    (path / "manifest.json").write_text("{")
    with pytest.raises(RecordingError, match=r"manifest\.json cannot be read .*; make the recording again"):
        Recording.open(path)


@pytest.mark.parametrize(
    ("old", "new"), [("news/2024", "../r/news/2024"), ("news/2024", "/etc/2024"), ('"topic": "news"', '"topic": "x"')]
)
def test_a_manifest_that_leaves_the_folder_or_names_a_strange_topic_is_refused(
    tmp_path: Path, old: str, new: str
) -> None:
    path = write(tmp_path / "r", [message()])
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace(old, new))
    with pytest.raises(RecordingError, match="expected files within the folder, of topics that this version knows"):
        Recording.open(path)


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RecordingError):
        write(tmp_path / "r", [message(), message("gossip")])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "r", [message()])
    with pytest.raises(RecordingError, match="r exists; remove it or name another folder"):
        RecordingWriter(tmp_path / "r", source="test")


def test_a_step_back_in_time_is_refused(tmp_path: Path) -> None:
    for later in (1, DAY_NS):
        with pytest.raises(RecordingError, match="write each topic in order of ts_available"):
            write(tmp_path / "r", [message(at=later), message(at=0)])


def test_an_unknown_topic_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"Topic 'gossip' is unknown; known are accounts.checkpoints, .*transfers"):
        write(tmp_path / "r", [message("gossip")])


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["frames", "journal"]), st.integers(0, 4 * DAY_NS)), max_size=60
    ),
    start=st.integers(0, 5),
)
def test_a_partition_is_read_in_order_of_offset_however_late_its_messages_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, int]], start: int
) -> None:
    offsets: dict[tuple[str, int], int] = {}
    made = []
    for partition, topic, at in rows:
        offset = offsets.get((topic, partition), 0)
        offsets[topic, partition] = offset + 1
        made.append(message(topic, at=at, partition=partition, offset=offset))
    path = write(tmp_path_factory.mktemp("r") / "r", sorted(made, key=lambda m: m.ts_available))
    recording = Recording.open(path)
    for topic in ("frames", "journal"):
        assert recording.partitions(topic) == tuple(sorted(p for t, p in offsets if t == topic))
        for partition in recording.partitions(topic):
            expected = [m for m in made if (m.topic, m.partition) == (topic, partition) and m.offset >= start]
            assert list(recording.partition(topic, partition, start)) == expected


# Damage: told by file and row group, and left out only when asked.


def long_day(path: Path, rows: int = 9_000) -> Path:
    """Write one file of three row groups: 4,096, 4,096 and 808 rows."""
    return write(path, (message("ticks", value=b"%06d" % k, at=k, offset=k) for k in range(rows)))


def test_a_damaged_row_group_is_left_out_when_asked_and_told(tmp_path: Path) -> None:
    path = long_day(tmp_path / "r")
    damage_group(path / "ticks" / "2024-10-04.parquet", 1)
    with pytest.raises(RecordingError, match=r"has SHA-256 .*--damaged skip"):
        Recording.open(path)
    recording = Recording.open(path, damaged="skip")
    assert [m.offset for m in recording.messages()] == [*range(4_096), *range(8_192, 9_000)]
    assert [m.offset for m in recording.partition("ticks", 0)] == [*range(4_096), *range(8_192, 9_000)]
    assert recording.rows() == 9_000 - 4_096
    whole, group = recording.damage
    assert (whole.file, whole.row_group, whole.rows) == ("ticks/2024-10-04.parquet", -1, 0)
    assert (group.file, group.row_group, group.rows) == ("ticks/2024-10-04.parquet", 1, 4_096)
    assert (group.first_ns, group.last_ns) == (NOON_NS + 4_096, NOON_NS + 8_191)
    assert str(whole).endswith(": what of it reads well is used")
    assert str(group).startswith("ticks/2024-10-04.parquet, row group 1, cannot be read (")
    assert str(group).endswith("): 4,096 messages left out, 2024-10-04 12:00:00 to 2024-10-04 12:00:00 UTC")


def test_a_file_that_is_cut_short_or_missing_is_left_out_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "r", [message("news", value=b"n", at=1), *(message("orders", at=k) for k in range(3))])
    orders = path / "orders" / "2024-10-04.parquet"
    orders.write_bytes(orders.read_bytes()[:-10])
    damages = [one for one in Recording.open(path, damaged="skip").damage if one.rows]
    orders.unlink()
    recording = Recording.open(path, damaged="skip")
    for (one,) in (damages, recording.damage):
        assert (one.topic, one.file, one.row_group, one.rows) == ("orders", "orders/2024-10-04.parquet", -1, 3)
        assert (one.first_ns, one.last_ns) == (NOON_NS, NOON_NS + 2)
    assert recording.topics == ("news",)
    assert [m.value for m in recording.messages()] == [b"n"]


def resigned(path: Path, name: str) -> None:
    """Write a file's digest and size anew into the manifest, as another tool would that rewrote it."""
    manifest = json.loads((path / "manifest.json").read_text())
    content = (path / name).read_bytes()
    manifest["files"][name] |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_rows_that_are_not_in_order_are_refused_with_their_row_group(tmp_path: Path) -> None:
    path, name = long_day(tmp_path / "r"), "ticks/2024-10-04.parquet"
    table = pq.read_table(path / name)
    turned = pa.concat_tables([table[:3_000], table[5_000:6_000], table[3_000:5_000], table[6_000:]])
    pq.write_table(turned, path / name, row_group_size=3_000)
    resigned(path, name)
    back = f"ts_available goes back from {NOON_NS + 5_999} to {NOON_NS + 3_000}"
    with pytest.raises(RecordingError, match=rf"{name}, row group 1, is not in order: {back}; .*--damaged skip"):
        Recording.open(path)
    recording = Recording.open(path, damaged="skip")
    assert [(one.row_group, one.rows) for one in recording.damage] == [(1, 3_000)]
    assert [m.offset for m in recording.messages()] == [*range(3_000), *range(6_000, 9_000)]


def test_a_file_of_other_columns_or_rows_is_refused(tmp_path: Path) -> None:
    path, name = write(tmp_path / "r", [message(at=k) for k in range(3)]), "news/2024-10-04.parquet"
    table = pq.read_table(path / name)
    pq.write_table(table[:2], path / name)
    resigned(path, name)
    with pytest.raises(RecordingError, match=rf"{name} has 2 rows, its manifest says 3; copy the recording again"):
        Recording.open(path)
    pq.write_table(table.drop_columns(["headers"]), path / name)
    resigned(path, name)
    with pytest.raises(RecordingError, match=rf"{name} has columns topic, .*, value, expected topic, partition, "):
        Recording.open(path)
    assert [one.rows for one in Recording.open(path, damaged="skip").damage] == [3]
    narrow = table.schema.get_field_index("offset")
    pq.write_table(table.set_column(narrow, "offset", table["offset"].cast(pa.int32())), path / name)
    resigned(path, name)
    with pytest.raises(RecordingError, match=rf"{name} has column offset of type int32, expected int64; copy"):
        Recording.open(path)
    required = pa.field("ts_event", pa.int64(), nullable=False)
    pq.write_table(table.cast(table.schema.set(table.schema.get_field_index("ts_event"), required)), path / name)
    resigned(path, name)
    with pytest.raises(RecordingError, match=rf"{name} has column ts_event of type int64 not null, expected int64;"):
        Recording.open(path)


@pytest.mark.parametrize(("layout", "remedy"), [(0, "make the recording again"), (2, "read it with the version that")])
def test_another_layout_is_refused(tmp_path: Path, layout: int, remedy: str) -> None:
    path = write(tmp_path / "r", [message()])
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"layout": 1', f'"layout": {layout}'))
    with pytest.raises(RecordingError, match=f"has layout {layout}, this version reads 1; {remedy}"):
        Recording.open(path, damaged="skip")


def test_damaged_labels_are_refused_always(tmp_path: Path) -> None:
    path = write(tmp_path / "r", [message()], labels=[])
    (path / "labels.parquet").write_bytes(b"nothing")
    with pytest.raises(RecordingError, match=r"labels\.parquet has 7 bytes, its manifest says \d+; copy"):
        Recording.open(path, damaged="skip")


@pytest.mark.slow
def test_a_process_that_read_labels_ends_in_peace(tmp_path: Path) -> None:
    """Up to one in four aborted at its end while Arrow's threads still held what Python had read for them."""
    labels = [
        Label(event_id=str(k), typology="x", start_ns=1, onset_ns=1, end_ns=2, instruments=["A.X"]) for k in range(27)
    ]
    path = write(tmp_path / "r", [message()], labels=labels)
    code = "import sys; from pathlib import Path; from monitor.recordings import Recording\n"
    code += "sys.exit(len(Recording.open(Path(sys.argv[1]), verify=False).labels()) != 27)"
    ran = [subprocess.run([sys.executable, "-c", code, path], capture_output=True) for _ in range(12)]
    assert [(one.returncode, one.stderr) for one in ran] == [(0, b"")] * 12


# Other readers, and other selections.


def test_messages_of_some_keys_are_read(tmp_path: Path) -> None:
    rows = [message(key=key, value=key.encode(), at=k) for k, key in enumerate(["A.X", "B.X", "C.X", "A.X"])]
    path = write(tmp_path / "r", rows)
    assert values(path, keys={b"A.X", b"C.X"}) == [b"A.X", b"C.X", b"A.X"]
    assert values(path, keys=set()) == []


def test_duckdb_and_polars_read_a_recording(tmp_path: Path) -> None:
    """The query is that of docs/simulator.md."""
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    heard = [("A.X", "up"), ("B.X", "down"), ("A.X", "für immer")]
    rows = [
        message(key=key, value=b'{"headline":"%s"}' % said.encode(), at=k, headers=(("trace", b"\x00"),))
        for k, (key, said) in enumerate(heard)
    ]
    path = write(tmp_path / "day", rows)
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    query = re.search(r"^duckdb -c \"(.*?)\"", page, re.MULTILINE | re.DOTALL)
    assert query is not None
    found = duckdb.sql(query[1].replace("day/", f"{path}/")).fetchall()
    assert found == [("A.X", 2, "für immer"), ("B.X", 1, "down")]
    frame = polars.read_parquet(path / "news" / "*.parquet")
    assert frame["offset"].to_list() == [0, 1, 2]
    assert frame.filter(polars.col("key") == b"B.X")["value"].to_list() == [b'{"headline":"down"}']
    assert (frame["ts_available"].cast(polars.Datetime("ns"))).is_sorted()
