"""Counterparty default: a counterparty is likely not to pay, and likelier than it was when the business was done.

Definition. A calibrated probability of default by the next month's payment, as the bundle's model tells it from six
months of a counterparty's limit, bills, payments and delays (`engines.credit`; sex, marital status, age, schooling and
citizenship are no inputs), reaches a level, and a multiple of what it was at first. Both must hold, the weaker decides;
where it never was below the level, the level alone does. It is a measure of risk, not a pattern of misconduct.

Regulation. Regulation (EU) 575/2013 (CRR) Art. 178 and EBA/GL/2016/07 on its application: default of an obligor, who is
unlikely to pay or more than 90 days past due; Basel Committee, CRE36, the same; IFRS 9 5.5.3 and 5.5.9: a significant
increase in credit risk since initial recognition; Delegated Regulation (EU) 2017/589 Art. 17: credit risk is watched
continuously after trading. What rings here foretells a default and is none.

A statement speaks for the month after it: the hold is that, and ten days for the next one to come.
"""

from __future__ import annotations

import msgspec

from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SCOPE = "account"

SPEC = TypologySpec(
    name="counterparty_default",
    version="1",
    title="A counterparty is likely to default",
    regulation=(
        "CRR (EU) 575/2013 Art. 178",
        "EBA/GL/2016/07",
        "IFRS 9 5.5.3",
        "Delegated Regulation (EU) 2017/589 Art. 17",
    ),
    open=0.5,
    critical=0.8,
    close=0.3,
    hold_ns=40 * 86_400_000_000_000,
    momentary=True,
)


class CounterpartyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | probability | probability | of default by the next payment |
    | rise | multiple | of the probability at first |
    """

    probability: float = 0.3
    rise: float = 2.0


class Evidence(msgspec.Struct, frozen=True):
    """A counterparty's ``probability`` of default, in [0, 1], and what it was at ``first``: 0 if it was never low."""

    probability: float
    first: float = 0.0


def measure(config: CounterpartyConfig, evidence: Evidence) -> Conditions:
    """Return what a probability amounts to.

    Example
    -------
    >>> from engines.typologies.conditions import score
    >>> config = CounterpartyConfig(probability=0.2)
    >>> score(measure(config, Evidence(0.2))), score(measure(config, Evidence(0.4, first=0.1)))
    (0.5, 0.8)
    """
    level = Condition("probability of default", evidence.probability, config.probability, "probability")
    if not evidence.first:
        return (level,)
    return level, Condition("rise since first", evidence.probability / evidence.first, config.rise, "multiple")
