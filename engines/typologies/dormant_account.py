"""Dormant account: one that nobody used for months wakes, and moves far more than it ever did.

Definition. An account moved nothing for ``quiet_ns``; within ``window_ns`` of its waking it sends, or receives,
``multiple`` times its own usual transfer (that of all accounts, as far as it has none). Where the stream began later
than the silence, the accounts' file says when it was last active.

Regulation. FFIEC BSA/AML Examination Manual, Appendix F: an account with little activity that suddenly has large
deposits and withdrawals; FATF Recommendation 20; 31 CFR 1020.320; Regulation (EU) 2024/1624 (AMLR, applies from 10 July
2027) Art. 26, 69."""

from __future__ import annotations

import msgspec

from engines.accounts import DAY_NS, Account
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition
from engines.typologies.patterns import Pattern

SCOPE = "account"
SPEC = TypologySpec(
    name="dormant_account",
    version="1",
    title="A dormant account wakes",
    regulation=("FATF Recommendation 20", "31 CFR 1020.320", "AMLR (EU) 2024/1624 Art. 26, 69"),
    open=0.5,
    critical=0.9,
    close=0.3,
    hold_ns=DAY_NS,
    momentary=True,
)


class DormantConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | quiet_ns | ns | without a transfer |
    | window_ns | ns | from its waking, what counts together |
    | multiple | multiple | of what it then sends or receives over its usual transfer |
    """

    quiet_ns: int = 90 * DAY_NS
    window_ns: int = 3 * DAY_NS
    multiple: float = 5.0


def find(config: DormantConfig, account: Account, now_ns: int) -> Pattern | None:
    """Return what the account did since it woke, None where it is not newly awake."""
    if not account.woke_ns or account.quiet_ns < config.quiet_ns / 2 or now_ns - account.woke_ns > config.window_ns:
        return None
    flows = [(flow, flow.since(account.woke_ns)) for flow in (account.sent, account.received)]
    over = max(sum(e.units for e in edges) / account.usual(flow, config.window_ns).amount for flow, edges in flows)
    days = account.quiet_ns / DAY_NS
    return Pattern(
        account.woke_ns,
        (
            Condition("quiet before", days, config.quiet_ns / DAY_NS, "d"),
            Condition("moved over usual", over, config.multiple, "multiple"),
        ),
        tuple(edge.transfer_id for edge in sorted(edge for _, edges in flows for edge in edges)),
    )
