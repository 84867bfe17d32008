"""The account stage: what transfers and statements say of accounts, in one literal like `agents.instrument`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from dataclasses import dataclass

from agents.account_state import AccountState
from agents.flow import Arrival, Item, Scored
from agents.forgetting import forgetting
from agents.rekeying import moved_to, rekeyed_accounts
from agents.scenarios import scenarios
from agents.triage import triage
from agents.watched import seen_of
from engines.accounts import Account
from engines.rules import NONE, RuleFile
from engines.statements import SPECS as OF_STATEMENTS
from engines.statements import StatementEngine
from engines.transfers import EVERYONE, TransferEngine
from engines.transfers import SPECS as OF_TRANSFERS
from engines.typologies import TypologySpec
from schemas.alerts import Alert, Provenance, Subject
from schemas.journal import RULES_ONLY, Ladder
from schemas.records import Statement, Transfer

#: The stage's typologies, by their tracks' heads.
SPECS: dict[str, TypologySpec] = {**OF_TRANSFERS, **OF_STATEMENTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """What the agents are closed over.

    ``specs`` maps a track's head to its typology, ``provenances`` to what its alerts name where something else decides
    on it than on all others; ``count`` takes what could not be judged, by reason. An account is forgotten ``forget_ns``
    after it was last heard of (0: never). ``rules`` change and silence typologies and add scenarios.
    """

    transfers: TransferEngine
    statements: StatementEngine
    specs: Mapping[str, TypologySpec]
    subject: Callable[[str], Subject]
    provenance: Provenance
    provenances: Mapping[str, Provenance]
    count: Callable[[dict[str, int]], None]
    forget_ns: int = 0
    rules: RuleFile = NONE


def accounts(
    arrivals: AsyncIterator[Item], state: MutableMapping[str, AccountState], engines: Engines
) -> AsyncIterator[Item | Alert]:
    """Transfers, statements, then triage; where there are rules, scenarios before it."""
    rules = engines.rules
    alive = forgetting(rekeyed_accounts(arrivals, state), state, after_ns=engines.forget_ns, moved=_moved)
    judged = transfers(alive, state, engine=engines.transfers, count=engines.count)
    rated = statements(judged, state, engine=engines.statements, new=engines.transfers.new, count=engines.count)
    if rules is not NONE:
        names, asked = {head: spec.name for head, spec in engines.specs.items()}, rules.asked("account")
        rated = scenarios(rated, state, names=names, silent=rules.silent, applying=lambda _: asked)
    return triage(
        rated,
        state,
        specs=rules.specs(engines.specs, "account"),
        subject=engines.subject,
        provenance=engines.provenance,
        provenances=engines.provenances,
        since_ns=rules.effective_ns,
    )


async def transfers(
    items: AsyncIterator[Item],
    state: MutableMapping[str, AccountState],
    *,
    engine: TransferEngine,
    count: Callable[[dict[str, int]], None],
) -> AsyncIterator[Item]:
    """Apply each transfer to the states of both its ends, and have triage judge what it says of them."""

    def look(key: str) -> Account | None:
        kept = state.get(moved_to(state, key) or key)
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


async def statements(
    items: AsyncIterator[Item],
    state: MutableMapping[str, AccountState],
    *,
    engine: StatementEngine,
    new: Callable[[str], Account],
    count: Callable[[dict[str, int]], None],
) -> AsyncIterator[Item]:
    """Score each statement, and have triage judge its counterparty; under the ladder's last level none is scored.

    ``new`` makes an account that no transfer spoke of before.
    """
    level = 0
    async for item in items:
        yield item
        if isinstance(item, Ladder):
            level = item.level
        if not (isinstance(item, Arrival) and isinstance(item.value, Statement)):
            continue
        kept = state.get(item.key) or AccountState(new(item.key))
        update = engine.apply(kept.rating, item.value, models=level < RULES_ONLY)
        if update.refused:
            count({update.refused: 1})
        else:
            kept.remember(seen_of(item))
        kept.latest_ns = max(kept.latest_ns, item.ts_available)
        state[item.key] = kept
        if update.track is not None:
            yield Scored(item.key, update.track, item)


def _moved(item: Arrival) -> tuple[str, ...]:
    """Return the keys of the states that a transfer or a statement changes."""
    of = item.value
    if isinstance(of, Statement):
        return (of.account,)
    if not isinstance(of, Transfer) or of.account == of.counterparty:
        return ()
    return of.account, of.counterparty, EVERYONE + of.currency
