"""Recordings: a folder of Parquet files, one a topic and day, with a manifest of digests.

    RECORDING/
      manifest.json               digests, row counts, first and last times, code version
      frames/2025-03-03.parquet   topic, partition, offset, key, headers, kafka_timestamp, ts_event, ts_available, value
      news/2025-03-03.parquet
      labels.parquet              what is known to have happened, where anything is
      symbols.csv                 the symbol master, where the recording needs one of its own

A day is a UTC day of ``ts_available``, and rows stand in its order. A frame is available with its last row, as it is
live: nothing of it can be known through it before. `monitor.recording_writer` writes them.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from itertools import groupby
from operator import attrgetter
from pathlib import Path, PurePosixPath

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


class Recording:
    """A recording on disk, read row group by row group; open it with `Recording.open`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._indexes: dict[str, list[_Group]] = {}

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

    def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the partitions of which ``topic`` has messages, ascending."""
        return tuple(sorted({partition for group in self._groups(topic) for partition in group.offsets}))

    def partition(self, topic: str, partition: int, start: int = 0) -> Iterator[Message]:
        """Yield the messages of one partition in order of offset, as its topic held them.

        In memory is a row group, and what stands in the file before its turn: as much as messages were late.

        Parameters
        ----------
        topic
            Name without prefix.
        start
            First offset.

        Raises
        ------
        RecordingError
            If a file cannot be read.
        """
        groups = [
            group
            for group in self._groups(topic)
            if partition in group.offsets and group.offsets[partition][1] >= start
        ]
        groups.sort(key=lambda group: group.offsets[partition][0])
        waiting: list[tuple[int, int, Message]] = []
        for number, group in enumerate(groups):
            # All that comes before the group's first is in memory by now.
            while waiting and waiting[0][0] < group.offsets[partition][0]:
                yield heapq.heappop(waiting)[2]
            for message in _read(group.path, group.number):
                if message.partition == partition and message.offset >= start:
                    heapq.heappush(waiting, (message.offset, number, message))
        while waiting:
            yield heapq.heappop(waiting)[2]

    def _groups(self, topic: str) -> list[_Group]:
        """Return where offsets of a topic lie; two columns of integers are read for it, once."""
        if topic not in self._indexes:
            names = sorted(name for name, entry in self.manifest.files.items() if entry.topic == topic)
            self._indexes[topic] = [group for name in names for group in _index(self.path / name)]
        return self._indexes[topic]

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


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group: its file, its number there, and the first and last offset of each partition in it."""

    path: Path
    number: int
    offsets: dict[int, tuple[int, int]]


def _index(path: Path) -> list[_Group]:
    try:
        with pq.ParquetFile(path) as file:
            tables = [file.read_row_group(n, columns=["partition", "offset"]) for n in range(file.num_row_groups)]
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, error) from error
    groups = []
    for number, table in enumerate(tables):
        spans = table.group_by("partition").aggregate([("offset", "min"), ("offset", "max")]).to_pylist()
        offsets = {span["partition"]: (span["offset_min"], span["offset_max"]) for span in spans}
        groups.append(_Group(path, number, offsets))
    return groups


def _read(path: Path, only: int | None = None) -> Iterator[Message]:
    """Yield a file's messages, or those of one row group; one row group is in memory at a time."""
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(COLUMNS):
                raise RecordingError(
                    f"{path} has columns {', '.join(file.schema_arrow.names)}, expected {', '.join(COLUMNS.names)}; "
                    "make the recording again."
                )
            for group in range(file.num_row_groups) if only is None else (only,):
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
