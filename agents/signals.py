"""Signals: at a period's close what an instrument may do next, at a new text what is being said of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, MutableMapping

from agents.flow import Heard, Item, Ticked
from agents.instrument_state import InstrumentState
from agents.text import identity_of
from engines import signals as engine
from engines.signals import SignalConfig
from schemas.alerts import identity
from schemas.records import News, Opening, Signal, Spoken, TranscriptSegment


async def signals(
    items: AsyncIterator[Item],
    state: MutableMapping[str, InstrumentState],
    *,
    config: SignalConfig,
    sector: Callable[[str], str],
    bundle: str,
) -> AsyncIterator[Item]:
    """Tell a desk of each period that closed, and of each text, and the market's scope of texts on a known sector.

    Nothing is done for a tick, little for its bar.

    Parameters
    ----------
    sector
        Names an instrument's sector, "" where it is not known.
    bundle
        Whose encoder judged the texts.
    """

    def told(
        key: str, kept: InstrumentState, start: int, end: int, at: int, available: int, novelty: float | None
    ) -> Signal:
        return Signal(
            ts_event=at,
            ts_available=available,
            instrument=key,
            window_start=start,
            window_end=end,
            sector=sector(key),
            forecast=engine.forecast(config, kept.signals.moves),
            sentiment=engine.sentiment(config, kept.signals.opinion, at, novelty),
            bundle=bundle,
        )

    async for item in items:
        yield item
        if isinstance(item, Ticked) and (bars := item.update.bars) is not None:
            kept = state[item.key]
            found = [
                told(item.key, kept, period.start, period.end, end, available, None)
                for period, end, available in engine.bars(config, kept.signals.moves, bars)
            ]
            state[item.key] = kept
            for signal in found:
                yield signal
        elif isinstance(item, Heard) and isinstance(item.arrival.value, News | TranscriptSegment):
            kept, one, vector = state[item.key], item.embedding, engine.small(item.embedding.vector)
            novelty = engine.hear(config, kept.signals.opinion, one.ts_event, one.tone, vector)
            state[item.key] = kept
            yield told(item.key, kept, one.ts_event, one.ts_event, one.ts_event, item.arrival.ts_available, novelty)
            if within := sector(item.key):
                yield Opening(
                    ts_event=one.ts_event,
                    ts_available=item.arrival.ts_available,
                    instrument=item.key,
                    typology="text",
                    episode_id=identity("text", item.modality, identity_of(item.arrival.value)),
                    severity="info",
                    score=one.score,
                    spoken=Spoken(sector=within, tone=one.tone, vector=vector.tobytes(), bundle=bundle),
                )
