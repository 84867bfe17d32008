"""Charts and sound: each is looked at or listened to once, and its embedding kept for fusion."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, MutableMapping

from agents.flow import SHED_AT, Arrival, Heard, Item, modality_of
from agents.instrument_state import InstrumentState
from agents.text import fingerprint
from agents.watched import seen_of
from schemas.journal import Ladder
from schemas.records import AudioSegment, ChartSnapshot


async def media(
    items: AsyncIterator[Item], state: MutableMapping[str, InstrumentState], *, skipped: Callable[[str], None]
) -> AsyncIterator[Item]:
    """Keep embeddings of charts and of sound.

    From the ladder's first step down they come without an embedding, and always where the bundle has no encoder for
    them: they are evidence then, and change nothing.

    Parameters
    ----------
    skipped
        Is told the modality of each that the ladder left out.
    """
    level = 0
    async for item in items:
        yield item
        if isinstance(item, Ladder):
            level = item.level
        if not (isinstance(item, Arrival) and isinstance(item.value, ChartSnapshot | AudioSegment)):
            continue
        modality, embedding = modality_of(item.value), item.embedding
        if embedding is None:
            if level >= SHED_AT[modality]:
                skipped(modality)
            continue
        kept = state[item.key]
        # A picture has no id of its own: one that was sent twice has the same bytes.
        identity = (
            f"{item.value.call_id}\x1f{item.value.segment}"
            if isinstance(item.value, AudioSegment)
            else item.sha256.hex()
        )
        if not kept.first_time(fingerprint(modality, identity)):
            continue
        kept.keep(modality, embedding, seen_of(item))
        state[item.key] = kept
        yield Heard(item.key, modality, embedding, item)
