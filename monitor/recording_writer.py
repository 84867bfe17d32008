"""Writing recordings: rows gather to row groups, files to a folder that gets its name when it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from engines.labels import Label
from monitor.recordings import (
    COLUMNS,
    LABELS,
    LAYOUT,
    MANIFEST,
    RANK,
    SYMBOLS,
    FileEntry,
    Manifest,
    Message,
    RecordingError,
    code_version,
)

_GROUP_BYTES = 1 << 20
_GROUP_ROWS = 4_096
_DAY_NS = 86_400_000_000_000


class _DayFile:
    """One Parquet file being written: rows gather to row groups of about a megabyte."""

    def __init__(self, root: Path, topic: str, day: int) -> None:
        date = datetime.fromtimestamp(day * 86_400, UTC).date()
        self.name = f"{topic}/{date.isoformat()}.parquet"
        self.topic = topic
        self.day = day
        self.rows = 0
        self.first_ns = 0
        self.last_ns = 0
        path = root / self.name
        path.parent.mkdir(exist_ok=True)
        self._writer = pq.ParquetWriter(
            path, COLUMNS, compression="zstd", use_dictionary=["topic", "key"], write_statistics=["ts_available"]
        )
        self._pending: list[Message] = []
        self._bytes = 0

    def append(self, message: Message) -> None:
        if not self.rows:
            self.first_ns = message.ts_available
        self.last_ns = message.ts_available
        self.rows += 1
        self._pending.append(message)
        self._bytes += len(message.value)
        if self._bytes >= _GROUP_BYTES or len(self._pending) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        rows = self._pending
        if not rows:
            return
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
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, COLUMNS, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=COLUMNS))
        self._pending = []
        self._bytes = 0

    def close(self) -> None:
        self._flush()
        self._writer.close()


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
        If ``path`` exists, or a message is older than the one before it on its topic.
    """

    def __init__(self, path: Path, *, source: str, parameters: dict[str, str | int | float] | None = None) -> None:
        if path.exists():
            raise RecordingError(f"{path} exists; remove it or name another folder.")
        self.path = path
        self._part = path.with_name(path.name + ".part")
        self._source = source
        self._parameters = parameters or {}
        self._open: dict[str, _DayFile] = {}
        self._offsets: dict[str, int] = {}
        self._entries: dict[str, FileEntry] = {}
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir(parents=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        for file in self._open.values():
            file.close()
        shutil.rmtree(self._part, ignore_errors=True)

    def append(self, message: Message) -> None:
        """Append a message; one without an offset gets the next number of its topic."""
        if message.topic not in RANK:
            raise RecordingError(f"Topic {message.topic!r} is unknown; known are {', '.join(sorted(RANK))}.")
        if message.offset < 0:
            offset = self._offsets.get(message.topic, 0)
            self._offsets[message.topic] = offset + 1
            message = Message(
                message.topic,
                message.key,
                message.value,
                message.ts_event,
                message.ts_available,
                message.timestamp_ms,
                message.partition,
                offset,
                message.headers,
            )
        day = message.ts_available // _DAY_NS
        file = self._open.get(message.topic)
        if file is not None and message.ts_available < file.last_ns:
            raise RecordingError(
                f"A message of {message.topic} is available at {message.ts_available}, before the one ahead of it "
                f"({file.last_ns}); write each topic in order of ts_available."
            )
        if file is None or file.day != day:
            if file is not None:
                self._finish(file)
            file = self._open[message.topic] = _DayFile(self._part, message.topic, day)
        file.append(message)

    def add_labels(self, labels: Sequence[Label]) -> None:
        """Add what is known to have happened."""
        rows = [msgspec.to_builtins(label) for label in labels]
        strings = pa.list_(pa.string())
        schema = pa.schema(
            [
                ("event_id", pa.string()),
                ("typology", pa.string()),
                ("start_ns", pa.int64()),
                ("onset_ns", pa.int64()),
                ("end_ns", pa.int64()),
                ("instruments", strings),
                ("accounts", strings),
                ("strength", pa.float64()),
                ("disguise", pa.float64()),
                ("public_ns", pa.int64()),
                ("benign", pa.bool_()),
            ]
        )
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), self._part / LABELS, compression="zstd")
        self._entries[LABELS] = _entry(self._part / LABELS)

    def add_symbols(self, csv: str) -> None:
        """Add a symbol master for the instruments of this recording."""
        (self._part / SYMBOLS).write_text(csv, encoding="utf-8")
        self._entries[SYMBOLS] = _entry(self._part / SYMBOLS)

    def close(self) -> None:
        """Write the manifest, make all of it durable, and give the folder its name."""
        for file in self._open.values():
            self._finish(file)
        self._open.clear()
        manifest = Manifest(
            layout=LAYOUT,
            code_version=code_version(),
            source=self._source,
            parameters=self._parameters,
            files=dict(sorted(self._entries.items())),
        )
        text = json.dumps(msgspec.to_builtins(manifest), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        with (self._part / MANIFEST).open("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        self._part.rename(self.path)

    def _finish(self, file: _DayFile) -> None:
        file.close()
        self._entries[file.name] = _entry(self._part / file.name, file)


def _entry(path: Path, file: _DayFile | None = None) -> FileEntry:
    with path.open("rb") as data:
        sha256 = hashlib.file_digest(data, "sha256").hexdigest()
        os.fsync(data.fileno())
    size = path.stat().st_size
    if file is None:
        return FileEntry(sha256=sha256, size=size)
    return FileEntry(
        sha256=sha256, size=size, topic=file.topic, rows=file.rows, first_ns=file.first_ns, last_ns=file.last_ns
    )
