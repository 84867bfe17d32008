"""Fat finger: an order that its sender can hardly have meant, by size or by price.

Definition. An order for many times what is usually quoted, and what its account usually sends, at the market or at a
limit far through the last price, so that it will take whatever stands there. It is judged as it arrives, before it
trades. A large order that waits, or is agreed at the price of the moment, is none, nor is a small one at a careless
limit: it trades at the price of the moment. No misconduct by itself: what it does to the price concerns the desk at
once, and venues cancel such trades.

Regulation. Delegated Regulation (EU) 2017/589 Art. 15 (pre-trade controls: price collars, maximum order value and
volume); MAR (EU) 596/2014 Art. 12(1)(a) where it gives a misleading signal; SEC Rule 15c3-5 (erroneous orders).

Sources. CFTC, SEC (2010), *Findings regarding the market events of May 6, 2010*.
"""

from __future__ import annotations

import msgspec

from engines.order_state import MINUTE_NS, Account, Order, OrderState
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SPEC = TypologySpec(
    name="fat_finger",
    version="1",
    title="Order far beyond the usual in size or price",
    regulation=(
        "Delegated Regulation (EU) 2017/589 Art. 15",
        "MAR Art. 12(1)(a)",
        "SEC Rule 15c3-5",
    ),
    open=0.5,
    critical=0.9,
    close=0.3,
    hold_ns=60_000_000_000,
    momentary=True,
)


class FatFingerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | size | median depths | of the order |
    | own | multiple | of the mean size of the account's own orders before |
    | through | standard deviations of a minute | that the limit is through the last price |
    """

    size: float = 10.0
    own: float = 8.0
    through: float = 3.5


def measure(config: FatFingerConfig, state: OrderState, account: Account, order: Order) -> Conditions:
    """Return what a new order amounts to; what is not known, such as orders of its account before, asks nothing."""
    found: Conditions = (Condition("size", order.size / state.depth, config.size, "median depths"),)
    if account.sent:
        own = order.size / (account.sent / account.placings)
        found = (*found, Condition("size over the account's own", own, config.own, "mean orders"))
    if order.price and state.last_price:
        reach = (order.price / state.last_price - 1.0) * (2 * order.side - 1) / state.sd(MINUTE_NS)
        found = (
            *found,
            Condition("limit through the last price", reach, config.through, "minute's standard deviations"),
        )
    return found
