"""What a recording is made of: its columns, its manifest, and the messages in it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

import msgspec
import pyarrow as pa

from monitor.errors import StartupError
from monitor.render import clock
from schemas.topics import INSTRUMENT_INPUTS, TOPICS

MANIFEST = "manifest.json"
LABELS = "labels.parquet"
#: Files that a recording may bring, by the setting that names such a file.
BROUGHT = {"symbols": "symbols.csv", "accounts": "accounts.csv", "sanctions": "sanctions.csv", "rules": "rules.yaml"}
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


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that retention had deleted before they could be captured: offsets ``start`` up to ``end``, not included.

    ``after_ns`` and ``before_ns`` are the ``ts_available`` of the messages beside them, int64 ns UTC; 0 where none is.
    """

    start: int
    end: int
    after_ns: int = 0
    before_ns: int = 0


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a partition is captured: from ``first`` up to ``next``, where capturing goes on.

    ``absent`` counts the offsets in between at which its topic had no message: compacted, or a transaction's marker.
    ``last_offset``, ``last_sha256`` and ``last_ns`` tell the last message again: by them a topic that was made anew is
    known.
    """

    first: int
    next: int
    absent: int = 0
    gaps: list[Gap] = []
    last_offset: int = -1
    last_sha256: str = ""
    last_ns: int = 0

    @property
    def rows(self) -> int:
        """How many messages were captured."""
        return self.next - self.first - self.absent - sum(gap.end - gap.start for gap in self.gaps)


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """Where a recording was captured from, and how far: ``positions[topic][partition]``."""

    cluster: str
    prefix: str
    positions: dict[str, dict[int, Position]]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a recording consists of. It holds no time of its making: equal content makes equal manifests."""

    layout: int
    code_version: str
    source: str
    parameters: dict[str, str | int | float]
    files: dict[str, FileEntry]
    capture: Capture | None = None


class Damage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a recording is not used, or used although it was changed (``rows`` 0).

    ``row_group`` is -1 where the whole file is meant, or no file (``file`` empty: messages that were never captured, of
    ``partition``). ``first_ns`` to ``last_ns`` is the span of ``ts_available`` that is concerned, int64 ns UTC; 0 where
    nobody knows.

    Example
    -------
    >>> noon_ns = 1_728_043_200_000_000_000
    >>> str(Damage(topic="news", rows=3, first_ns=noon_ns, last_ns=noon_ns, reason="is missing", file="news/1.parquet"))
    'news/1.parquet is missing: 3 messages left out, 2024-10-04 12:00:00 to 2024-10-04 12:00:00 UTC'
    """

    topic: str
    rows: int
    first_ns: int
    last_ns: int
    reason: str
    file: str = ""
    row_group: int = -1
    partition: int = -1

    def __str__(self) -> str:
        """Return where it is, what is wrong, and what that leaves out: how many messages, of which times."""
        where = self.file or f"{self.topic}, partition {self.partition},"
        group = f", row group {self.row_group}," if self.row_group >= 0 else ""
        span = f", {clock(self.first_ns)} to {clock(self.last_ns)} UTC" if self.first_ns and self.last_ns else ""
        left = f"{self.rows:,} messages left out{span}" if self.rows else "what of it reads well is used"
        return f"{where}{group} {self.reason}: {left}"


def code_version() -> str:
    """Return the version of the installed distribution, ``0`` in a tree that was never installed."""
    try:
        return metadata.version("tocsin")
    except metadata.PackageNotFoundError:
        return "0"
