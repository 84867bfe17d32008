"""The account stage: what a transfer says of the accounts at both its ends, in one literal like `agents.instrument`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from dataclasses import dataclass

from agents.flow import Arrival, Item, Scored
from agents.forgetting import forgetting
from agents.state import AccountState, seen_of
from agents.triage import triage
from engines.accounts import Account
from engines.transfers import EVERYONE, TransferEngine
from engines.typologies import TypologySpec
from schemas.alerts import Alert, Provenance, Subject
from schemas.records import Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """What the agents are closed over.

    ``specs`` maps a track's head to its typology; ``count`` takes what could not be judged, by reason. An account is
    forgotten ``forget_ns`` after it last moved (0: never).
    """

    transfers: TransferEngine
    specs: Mapping[str, TypologySpec]
    subject: Callable[[str], Subject]
    provenance: Provenance
    count: Callable[[dict[str, int]], None]
    forget_ns: int = 0


def accounts(
    arrivals: AsyncIterator[Item], state: MutableMapping[str, AccountState], engines: Engines
) -> AsyncIterator[Item | Alert]:
    """Transfers, then triage."""
    alive = forgetting(arrivals, state, after_ns=engines.forget_ns, moved=_ends)
    judged = transfers(alive, state, engine=engines.transfers, count=engines.count)
    return triage(judged, state, specs=engines.specs, subject=engines.subject, provenance=engines.provenance)


async def transfers(
    items: AsyncIterator[Item],
    state: MutableMapping[str, AccountState],
    *,
    engine: TransferEngine,
    count: Callable[[dict[str, int]], None],
) -> AsyncIterator[Item]:
    """Apply each transfer to the states of both its ends, and have triage judge what it says of them."""

    def look(key: str) -> Account | None:
        kept = state.get(key)
        return kept.account if kept else None

    async for item in items:
        yield item
        if not (isinstance(item, Arrival) and isinstance(item.value, Transfer)):
            continue
        update = engine.apply(look, item.value)
        if update.refused:
            count({update.refused: 1})
        for key, account in update.accounts.items():
            kept = state.get(key) or AccountState(account)
            kept.latest_ns = max(kept.latest_ns, item.ts_available)
            if not update.refused and not key.startswith(EVERYONE):
                kept.remember(seen_of(item))
            state[key] = kept
        for key, track in update.tracks:
            yield Scored(key, track, item)


def _ends(item: Arrival) -> tuple[str, ...]:
    """Return the keys of the states that a transfer changes."""
    of = item.value
    if not isinstance(of, Transfer) or of.account == of.counterparty:
        return ()
    return of.account, of.counterparty, EVERYONE + of.currency
