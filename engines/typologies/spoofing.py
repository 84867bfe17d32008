"""Spoofing: an order that was never meant to trade leans on the price, while its account trades on the other side.

Definition. An account withdraws an order, hardly filled and young, and what it had at that price is large beside what
is usually quoted; while it stood the account was filled on the other side, with less, shortly before. What it places is
one-sided: a maker who renews both sides is none. That price holds most of what the account had on that side (weight at
many prices is layering). Each repetition within the hour asks for less: the size falls with the root of their number.

Regulation. MAR (EU) 596/2014 Art. 12(1)(a) and 12(2)(c), Annex I A(f): orders that change the best bid or offer and are
removed before they are executed; Delegated Regulation (EU) 2016/522 Annex II Section 1, point 5(e): "layering and
spoofing"; Dodd-Frank 747 (CEA 4c(a)(5)(C)): bidding or offering with the intent to cancel before execution; FINRA 5210
(Supplementary Material .03).

Sources. Lee, Eom, Park (2013), *Microstructure-based manipulation: strategic behavior and performance of spoofing
traders*, Journal of Financial Markets 16; Cartea, Jaimungal, Wang (2020), *Spoofing and Price Manipulation in
Order-Driven Markets*, Applied Mathematical Finance 27.
"""

from __future__ import annotations

import math

import msgspec

from engines.order_state import Account, Order, OrderState
from engines.sessions import SECOND_NS
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SPEC = TypologySpec(
    name="spoofing",
    version="1",
    title="Suspected spoofing",
    regulation=(
        "MAR Art. 12(1)(a)",
        "MAR Art. 12(2)(c)",
        "Delegated Regulation (EU) 2016/522 Annex II Section 1",
        "Dodd-Frank 747 (CEA 4c(a)(5)(C))",
        "FINRA 5210",
    ),
    open=0.5,
    critical=0.8,
    close=0.3,
    hold_ns=300_000_000_000,
    momentary=True,
)


class SpoofingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | size | median depths | at the order's price, its account's, when it is withdrawn |
    | others | share | of the account's resting units on that side: at most so much at other prices |
    | met | share | of the order that was filled, at most |
    | filled | median depths | by the account on the other side while the order stood |
    | filled_most | share | of that size: it takes no more on the other side |
    | lag_ns | ns | from the last of those fills to the withdrawal, at most |
    | life_ns | ns | of the order, at most |
    | other_side | share | of what it placed in the last minutes: at most so much on the other side |
    """

    size: float = 3.0
    others: float = 0.4
    met: float = 0.2
    filled: float = 0.1
    filled_most: float = 0.5
    lag_ns: int = 2_000_000_000
    life_ns: int = 120_000_000_000
    other_side: float = 0.35


def measure(config: SpoofingConfig, state: OrderState, account: Account, order: Order) -> Conditions:
    """Return what the withdrawal of ``order``, still among the account's resting units, amounts to."""
    side, other, now_ns = order.side, 1 - order.side, state.newest_ns
    shown = sum(one.left for one in state.orders_of(account, side) if one.price == order.price)
    resting, placed = account.resting[side], account.placed[side] + account.placed[other]
    filled = account.filled[other] - order.against
    lag_ns = now_ns - account.filled_ns[other]
    size = config.size / math.sqrt(1.0 + account.pulls / state.hourly.weight)
    return (
        Condition("size at the price withdrawn", shown / state.depth, size, "median depths"),
        Condition("size at other prices", 1.0 - shown / resting, config.others, "share", at_most=True),
        Condition("filled of the order", order.filled / order.size, config.met, "share", at_most=True),
        Condition("filled on the other side", filled / state.depth, config.filled, "median depths"),
        Condition("filled there over the size shown", filled / shown, config.filled_most, "share", at_most=True),
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
