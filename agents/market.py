"""The market stage: what began at instruments is looked at together, in one literal like `agents.instrument`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping

import msgspec
import numpy as np

from agents.flow import Arrival, Item, Scored, first_clock
from agents.market_drift import CROWD, moving
from agents.market_sentiment import SPOKEN, sentiment
from agents.market_state import MarketState
from agents.triage import triage
from agents.watched import seen_of
from engines.rules import NONE, RuleFile
from engines.signals import SignalConfig
from engines.tracks import Track
from engines.typologies import TypologySpec, conditions, cross_product, market_wide
from engines.typologies.cross_product import CrossProductConfig, Kept, Pair
from engines.typologies.market_wide import Crowd, CrowdConfig
from schemas.alerts import Alert, Provenance, Subject
from schemas.journal import Clock
from schemas.records import Opening

#: The typology of instruments whose openings are counted.
COUNTS = "market_anomaly"


def market(
    arrivals: AsyncIterator[Item],
    state: MutableMapping[str, MarketState],
    *,
    crowd: CrowdConfig,
    crossing: CrossProductConfig,
    product: Callable[[str], str],
    specs: Mapping[str, TypologySpec],
    subject: Callable[[str], Subject],
    provenance: Provenance,
    rules: RuleFile = NONE,
    drifting: CrowdConfig = CROWD,
    spoken: SignalConfig = SPOKEN,
) -> AsyncIterator[Item | Alert]:
    """Crowds of openings, pairs of halves, crowds of drifts, sentiment, triage; what rules silence is not judged.

    ``product`` names what an instrument and others are one of.
    """
    crowded = crowds(arrivals, state, config=crowd)
    paired = pairs(crowded, state, config=crossing, product=product)
    moved = moving(paired, state, config=drifting, decides=provenance.config)
    heard = sentiment(moved, state, config=spoken)
    return triage(
        heard,
        state,
        specs=rules.heard(specs),
        subject=subject,
        provenance=provenance,
        since_ns=rules.effective_ns,
    )


async def pairs(
    items: AsyncIterator[Item],
    state: MutableMapping[str, MarketState],
    *,
    config: CrossProductConfig,
    product: Callable[[str], str],
) -> AsyncIterator[Item]:
    """Score what one account did in two instruments of a product, for the one in which its orders rested."""
    async for item in items:
        yield item
        if not (isinstance(item, Arrival) and isinstance(item.value, Opening)) or item.value.half is None:
            continue
        kept = state[item.key] = state.get(item.key) or MarketState()
        told = Kept(item.value.instrument, item.value.half, seen_of(item))
        for pair in cross_product.join(config, kept.halves, told, product):
            key = pair.rested.instrument
            own = state[key] = state.get(key) or MarketState()
            own.newest_ns = max(own.newest_ns, cross_product.end_ns(pair))
            for half in sorted((pair.rested, pair.pushed), key=lambda one: one.seen[:3]):
                if half.seen not in own.inputs:
                    own.remember(half.seen)
            yield _paired(config, pair, item)


def _paired(config: CrossProductConfig, pair: Pair, item: Arrival) -> Scored:
    found = cross_product.measure(config, pair)
    track = Track(
        head=cross_product.SPEC.name,
        ts_event=np.array([cross_product.end_ns(pair)], np.int64),
        ts_available=np.array([item.ts_available], np.int64),
        score=np.array([conditions.score(found)]),
        window_start=np.array([cross_product.start_ns(pair)], np.int64),
        explain=lambda _: conditions.explain(found),
        account=pair.rested.half.account,
    )
    return Scored(pair.rested.instrument, track, item)


async def crowds(
    items: AsyncIterator[Item], state: MutableMapping[str, MarketState], *, config: CrowdConfig
) -> AsyncIterator[Item]:
    """Score the crowd at each opening of an anomaly, and whenever one leaves its window."""
    async for item in items:
        if isinstance(item, Arrival) and isinstance(item.value, Opening):
            yield item
            opening = item.value
            if opening.typology.partition("@")[0] != COUNTS:
                continue
            kept = state[item.key] = state.get(item.key) or MarketState()
            for due_ns in _departures(kept, config, opening.ts_event):
                yield _scored(item.key, kept.crowd, config, due_ns, item.ts_available, item)
            if market_wide.join(config, kept.crowd, opening.ts_event, opening.instrument, opening.episode_id):
                kept.remember(seen_of(item))
                yield _scored(item.key, kept.crowd, config, kept.crowd.newest_ns, item.ts_available, item)
        elif isinstance(item, Clock):
            # In the seconds in which they are due, however far the clock leaps.
            told_ns = 0
            for key in list(state):
                kept = state[key]
                for due_ns in _departures(kept, config, item.now_ns):
                    state[key] = kept
                    second_ns = first_clock(due_ns)
                    if second_ns > told_ns:
                        told_ns = second_ns
                        yield Clock(second_ns)
                    yield _scored(key, kept.crowd, config, due_ns, second_ns, None)
            if told_ns < item.now_ns:
                yield item
        else:
            yield item


def _departures(kept: MarketState, config: CrowdConfig, now_ns: int) -> Iterator[int]:
    while due_ns := market_wide.leave(config, kept.crowd, now_ns):
        yield due_ns


def _scored(key: str, crowd: Crowd, config: CrowdConfig, ts: int, available_ns: int, arrival: Arrival | None) -> Scored:
    seen = msgspec.structs.replace(crowd, recent=crowd.recent[:])
    track = Track(
        head="market_wide",
        ts_event=np.array([ts], np.int64),
        ts_available=np.array([available_ns], np.int64),
        score=np.array([market_wide.score(config, market_wide.find(config, crowd))]),
        window_start=np.array([ts - config.window_ns], np.int64),
        explain=lambda _: market_wide.explain(config, seen),
    )
    return Scored(key, track, arrival)
