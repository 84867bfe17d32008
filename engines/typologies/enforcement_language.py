"""Enforcement language: a text tells of an authority acting on misconduct, or of misconduct of two kinds.

Definition. A news item or a release weighs enough where it says two of these: an authority acts (charges, fines, opens
an inquiry), insiders dealt, a market was manipulated, somebody defrauded. One alone weighs too little. What is denied,
dismissed, fiction, or a rule and its training does not count (`engines.lexicon`).

Regulation. What the text is about: MAR (EU) 596/2014 Art. 8, 10 and 14 (insider dealing, unlawful disclosure), 12 and
15 (manipulation); Securities Exchange Act Section 10(b) and Rule 10b-5; Securities Law of China (2019) Art. 53, 55. A
desk must know it when it judges trading in the issuer: it is a risk, not a breach by whoever trades.
"""

from __future__ import annotations

import msgspec

from engines import lexicon
from engines.lexicon import Reading
from engines.typologies import TypologySpec
from schemas.alerts import Explanation

SPEC = TypologySpec(
    name="enforcement_language",
    version="1",
    title="A text tells of enforcement, fraud or manipulation",
    regulation=("MAR Art. 14", "MAR Art. 15", "Exchange Act Sec. 10(b)"),
    open=0.5,
    critical=0.8,
    close=0.25,
    hold_ns=1_800_000_000_000,
    # Words alone are no abuse: see adverse_text.
    opens_as="info",
    momentary=True,
)


class EnforcementConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters: ``threshold`` is the weight of senses at which the score is 0.5."""

    threshold: float = 1.0


def read(config: EnforcementConfig, text: str) -> Reading:
    """Return what a text says.

    Example
    -------
    >>> config = EnforcementConfig()
    >>> round(score(config, read(config, "Regulator charges trader with insider dealing")), 2)
    0.59
    >>> score(config, read(config, "Acme denies that it is under investigation for fraud"))
    0.0
    """
    return lexicon.load(SPEC.name).read(text)


def score(config: EnforcementConfig, reading: Reading) -> float:
    """Return the score in [0, 1): 0.5 where what is said weighs ``config.threshold``."""
    return lexicon.score(reading.strength(), config.threshold)


def explain(config: EnforcementConfig, reading: Reading, topic: str) -> Explanation:
    """Return what was said, where in the text, and what would clear it."""
    return lexicon.explain(reading, config.threshold, topic)
