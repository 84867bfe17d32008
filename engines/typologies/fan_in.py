"""Fan-in: many who never dealt with an account pay into it within hours, far more than it usually meets.

Definition. Within ``window_ns`` the account receives from ``fewest`` or more counterparties that it had not dealt with
before, and from ``multiple`` times as many as such a window usually brings it. A shop meets strangers all day: for it
that is usual. Nothing is judged before the stream is ``warm_up_ns`` old, for then everyone is a stranger.

Regulation. FATF, *Professional Money Laundering* (2018) and Recommendation 10 (unusual patterns), 20; 31 CFR 1020.320
(suspicious activity reports of banks); Regulation (EU) 2024/1624 (AMLR, applies from 10 July 2027) Art. 26, 34, 69;
Wolfsberg Group, *Statement on Monitoring, Screening and Searching*. "Gather-scatter" and "fan-in" as Altman et al.
(2023), *Realistic Synthetic Financial Transactions for Anti-Money Laundering Models*, NeurIPS, name them.
"""

from __future__ import annotations

import msgspec

from engines.accounts import DAY_NS, HOUR_NS, Account, Flow
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition
from engines.typologies.patterns import Pattern

SCOPE = "account"
SPEC = TypologySpec(
    name="fan_in",
    version="1",
    title="Many strangers pay into an account",
    regulation=("FATF Recommendation 20", "31 CFR 1020.320", "AMLR (EU) 2024/1624 Art. 26, 69"),
    open=0.5,
    critical=0.9,
    close=0.3,
    hold_ns=DAY_NS,
    momentary=True,
)


class FanInConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | window_ns | ns | what counts together |
    | fewest | accounts | of new counterparties in the window |
    | multiple | multiple | of the number that is usual in such a window |
    | warm_up_ns | ns | of the stream, in which nothing is judged |
    """

    window_ns: int = 6 * HOUR_NS
    fewest: float = 8.0
    multiple: float = 5.0
    warm_up_ns: int = 2 * DAY_NS


def find(config: FanInConfig, account: Account, flow: Flow, stream_ns: int, now_ns: int) -> Pattern | None:
    """Return the new counterparties of a flow up to ``now_ns``; the stream began at ``stream_ns`` (event time)."""
    if now_ns - stream_ns < config.warm_up_ns:
        return None
    fresh = [one for one in flow.since(now_ns - config.window_ns) if one.fresh]
    if len(fresh) < config.fewest / 2:
        return None
    expected = account.usual(flow, config.window_ns).fresh
    return Pattern(
        fresh[0].ts,
        (
            Condition("new counterparties", float(len(fresh)), config.fewest, "accounts"),
            Condition("new counterparties over usual", len(fresh) / expected, config.multiple, "multiple"),
        ),
        tuple(one.transfer_id for one in fresh),
    )
