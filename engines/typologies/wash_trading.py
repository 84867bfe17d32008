"""Wash trading: an account trades with itself, or accounts of one trader with each other.

Definition. Trades of which one account, or one trader under several accounts, has both sides, several within the hour,
in all more than is quoted, and much of what the account trades. Somebody's order that meets another of its own by
chance, once, is none.

Regulation. MAR (EU) 596/2014 Art. 12(1)(a), Annex I A(c): transactions that lead to no change in beneficial ownership;
Delegated Regulation (EU) 2016/522 Annex II Section 1, point 3(a): "wash trades"; Securities Exchange Act Section
9(a)(1) and Commodity Exchange Act 4c(a)(2)(A): wash sales; FINRA 5210 (Supplementary Material .02, patterns of
self-trades) and 6140(b).

Sources. Cao, Li, Coleman, Belatreche, McGinnity (2016), *Detecting wash trade in financial market using digraphs and
dynamic programming*, IEEE Transactions on Neural Networks and Learning Systems 27; Cong, Li, Tang, Yang (2023), *Crypto
Wash Trading*, Management Science 69.
"""

from __future__ import annotations

import msgspec

from engines.order_state import Account, OrderState
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SPEC = TypologySpec(
    name="wash_trading",
    version="1",
    title="Suspected wash trading",
    regulation=(
        "MAR Art. 12(1)(a)",
        "Delegated Regulation (EU) 2016/522 Annex II Section 1",
        "CEA 4c(a)(2)(A)",
        "FINRA 5210",
        "FINRA 6140(b)",
    ),
    open=0.5,
    critical=0.8,
    close=0.3,
    hold_ns=1_800_000_000_000,
    momentary=True,
)


class WashTradingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters; all of the last hour, fading by half within it.

    | field | unit | meaning |
    |---|---|---|
    | trades | count | with itself |
    | size | median depths | of these trades |
    | share | share | of what the account traded |
    """

    trades: float = 3.0
    size: float = 0.8
    share: float = 0.2


def measure(config: WashTradingConfig, state: OrderState, account: Account) -> Conditions:
    """Return what the trades with itself, the newest included, amount to."""
    weight = state.hourly.weight
    # Of a trade under one account both sides are its own; of a trade under two, one side is each one's.
    traded = account.traded[0] + account.traded[1]
    return (
        Condition("trades with itself", account.washes / weight, config.trades, "trades"),
        Condition("size of these", account.washed / weight / state.depth, config.size, "median depths"),
        Condition("of what it traded", account.washed / traded, config.share, "share"),
    )
