"""A recording that grows: what was added is committed again and again, and what a day gathered becomes one file.

Messages do not come in the order of ``ts_available``, and late ones belong to days that were over. So each commit sorts
what came since the last and writes it as files of its own, ``TOPIC/DAY.MARK.parquet``; then the manifest that names
them takes the place of the one before. Files are never changed: they are merged into new ones, and removed once no
manifest names them. A crash leaves the old manifest or the new one, and perhaps files that neither names, which the
next capture removes.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec
import pyarrow as pa

from monitor import recording_files
from monitor.folders import Folder
from monitor.recording_format import (
    LAYOUT,
    MANIFEST,
    RANK,
    Capture,
    FileEntry,
    Manifest,
    Position,
    RecordingError,
    code_version,
)
from monitor.recording_writer import DayFile, day_of, file_name, manifest_bytes, table_of
from monitor.recordings import read_manifest

#: ts_available, partition, offset, key, value, headers, Kafka's timestamp in ms, ts_event. Its first three order it.
Row = tuple[int, int, int, bytes | None, bytes | None, Sequence[tuple[str, bytes | None]], int, int]

#: Files of one topic and day that are merged at a time, and how many there may be at most: each costs a row group.
_TOGETHER = 16
_MOST_FILES = 32
#: What a row costs in memory beside its bytes, about.
_ROW_BYTES = 600
_ORDER = [(name, "ascending") for name in ("ts_available", "partition", "offset")]
_OURS = re.compile(r"(?P<topic>[a-z.]+)/\d{4}-\d\d-\d\d(\.[0-9a-f]{8})?\.parquet(\.part)?")


class CaptureWriter:
    """Writes what is captured of a cluster's topics into a folder, which is a recording after each commit.

    Only one process writes into a folder of this machine; in an object store, a second one is noticed at its commit.

    Parameters
    ----------
    folder
        A recording captured before, which goes on, or a place where nothing is yet.
    cluster
        The Kafka cluster's id.
    prefix
        What the names of the topics begin with there.

    Raises
    ------
    RecordingError
        It is another recording, one of another cluster, no recording at all, or somebody writes there.
    """

    def __init__(self, folder: Folder, cluster: str, prefix: str) -> None:
        self._folder = folder
        self._lock = _locked(folder)
        self._content = b""
        self._manifest = Manifest(
            layout=LAYOUT,
            code_version=code_version(),
            source="kafka",
            parameters={},
            files={},
            capture=Capture(cluster=cluster, prefix=prefix, positions={}),
        )
        self._rows: dict[tuple[str, int], list[Row]] = {}
        self._cleaned = False
        #: Bytes that wait in memory for a commit, about.
        self.waiting_bytes = 0
        try:
            self._take_up(cluster, prefix)
        except BaseException:
            self.close()
            raise

    def _take_up(self, cluster: str, prefix: str) -> None:
        folder = self._folder
        if folder.size(MANIFEST) is None:
            if strange := [name for name in folder.files() if not _is_ours(name) and name != f"{MANIFEST}.part"]:
                raise RecordingError(
                    f"{folder.name} is not empty and no recording (it has {strange[0]}); name another folder."
                )
            return
        self._content, manifest = read_manifest(folder)
        capture = manifest.capture
        if capture is None:
            raise RecordingError(
                f"{folder.name} is a recording of another kind ({manifest.source}): only one that `tocsin record` made"
                " can go on; name another folder."
            )
        if (capture.cluster, capture.prefix) != (cluster, prefix):
            raise RecordingError(
                f"{folder.name} was captured from cluster {capture.cluster} with prefix {capture.prefix!r}, this is"
                f" {cluster} with {prefix!r}; set TOCSIN_BOOTSTRAP and TOCSIN_PREFIX to what it was, or name another"
                " folder."
            )
        self._manifest = msgspec.structs.replace(manifest, code_version=code_version())
        if folder.local is not None:
            self._clean()

    @property
    def positions(self) -> Mapping[str, Mapping[int, Position]]:
        """How far each topic and partition is captured, as the manifest says."""
        assert self._manifest.capture is not None
        return self._manifest.capture.positions

    def add(self, topic: str, row: Row) -> None:
        """Keep a message for the next commit."""
        self._rows.setdefault((topic, day_of(row[0])), []).append(row)
        self.waiting_bytes += _ROW_BYTES + len(row[3] or b"") + len(row[4] or b"")

    def commit(self, positions: Mapping[str, Mapping[int, Position]]) -> None:
        """Write what was added, then the manifest that names it and says that ``positions`` have been reached.

        Raises
        ------
        RecordingError
            Somebody else writes there, or it cannot be written; what was committed before is whole.
        """
        files = dict(self._manifest.files)
        came = set(self._rows)
        try:
            for (topic, day), rows in sorted(self._rows.items()):
                rows.sort()
                name = file_name(topic, day, secrets.token_hex(4))
                files[name] = self._written(name, topic, [_table(topic, rows)])
                rows.clear()
            self._rows.clear()
            self.waiting_bytes = 0
            self._put(files, positions)
            self._tidy(came)
        except OSError as error:
            raise self._unwritable(error) from error

    def seal(self) -> None:
        """Make one file of each topic and day, of the plain name. Raises as `commit` does."""
        try:
            for topic, day in self._days():
                self._seal(topic, day)
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Let the folder go; what was not committed is forgotten."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tidy(self, came: set[tuple[str, int]]) -> None:
        """Keep files few: a day that went over becomes one file, many files fewer."""
        newest: dict[str, int] = {}
        for topic, day in self._days():
            newest[topic] = max(day, newest.get(topic, day))
        for topic, day in self._days():
            names = self._names(topic, day)
            if len(names) > _MOST_FILES:
                self._merge(topic, names[:_TOGETHER], file_name(topic, day, secrets.token_hex(4)))
            # What comes late for a day that is one file by now waits for the end: the day is not written again for it.
            elif (topic, day) not in came and day < newest[topic] and file_name(topic, day) not in names:
                self._seal(topic, day)

    def _seal(self, topic: str, day: int) -> None:
        plain = file_name(topic, day)
        while len(names := self._names(topic, day)) > 1:
            self._merge(topic, names[:_TOGETHER], file_name(topic, day, secrets.token_hex(4)))
        if names != [plain]:
            self._folder.copy(names[0], plain)
            self._replace(names, plain, self._manifest.files[names[0]])

    def _merge(self, topic: str, names: Sequence[str], into: str) -> None:
        entry = self._written(into, topic, merged([recording_files.tables(self._folder, name) for name in names]))
        self._replace(names, into, entry)

    def _replace(self, names: Sequence[str], by: str, entry: FileEntry) -> None:
        files = {name: one for name, one in self._manifest.files.items() if name not in names} | {by: entry}
        self._put(files, self.positions)
        for name in names:
            self._folder.remove(name)

    def _days(self) -> list[tuple[str, int]]:
        return sorted({(entry.topic, day_of(entry.first_ns)) for entry in self._manifest.files.values()})

    def _names(self, topic: str, day: int) -> list[str]:
        """Return a day's files, the smallest first: merging those keeps the work small."""
        of = (topic, day)
        mine = [(e.rows, n) for n, e in self._manifest.files.items() if (e.topic, day_of(e.first_ns)) == of]
        return [name for _, name in sorted(mine)]

    def _written(self, name: str, topic: str, tables: Iterable[pa.Table]) -> FileEntry:
        file = DayFile(self._folder.create(name), topic)
        try:
            for table in tables:
                file.extend(table)
            return file.close()
        except BaseException:
            file.discard()
            raise

    def _put(self, files: Mapping[str, FileEntry], positions: Mapping[str, Mapping[int, Position]]) -> None:
        assert self._manifest.capture is not None
        told = {topic: dict(sorted(of.items())) for topic, of in sorted(positions.items())}
        capture = msgspec.structs.replace(self._manifest.capture, positions=told)
        manifest = msgspec.structs.replace(self._manifest, files=dict(sorted(files.items())), capture=capture)
        content = manifest_bytes(manifest)
        if content == self._content:
            return
        there = b"" if self._folder.size(MANIFEST) is None else self._folder.read(MANIFEST)
        if there != self._content:
            raise RecordingError(
                f"{self._folder.path(MANIFEST)} is not as it was left: somebody else writes there; end that, and run"
                " the command again."
            )
        self._folder.write(MANIFEST, content)
        self._content, self._manifest = content, manifest
        # In an object store only now it is sure that nobody else is about to name them.
        self._clean()

    def _clean(self) -> None:
        """Remove, once, what a crash left and no manifest names."""
        if self._cleaned:
            return
        self._cleaned = True
        for name in self._folder.files():
            if _is_ours(name) and name not in self._manifest.files:
                self._folder.remove(name)

    def _unwritable(self, error: OSError) -> RecordingError:
        return RecordingError(
            f"{self._folder.name} cannot be written ({error}); what was committed before is whole: make room or mend"
            " it, and run the command again."
        )


