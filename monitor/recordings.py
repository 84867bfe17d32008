"""Recordings: a folder of Parquet files, one a topic and day, with a manifest of digests.

    RECORDING/
      manifest.json               digests, row counts, first and last times, code version
      frames/2025-03-03.parquet   topic, partition, offset, key, headers, kafka_timestamp, ts_event, ts_available, value
      news/2025-03-03.parquet
      labels.parquet              what is known to have happened, where anything is
      symbols.csv                 the symbol master, where the recording needs one of its own; likewise
      accounts.csv, sanctions.csv   names of accounts, and a sanctions list

A day is a UTC day of ``ts_available``, and rows stand in its order. A frame is available with its last row, as it is
live: nothing of it can be known through it before. `monitor.recording_writer` writes them; while `monitor.capture` goes
on, a day may still lie in several files, whose names carry more than the date.
"""

from __future__ import annotations

import hashlib
import heapq
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from itertools import chain, count, groupby
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from engines.labels import Label
from monitor import recording_files
from monitor.folders import Folder
from monitor.recording_files import Group, Selection
from monitor.recording_format import BROUGHT as BROUGHT
from monitor.recording_format import LABELS as LABELS
from monitor.recording_format import LAYOUT as LAYOUT
from monitor.recording_format import MANIFEST as MANIFEST
from monitor.recording_format import RANK as RANK
from monitor.recording_format import Damage as Damage
from monitor.recording_format import FileEntry as FileEntry
from monitor.recording_format import Manifest as Manifest
from monitor.recording_format import Message as Message
from monitor.recording_format import RecordingError as RecordingError
from schemas.errors import UNREADABLE

#: Topics whose messages of one key mean something in the order in which they arrived, even at one and the same time.
_SEQUENCES = frozenset({"frames", "ticks", "orders"})


#: What to do with a recording that is damaged: say so and read nothing, or read what is whole.
Damaged = Literal["refuse", "skip"]


def canonical(messages: Iterable[Message]) -> Iterator[Message]:
    """Put one topic's messages, given in order of ``ts_available``, into the canonical order.

    Messages of equal ``ts_available`` go by key, then by SHA-256 of their value; frames, ticks and orders of one key
    keep the order in which they arrived. Neither depends on partitions.
    """
    for _, tied in groupby(messages, key=attrgetter("ts_available")):
        same = list(tied)
        yield from same if len(same) == 1 else sorted(same, key=_tie)


def _tie(message: Message) -> tuple[bytes, bytes | int]:
    if message.topic in _SEQUENCES:
        return message.key, message.offset
    return message.key, hashlib.sha256(message.value).digest()


