"""Counterparty default: a counterparty is likely not to pay, and likelier than it was when the business was done.

Definition. A calibrated probability of default, as `tocsin train credit` tells it from statements and payment history
(`engines.credit`; sex, marital status, age and citizenship are no inputs), reaches a level, and a multiple of what it
was at first. Both must hold, the weaker decides; where nothing was known at first, the level alone does. It is a
measure of risk, not a pattern of misconduct.

Regulation. IFRS 9 5.5.3 and 5.5.9: a significant increase in credit risk since initial recognition; Regulation (EU)
575/2013 (CRR) Art. 178: default of an obligor; Delegated Regulation (EU) 2017/589 Art. 17: credit risk is watched
continuously after trading.

Nothing in the daemon hears of statements yet: the score is told for who keeps a book of counterparties.
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
    regulation=("IFRS 9 5.5.3", "CRR Art. 178", "Delegated Regulation (EU) 2017/589 Art. 17"),
    open=0.5,
    critical=0.8,
    close=0.3,
    hold_ns=86_400_000_000_000,
)


class CounterpartyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters: ``probability`` of default by the next payment, and ``rise``, its multiple of that at first."""

    probability: float = 0.2
    rise: float = 2.0


class Evidence(msgspec.Struct, frozen=True):
    """A counterparty's ``probability`` of default, in [0, 1], and what it was at ``first``, 0 where that is unknown."""

    probability: float
    first: float = 0.0


def measure(config: CounterpartyConfig, evidence: Evidence) -> Conditions:
    """Return what a probability amounts to.

    Example
    -------
    >>> from engines.typologies.conditions import score
    >>> config = CounterpartyConfig()
    >>> score(measure(config, Evidence(0.2))), score(measure(config, Evidence(0.4, first=0.1)))
    (0.5, 0.8)
    """
    level = Condition("probability of default", evidence.probability, config.probability, "probability")
    if not evidence.first:
        return (level,)
    return level, Condition("rise since first", evidence.probability / evidence.first, config.rise, "multiple")
