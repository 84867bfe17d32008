"""Fat finger: an order that its sender can hardly have meant, by size or by price.

Definition. An order for many times what is usually quoted, and what its account usually sends, at the market or at a
limit far through it (the best price of the other side, and the last one), so that it will take whatever stands there.
Or an order of any size whose limit is through the market by far more than prices move and than its account's own limits
ever lie from it: whoever sends all orders at such limits, as some send what is to trade at once, means them, and whose
limits are not known yet is not judged by them. It is judged as it arrives, before it trades. A large order that waits,
or is agreed at the price of the moment, is none, nor is one that waits far from the market. No misconduct by itself:
what it does to the price concerns the desk at once, and venues cancel such trades.

Regulation. Delegated Regulation (EU) 2017/589 Art. 15 (pre-trade controls: price collars, maximum order value and
volume); MAR (EU) 596/2014 Art. 12(1)(a) where it gives a misleading signal; SEC Rule 15c3-5 (erroneous orders).

Sources. CFTC, SEC (2010), *Findings regarding the market events of May 6, 2010*.
"""

from __future__ import annotations

import math

import msgspec

from engines.order_state import MINUTE_NS, Account, Order, OrderState
from engines.typologies import TypologySpec
from engines.typologies.conditions import LEAST_MET, LEAST_SCORE, Condition, Conditions, score

SPEC = TypologySpec(
    name="fat_finger",
    version="4",
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

_UNIT = "minute's standard deviations"


class FatFingerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | size | median depths | of the order |
    | own | multiple | of the mean size of the account's own orders before |
    | through | standard deviations of a minute | that the limit of such an order is through the market |
    | limit | relative | that the limit of an order of any size is through the market |
    | beyond | standard deviations of a minute | that it is through the market |
    | habit | multiple | of the mean distance of the account's own orders before from the last price |
    """

    size: float = 10.0
    own: float = 8.0
    through: float = 6.0
    limit: float = 0.02
    beyond: float = 40.0
    habit: float = 8.0


def measure(config: FatFingerConfig, state: OrderState, account: Account, order: Order) -> Conditions:
    """Return what a new order amounts to, by size or by price, whichever says more.

    Of what is not known, such as the size of its account's orders before, nothing is asked.
    """
    found: Conditions = (Condition("size", order.size / state.depth, config.size, "median depths"),)
    if account.sent:
        own = order.size / (account.sent / account.placings)
        found = (*found, Condition("size over the account's own", own, config.own, "mean orders"))
    if not order.price or not state.last_price:
        return found
    habit = account.strayed / account.placings if account.strayed else math.inf
    reach = _through(order, state.last_price)
    if score(found) >= LEAST_SCORE or reach >= LEAST_MET * config.habit * habit:
        # The last price may be of before the quotes moved; what is forgotten far behind the best quote hides nothing.
        others = (one.price for one in state.orders.values() if one.side != order.side and one.price)
        reach = min(reach, max((_through(order, price) for price in others), default=reach))
    told = Condition("limit through the market", reach / state.sd(MINUTE_NS), config.through, _UNIT)
    by_price = (
        Condition("limit beyond the market", reach, config.limit, "relative"),
        told._replace(threshold=config.beyond),
        Condition("distance over the account's own", reach / habit, config.habit, "mean distances"),
    )
    return max((*found, told), by_price, key=score)


def _through(order: Order, price: float) -> float:
    """Return how far an order's limit is beyond a price, relative."""
    return (order.price / price - 1.0) * (2 * order.side - 1)
