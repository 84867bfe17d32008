"""Writing recordings: rows gather to row groups, files to a folder that gets its name when it is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engines.labels import Label
from monitor import label_files
from monitor.folders import Folder, Sink, settle
from monitor.recording_format import (
    BROUGHT,
    COLUMNS,
    LABELS,
    LAYOUT,
    MANIFEST,
    RANK,
    FileEntry,
    Manifest,
    Message,
    RecordingError,
    code_version,
)

_GROUP_BYTES = 1 << 20
_GROUP_ROWS = 4_096
DAY_NS = 86_400_000_000_000


def day_of(ts_available: int) -> int:
    """Return the number of the UTC day of a time, int64 ns UTC."""
    return ts_available // DAY_NS


def file_name(topic: str, day: int, mark: str = "") -> str:
    """Return the name of a topic's file of a day; ``mark`` tells one of several apart.

    Example
    -------
    >>> file_name("news", 20_000), file_name("news", 20_000, "a1b2c3d4")
    ('news/2024-10-04.parquet', 'news/2024-10-04.a1b2c3d4.parquet')
    """
    date = datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
    return f"{topic}/{date}{mark and '.'}{mark}.parquet"


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return a manifest as it is written; equal ones have equal bytes."""
    text = json.dumps(msgspec.to_builtins(manifest), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return text.encode()


class DayFile:
    """One topic's Parquet file of a day being written: rows, in order, gather to row groups of about a megabyte.

    Where row groups end depends on the rows alone, not on how they come. Each page carries a checksum, so that what is
    whole in a damaged file can be told.
    """

    def __init__(self, sink: Sink, topic: str) -> None:
        self.topic = topic
        self.rows = 0
        self.first_ns = 0
        self.last_ns = 0
        self._sink = sink
        self._writer = pq.ParquetWriter(
            sink,
            COLUMNS,
            compression="zstd",
            use_dictionary=["topic", "key"],
            write_statistics=["ts_available"],
            write_page_checksum=True,
        )
        self._pending: list[Message] = []
        self._bytes = 0
        self._held: list[pa.Table] = []

    def append(self, message: Message) -> None:
        """Append a message; one of a file takes either messages or tables."""
        if not self.rows:
            self.first_ns = message.ts_available
        self.last_ns = message.ts_available
        self.rows += 1
        self._pending.append(message)
        self._bytes += len(message.value)
        if self._bytes >= _GROUP_BYTES or len(self._pending) >= _GROUP_ROWS:
            self._flush()

    def extend(self, table: pa.Table) -> None:
        """Append rows that lie in columns already, those of `COLUMNS`."""
        if not table.num_rows:
            return
        if not self.rows:
            self.first_ns = table["ts_available"][0].as_py()
        self.last_ns = table["ts_available"][-1].as_py()
        self.rows += table.num_rows
        sizes = pc.fill_null(pc.binary_length(table["value"]), 0).to_numpy().astype(np.int64)
        while len(sizes):
            held = sum(part.num_rows for part in self._held)
            full = (self._bytes + sizes.cumsum() >= _GROUP_BYTES) | (held + np.arange(1, len(sizes) + 1) >= _GROUP_ROWS)
            ends = bool(full.any())
            taken = int(full.argmax()) + 1 if ends else len(sizes)
            self._held.append(table[:taken])
            self._bytes += int(sizes[:taken].sum())
            table, sizes = table[taken:], sizes[taken:]
            if ends:
                self._flush()

    def close(self) -> FileEntry:
        """Write what is left, make the file durable, and return what a manifest says of it."""
        self._flush()
        self._writer.close()
        self._sink.keep()
        return FileEntry(
            sha256=self._sink.sha256,
            size=self._sink.size,
            topic=self.topic,
            rows=self.rows,
            first_ns=self.first_ns,
            last_ns=self.last_ns,
        )

    def discard(self) -> None:
        """Leave nothing of the file."""
        with suppress(OSError):  # a full disk, of which the caller knows
            self._writer.close()
        self._sink.discard()

    def _flush(self) -> None:
        rows = self._pending
        if rows:
            columns: list[list[Any]] = [
                [self.topic] * len(rows),
                [m.partition for m in rows],
                [m.offset for m in rows],
                [m.key for m in rows],
                [m.headers for m in rows],
                [m.timestamp_ms for m in rows],
                [m.ts_event for m in rows],
                [m.ts_available for m in rows],
                [m.value for m in rows],
            ]
            self._held.append(table_of(columns))
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held).combine_chunks())
        self._pending = []
        self._held = []
        self._bytes = 0


