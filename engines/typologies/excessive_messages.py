"""Excessive messages: an account sends far more orders, changes and withdrawals than trades or anybody else explain.

Definition. Within a minute an account sends several times the messages that the busiest hundredth of all accounts'
minutes in the instrument reach, makers' among them; hardly any of them trades, and they do not come in one burst
(which is quote stuffing), nor are all accounts as busy. Not a pattern of manipulation by itself: a venue's systems
and its members' bear the load, and broken algorithms are found by it.

Regulation. MiFID II (2014/65/EU) Art. 48(6) and Delegated Regulation (EU) 2017/566: ratio of unexecuted orders to
transactions; Delegated Regulation (EU) 2017/589 Art. 15(1)(d): a firm's own maximum of messages; MAR (EU) 596/2014 Art.
12(2)(c)(i): disrupting or delaying the functioning of the trading system.

Sources. Friederich, Payne (2015), *Order-to-trade ratios and market liquidity*, Journal of Banking & Finance 50.
"""

from __future__ import annotations

import msgspec

from engines.order_state import Account, OrderState
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SPEC = TypologySpec(
    name="excessive_messages",
    version="1",
    title="Excessive message rate",
    regulation=(
        "MiFID II Art. 48(6)",
        "Delegated Regulation (EU) 2017/566",
        "MAR Art. 12(2)(c)(i)",
    ),
    open=0.5,
    critical=0.9,
    close=0.3,
    hold_ns=300_000_000_000,
    momentary=True,
)


class ExcessiveMessagesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | messages | multiple | of the busiest hundredth of accounts' minutes |
    | fills | share | of the messages of this minute, at most |
    | burst | share | of the messages of this minute: at most so much within ten seconds |
    | share | share | of all accounts' messages of this minute |
    """

    messages: float = 1.8
    fills: float = 0.01
    burst: float = 0.25
    share: float = 0.15


def measure(config: ExcessiveMessagesConfig, state: OrderState, account: Account) -> Conditions:
    """Return what the account's messages of this minute amount to."""
    sent = account.messages
    return (
        Condition("messages this minute", sent / state.busy, config.messages, "busy minutes"),
        Condition("fills", account.fills / sent, config.fills, "share", at_most=True),
        Condition("sent in one burst", min(1.0, account.peak / sent), config.burst, "share", at_most=True),
        Condition("share of all messages", sent / state.messages, config.share, "share"),
    )
