"""A recording's Parquet files: read row group by row group, and checked before they are trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from monitor.folders import Folder
from monitor.recording_format import COLUMNS, Damage, FileEntry, Message, Position, RecordingError

#: Where `ts_available` stands among a file's leaves: the map of headers, before it, takes two.
_TIME = COLUMNS.get_field_index("ts_available") + 1
#: Of so many row groups one is looked at for the sizes of its values.
_SIZED = 16
#: What reading damaged bytes ends with; a wrong letter in text is a ValueError.
_FAILURES = (pa.ArrowException, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which messages of a file are meant; what is None selects nothing out.

    ``start_ns`` to ``end_ns`` is a half-open range of ``ts_available``; ``without`` are row groups that are not used.
    """

    start_ns: int | None = None
    end_ns: int | None = None
    keys: Collection[bytes] | None = None
    partition: int | None = None
    without: frozenset[int] = field(default_factory=frozenset)


ALL = Selection()


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: its file, its number there, and of each partition in it first and last offset and number of rows."""

    file: str
    number: int
    offsets: dict[int, tuple[int, int, int]]


def read(
    folder: Folder, name: str, selection: Selection = ALL, groups: Sequence[int] | None = None
) -> Iterator[Message]:
    """Yield a file's messages in the order of its rows, those of some row groups only if given.

    Raises
    ------
    RecordingError
        It cannot be read, or has other columns.
    """
    for table in tables(folder, name, selection, groups):
        columns = {column: table.column(column).to_pylist() for column in COLUMNS.names}
        for topic, partition, offset, key, headers, timestamp, event, available, value in zip(
            *columns.values(), strict=True
        ):
            # Kafka's null is nothing here, as it is for whoever decodes the message.
            yield Message(
                topic, key or b"", value or b"", event, available, timestamp, partition, offset, tuple(headers or ())
            )


def tables(
    folder: Folder, name: str, selection: Selection = ALL, groups: Sequence[int] | None = None
) -> Iterator[pa.Table]:
    """Yield a file's row groups, a table each, one of them in memory at a time. Raises as `read` does."""
    with _opened(folder, name) as file:
        for number in range(file.num_row_groups) if groups is None else groups:
            if number in selection.without:
                continue
            first, last = _span(file, number)
            if selection.end_ns is not None and first is not None and first >= selection.end_ns:
                return
            if selection.start_ns is not None and last is not None and last < selection.start_ns:
                continue
            yield _selected(_group(folder, file, name, number), selection)


def _group(folder: Folder, file: pq.ParquetFile, name: str, number: int, columns: list[str] | None = None) -> pa.Table:
    try:
        return _row_group(folder, file, number, columns)
    except _FAILURES as error:
        raise _unreadable(folder, name, error, f", row group {number}") from error


def _row_group(folder: Folder, file: pq.ParquetFile, number: int, columns: list[str] | None) -> pa.Table:
    # A Python file is read on this thread alone: one of Arrow's that lets go of its buffer while Python ends aborts it.
    # What is near in an object is read ahead by fsspec, and not by Arrow, for the same reason.
    return file.read_row_group(number, columns=columns, use_threads=folder.local is not None)


def _selected(table: pa.Table, selection: Selection) -> pa.Table:
    masks = []
    if selection.start_ns is not None:
        masks.append(pc.greater_equal(table["ts_available"], selection.start_ns))
    if selection.end_ns is not None:
        masks.append(pc.less(table["ts_available"], selection.end_ns))
    if selection.keys is not None:
        masks.append(pc.is_in(table["key"], pa.array(sorted(selection.keys), pa.binary())))
    if selection.partition is not None:
        masks.append(pc.equal(table["partition"], selection.partition))
    for mask in masks[1:]:
        masks[0] = pc.and_(masks[0], mask)
    return table.filter(masks[0]) if masks else table


