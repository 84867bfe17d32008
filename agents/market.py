"""The market stage: what began at instruments is looked at together, in one literal like `agents.instrument`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping

import numpy as np

from agents.flow import Arrival, Item, Scored
from agents.state import MarketState, Seen
from agents.triage import triage
from engines.tracks import Track
from engines.typologies import TypologySpec, market_wide
from engines.typologies.market_wide import Crowd, CrowdConfig
from schemas.alerts import Alert, Explanation, Provenance, Subject
from schemas.journal import Clock
from schemas.records import Signal

#: The typology of instruments whose openings are counted.
COUNTS = "market_anomaly"


def market(
    arrivals: AsyncIterator[Item],
    state: MutableMapping[str, MarketState],
    *,
    config: CrowdConfig,
    specs: Mapping[str, TypologySpec],
    subject: Callable[[str], Subject],
    provenance: Provenance,
) -> AsyncIterator[Item | Alert]:
    """Crowds of openings, then triage."""
    return triage(crowds(arrivals, state, config=config), state, specs=specs, subject=subject, provenance=provenance)


async def crowds(
    items: AsyncIterator[Item], state: MutableMapping[str, MarketState], *, config: CrowdConfig
) -> AsyncIterator[Item]:
    """Score the crowd at each opening of an anomaly, and whenever one leaves its window."""
    async for item in items:
        if isinstance(item, Arrival) and isinstance(item.value, Signal):
            kept = state.get(item.key) or MarketState()
            kept.remember(Seen(item.topic, item.partition, item.offset, item.ts_available, item.sha256))
            state[item.key] = kept
            yield item
            signal = item.value
            if signal.typology.partition("@")[0] != COUNTS:
                continue
            for scored in _passed(item.key, kept, config, signal.ts_event, item.ts_available, item):
                yield scored
            if market_wide.join(config, kept.crowd, signal.ts_event, signal.instrument, signal.episode_id):
                yield _scored(item.key, kept.crowd, config, kept.crowd.newest_ns, item.ts_available, item)
        elif isinstance(item, Clock):
            yield item
            for key, kept in list(state.items()):
                if 0 < market_wide.deadline(config, kept.crowd) <= item.now_ns:
                    for scored in _passed(key, kept, config, item.now_ns, 0, None):
                        yield scored
                    state[key] = kept
        else:
            yield item


def _passed(
    key: str, kept: MarketState, config: CrowdConfig, now_ns: int, available_ns: int, arrival: Arrival | None
) -> list[Scored]:
    scored = []
    while due_ns := market_wide.leave(config, kept.crowd, now_ns):
        scored.append(_scored(key, kept.crowd, config, due_ns, max(available_ns, due_ns), arrival))
    return scored


def _scored(key: str, crowd: Crowd, config: CrowdConfig, ts: int, available_ns: int, arrival: Arrival | None) -> Scored:
    score = market_wide.score(config, crowd)
    why = market_wide.explain(config, crowd) if score >= market_wide.SPEC.close else Explanation()
    track = Track(
        head="market_wide",
        ts_event=np.array([ts], np.int64),
        ts_available=np.array([available_ns], np.int64),
        score=np.array([score]),
        window_start=np.array([ts - config.window_ns], np.int64),
        explain=lambda _: why,
    )
    return Scored(key, track, arrival)
