"""Circular trading: a position goes round a small ring of accounts, back to where it began.

Definition. Accounts A, B, C, ... sell to one another in a ring: each sells more to the next than to anybody else
(within the hour), several times, about as much on every link and little of it back, and these trades are a fair share
of all that the members trade. They meet several times as often as chance would have it: in an anonymous book a seller
meets each buyer by the buyer's share of all that is traded, makers often and takers hardly ever. What strangers took
of it on the way does not hide the rest.

Regulation. MAR (EU) 596/2014 Art. 12(1)(a); Delegated Regulation (EU) 2016/522 Annex II Section 1, points 3(a), risk or
benefit passed between parties that act in concert, and 3(c), "improper matched orders"; Securities Exchange Act Section
9(a)(1): matched orders; Commodity Exchange Act 4c(a)(2)(A): accommodation trades and fictitious sales; FINRA 6140.

Sources. Palshikar, Apte (2008), *Collusion set detection using graph clustering*, Data Mining and Knowledge Discovery
16; Cao et al. (2016), as for wash trading.
"""

from __future__ import annotations

import math

import msgspec

from engines.order_state import Account, Link, OrderState
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SPEC = TypologySpec(
    name="circular_trading",
    version="2",
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
    | even | share | of what is traded on the strongest link that the weakest has |
    | reverse | share | of what goes round: at most so much goes the other way on a link |
    | within | share | of all that the members bought and sold that goes round |
    | chance | multiple | of what chance lets a seller and a buyer trade with one another, on any link |
    """

    rounds: float = 2.0
    size: float = 0.25
    even: float = 0.4
    reverse: float = 0.4
    within: float = 0.15
    chance: float = 2.0


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
    reverse, chance = 0.0, math.inf
    for seller, taker, link in zip(ring, (*ring[1:], account), links, strict=True):
        back = taker.sold_to.get(seller.number)
        reverse = max(reverse, back.units / link.units if back else 0.0)
        # A trade counts for both sides once its second side is told: the newest may be short of one.
        chance = min(chance, link.units * state.traded / max(seller.traded[0] * taker.traded[1], link.units**2))
    weight, units = state.hourly.weight, min(link.units for link in links)
    round_it = sum(link.units for link in links)
    rounds = min(link.trades for link in links) / weight
    even = units / max(link.units for link in links)
    within = min(1.0, 2.0 * round_it / sum(member.traded[0] + member.traded[1] for member in ring))
    return (
        Condition(f"trades on the weakest of {len(ring)} links", rounds, config.rounds, "trades"),
        Condition("size on the weakest link", units / weight / state.depth, config.size, "median depths"),
        Condition("weakest link beside the strongest", even, config.even, "share"),
        Condition("sold back on a link", reverse, config.reverse, "share", at_most=True),
        Condition("traded within the ring", within, config.within, "share"),
        Condition("trades with one another", chance, config.chance, "times what chance gives"),
    )


def _by_units(item: tuple[int, Link]) -> tuple[float, int]:
    return item[1].units, -item[0]
