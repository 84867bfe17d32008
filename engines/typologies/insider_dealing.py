"""Insider dealing: an account that was silent builds a position bit by bit, and then news moves the price its way.

Definition. When news comes, the accounts are noted that began to trade within ``began_ns`` before it, after an hour
without a trade and with little in all time before: a position on one side, taken at many moments over many minutes,
a noticeable part of all that was traded. ``after_ns`` later those are told to whose position the price moved, by many
of the moves that are usual in such a time, and who still hold it: who leaves at once rode a move, by whomever it was
made. That is asked ``looks`` times, ``after_ns`` apart, each time of all that the price moved since the news: a thin
book answers late. It is a reason to ask, no proof: some are right by chance.

Regulation. MAR (EU) 596/2014 Art. 8 and 14(a); SEC Rule 10b-5 (17 CFR 240.10b-5) and 10b5-1.

Sources. Meulbroek (1992), *An Empirical Analysis of Illegal Insider Trading*, Journal of Finance 47; Ahern (2017),
*Information networks: Evidence from illegal insider trading tips*, Journal of Financial Economics 125.
"""

from __future__ import annotations

import msgspec

from engines.order_state import MINUTE_NS, Account, Holder, OrderState, Pending
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SPEC = TypologySpec(
    name="insider_dealing",
    version="5",
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
    | after_ns | ns | after the news, in which its impact is looked for |
    | looks | count | of times that it is looked for, in so much time more each |
    | impact | standard deviations of the time since the news | the farthest that the price went the position's way |
    | share | share | of all that was traded in the hour, that the position is |
    | other_side | share | of what the account traded: at most so much on the other side |
    | before | multiple | of that: at most so much had it ever traded before |
    | began_ns | ns | before the news, in which the position was begun |
    | built_ns | ns | from the first trade of it to the last |
    | moments | count | of different times at which it was traded |
    | out | share | of it that is traded out when the impact is known, at most |
    """

    after_ns: int = 600_000_000_000
    looks: int = 3
    impact: float = 8.0
    share: float = 0.03
    other_side: float = 0.05
    before: float = 0.35
    began_ns: int = 2_400_000_000_000
    built_ns: int = 1_080_000_000_000
    moments: float = 12.0
    out: float = 0.3


def measure(
    config: InsiderDealingConfig, state: OrderState, account: Account, news: Pending, holder: Holder
) -> Conditions:
    """Return what a holder's position at ``news`` amounts to, now that the price has answered."""
    stake = holder.stake
    traded, units = stake.sold + stake.bought, abs(stake.bought - stake.sold)
    long = stake.bought > stake.sold
    span_ns = news.due_ns - news.news_ns
    move = news.high / news.price - 1.0 if long else 1.0 - news.low / news.price
    out = (account.filled[1 - long] - holder.filled[1 - long]) / units
    began_min = (news.news_ns - stake.start_ns) / MINUTE_NS
    built_min = (stake.last_ns - stake.start_ns) / MINUTE_NS
    return (
        Condition("impact of the news, its way", move / state.sd(span_ns), config.impact, "standard deviations"),
        Condition("position over what was traded", units / news.traded, config.share, "share"),
        Condition(
            "traded on the other side", min(stake.sold, stake.bought) / traded, config.other_side, "share", at_most=True
        ),
        Condition("traded ever before", stake.before / traded, config.before, "multiple", at_most=True),
        Condition("began before the news", began_min, config.began_ns / MINUTE_NS, "min", at_most=True),
        Condition("built over", built_min, config.built_ns / MINUTE_NS, "min"),
        Condition("times at which it was traded", float(stake.moments), config.moments, "moments"),
        Condition("traded out since", max(0.0, out), config.out, "share", at_most=True),
    )
