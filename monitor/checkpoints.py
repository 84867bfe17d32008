"""Checkpoints: the state of what changed, the inputs' offsets and the journal's position, written together.

One compacted topic, one partition a lane. A checkpoint is a run of records, one for each key that changed, ended by a
closing record; a reader counts a state only once the closing record of its checkpoint is there, so a worker that dies
half way leaves the previous checkpoint in force. Compaction keeps its hands off the last minutes
(``min.compaction.lag.ms``), so that the previous state of a key is still there.

From time to time a checkpoint is *full*: it holds every key. Every record says where a full checkpoint begins that is
in force for good, so a reader looks at the last record and reads from there::

    A1 B1 C1 ● A2 ● A3 B3 ● A4 B4 C4 ● A5 ● A6 ●
    └ full                  └ full: the start that the last record names
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec
import pyarrow as pa

from schemas.journal import Rules

CLOSING_KEY = b"\x00closing"
#: A full checkpoint is due when a reader would have to read more records than this many a key, and some.
RECORDS_PER_KEY = 2
RECORDS_MORE = 256
#: States that a reader decompresses before it lets others have a turn: some milliseconds.
UNPACKED_AT_ONCE = 1_000
# Format and epoch, start, bytes of the content; then the content in LZ4. Format 0 had the epoch and the bare content.
_SEAL = struct.Struct(">QQI")
_FORMAT = 1 << 56
_GONE = "gone"
_lz4 = pa.Codec("lz4_raw")


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint includes.

    ``epoch`` is the journal's where ``journal``, its next offset to read, stands; ``ordinal`` the messages applied so
    far; ``offsets`` the next offset of every input; ``alerts`` the next offset of the alert partition; ``rules`` those
    that were in effect; ``named_by`` marks the keys by which accounts had pseudonyms at ``latest_ns``.
    """

    epoch: int
    journal: int
    ordinal: int
    offsets: dict[str, int]
    alerts: int
    clock_ns: int
    latest_ns: int
    level: int
    config: str
    rules: Rules = Rules()  # 0.1.0 did not write it
    named_by: tuple[str, ...] = ()  # nor this


encode_closing = msgspec.msgpack.Encoder().encode
decode_closing = msgspec.msgpack.Decoder(Closing).decode


class Loaded(msgspec.Struct, frozen=True):
    """The last complete checkpoint, read from ``start`` to ``end``, and its ``leftovers``.

    These are keys behind whose state that counts a void one stands: a later, incomplete checkpoint had already written
    it, or a replaced worker. See `restored`.
    """

    closing: Closing | None
    states: dict[str, bytes]
    leftovers: set[str]
    start: int = 0
    end: int = 0


#: Yields offset, key and value of the records with ``start <= offset < end``; compaction may have taken some.
Read = Callable[[int, int], AsyncIterator[tuple[int, bytes, bytes]]]


def seal(epoch: int, start: int, content: bytes) -> bytes:
    """Return a checkpoint record's value: its author's epoch, where a reader may begin, the content compressed.

    No content says that the key is gone.
    """
    return _SEAL.pack(_FORMAT | epoch, start, len(content)) + bytes(_lz4.compress(content, asbytes=True))


def _signed(value: bytes) -> tuple[int, int]:
    """Return a record's epoch and start."""
    first = int.from_bytes(value[:8], "big")
    return (first - _FORMAT, int.from_bytes(value[8:16], "big")) if first >= _FORMAT else (first, 0)


def to_broker(value: bytes) -> tuple[bytes | None, list[tuple[str, bytes]]]:
    """Return a sealed value as value and headers: a key that is gone gets a tombstone, so that compaction takes it."""
    return (value, []) if _SEAL.unpack_from(value)[2] else (None, [(_GONE, value)])


