"""Accounts that another key names go on where they were: what is kept of them is moved to their new pseudonym.

While a key takes over from the one before it, a record names an account by both (`schemas.pseudonyms`). The first that
does moves all that is kept under the older one, open episodes with it: their alerts then name the account anew, and
their episode by the same id. A record that comes late names the older one alone, and is taken as of the newer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping

import msgspec

from agents.account_state import AccountState
from agents.flow import Arrival, Item, Settled
from agents.instrument_state import InstrumentState
from schemas.order_frames import OrderFrame
from schemas.pseudonyms import split, split_all
from schemas.records import Statement, Transfer


async def rekeyed_instruments(
    items: AsyncIterator[Item], state: MutableMapping[str, InstrumentState]
) -> AsyncIterator[Item]:
    """Name the accounts and traders of order frames as they are in use, and move what is kept of them."""
    async for item in items:
        if isinstance(item, Arrival) and isinstance(frame := item.value, OrderFrame):
            accounts, moved = split_all(frame.accounts)
            traders, employed = split_all(frame.traders)
            kept = state.get(item.key)
            if kept is not None and (moved or employed or kept.renamed):
                if new := {old: name for old, name in (*moved, *employed) if kept.renamed.get(old) != name}:
                    yield Settled()  # what waits to be looked at together is of the names before
                    kept.rekey(new)
                    state[item.key] = kept
                accounts, traders = kept.in_use(accounts), kept.in_use(traders)
            if accounts != frame.accounts or traders != frame.traders:
                named = msgspec.structs.replace(frame, accounts=accounts, traders=traders)
                item = msgspec.structs.replace(item, value=named)
        yield item


async def rekeyed_accounts(items: AsyncIterator[Item], state: MutableMapping[str, AccountState]) -> AsyncIterator[Item]:
    """Name the accounts of transfers and statements as they are in use, and move what is kept of them."""
    async for item in items:
        if isinstance(item, Arrival) and isinstance(of := item.value, Transfer | Statement):
            named = {"account": of.account}
            if isinstance(of, Transfer):
                named["counterparty"] = of.counterparty
            found = {field: split(name) for field, name in named.items()}
            if due := [(before, name) for name, before in found.values() if _moves(state, before, name)]:
                yield Settled()  # as above
                for before, name in due:
                    _move(state, before, name)
            used = {field: moved_to(state, name) or name for field, (name, _) in found.items()}
            if used != named:
                item = msgspec.structs.replace(item, key=used["account"], value=msgspec.structs.replace(of, **used))
        yield item


def moved_to(state: MutableMapping[str, AccountState], name: str) -> str:
    """Return under which name an account is kept that was kept under this one; "" where it was not moved."""
    to = ""
    while (kept := state.get(to or name)) is not None and kept.moved:
        to = kept.moved
    return to


def _moves(state: MutableMapping[str, AccountState], before: str, name: str) -> bool:
    """Return whether something is kept of an account that is to be moved: not twice, nor onto another."""
    kept = state.get(before) if before else None
    return kept is not None and not kept.moved and name not in state


def _move(state: MutableMapping[str, AccountState], before: str, name: str) -> None:
    """Move what is kept of an account, and name it anew in what is kept of those that it knows."""
    kept = state[before]
    for other in kept.account.others():
        key = moved_to(state, other) or other
        if (friend := state.get(key)) is not None:
            friend.account.rename(before, name)
            state[key] = friend
    kept.account.rename(before, name)
    state[name] = kept
    # Forgotten when the account would have been.
    state[before] = AccountState.of_moved(name, kept.latest_ns)