def index(folder: Folder, name: str, without: frozenset[int] = frozenset()) -> list[Group]:
    """Return where the offsets of a file lie; two columns of integers are read for it. Raises as `read` does."""
    groups = []
    with _opened(folder, name) as file:
        for number in range(file.num_row_groups):
            if number in without:
                continue
            table = _group(folder, file, name, number, ["partition", "offset"])
            spans = table.group_by("partition").aggregate(
                [("offset", "min"), ("offset", "max"), ("offset", "count")]
            ).to_pylist()  # fmt: skip
            offsets = {s["partition"]: (s["offset_min"], s["offset_max"], s["offset_count"]) for s in spans}
            groups.append(Group(name, number, offsets))
    return groups


def keys(folder: Folder, name: str, without: frozenset[int] = frozenset()) -> dict[bytes, tuple[int, float]]:
    """Return for each key of a file how many messages it has, and about how many bytes. Raises as `read` does.

    Of one row group in `_SIZED` the values are looked at, of the others the keys alone.
    """
    counts: Counter[bytes] = Counter()
    sizes: Counter[bytes] = Counter()
    sized: Counter[bytes] = Counter()
    with _opened(folder, name) as file:
        for number in range(file.num_row_groups):
            if number in without:
                continue
            look = number % _SIZED == 0
            table = _group(folder, file, name, number, ["key", "value"] if look else ["key"])
            for one in pc.value_counts(table["key"]).to_pylist():
                counts[one["values"] or b""] += one["counts"]
            if look:
                lengths = pa.table({"key": table["key"], "size": pc.binary_length(table["value"])})
                for one in lengths.group_by("key").aggregate([("size", "sum"), ("size", "count")]).to_pylist():
                    sizes[one["key"] or b""] += one["size_sum"] or 0
                    sized[one["key"] or b""] += one["size_count"]
    return {key: (count, count * sizes[key] / max(1, sized[key])) for key, count in counts.items()}


def damages(folder: Folder, name: str, entry: FileEntry, *, verify: bool = True) -> Iterator[Damage]:
    """Yield what is wrong with a file: missing, and if ``verify``: changed, not Parquet, other columns, unordered rows.

    Only of a file that was changed all is read, so as to find the row groups that are still whole.
    """
    size = folder.size(name)
    if size is None:
        yield _whole(name, entry, "is missing")
    if size is None or not verify:
        return
    found = folder.digest(name) if size == entry.size else ""
    changed = f"has {size} bytes, its manifest says {entry.size}"
    if found:
        changed = f"has SHA-256 {found[:12]}… and {size} bytes, its manifest says {entry.sha256[:12]}… and {entry.size}"
    altered = found != entry.sha256
    if altered:
        # What is left out of it is told next; itself it is told for those who stop at the first.
        yield _whole(name, entry, changed, rows=0)
    if not entry.topic:
        return
    try:
        with _opened(folder, name, checksums=altered) as file:
            if file.metadata.num_rows != entry.rows:
                yield _whole(name, entry, f"has {file.metadata.num_rows} rows, its manifest says {entry.rows}")
                return
            yield from _damaged_groups(folder, file, name, entry, None if altered else ["ts_available"])
    except RecordingError as error:
        yield _whole(name, entry, str(error).removeprefix(f"{folder.path(name)} ").partition("; ")[0])


def missing(folder: Folder, topic: str, positions: Mapping[int, Position], groups: Sequence[Group]) -> Iterator[Damage]:
    """Yield for each partition how many messages are in no file although they were captured, and from where on.

    The offsets of a partition at fault are read into memory, 8 bytes a message.
    """
    for partition, position in sorted(positions.items()):
        mine = [group for group in groups if partition in group.offsets]
        lost = position.rows - sum(group.offsets[partition][2] for group in mine)
        if lost == 0:
            continue
        offsets = [position.first - 1]
        for group in mine:
            with _opened(folder, group.file) as file:
                table = _group(folder, file, group.file, group.number, ["partition", "offset"])
                offsets += table.filter(pc.equal(table["partition"], partition))["offset"].to_pylist()
        offsets.sort()
        jumps = (before for before, after in pairwise(offsets) if after != before + 1)
        before = next(jumps, offsets[-1])
        holder = next((g for g in mine if g.offsets[partition][0] <= before <= g.offsets[partition][1]), None)
        where = f", row group {holder.number} of {folder.path(holder.file)}" if holder else ""
        yield Damage(
            topic=topic,
            rows=max(0, lost),
            first_ns=0,
            last_ns=0,
            reason=f"{abs(lost)} messages {'are missing' if lost > 0 else 'are too many'} after offset {before}{where}",
            partition=partition,
        )


