"""Quote stuffing: a burst of orders that come and go within a second, so that others have to work through them.

Definition. Within ten seconds an account sends many times the messages that all accounts together send in the
instrument in such a time of a crowded minute (of a message a second at least); nearly all are orders withdrawn within a
second of being placed, and hardly any trades.

Regulation. MAR (EU) 596/2014 Art. 12(2)(c)(i) and (ii): disrupting or delaying the trading system, making it harder
to identify genuine orders; Delegated Regulation (EU) 2016/522 Annex II Section 1, "quote stuffing" by name; FINRA
5210.

Sources. Egginton, Van Ness, Van Ness (2016), *Quote Stuffing*, Financial Management 45; Credit Suisse (2012),
*High Frequency Trading: Measurement, Detection and Response*.
"""

from __future__ import annotations

import msgspec

from engines.order_state import BURST_NS, MINUTE_NS, Account, OrderState
from engines.sessions import SECOND_NS
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SPEC = TypologySpec(
    name="quote_stuffing",
    version="1",
    title="Suspected quote stuffing",
    regulation=(
        "MAR Art. 12(2)(c)(i)",
        "MAR Art. 12(2)(c)(ii)",
        "Delegated Regulation (EU) 2016/522 Annex II Section 1",
        "FINRA 5210",
    ),
    open=0.5,
    critical=0.9,
    close=0.3,
    hold_ns=300_000_000_000,
    momentary=True,
)


class QuoteStuffingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | messages | multiple | of what all accounts send in such a time of a minute that one in twenty exceeds |
    | lasting | share | of the messages: at most so much belongs to orders that lasted more than a second |
    | fills | share | of the messages, at most |
    """

    messages: float = 4.0
    lasting: float = 0.3
    fills: float = 0.02


def measure(config: QuoteStuffingConfig, state: OrderState, account: Account) -> Conditions:
    """Return what the account's messages of this burst amount to."""
    # Where crowds send less than a message a second, a few messages disrupt nobody.
    crowded, sent = max(state.crowded * BURST_NS / MINUTE_NS, BURST_NS / SECOND_NS), account.burst
    lasting = max(0.0, 1.0 - 2.0 * account.burst_short / sent)
    return (
        Condition("messages in a burst", sent / crowded, config.messages, "crowded minutes' rate"),
        Condition("orders that lasted", lasting, config.lasting, "share", at_most=True),
        Condition("fills", account.burst_fills / sent, config.fills, "share", at_most=True),
    )
