"""Recordings: a folder of Parquet files, one a topic and day, with a manifest of digests.

    RECORDING/
      manifest.json               digests, row counts, first and last times, code version
      frames/2025-03-03.parquet   topic, partition, offset, key, headers, kafka_timestamp, ts_event, ts_available, value
      news/2025-03-03.parquet
      labels.parquet              what is known to have happened, where anything is
      symbols.csv                 the symbol master, where the recording needs one of its own

A day is a UTC day of ``ts_available``, and rows stand in its order. A frame is available with its last row, as it is
live: nothing of it can be known through it before.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from itertools import groupby
from operator import attrgetter
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from engines.labels import Label
from monitor.errors import StartupError
from schemas.topics import INSTRUMENT_INPUTS, TOPICS

MANIFEST = "manifest.json"
LABELS = "labels.parquet"
SYMBOLS = "symbols.csv"
LAYOUT = 1

COLUMNS = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("key", pa.binary()),
        ("headers", pa.map_(pa.string(), pa.binary())),
        ("kafka_timestamp", pa.int64()),
        ("ts_event", pa.int64()),
        ("ts_available", pa.int64()),
        ("value", pa.binary()),
    ]
)

#: Ties of ``ts_available`` between topics are broken in this order: inputs of the instrument stage, then the others.
RANK: dict[str, int] = {
    name: rank
    for rank, name in enumerate(
        [*INSTRUMENT_INPUTS, *(topic.name for topic in TOPICS if topic.name not in INSTRUMENT_INPUTS)]
    )
}

#: Topics whose messages of one key mean something in the order in which they arrived, even at one and the same time.
_SEQUENCES = frozenset({"frames", "ticks"})

_GROUP_BYTES = 1 << 20
_GROUP_ROWS = 4_096
_DAY_NS = 86_400_000_000_000


class RecordingError(StartupError):
    """A recording cannot be read or written; the text says which file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a recording. ``topic`` is without prefix; ``timestamp_ms`` is Kafka's, times are int64 ns UTC."""

    topic: str
    key: bytes
    value: bytes
    ts_event: int
    ts_available: int
    timestamp_ms: int
    partition: int = 0
    offset: int = -1
    headers: tuple[tuple[str, bytes], ...] = ()


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file of a recording. Rows and times (int64 ns UTC of ``ts_available``) only where it holds messages."""

    sha256: str
    size: int
    topic: str = ""
    rows: int = 0
    first_ns: int = 0
    last_ns: int = 0


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording consists of. It holds no time of its making: equal content makes equal manifests."""

    layout: int
    code_version: str
    source: str
    parameters: dict[str, str | int | float]
    files: dict[str, FileEntry]


def code_version() -> str:
    """Return the version of the installed distribution, ``0`` in a tree that was never installed."""
    try:
        return metadata.version("tocsin")
    except metadata.PackageNotFoundError:
        return "0"


def canonical(messages: Iterable[Message]) -> Iterator[Message]:
    """Put one topic's messages, given in order of ``ts_available``, into the canonical order.

    Messages of equal ``ts_available`` go by key, then by SHA-256 of their value; frames and ticks of one key keep the
    order in which they arrived. Neither depends on partitions.
    """
    for _, tied in groupby(messages, key=attrgetter("ts_available")):
        same = list(tied)
        yield from same if len(same) == 1 else sorted(same, key=_tie)


def _tie(message: Message) -> tuple[bytes, bytes | int]:
    if message.topic in _SEQUENCES:
        return message.key, message.offset
    return message.key, hashlib.sha256(message.value).digest()


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


