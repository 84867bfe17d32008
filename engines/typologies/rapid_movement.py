"""Rapid movement: what comes in goes out within hours, little is left, and both are far more than usual.

Definition. Within ``window_ns`` an account receives, and then sends on, amounts of which all but ``left`` is the same;
what it received is ``multiple`` times its own usual transfer, and what it usually receives in such a window; and
``beyond`` times the second largest that it ever received, so that a salary that is put aside at once is none. An
account that is used so has no purpose of its own: a mule.

Regulation. FATF Recommendations 10 and 20, *Professional Money Laundering* (2018); FFIEC BSA/AML Examination Manual,
Appendix F: incoming transfers nearly all of which are wired on almost immediately; 31 CFR 1020.320; Regulation (EU)
2024/1624 (AMLR, applies from 10 July 2027) Art. 26, 69."""

from __future__ import annotations

import msgspec

from engines.accounts import DAY_NS, HOUR_NS, Account
from engines.typologies import TypologySpec
from engines.typologies.conditions import MOST, Condition
from engines.typologies.patterns import Pattern

SCOPE = "account"
SPEC = TypologySpec(
    name="rapid_movement",
    version="1",
    title="Money passes through an account",
    regulation=("FATF Recommendation 20", "31 CFR 1020.320", "AMLR (EU) 2024/1624 Art. 26, 69"),
    open=0.5,
    critical=0.9,
    close=0.3,
    hold_ns=DAY_NS,
    momentary=True,
)


class RapidMovementConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | window_ns | ns | from the first amount received to the last sent |
    | left | share | of the larger of both sums, by which the smaller is less |
    | multiple | multiple | of the received sum over the account's usual transfer, and over its usual inflow |
    | beyond | multiple | of the received sum over the second largest that it received, less by half in a year |
    """

    window_ns: int = 6 * HOUR_NS
    left: float = 0.15
    multiple: float = 4.0
    beyond: float = 1.25


def find(config: RapidMovementConfig, account: Account, now_ns: int) -> Pattern | None:
    """Return what came in and went out again up to ``now_ns``, None where nothing did."""
    received = account.received.since(now_ns - config.window_ns)
    if not received:
        return None
    sent = account.sent.since(received[0].ts)
    came, went = sum(one.units for one in received), sum(one.units for one in sent)
    usual = account.usual(account.received, config.window_ns)
    edges = sorted([*received, *sent])
    return Pattern(
        received[0].ts,
        (
            Condition("share not passed on", 1 - min(came, went) / max(came, went), config.left, "share", at_most=True),
            Condition("inflow over usual", came / max(usual.amount, usual.flow), config.multiple, "multiple"),
            Condition("inflow over a large one before", _over(came, usual.large), config.beyond, "multiple"),
        ),
        tuple(one.transfer_id for one in edges),
    )


def _over(came: float, large: float) -> float:
    return came / large if large else MOST
