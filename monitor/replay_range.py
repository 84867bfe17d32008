"""What of a stream is replayed: a stretch of time, some instruments, some offsets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from monitor.errors import StartupError
from monitor.history import HORIZON_NS
from monitor.recordings import Message, Recording
from schemas.topics import BY_NAME, HISTORY_INPUTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Messages available in ``[from_ns, to_ns)`` (int64 ns UTC, 0: no bound), and ``warm_up_ns`` of them before it.

    ``instruments`` are keys, empty where all count; ``offsets`` is (topic, partition) → half-open, partition -1 for
    every one that is not named, and topics that it does not name count whole.
    """

    from_ns: int = 0
    to_ns: int = 0
    warm_up_ns: int = 0
    instruments: frozenset[str] = frozenset()
    offsets: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.to_ns and self.to_ns <= self.from_ns:
            raise StartupError(
                f"--to is no later than --from ({_utc(self.to_ns)} and {_utc(self.from_ns)}): expected a stretch."
            )

    @property
    def start_ns(self) -> int:
        """Where reading begins, ns; 0 at the beginning of what is there."""
        return max(0, self.from_ns - self.warm_up_ns) if self.from_ns else 0

    @property
    def read_ns(self) -> int | None:
        """Up to where messages are read, ns: a frame that ends after the range may begin in it. None at no bound."""
        return self.to_ns + HORIZON_NS if self.to_ns else None

    def until_ns(self, last_ns: int) -> int:
        """Return the last moment, ns, of a recording whose last message is of ``last_ns``."""
        return min(last_ns, self.to_ns - 1) if self.to_ns else last_ns

    @property
    def keys(self) -> frozenset[bytes] | None:
        """The keys of messages that count, None for all."""
        return frozenset(name.encode() for name in self.instruments) or None

    def wants(self, key: str) -> bool:
        """Tell whether a message of ``key`` counts."""
        return not self.instruments or key in self.instruments

    def offsets_named(self) -> list[str]:
        """Return the offsets as they are named on the command line."""
        return [
            f"{topic}{f'/{partition}' if partition >= 0 else ''}={first}:{last}"
            for (topic, partition), (first, last) in sorted(self.offsets.items())
        ]

    def within_offsets(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Yield the messages whose offsets count."""
        for message in messages:
            bounds = self.offsets.get((message.topic, message.partition)) or self.offsets.get((message.topic, -1))
            if bounds is None or bounds[0] <= message.offset < bounds[1]:
                yield message


def span_of(recording: Recording, topics: Sequence[str]) -> tuple[int, int]:
    """Return the first and the last ``ts_available`` of some topics' messages, ns; zeros where there are none."""
    entries = [entry for entry in recording.manifest.files.values() if entry.topic in topics and entry.rows]
    return min((e.first_ns for e in entries), default=0), max((e.last_ns for e in entries), default=0)


def require_some(recording: Recording, wanted: Range, name: str) -> None:
    """Raise `StartupError` where a recording, ``name`` to people, holds nothing that a range could be of.

    What is left of its instruments and offsets only reading tells.
    """
    first_ns, last_ns = span_of(recording, HISTORY_INPUTS)
    if not last_ns:
        if "journal" in recording.topics:
            return  # of a daemon that heard nothing
        raise StartupError(
            f"{name} holds nothing to replay: expected messages of {', '.join(HISTORY_INPUTS)}, found"
            f" {', '.join(recording.topics) or 'none at all'}."
        )
    # The first frame may begin before it is available.
    if wanted.from_ns > last_ns or (wanted.to_ns and wanted.to_ns <= first_ns - HORIZON_NS):
        raise StartupError(
            f"{name} is of {_utc(first_ns)} to {_utc(last_ns)}, and nothing of it lies between --from and --to: name a"
            " stretch within."
        )


def _utc(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def offsets_of(texts: Iterable[str]) -> dict[tuple[str, int], tuple[int, int]]:
    """Return what ``--offsets`` names: ``TOPIC=FIRST:LAST`` or ``TOPIC/PARTITION=FIRST:LAST``, the last not included.

    Raises
    ------
    StartupError
        It is none, or there is no such topic.

    Example
    -------
    >>> offsets_of(["frames=0:100", "news/3=7:"])
    {('frames', -1): (0, 100), ('news', 3): (7, 9223372036854775807)}
    """
    found = {}
    for text in texts:
        parts = re.fullmatch(r"([a-z.]+)(?:/(\d+))?=(\d*):(\d*)", text)
        if not parts or parts[1] not in BY_NAME:
            raise StartupError(
                f"--offsets: expected TOPIC=FIRST:LAST or TOPIC/PARTITION=FIRST:LAST, of a topic such as frames, found"
                f" {text!r}."
            )
        place = parts[1], int(parts[2]) if parts[2] else -1
        found[place] = int(parts[3] or 0), int(parts[4] or 2**63 - 1)
    return found