class Recording:
    """A recording in a folder or an object store, read row group by row group; open it with `Recording.open`."""

    def __init__(self, folder: Folder, manifest: Manifest, digest: str, damage: Iterable[Damage] = ()) -> None:
        self._folder = folder
        self.manifest = manifest
        #: SHA-256 of the manifest: stands for the whole content, whoever made it.
        self.digest = digest
        #: What of it is not used, since whoever opened it said so.
        self.damage = tuple(damage)
        self._without: dict[str, frozenset[int]] = {}
        for one in self.damage:
            if one.row_group >= 0:
                self._without[one.file] = self._without.get(one.file, frozenset()) | {one.row_group}
        gone = {one.file for one in self.damage if one.row_group < 0 and one.rows}
        self._files = {name: entry for name, entry in manifest.files.items() if entry.topic and name not in gone}
        self._indexes: dict[str, list[Group]] = {}

    @classmethod
    def open(cls, path: Path | str, *, verify: bool = True, damaged: Damaged = "refuse") -> Recording:
        """Open a recording and, where ``verify``, compare every file with its digest and look at the order of its rows.

        Parameters
        ----------
        path
            A folder, or a URL that fsspec knows, such as ``s3://bucket/day``.
        damaged
            ``skip``: use what is whole; `Recording.damage` says what that leaves out.

        Raises
        ------
        RecordingError
            If it has no manifest, or one that this version cannot read. Unless ``damaged`` says otherwise, also if a
            file is missing, was changed, cannot be read or is not in order, or messages are missing in between.
        """
        folder = Folder(path)
        content, manifest = read_manifest(folder)
        damage = []
        for one in chain(_damage(folder, manifest, verify), _gaps(folder, manifest)):
            if damaged == "refuse" or (one.file and not one.topic):
                raise RecordingError(_sentence(folder, one))
            damage.append(one)
        return cls(folder, manifest, hashlib.sha256(content).hexdigest(), damage)

    @property
    def path(self) -> str:
        """The folder or URL, as it was named."""
        return self._folder.name

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics that have messages, in the order that breaks ties."""
        return tuple(sorted({e.topic for e in self._files.values()}, key=RANK.__getitem__))

    @property
    def first_ns(self) -> int:
        """``ts_available`` of the first message, int64 ns UTC; 0 if there is none."""
        return min((e.first_ns for e in self._files.values() if e.rows), default=0)

    @property
    def last_ns(self) -> int:
        """``ts_available`` of the last message, int64 ns UTC; 0 if there is none."""
        return max((e.last_ns for e in self._files.values() if e.rows), default=0)

    @cached_property
    def brought(self) -> dict[str, Path]:
        """The recording's own files, by the setting that would name each: from an object store copies of them."""
        found = {setting: name for setting, name in BROUGHT.items() if name in self.manifest.files}
        if self._folder.local is not None:
            return {setting: self._folder.local / name for setting, name in found.items()}
        self._copies = tempfile.TemporaryDirectory(prefix="tocsin-")
        copies = {setting: Path(self._copies.name) / name for setting, name in found.items()}
        for setting, copy in copies.items():
            copy.write_bytes(self._folder.read(found[setting]))
        return copies

    def rows(self, topics: Iterable[str] | None = None) -> int:
        """Return the number of messages, of ``topics`` only if given."""
        wanted = set(self.topics if topics is None else topics)
        left = sum(one.rows for one in self.damage if one.row_group >= 0 and one.topic in wanted)
        return sum(entry.rows for entry in self._files.values() if entry.topic in wanted) - left

    def labels(self) -> list[Label]:
        """Return what is known to have happened; empty where nothing is."""
        if LABELS not in self.manifest.files:
            return []
        try:
            with self._folder.open(LABELS) as file:
                # On this thread alone: one of Arrow's that lets go of a Python buffer while Python ends aborts it, and
                # `read_table` has threads of its own.
                table = pq.ParquetFile(file, pre_buffer=False).read(use_threads=False)
            return msgspec.convert(table.to_pylist(), list[Label])
        except (pa.ArrowInvalid, OSError, msgspec.ValidationError) as error:
            raise RecordingError(
                f"{self._folder.path(LABELS)} cannot be read ({str(error).splitlines()[0]}); copy or make the recording"
                " again."
            ) from error

    def messages(
        self,
        topics: Iterable[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        keys: Collection[bytes] | None = None,
    ) -> Iterator[Message]:
        """Yield messages in canonical order: (ts_available, topic's rank, key, content), see `canonical`.

        Parameters
        ----------
        topics
            Names without prefix; all if None.
        start_ns, end_ns
            Half-open range of the messages' ``ts_available``, int64 ns UTC.
        keys
            Messages of these keys only; all if None.

        Raises
        ------
        RecordingError
            If a file cannot be read.
        """
        wanted = self.topics if topics is None else tuple(t for t in self.topics if t in set(topics))
        selection = Selection(start_ns, end_ns, keys)
        return heapq.merge(*(canonical(self._topic(name, selection)) for name in wanted), key=order)

    def keys(self, topic: str) -> dict[bytes, tuple[int, float]]:
        """Return for each key of a topic how many messages it has, and about how many bytes they are.

        Raises
        ------
        RecordingError
            If a file cannot be read.
        """
        found: dict[bytes, tuple[int, float]] = {}
        for name, without in self._files_of(topic):
            for key, (rows, size) in recording_files.keys(self._folder, name, without).items():
                before = found.get(key, (0, 0.0))
                found[key] = before[0] + rows, before[1] + size
        return found

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
        selection = Selection(partition=partition)
        groups = [(g.offsets[partition], g.file, g.number) for g in self._groups(topic) if partition in g.offsets]
        waiting: list[tuple[int, int, Message]] = []
        read = count()
        for (first, last, _), file, number in sorted(groups):
            if last < start:
                continue
            # All that comes before the group's first is in memory by now.
            while waiting and waiting[0][0] < first:
                yield heapq.heappop(waiting)[2]
            for message in recording_files.read(self._folder, file, selection, [number]):
                if message.offset >= start:
                    heapq.heappush(waiting, (message.offset, next(read), message))
        while waiting:
            yield heapq.heappop(waiting)[2]

    def _files_of(self, topic: str) -> Iterator[tuple[str, frozenset[int]]]:
        """Yield a topic's files, and which row groups of each are not used."""
        for name, entry in sorted(self._files.items()):
            if entry.topic == topic:
                yield name, self._without.get(name, frozenset())

    def _groups(self, topic: str) -> list[Group]:
        if topic not in self._indexes:
            self._indexes[topic] = [
                group
                for name, without in self._files_of(topic)
                for group in recording_files.index(self._folder, name, without)
            ]
        return self._indexes[topic]

    def _topic(self, topic: str, selection: Selection) -> Iterator[Message]:
        """Yield a topic's messages in order of ``ts_available``."""
        low = -(1 << 63) if selection.start_ns is None else selection.start_ns
        high = (1 << 63) - 1 if selection.end_ns is None else selection.end_ns
        mine = [(e.first_ns, e.last_ns, name) for name, e in self._files.items() if e.topic == topic]
        for together in _overlapping([file for file in mine if file[0] < high and file[1] >= low]):
            streams = [
                recording_files.read(
                    self._folder, name, replace(selection, without=self._without.get(name, frozenset()))
                )
                for name in together
            ]
            yield from streams[0] if len(streams) == 1 else heapq.merge(*streams, key=attrgetter("ts_available"))


def _overlapping(files: Iterable[tuple[int, int, str]]) -> Iterator[list[str]]:
    """Yield the names of files, given as (first, last, name), in order, together those whose spans meet."""
    together: list[str] = []
    latest = 0
    for first, last, name in sorted(files):
        if together and first > latest:
            yield together
            together = []
        together.append(name)
        latest = last if len(together) == 1 else max(latest, last)
    if together:
        yield together


def order(message: Message) -> tuple[int, int]:
    """Return what canonical order goes by first; `canonical` settles what is equal in both."""
    return message.ts_available, RANK[message.topic]


def read_manifest(folder: Folder) -> tuple[bytes, Manifest]:
    """Return a recording's manifest, and its bytes.

    Raises
    ------
    RecordingError
        There is none, or this version cannot read it.
    """
    where = folder.path(MANIFEST)
    if folder.size(MANIFEST) is None:
        unfinished = folder.local is not None and Path(f"{folder.name}.part").is_dir()
        hint = f"{folder.name}.part is an unfinished one: write it again" if unfinished else _MAKE
        raise RecordingError(f"{folder.name} is no recording: it has no {MANIFEST}; {hint}.")
    content = folder.read(MANIFEST)
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except UNREADABLE as error:
        if folder.size("alerts.ndjson") is not None:
            raise RecordingError(
                f"{folder.name} is the folder of a replay: name the recording that it was made of."
            ) from error
        raise RecordingError(f"{where} cannot be read ({error}); make the recording again.") from error
    if manifest.layout != LAYOUT:
        remedy = "make the recording again" if manifest.layout < LAYOUT else "read it with the version that wrote it"
        raise RecordingError(f"{folder.name} has layout {manifest.layout}, this version reads {LAYOUT}; {remedy}.")
    for name, entry in manifest.files.items():
        parts = PurePosixPath(name).parts
        if not 1 <= len(parts) <= 2 or ".." in parts or "/" in parts or (entry.topic and entry.topic not in RANK):
            raise RecordingError(
                f"{where} names {name!r} of topic {entry.topic!r}: expected files within the folder, of"
                " topics that this version knows; make the recording again."
            )
    return content, manifest


_MAKE = "make one with `tocsin simulate --out DIR`, or capture topics with `tocsin record --out DIR`"


def _damage(folder: Folder, manifest: Manifest, verify: bool) -> Iterator[Damage]:
    """Yield what is wrong with the files of a recording."""
    for name, entry in manifest.files.items():
        yield from recording_files.damages(folder, name, entry, verify=verify)


def _gaps(folder: Folder, manifest: Manifest) -> Iterator[Damage]:
    """Yield what a captured recording does not hold although its topics did."""
    if manifest.capture is None:
        return
    for topic, positions in sorted(manifest.capture.positions.items()):
        for partition, position in sorted(positions.items()):
            for gap in position.gaps:
                yield Damage(
                    topic=topic,
                    rows=gap.end - gap.start,
                    first_ns=gap.after_ns,
                    last_ns=gap.before_ns,
                    reason=f"offsets {gap.start} to {gap.end - 1} were deleted before they were captured",
                    partition=partition,
                )
        files = {name: entry for name, entry in manifest.files.items() if entry.topic == topic}
        if sum(position.rows for position in positions.values()) != sum(entry.rows for entry in files.values()):
            groups = [group for name in sorted(files) for group in recording_files.index(folder, name)]
            yield from recording_files.missing(folder, topic, positions, groups)


def _sentence(folder: Folder, one: Damage) -> str:
    if not one.file:
        where = f"{folder.name} has a gap: of {one.topic}, partition {one.partition},"
    else:
        where = f"{folder.path(one.file)}{f', row group {one.row_group},' if one.row_group >= 0 else ''}"
    use = "; `--damaged skip` uses what is whole" if one.topic else ""
    return f"{where} {one.reason}; copy the recording again, or make it again{use}."
