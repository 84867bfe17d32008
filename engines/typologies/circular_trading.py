"""Circular trading: a position goes round a small ring of accounts, back to where it began.

Definition. Accounts A, B, C, ... sell to one another in a ring: each sells mostly to the next and buys mostly from the
one before (within the hour), several times, in all more than is quoted, and none keeps much of what it got. In an
anonymous book nobody meets the same few accounts like that: a maker is many takers' main counterparty, but no taker is
the maker's.

Regulation. MAR (EU) 596/2014 Art. 12(1)(a); Delegated Regulation (EU) 2016/522 Annex II Section 1, points 3(a), risk or
benefit passed between parties that act in concert, and 3(c), "improper matched orders"; Securities Exchange Act Section
9(a)(1): matched orders; Commodity Exchange Act 4c(a)(2)(A): accommodation trades and fictitious sales; FINRA 6140.

Sources. Palshikar, Apte (2008), *Collusion set detection using graph clustering*, Data Mining and Knowledge Discovery
16; Cao et al. (2016), as for wash trading.
"""

from __future__ import annotations

import msgspec

from engines.order_state import Account, Link, OrderState
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SPEC = TypologySpec(
    name="circular_trading",
    version="1",
    title="Suspected circular trading",
    regulation=(
        "MAR Art. 12(1)(a)",
        "Delegated Regulation (EU) 2016/522 Annex II Section 1",
        "CEA 4c(a)(2)(A)",
        "FINRA 6140",
    ),
    open=0.5,
    critical=0.8,
    close=0.3,
    hold_ns=1_800_000_000_000,
    momentary=True,
)
#: Accounts of a ring, at most.
_RING = 8


class CircularTradingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters; all of the last hour, fading by half within it.

    | field | unit | meaning |
    |---|---|---|
    | rounds | count | trades on the ring's weakest link |
    | size | median depths | traded on that link |
    | reverse | share | of what goes round: at most so much goes the other way on a link |
    | elsewhere | share | of what a member bought and sold: at most so much outside the ring |
    | kept | share | of what a member bought and sold: at most so much is net |
    """

    rounds: float = 2.0
    size: float = 0.5
    reverse: float = 0.3
    elsewhere: float = 0.65
    kept: float = 0.6


def measure(config: CircularTradingConfig, state: OrderState, account: Account) -> Conditions:
    """Return what the ring amounts to that leads from ``account`` by each one's main buyer back to it; () if none.

    A ring has three accounts or more: two makers meet each other often, to and fro.
    """
    ring, links = [account], []
    while True:
        buyer, link = max(ring[-1].sold_to.items(), key=_by_units, default=(-1, Link()))
        links.append(link)
        if buyer == account.number and link.units and len(ring) > 2:
            break
        member = state.accounts.get(buyer)
        if member is None or not link.units or len(ring) == _RING or any(member is one for one in ring):
            return ()
        ring.append(member)
    weight = state.hourly.weight
    elsewhere = kept = reverse = 0.0
    for k, member in enumerate(ring):
        traded = member.traded[0] + member.traded[1]
        # A trade counts for both sides once its second side is told: the newest may be short of one.
        elsewhere = max(elsewhere, 1.0 - (links[k].units + links[k - 1].units) / traded)
        back = ring[(k + 1) % len(ring)].sold_to.get(member.number)
        reverse = max(reverse, back.units / links[k].units if back else 0.0)
        kept = max(kept, abs(member.traded[1] - member.traded[0]) / traded)
    rounds, units = min(link.trades for link in links), min(link.units for link in links)
    return (
        Condition(f"trades on the weakest of {len(ring)} links", rounds / weight, config.rounds, "trades"),
        Condition("size on the weakest link", units / weight / state.depth, config.size, "median depths"),
        Condition("sold back on a link", reverse, config.reverse, "share", at_most=True),
        Condition("traded outside the ring", max(0.0, elsewhere), config.elsewhere, "share", at_most=True),
        Condition("kept by a member", kept, config.kept, "share", at_most=True),
    )


def _by_units(item: tuple[int, Link]) -> tuple[float, int]:
    return item[1].units, -item[0]
