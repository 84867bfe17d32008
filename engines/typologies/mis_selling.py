"""Mis-selling: a client is promised what nobody can, or is kept from what he must be told.

Definition. In a call, somebody who is not the client guarantees a return or denies the risk (enough by itself), or says
two of these: that a price is certain to rise, that it must be decided at once, that somebody must not hear of it, that
the client's answers be other than true. What a clause denies, what warns, and what asks do not count
(`engines.lexicon`).

Regulation. MiFID II (2014/65/EU) Art. 24(3): information to clients is fair, clear and not misleading; Art. 25(2):
suitability; Delegated Regulation (EU) 2017/565 Art. 44; FINRA Rule 2210(d)(1): no exaggerated or promissory claims,
and Rule 2150(b): no guarantee against loss.
"""

from __future__ import annotations

import msgspec

from engines import lexicon
from engines.lexicon import Reading
from engines.typologies import TypologySpec
from schemas.alerts import Explanation

SPEC = TypologySpec(
    name="mis_selling",
    version="1",
    title="A client may be promised too much",
    regulation=("MiFID II Art. 24(3)", "MiFID II Art. 25(2)", "FINRA Rule 2210(d)(1)", "FINRA Rule 2150(b)"),
    open=0.5,
    critical=0.8,
    close=0.25,
    hold_ns=1_800_000_000_000,
    momentary=True,
)


class MisSellingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    ``threshold`` is the weight of senses (a guarantee has 1) at which the score is 0.5; ``clients`` are roles, in small
    letters, whose own words promise nobody anything.
    """

    threshold: float = 1.0
    clients: tuple[str, ...] = ("client", "customer", "investor", "caller", "客户", "投资者")


def read(config: MisSellingConfig, text: str, role: str) -> Reading:
    """Return what a segment of a call says, spoken in ``role``; nothing where it is the client's.

    Example
    -------
    >>> config = MisSellingConfig()
    >>> score(config, read(config, "You will get 8% a year, I guarantee it.", "adviser"))
    0.5
    >>> score(config, read(config, "Returns are not guaranteed.", "adviser"))
    0.0
    """
    heard = "" if role.strip().lower() in config.clients else text
    return lexicon.load(SPEC.name).read(heard)


def score(config: MisSellingConfig, reading: Reading) -> float:
    """Return the score in [0, 1): 0.5 where what is said weighs ``config.threshold``."""
    return lexicon.score(reading.strength(), config.threshold)


def explain(config: MisSellingConfig, reading: Reading, topic: str) -> Explanation:
    """Return what was said, where in the text, and what would clear it."""
    return lexicon.explain(reading, config.threshold, topic)
