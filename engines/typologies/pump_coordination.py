"""Pump coordination: a post calls a crowd to buy one thing at one moment, or to hold it until others have come.

Definition. A post names the scheme ("next pump", 一起拉盘: enough by itself) or says two or more of these, that
together weigh as much: everybody is to buy, a countdown runs or a signal is announced, nobody is to sell, the price is
promised to multiply. Enthusiasm alone ("to the moon") weighs too little. What a clause denies or warns of does not
count (`engines.lexicon`).

Regulation. MAR (EU) 596/2014 Art. 12(1)(c) and 12(2)(d): dissemination of misleading signals, and gain from an opinion
voiced in the media; Delegated Regulation (EU) 2016/522 Annex II Section 1, point 4(c), and Section 2, points 1(a),
false information in the media, and 1(c), "pump and dump"; Securities Exchange Act Sections 9(a)(2) and 10(b), Rule
10b-5. How such posts run: Xu, Livshits (2019), *The Anatomy of a Cryptocurrency Pump-and-Dump Scheme*, USENIX Security.
"""

from __future__ import annotations

import msgspec

from engines import lexicon
from engines.lexicon import Reading
from engines.typologies import TypologySpec
from schemas.alerts import Explanation

SPEC = TypologySpec(
    name="pump_coordination",
    version="1",
    title="Posts may coordinate buying",
    regulation=("MAR Art. 12(1)(c)", "MAR Art. 12(2)(d)", "Exchange Act Sec. 9(a)(2)", "Exchange Act Sec. 10(b)"),
    open=0.5,
    critical=0.8,
    close=0.25,
    hold_ns=1_800_000_000_000,
    momentary=True,
)


class PumpCoordinationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters: ``threshold`` is the weight of senses (a scheme that is named has 1) at which the score is 0.5."""

    threshold: float = 1.0


def read(config: PumpCoordinationConfig, text: str) -> Reading:
    """Return what a post says.

    Example
    -------
    >>> config = PumpCoordinationConfig()
    >>> round(score(config, read(config, "next signal in 5 minutes, everyone in, do not sell")), 2)
    0.76
    >>> score(config, read(config, "Beware of pump groups: they sell to you.")), score(config, read(config, "$ABC up"))
    (0.0, 0.0)
    """
    return lexicon.load(SPEC.name).read(text)


def score(config: PumpCoordinationConfig, reading: Reading) -> float:
    """Return the score in [0, 1): 0.5 where what is said weighs ``config.threshold``."""
    return lexicon.score(reading.strength(), config.threshold)


def explain(config: PumpCoordinationConfig, reading: Reading, topic: str) -> Explanation:
    """Return what was said, where in the text, and what would clear it."""
    return lexicon.explain(reading, config.threshold, topic)
