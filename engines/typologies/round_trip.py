"""Round trip: money comes back to where it began, through others, within days and almost whole.

Definition. A transfer ends a cycle of the temporal graph: from the account that it reaches, money went through others
and back, each transfer later than the one before it and no larger, ``accounts`` or more in all (a payment and its
refund are a cycle of two) and at most ``longest``. What comes back is what left but for ``loss``, and ``multiple``
times the account's usual transfer. Money that is split or gathered on its way is not followed.

Regulation. FATF Recommendations 10 and 20; FATF, Egmont Group, *Trade-Based Money Laundering* (2020); FFIEC BSA/AML
Examination Manual, Appendix F: funds that go to another bank and are moved back to the first; 31 CFR 1020.320;
Regulation (EU) 2024/1624 (AMLR, applies from 10 July 2027) Art. 26, 69. Cycles in increasing time: Kumar, Calders
(2018), *2SCENT: An Efficient Algorithm for Enumerating All Simple Temporal Cycles*, VLDB."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from engines.accounts import DAY_NS, Account, Edge
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition
from engines.typologies.patterns import Pattern

SCOPE = "account"
SPEC = TypologySpec(
    name="round_trip",
    version="1",
    title="Money comes back through other accounts",
    regulation=("FATF Recommendation 20", "31 CFR 1020.320", "AMLR (EU) 2024/1624 Art. 26, 69"),
    open=0.5,
    critical=0.9,
    close=0.3,
    hold_ns=DAY_NS,
    momentary=True,
)


class RoundTripConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | window_ns | ns | from the first transfer of the cycle to the last |
    | accounts, longest | count | of accounts in a cycle, at least and at most |
    | loss | share | of what left that does not come back |
    | multiple | multiple | of what comes back over the account's usual transfer |
    | looked_at | count | of transfers that one search looks at |
    """

    window_ns: int = 3 * DAY_NS
    accounts: int = 3
    longest: int = 6
    loss: float = 0.15
    multiple: float = 3.0
    looked_at: int = 512


def find(
    config: RoundTripConfig, look: Callable[[str], Account | None], home: str, account: Account, last: Edge
) -> Pattern | None:
    """Return the cycle that the transfer ``last``, received by ``home``, ends: the newest there is, None if none."""
    over = last.units / account.usual(account.sent, config.window_ns).amount
    if over < config.multiple / 2:
        return None
    cycle = _back(config, look, home, last)
    if cycle is None:
        return None
    first = cycle[0]
    return Pattern(
        first.ts,
        (
            Condition("share lost on the way", 1 - last.amount / first.amount, config.loss, "share", at_most=True),
            Condition("amount over usual", over, config.multiple, "multiple"),
        ),
        tuple(one.transfer_id for one in cycle),
        (home, *(one.other for one in cycle[1:]), home),
    )


def _back(
    config: RoundTripConfig, look: Callable[[str], Account | None], home: str, last: Edge
) -> tuple[Edge, ...] | None:
    """Return the transfers of a cycle, oldest first, as their receivers see them."""
    since_ns, most = last.ts - config.window_ns, last.amount / (1 - config.loss)
    left = config.looked_at
    waiting: list[tuple[Edge, ...]] = [(last,)]
    while waiting and left > 0:
        cycle = waiting.pop()
        here = look(cycle[0].other)
        if here is None:
            continue
        for edge in here.received.since(since_ns):
            left -= 1
            fits = edge.ts < cycle[0].ts and cycle[0].amount <= edge.amount <= most and edge.currency == last.currency
            if not fits or any(edge.other == one.other for one in cycle):
                continue
            if edge.other == home:
                if len(cycle) + 1 >= config.accounts:
                    return (edge, *cycle)
            elif len(cycle) + 1 < config.longest:
                waiting.append((edge, *cycle))
    return None
