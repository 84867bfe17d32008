"""Layering: orders at several prices on one side, none meant to trade, while the account trades on the other.

Definition. As spoofing, but the weight is spread: when the account begins to withdraw, it has orders at several
prices on one side, together large beside what is usually quoted, no price holding most of it; while they stood it was
filled on the other side, with less, shortly before; what it places is one-sided.

Regulation. MAR (EU) 596/2014 Art. 12(1)(a) and 12(2)(c); Delegated Regulation (EU) 2016/522 Annex II Section 1, point
5(e): multiple or large orders on one side of the book, often away from the touch, removed once a trade on the other has
taken place ("layering and spoofing"); Dodd-Frank 747 (CEA 4c(a)(5)(C)); FINRA 5210 (Supplementary Material .03).

Sources. FINRA Regulatory Notice 17-22 (disruptive quoting and trading: layering); Mark (2020), *Spoofing and
layering*, Journal of Corporation Law 45.
"""

from __future__ import annotations

import msgspec

from engines.order_state import Account, Order, OrderState
from engines.sessions import SECOND_NS
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SPEC = TypologySpec(
    name="layering",
    version="1",
    title="Suspected layering",
    regulation=(
        "MAR Art. 12(1)(a)",
        "MAR Art. 12(2)(c)",
        "Delegated Regulation (EU) 2016/522 Annex II Section 1",
        "Dodd-Frank 747 (CEA 4c(a)(5)(C))",
        "FINRA 5210",
    ),
    open=0.5,
    critical=0.7,
    close=0.3,
    hold_ns=300_000_000_000,
    momentary=True,
)


class LayeringConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | levels | prices | at which the account has orders on that side |
    | size | median depths | of these orders together |
    | largest | share | of them at one price, at most |
    | met | share | of the order withdrawn that was filled, at most |
    | filled | median depths | by the account on the other side while the order withdrawn stood |
    | filled_most | share | of the orders: it takes no more than that on the other side |
    | lag_ns | ns | from the last of those fills to the withdrawal, at most |
    | life_ns | ns | of the order withdrawn, at most |
    | other_side | share | of what it placed in the last minutes: at most so much on the other side |
    """

    levels: float = 3.0
    size: float = 3.0
    largest: float = 0.4
    met: float = 0.2
    filled: float = 0.1
    filled_most: float = 0.5
    lag_ns: int = 2_000_000_000
    life_ns: int = 120_000_000_000
    other_side: float = 0.3


def measure(config: LayeringConfig, state: OrderState, account: Account, order: Order) -> Conditions:
    """Return what the withdrawal of ``order``, still among the account's resting units, amounts to."""
    side, other, now_ns = order.side, 1 - order.side, state.newest_ns
    at_price: dict[float, float] = {}
    for one in state.orders_of(account, side):
        at_price[one.price] = at_price.get(one.price, 0.0) + one.left
    resting = account.resting[side]
    placed = account.placed[side] + account.placed[other]
    filled = account.filled[other] - order.against
    lag_ns = now_ns - account.filled_ns[other]
    return (
        Condition("prices with orders", float(len(at_price)), config.levels, "prices"),
        Condition("size of these orders", resting / state.depth, config.size, "median depths"),
        Condition("at one price", max(at_price.values()) / resting, config.largest, "share", at_most=True),
        Condition("filled of the order", order.filled / order.size, config.met, "share", at_most=True),
        Condition("filled on the other side", filled / state.depth, config.filled, "median depths"),
        Condition("filled there over the orders", filled / resting, config.filled_most, "share", at_most=True),
        Condition("withdrawn after that fill", lag_ns / SECOND_NS, config.lag_ns / SECOND_NS, "s", at_most=True),
        Condition("life", (now_ns - order.placed_ns) / SECOND_NS, config.life_ns / SECOND_NS, "s", at_most=True),
        Condition(
            "placed on the other side",
            account.placed[other] / placed if placed else 0.0,
            config.other_side,
            "share",
            at_most=True,
        ),
    )
