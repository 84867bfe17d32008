"""Structuring: payments are cut so that each stays just below the amount that must be reported.

Definition. Within ``window_ns`` an account sends, or receives, several amounts of one currency between ``band`` of the
reporting threshold and the threshold; together they exceed it by far; and of its amounts of at least half the threshold
few lie beside that band, as they would not if they were whatever was owed. The threshold is the law's, so this is the
one pattern of transfers whose definition has a scale.

Regulation. 31 U.S.C. 5324 and 31 CFR 1010.100(xx), 1010.314 (structuring), 1010.311 (reports above 10,000 USD); FATF
Recommendation 20 and its interpretive note; Regulation (EU) 2024/1624 (AMLR, applies from 10 July 2027) Art. 19(1)(b)
(linked transactions of 10,000 EUR), 80 (as much in cash). Most of those are of cash: a feed that mixes cash with
transfers is told apart by nobody, so all count. Currencies without a threshold are not judged."""

from __future__ import annotations

import msgspec

from engines.accounts import DAY_NS, Edge, Flow
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition
from engines.typologies.patterns import Pattern

SCOPE = "account"
SPEC = TypologySpec(
    name="structuring",
    version="1",
    title="Amounts just below the reporting threshold",
    regulation=("31 U.S.C. 5324", "31 CFR 1010.314", "FATF Recommendation 20", "AMLR (EU) 2024/1624 Art. 19(1)(b)"),
    open=0.5,
    critical=0.9,
    close=0.3,
    hold_ns=DAY_NS,
    momentary=True,
)


class StructuringConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | window_ns | ns | what counts together |
    | thresholds | currency | by currency, from what amount on a payment must be reported |
    | band | share | of the threshold, from which an amount is just below it |
    | fewest | count | of amounts in the band |
    | total | multiple | of the threshold that they sum to |
    | others | share | of the amounts of at least half the threshold that do not lie in the band |
    """

    window_ns: int = 3 * DAY_NS
    thresholds: dict[str, float] = msgspec.field(
        default_factory=lambda: {"USD": 10_000.0, "EUR": 10_000.0, "CAD": 10_000.0, "CNY": 50_000.0}
    )
    band: float = 0.8
    fewest: float = 3.0
    total: float = 2.0
    others: float = 0.4


def find(config: StructuringConfig, flow: Flow, newest: Edge) -> Pattern | None:
    """Return the amounts in the band up to the newest transfer, None where that is not in it."""
    threshold = config.thresholds.get(newest.currency, 0.0)
    if not config.band * threshold <= newest.amount < threshold:
        return None
    large = [
        one
        for one in flow.since(newest.ts - config.window_ns)
        if one.currency == newest.currency and one.amount >= threshold / 2
    ]
    cut = [one for one in large if config.band * threshold <= one.amount < threshold]
    return Pattern(
        cut[0].ts,
        (
            Condition("amounts just below the threshold", float(len(cut)), config.fewest, "transfers"),
            Condition(
                "their sum", sum(one.amount for one in cut) / threshold, config.total, "multiples of the threshold"
            ),
            Condition("large amounts beside the band", 1 - len(cut) / len(large), config.others, "share", at_most=True),
        ),
        tuple(one.transfer_id for one in cut),
        told=f"the threshold is {threshold:,.0f} {newest.currency}",
    )
