"""Marking the close: an account trades in the last minutes to set the price that the day is settled at.

Definition. In the last ``closing_ns`` before the close one account takes a large share of all that is taken, on one
side, in all several times what is quoted, and from its first trade on the price goes further that way than it usually
does in such a time; it need not stay there, for others may press against it, nor go beyond where others had brought it
before, and where the account took more than anybody else it may be others who trade there. The account had hardly
traded in the hour before: who works a large order trades before and in these minutes alike.

Regulation. MAR (EU) 596/2014 Art. 12(2)(b): buying or selling at the close with the effect of misleading investors who
act on closing prices; Annex I A(g); Delegated Regulation (EU) 2016/522 Annex II Section 1, "marking the close" by name;
Dodd-Frank 747 (CEA 4c(a)(5)(B)): reckless disregard for orderly execution in the closing period; FINRA 5210.

Sources. Comerton-Forde, Putnins (2011), *Measuring closing price manipulation*, Journal of Financial Intermediation 20.
"""

from __future__ import annotations

import msgspec

from engines.order_state import Account, OrderState
from engines.sessions import Stretch
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SPEC = TypologySpec(
    name="marking_the_close",
    version="5",
    title="Suspected marking of the close",
    regulation=(
        "MAR Art. 12(2)(b)",
        "Delegated Regulation (EU) 2016/522 Annex II Section 1",
        "Dodd-Frank 747 (CEA 4c(a)(5)(B))",
        "FINRA 5210",
    ),
    open=0.5,
    critical=0.8,
    close=0.3,
    hold_ns=600_000_000_000,
    momentary=True,
)


class MarkingTheCloseConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | closing_ns | ns | before the close that are watched |
    | share | share | of all that is taken in that time |
    | size | median depths | that the account takes |
    | other_side | share | of what it takes: at most so much on the other side |
    | move | standard deviations of such a time | of the price, its way, at the furthest |
    | before | multiple | of what it takes: at most so much was traded in the hour before |
    """

    closing_ns: int = 300_000_000_000
    share: float = 0.3
    size: float = 2.5
    other_side: float = 0.2
    move: float = 0.8
    before: float = 0.2


class Limits(msgspec.Struct, frozen=True):
    """What `measure` compares with, for the close and for the open."""

    share: float
    size: float
    other_side: float
    move: float


def measure(config: MarkingTheCloseConfig, state: OrderState, account: Account) -> Conditions:
    """Return what the account's trades of this stretch, the newest included, amount to."""
    marked = account.marked[0] + account.marked[1]
    limits = Limits(config.share, config.size, config.other_side, config.move)
    return (
        *influence(limits, state, account, state.stretch, state.newest_ns),
        Condition("traded in the hour before", account.traded_before / marked, config.before, "multiple", at_most=True),
    )


def influence(limits: Limits, state: OrderState, account: Account, stretch: Stretch, until_ns: int) -> Conditions:
    """Return what an account took in a stretch until ``until_ns``, and how far its way it traded."""
    sold, bought = account.marked
    marked, side = sold + bought, 1 if bought > sold else -1
    move = side * (account.furthest[side > 0] / account.marked_from - 1.0) / state.sd(until_ns - stretch.start_ns)
    return (
        Condition("share of what was taken", marked / (stretch.took[0] + stretch.took[1]), limits.share, "share"),
        Condition("taken", marked / state.depth, limits.size, "median depths"),
        Condition("taken on the other side", min(sold, bought) / marked, limits.other_side, "share", at_most=True),
        Condition("move of the price its way", move, limits.move, "standard deviations"),
    )