def _damaged_groups(
    folder: Folder, file: pq.ParquetFile, name: str, entry: FileEntry, columns: list[str] | None
) -> Iterator[Damage]:
    latest: int | None = None
    for number in range(file.num_row_groups):
        first, last = _span(file, number)
        rows = file.metadata.row_group(number).num_rows
        try:
            table = _row_group(folder, file, number, columns)
            table.validate(full=True)
        except _FAILURES as error:
            reason = f"cannot be read ({str(error).splitlines()[0]})"
        else:
            times = table["ts_available"].to_numpy()
            back = (times[1:] < times[:-1]).nonzero()[0]
            if back.size:
                reason = f"is not in order: ts_available goes back from {times[back[0]]} to {times[back[0] + 1]}"
            elif times.size and latest is not None and times[0] < latest:
                reason = f"is not in order: ts_available goes back from {latest} to {times[0]}"
            else:
                latest = int(times[-1]) if times.size else latest
                continue
        yield Damage(
            topic=entry.topic,
            rows=rows,
            first_ns=entry.first_ns if first is None else first,
            last_ns=entry.last_ns if last is None else last,
            reason=reason,
            file=name,
            row_group=number,
        )


def _whole(name: str, entry: FileEntry, reason: str, rows: int | None = None) -> Damage:
    return Damage(
        topic=entry.topic,
        rows=entry.rows if rows is None else rows,
        first_ns=entry.first_ns,
        last_ns=entry.last_ns,
        reason=reason,
        file=name,
    )


def _span(file: pq.ParquetFile, group: int) -> tuple[int | None, int | None]:
    """Return the first and last ``ts_available`` that a row group says it has."""
    statistics = file.metadata.row_group(group).column(_TIME).statistics
    return (None, None) if statistics is None or not statistics.has_min_max else (statistics.min, statistics.max)


@contextmanager
def _opened(folder: Folder, name: str, *, checksums: bool = False) -> Iterator[pq.ParquetFile]:
    """Open a file of a recording; ``checksums`` compares each page with its own, where it has one."""
    with ExitStack() as stack:
        try:
            source = folder.local / name if folder.local is not None else stack.enter_context(folder.open(name))
            file = stack.enter_context(pq.ParquetFile(source, page_checksum_verification=checksums, pre_buffer=False))
        except _FAILURES as error:
            raise _unreadable(folder, name, error) from error
        schema = file.schema_arrow
        if not schema.equals(COLUMNS):
            raise RecordingError(f"{folder.path(name)} has {_deviation(schema)}; make the recording again.")
        yield file


def _deviation(schema: pa.Schema) -> str:
    """Return what another schema has, and what is expected: the first type that differs where the names are these."""
    if schema.names != COLUMNS.names:
        return f"columns {', '.join(schema.names)}, expected {', '.join(COLUMNS.names)}"
    found, expected = next(pair for pair in zip(schema, COLUMNS, strict=True) if not pair[0].equals(pair[1]))
    return f"column {found.name} of type {found.type}{'' if found.nullable else ' not null'}, expected {expected.type}"


def _unreadable(folder: Folder, name: str, error: Exception, where: str = "") -> RecordingError:
    said = (str(error) or repr(error)).splitlines()[0]
    return RecordingError(f"{folder.path(name)}{where} cannot be read ({said}); copy or make the recording again.")