def from_broker(value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> bytes:
    """Return the sealed value again."""
    return dict(headers)[_GONE] if value is None else value


def _content(value: bytes) -> bytes:
    if not value[0]:
        return value[8:]
    size = _SEAL.unpack_from(value)[2]
    return bytes(_lz4.decompress(memoryview(value)[_SEAL.size :], size, asbytes=True))


async def load(read: Read, end: int, start: int | None = None) -> Loaded:
    """Return the last complete checkpoint of a partition before ``end``.

    Records of an epoch older than one already seen were written by a worker that had been replaced: they are void.

    Parameters
    ----------
    start
        From where to read; None: from where the last record says.
    """
    if start is None:
        start = await _start(read, end)
    closing: Closing | None = None
    states: dict[str, bytes] = {}
    pending: dict[str, bytes] = {}
    void: set[str] = set()
    epoch = -1
    async for _, key, value in read(start, end):
        author, _ = _signed(value)
        if author < epoch:
            void.add(key.decode())
            continue
        if author > epoch:
            epoch = author
            if closing is not None:
                void |= pending.keys()
                pending.clear()
        if key == CLOSING_KEY:
            closing = decode_closing(_content(value))
            states |= pending
            pending.clear()
        else:
            pending[key.decode()] = value
        void.discard(key.decode())
    contents = {}
    for number, (name, value) in enumerate(states.items()):
        if content := _content(value):
            contents[name] = content
        if number % UNPACKED_AT_ONCE == 0:
            await asyncio.sleep(0)  # a million of them must not look like a frozen worker
    return Loaded(closing, contents, pending.keys() | void, start, end)


def restored(loaded: Loaded) -> list[tuple[bytes, bytes]]:
    """Return what a new owner writes before all else, keys and contents: what counts and has void records behind it.

    That is the loaded checkpoint once more, as far as it needs to be. Compaction would keep the void records alone, as
    soon as they are old enough: it is enough that workers die half way through their first checkpoint again and again.
    """
    if loaded.closing is None or not loaded.leftovers:
        return []
    keys = sorted(loaded.leftovers - {CLOSING_KEY.decode()})
    states = [(key.encode(), loaded.states.get(key, b"")) for key in keys]
    return [*states, (CLOSING_KEY, encode_closing(loaded.closing))]


async def _start(read: Read, end: int) -> int:
    """Return where to begin reading. It holds whoever wrote the last record: see `Span`."""
    reach = 1
    while end:
        begin, last = max(0, end - reach), None
        async for offset, _, value in read(begin, end):
            last = offset, _signed(value)[1]
        if last is not None:
            # A topic made anew under a running worker counts from 0 again.
            return last[1] if last[1] <= last[0] else 0
        if not begin:
            break
        reach *= 16
    return 0


class Span:
    """The part of a partition that a reader needs, as its author sees it.

    ``start`` moves to a full checkpoint only when that is known to be in force for good: its closing record was there
    before the author began a journal entry that came back with the offset it expected. Whoever replaces the author
    claims the journal after that entry, and writes here after the claim. So no record that anybody, replaced or not,
    ever writes can name a start that hides what counts.
    """

    def __init__(self, start: int = 0, end: int = 0) -> None:
        self.start = start
        self._end = end
        self._next: tuple[int, int] | None = None
        self._others = False

    def confirm(self, journal_end: int) -> None:
        """Take notice of the journal's next offset: a full checkpoint may have come into force."""
        # One entry may have been on its way when the closing record came back; the second began after it.
        if self._next is not None and journal_end > self._next[1] + 1:
            self.start, self._next = self._next[0], None

    def full_due(self, keys: int) -> bool:
        """Tell whether the next checkpoint is to hold all of so many keys."""
        long = self._end - self.start > RECORDS_PER_KEY * keys + RECORDS_MORE
        return self._others or (long and self._next is None)

    def wrote(self, first: int, closing: int, *, keys: int, full: bool, journal_end: int) -> None:
        """Note a checkpoint of so many keys that is complete: the offsets of its first and its closing record.

        ``journal_end`` is the journal's next offset, seen after the closing record came back.
        """
        if full and first >= 0 and (self._next is None or self._others):  # -1: aiokafka sent it twice, and knows none
            self._next = (first, journal_end)
        # Compaction would keep what a replaced worker wrote, void as it is, instead of a state that stands before it.
        before, within = first != self._end, closing != first + keys
        self._others = within or (not full and (before or self._others))
        self._end = closing + 1