class Recording:
    """A recording on disk, read row group by row group; open it with `Recording.open`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> Recording:
        """Open a recording and, where ``verify``, compare every file with its digest.

        Raises
        ------
        RecordingError
            If it has no manifest, a file is missing, or a digest is wrong.
        """
        manifest_path = path / MANIFEST
        if not manifest_path.is_file():
            hint = f"; {path}.part is an unfinished one: write it again" if Path(f"{path}.part").is_dir() else ""
            raise RecordingError(
                f"{path} is no recording: it has no {MANIFEST}{hint or '; make one with `tocsin simulate --out DIR`'}."
            )
        try:
            manifest = msgspec.json.decode(manifest_path.read_bytes(), type=Manifest)
        except msgspec.DecodeError as error:
            raise RecordingError(f"{manifest_path} cannot be read ({error}); make the recording again.") from error
        if manifest.layout != LAYOUT:
            raise RecordingError(
                f"{path} has layout {manifest.layout}, this version reads {LAYOUT}; make the recording again."
            )
        for name, entry in manifest.files.items():
            parts = PurePosixPath(name).parts
            if not 1 <= len(parts) <= 2 or ".." in parts or "/" in parts or (entry.topic and entry.topic not in RANK):
                raise RecordingError(
                    f"{manifest_path} names {name!r} of topic {entry.topic!r}: expected files within the folder, of"
                    " topics that this version knows; make the recording again."
                )
            file = path / name
            if not file.is_file():
                raise RecordingError(f"{file} is missing; copy the recording again, or make it again.")
            if not verify:
                continue
            with file.open("rb") as data:
                found = hashlib.file_digest(data, "sha256").hexdigest()
            if found != entry.sha256:
                raise RecordingError(
                    f"{file} has SHA-256 {found[:12]}… and {file.stat().st_size} bytes, its manifest says "
                    f"{entry.sha256[:12]}… and {entry.size}; copy the recording again, or make it again."
                )
        return cls(path, manifest)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: stands for the whole content, whoever made it."""
        return hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest()

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics that have messages, in the order that breaks ties."""
        return tuple(sorted({e.topic for e in self.manifest.files.values() if e.topic}, key=RANK.__getitem__))

    @property
    def first_ns(self) -> int:
        """``ts_available`` of the first message, int64 ns UTC; 0 if there is none."""
        return min((e.first_ns for e in self.manifest.files.values() if e.rows), default=0)

    @property
    def last_ns(self) -> int:
        """``ts_available`` of the last message, int64 ns UTC; 0 if there is none."""
        return max((e.last_ns for e in self.manifest.files.values() if e.rows), default=0)

    @property
    def symbols(self) -> Path | None:
        """The recording's own symbol master, if it has one."""
        return self.path / SYMBOLS if SYMBOLS in self.manifest.files else None

    def rows(self, topics: Iterable[str] | None = None) -> int:
        """Return the number of messages, of ``topics`` only if given."""
        wanted = set(self.topics if topics is None else topics)
        return sum(entry.rows for entry in self.manifest.files.values() if entry.topic in wanted)

    def labels(self) -> list[Label]:
        """Return what is known to have happened; empty where nothing is."""
        if LABELS not in self.manifest.files:
            return []
        path = self.path / LABELS
        try:
            return msgspec.convert(pq.read_table(path).to_pylist(), list[Label])
        except (pa.ArrowInvalid, OSError, msgspec.ValidationError) as error:
            raise _unreadable(path, error) from error

    def messages(
        self, topics: Iterable[str] | None = None, start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[Message]:
        """Yield messages in canonical order: (ts_available, topic's rank, key, content), see `canonical`.

        Parameters
        ----------
        topics
            Names without prefix; all if None.
        start_ns, end_ns
            Half-open range of the messages' ``ts_available``, int64 ns UTC.

        Raises
        ------
        RecordingError
            If a file cannot be read.
        """
        wanted = self.topics if topics is None else tuple(t for t in self.topics if t in set(topics))
        streams = [canonical(self._topic(name, start_ns, end_ns)) for name in wanted]
        return heapq.merge(*streams, key=_order)

    def _topic(self, topic: str, start_ns: int | None, end_ns: int | None) -> Iterator[Message]:
        low = -(1 << 63) if start_ns is None else start_ns
        high = (1 << 63) - 1 if end_ns is None else end_ns
        entries = sorted((e.first_ns, name) for name, e in self.manifest.files.items() if e.topic == topic)
        for first_ns, name in entries:
            if first_ns < high and self.manifest.files[name].last_ns >= low:
                for message in _read(self.path / name):
                    if message.ts_available >= high:
                        return
                    if message.ts_available >= low:
                        yield message


def _order(message: Message) -> tuple[int, int]:
    return message.ts_available, RANK[message.topic]


def _read(path: Path) -> Iterator[Message]:
    """Yield a file's messages, one row group in memory at a time."""
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(COLUMNS):
                raise RecordingError(
                    f"{path} has columns {', '.join(file.schema_arrow.names)}, expected {', '.join(COLUMNS.names)}; "
                    "make the recording again."
                )
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                columns = {name: table.column(name).to_pylist() for name in COLUMNS.names}
                for topic, partition, offset, key, headers, timestamp, event, available, value in zip(
                    *columns.values(), strict=True
                ):
                    yield Message(
                        topic, key, value, event, available, timestamp, partition, offset, tuple(headers or ())
                    )
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> RecordingError:
    return RecordingError(f"{path} cannot be read ({str(error).splitlines()[0]}); copy or make the recording again.")