def table_of(columns: Sequence[Sequence[Any]]) -> pa.Table:
    """Return rows that are given column by column, in the order of `COLUMNS`."""
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, COLUMNS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=COLUMNS)


class RecordingWriter:
    """Writes a recording into ``PATH.part`` and gives it its name when it is whole.

    Memory is bounded by one row group a topic. Leaving the ``with`` block by an exception removes what was written.

    Parameters
    ----------
    path
        Folder to make; it must not exist.
    source
        What the messages come from, such as ``simulator``.
    parameters
        What someone needs to make the recording again.

    Raises
    ------
    RecordingError
        If ``path`` exists or cannot be made, or a message is older than the one before it on its topic.
    """

    def __init__(self, path: Path, *, source: str, parameters: dict[str, str | int | float] | None = None) -> None:
        if path.exists():
            raise RecordingError(f"{path} exists; remove it or name another folder.")
        self.path = path
        self._part = path.with_name(path.name + ".part")
        self._source = source
        self._parameters = parameters or {}
        self._open: dict[str, tuple[int, DayFile]] = {}
        self._offsets: dict[str, int] = {}
        self._entries: dict[str, FileEntry] = {}
        shutil.rmtree(self._part, ignore_errors=True)
        try:
            self._part.mkdir(parents=True)
        except OSError as error:
            raise RecordingError(f"{path} cannot be made ({error.strerror}): name another folder.") from error
        self._folder = Folder(self._part)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        for _, file in self._open.values():
            file.discard()
        shutil.rmtree(self._part, ignore_errors=True)

    def append(self, message: Message) -> None:
        """Append a message; one without an offset gets the next number of its topic."""
        if message.topic not in RANK:
            raise RecordingError(f"Topic {message.topic!r} is unknown; known are {', '.join(sorted(RANK))}.")
        if message.offset < 0:
            offset = self._offsets.get(message.topic, 0)
            self._offsets[message.topic] = offset + 1
            message = replace(message, offset=offset)
        day = day_of(message.ts_available)
        open_day, file = self._open.get(message.topic, (day, None))
        if file is not None and message.ts_available < file.last_ns:
            raise RecordingError(
                f"A message of {message.topic} is available at {message.ts_available}, before the one ahead of it "
                f"({file.last_ns}); write each topic in order of ts_available."
            )
        if file is not None and open_day != day:
            self._entries[file_name(message.topic, open_day)] = file.close()
            file = None
        if file is None:
            file = DayFile(self._folder.create(file_name(message.topic, day)), message.topic)
            self._open[message.topic] = (day, file)
        file.append(message)

    def add_labels(self, labels: Sequence[Label]) -> None:
        """Add what is known to have happened."""
        with self._folder.create(LABELS) as sink:
            pq.write_table(label_files.table(labels, label_files.RECORDED), sink, compression="zstd")
            sink.keep()
        self._entries[LABELS] = FileEntry(sha256=sink.sha256, size=sink.size)

    def bring(self, setting: str, text: str) -> None:
        """Add a file of this recording's own, by the setting that would name it (`BROUGHT`)."""
        name = BROUGHT[setting]
        with self._folder.create(name) as sink:
            sink.write(text.encode())
            sink.keep()
        self._entries[name] = FileEntry(sha256=sink.sha256, size=sink.size)

    def close(self) -> None:
        """Write the manifest, make all of it durable, and give the folder its name."""
        for topic, (day, file) in self._open.items():
            self._entries[file_name(topic, day)] = file.close()
        self._open.clear()
        manifest = Manifest(
            layout=LAYOUT,
            code_version=code_version(),
            source=self._source,
            parameters=self._parameters,
            files=dict(sorted(self._entries.items())),
        )
        self._folder.write(MANIFEST, manifest_bytes(manifest))
        settle(self._part, self.path)
