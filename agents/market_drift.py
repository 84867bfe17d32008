"""Drift of the market and of its sectors: more instruments are no longer what they were than chance explains."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping

from agents.flow import Arrival, Item
from agents.market_state import MarketState, Moving
from engines.typologies import market_wide
from engines.typologies.market_wide import CrowdConfig, Finding
from schemas.alerts import Input, identity
from schemas.records import Drift, Opening
from schemas.topics import MARKET

#: Drift takes minutes to hours to be seen, in one instrument sooner than in another.
CROWD = CrowdConfig(window_ns=3_600_000_000_000, prior_ns=3_600_000_000_000)
#: From which of a crowd's scores on it is told: so many false ones a day as the configuration allows.
TOLD = 0.5


async def moving(
    items: AsyncIterator[Item], state: MutableMapping[str, MarketState], *, config: CrowdConfig, decides: str
) -> AsyncIterator[Item]:
    """Tell of a crowd of drifts, once in a window, of the market and of each sector that the symbol master names.

    How many are usual is learnt, of each apart; the p-value is that of `engines.typologies.market_wide`.
    """
    async for item in items:
        yield item
        if not (isinstance(item, Arrival) and isinstance(item.value, Opening)) or item.value.drift is None:
            continue
        kept = state[item.key] = state.get(item.key) or MarketState()
        opening, sector = item.value, item.value.drift.sector
        for scope in ("", sector) if sector else ("",):
            moved = kept.moving.setdefault(scope, Moving())
            while market_wide.leave(config, moved.crowd, opening.ts_event):
                pass
            if not market_wide.join(config, moved.crowd, opening.ts_event, opening.instrument, opening.episode_id):
                continue
            found = market_wide.find(config, moved.crowd)
            newest_ns = moved.crowd.newest_ns
            if market_wide.score(config, found) >= TOLD and newest_ns >= moved.told_ns + config.window_ns:
                moved.told_ns = newest_ns
                yield _told(scope, moved, found, item, decides)


def _told(sector: str, moved: Moving, found: Finding, item: Arrival, decides: str) -> Drift:
    since, subject = moved.crowd.recent[0][0], sector or MARKET
    return Drift(
        ts_event=moved.crowd.newest_ns,
        ts_available=item.ts_available,
        subject=subject,
        scope="sector" if sector else "market",
        drift_id=identity("drift", subject, since, moved.crowd.newest_ns, decides),
        kind="market",
        stream="instruments",
        since=since,
        before=found.usual,
        after=float(found.instruments),
        p_value=found.p_value,
        instruments=sorted({instrument for _, instrument in moved.crowd.recent}),
        sector=sector,
        config=decides,
        trace=item.trace,
        evidence=[
            Input(topic=item.topic, partition=item.partition, offset=item.offset, sha256=item.sha256.hex()),
        ],
    )
