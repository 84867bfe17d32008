"""Checkpoints: the state of what changed, the inputs' offsets and the journal's position, written together.

One compacted topic, one partition a lane. A checkpoint is a run of records, one for each key that changed, ended by a
closing record; a reader counts a state only once the closing record of its checkpoint is there, so a worker that dies
half way leaves the previous checkpoint in force. Compaction keeps its hands off the last minutes
(``min.compaction.lag.ms``), so that the previous state of a key is still there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

CLOSING_KEY = b"\x00closing"


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint includes.

    ``epoch`` is the journal's where ``journal``, its next offset to read, stands; ``ordinal`` the messages applied so
    far; ``offsets`` the next offset of every input; ``alerts`` the next offset of the alert partition.
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


encode_closing = msgspec.msgpack.Encoder().encode
decode_closing = msgspec.msgpack.Decoder(Closing).decode


class Loaded(msgspec.Struct, frozen=True):
    """The last complete checkpoint, and the keys that a later, incomplete one had already written.

    The next checkpoint must write those ``leftovers`` again: else compaction could keep the void state.
    """

    closing: Closing | None
    states: dict[str, bytes]
    leftovers: set[str]


def seal(epoch: int, state: bytes) -> bytes:
    """Return a checkpoint record's value: the author's epoch, then the state."""
    return epoch.to_bytes(8, "big") + state


async def load(messages: AsyncIterator[tuple[bytes, bytes]]) -> Loaded:
    """Return the last complete checkpoint among the ``(key, value)`` of a partition, read from its beginning.

    Records of an epoch older than one already seen were written by a worker that had been replaced: they are void.
    """
    closing: Closing | None = None
    states: dict[str, bytes] = {}
    pending: dict[str, bytes] = {}
    epoch = -1
    async for key, value in messages:
        author = int.from_bytes(value[:8], "big")
        if author < epoch:
            continue
        if author > epoch:
            epoch = author
            if closing is not None:
                pending.clear()
        if key == CLOSING_KEY:
            closing = decode_closing(value[8:])
            states |= pending
            pending.clear()
        else:
            pending[key.decode()] = value[8:]
    return Loaded(closing, states, set(pending))
