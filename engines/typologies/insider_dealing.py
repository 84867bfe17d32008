"""Insider dealing: an account that hardly ever traded builds a position, and then news moves the price its way.

Definition. When news comes, the accounts are noted that built a position within the hour before: on one side, a
noticeable part of all that was traded, and unusual for the account itself, which had traded little before. When the
impact of the news has been measured, ``impact_ns`` later, and is many of the instrument's usual moves, those whose
position gains by it are told. It is a reason to ask, no proof: some are right by chance.

Regulation. MAR (EU) 596/2014 Art. 8 and 14(a); SEC Rule 10b-5 (17 CFR 240.10b-5) and 10b5-1.

Sources. Meulbroek (1992), *An Empirical Analysis of Illegal Insider Trading*, Journal of Finance 47; Ahern (2017),
*Information networks: Evidence from illegal insider trading tips*, Journal of Financial Economics 125.
"""

from __future__ import annotations

import msgspec

from engines.order_state import Holder, OrderState, Pending
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SPEC = TypologySpec(
    name="insider_dealing",
    version="1",
    title="Position built ahead of news that moved the price its way",
    regulation=("MAR Art. 8", "MAR Art. 14(a)", "SEC Rule 10b-5"),
    open=0.5,
    critical=0.8,
    close=0.3,
    hold_ns=3_600_000_000_000,
    momentary=True,
)


class InsiderDealingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | impact_ns | ns | after the news, when its impact is measured |
    | impact | standard deviations of such a time | of the price, the position's way |
    | share | share | of all that was traded in the hour, that the position is |
    | other_side | share | of what the account traded in the hour: at most so much on the other side |
    | before | multiple | of that: at most so much had it ever traded before |
    """

    impact_ns: int = 300_000_000_000
    impact: float = 7.5
    share: float = 0.03
    other_side: float = 0.1
    before: float = 0.35


def measure(config: InsiderDealingConfig, state: OrderState, news: Pending, holder: Holder) -> Conditions:
    """Return what a holder's position at ``news`` amounts to, now that the price has answered."""
    traded = holder.sold + holder.bought
    side = 1.0 if holder.bought > holder.sold else -1.0
    impact = side * (state.last_price / news.price - 1.0) / state.sd(config.impact_ns)
    share = abs(holder.bought - holder.sold) / news.traded
    other = min(holder.sold, holder.bought) / traded
    return (
        Condition("impact of the news, its way", impact, config.impact, "standard deviations"),
        Condition("position over what was traded", share, config.share, "share"),
        Condition("traded on the other side", other, config.other_side, "share", at_most=True),
        Condition("traded ever before", max(0.0, holder.ever / traded - 1.0), config.before, "multiple", at_most=True),
    )
