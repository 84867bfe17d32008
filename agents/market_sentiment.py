"""Sentiment of sectors: what is being said of all instruments of one, each text counted once."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping

import numpy as np

from agents.flow import Arrival, Item
from agents.market_state import MarketState, Spoke
from engines import signals as engine
from engines.signals import SignalConfig
from schemas.records import Opening, Signal

#: A sector has more texts than an instrument has.
SPOKEN = SignalConfig(texts_kept=256, vectors_kept=64)


async def sentiment(
    items: AsyncIterator[Item], state: MutableMapping[str, MarketState], *, config: SignalConfig
) -> AsyncIterator[Item]:
    """Tell a desk of each text that speaks of a sector, by the arithmetic that instruments have (`engines.signals`)."""
    async for item in items:
        yield item
        if not (isinstance(item, Arrival) and isinstance(item.value, Opening)) or item.value.spoken is None:
            continue
        kept = state[item.key] = state.get(item.key) or MarketState()
        told, text = item.value, item.value.spoken
        spoke = kept.spoke.setdefault(text.sector, Spoke())
        if not spoke.first_time(told.episode_id):
            continue
        vector = np.frombuffer(text.vector, np.int8)  # (dim,)
        novelty = engine.hear(config, spoke.opinion, told.ts_event, text.tone, vector)
        yield Signal(
            ts_event=told.ts_event,
            ts_available=item.ts_available,
            instrument=text.sector,
            scope="sector",
            window_start=told.ts_event,
            window_end=told.ts_event,
            sector=text.sector,
            sentiment=engine.sentiment(config, spoke.opinion, told.ts_event, novelty),
            bundle=text.bundle,
        )
