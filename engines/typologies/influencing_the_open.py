"""Influencing the open: an account trades in the first minutes to set the price that the day begins with.

Definition. In the first ``opening_ns`` one account takes a large share of all that is taken, on one side, in all
more than what is quoted (a thin book is moved by little), and its trades reach a price that is well that way of where
it began to trade, though others may press against it and bring it back. Where nothing is usual yet, on an instrument's
first day, it is judged as soon as something is.

Regulation. MAR (EU) 596/2014 Art. 12(1)(a), and 12(2)(b), which names the opening beside the close; Annex I A(g);
Delegated Regulation (EU) 2016/522 Annex II Section 1, whose "marking the close" is of the opening too; FINRA 5210.

Sources. Comerton-Forde, Rydge (2006), *Market integrity and surveillance effort*, Journal of Financial Services
Research 29.
"""

from __future__ import annotations

import msgspec

from engines.order_state import Account, OrderState
from engines.sessions import Stretch
from engines.typologies import TypologySpec
from engines.typologies.conditions import Conditions
from engines.typologies.marking_the_close import Limits, influence

SPEC = TypologySpec(
    name="influencing_the_open",
    version="4",
    title="Suspected influence on the open",
    regulation=(
        "MAR Art. 12(1)(a)",
        "MAR Art. 12(2)(b)",
        "Delegated Regulation (EU) 2016/522 Annex II Section 1",
        "FINRA 5210",
    ),
    open=0.5,
    critical=0.8,
    close=0.3,
    hold_ns=600_000_000_000,
    momentary=True,
)


class InfluencingTheOpenConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | opening_ns | ns | after the opening that are watched |
    | share | share | of all that is taken in that time |
    | size | median depths | that the account takes |
    | other_side | share | of what it takes: at most so much on the other side |
    | move | standard deviations of such a time | of the price, its way, where its trades took it furthest |
    """

    opening_ns: int = 180_000_000_000
    share: float = 0.35
    size: float = 1.0
    other_side: float = 0.2
    move: float = 0.3


def measure(
    config: InfluencingTheOpenConfig, state: OrderState, account: Account, stretch: Stretch, until_ns: int
) -> Conditions:
    """Return what the account took in an opening's ``stretch`` until ``until_ns`` (ns)."""
    limits = Limits(config.share, config.size, config.other_side, config.move)
    return influence(limits, state, account, stretch, until_ns)
