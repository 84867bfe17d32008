"""Writing a lane's checkpoints: what of the state, and in which order with all else that it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from monitor import checkpoints, crashpoints
from monitor.checkpoints import Closing, Loaded, Span
from monitor.journal import JournalWriter
from monitor.outbox import Outbox
from monitor.state import State, StateTable

#: States of a checkpoint that are packed and sent before others have their turn: 2 to 3 ms.
PACKED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A checkpoint of one moment, to be written: its ``keys`` are frozen in the table, ``full`` if they are all.

    ``effects`` are the deliveries of what was sent before that moment.
    """

    keys: list[str]
    full: bool
    closing: Closing
    effects: list[Awaitable[object]]


class CheckpointWriter:
    """The author of one lane's checkpoints; one is written at a time.

    ``commit`` acknowledges messages by their topics' next offsets, and tells whether that was possible.
    """

    def __init__(
        self, journal: JournalWriter, outbox: Outbox, commit: Callable[[Mapping[str, int]], Awaitable[bool]]
    ) -> None:
        self._journal = journal
        self._outbox = outbox
        self._commit = commit
        self._span = Span()
        #: What the last checkpoint includes, as next offsets, as long as it is not acknowledged.
        self.unacknowledged: Mapping[str, int] = {}

    async def take_over(self, loaded: Loaded) -> None:
        """Go on after a checkpoint, and write again of it what has void records behind it."""
        self._span = Span(loaded.start, loaded.end)
        # Its author may have ended before it could.
        self.unacknowledged = loaded.closing.offsets if loaded.closing else {}
        if records := checkpoints.restored(loaded):
            offsets = await self._records(records[:-1]) + await self._records(records[-1:])
            self._wrote(offsets, keys=len(records) - 1, full=False)

    def snapshot(self, table: StateTable[State], closing: Closing) -> Snapshot:
        """Return the checkpoint of this moment: what changed since the last one, or everything where that is due."""
        self._span.confirm(self._journal.end)
        keys = table.freeze(everything=self._span.full_due(len(table)))
        return Snapshot(keys, table.keys() <= set(keys), closing, self._outbox.take_pending())

    async def write(self, table: StateTable[State], snapshot: Snapshot) -> None:
        """Write a checkpoint once its effects have arrived."""
        await asyncio.gather(*snapshot.effects)
        crashpoints.passing("effects-sent")
        offsets = await self._records((key.encode(), table.packed(key)) for key in snapshot.keys)
        crashpoints.passing("states-written")
        offsets += await self._records([(checkpoints.CLOSING_KEY, checkpoints.encode_closing(snapshot.closing))])
        self._wrote(offsets, keys=len(snapshot.keys), full=snapshot.full)
        crashpoints.passing("closing-written")
        self.unacknowledged = snapshot.closing.offsets

    async def acknowledge(self) -> bool:
        """Acknowledge what the last checkpoint includes; tell whether that was possible."""
        acknowledged = await self._commit(self.unacknowledged)
        if acknowledged:
            self.unacknowledged = {}
        return acknowledged

    def _wrote(self, offsets: list[int], *, keys: int, full: bool) -> None:
        self._span.wrote(offsets[0], offsets[-1], keys=keys, full=full, journal_end=self._journal.end)

    async def _records(self, contents: Iterable[tuple[bytes, bytes]]) -> list[int]:
        """Write records of a checkpoint, some at a time, and wait for them; return the offsets of each time's first."""
        left, offsets = iter(contents), []
        while some := list(islice(left, PACKED_AT_ONCE)):
            sealed = [(key, checkpoints.seal(self._journal.epoch, self._span.start, content)) for key, content in some]
            offsets.append(await self._outbox.write_checkpoint(sealed))
        return offsets