def merged(streams: Sequence[Iterator[pa.Table]]) -> Iterator[pa.Table]:
    """Merge tables whose rows are in order into one stream in order; a few row groups of each are in memory."""
    heads = {number: table for number, stream in enumerate(streams) if (table := next(stream, None)) is not None}
    while heads:
        until = min(map(_last, heads.values()))
        parts = []
        for number, head in list(heads.items()):
            # Rows of one and the same time are sorted together.
            while _last(head) == until and (more := next(streams[number], None)) is not None:
                head = pa.concat_tables([head, more])
            taken = int(head["ts_available"].to_numpy().searchsorted(until, side="right"))
            parts.append(head[:taken])
            rest = head[taken:] if taken < head.num_rows else next(streams[number], None)
            if rest is None:
                del heads[number]
            else:
                heads[number] = rest
        yield pa.concat_tables(parts).combine_chunks().sort_by(_ORDER)


def _last(table: pa.Table) -> int:
    return int(table["ts_available"][-1].as_py())


def _table(topic: str, rows: Sequence[Row]) -> pa.Table:
    available, partition, offset, key, value, headers, timestamp, event = zip(*rows, strict=True)
    return table_of([[topic] * len(rows), partition, offset, key, headers, timestamp, event, available, value])


def _is_ours(name: str) -> bool:
    found = _OURS.fullmatch(name)
    return found is not None and found["topic"] in RANK


def _locked(folder: Folder) -> int | None:
    """Hold a folder of this machine for this process alone, until the handle is closed or the process ends."""
    if folder.local is None:
        return None
    try:
        folder.local.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder.local, os.O_RDONLY)
    except OSError as error:
        raise RecordingError(f"{folder.name} cannot be written ({error}); name another folder.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise RecordingError(
            f"Another `tocsin record` writes into {folder.name}; end it first, or name another folder."
        ) from error
    return handle
