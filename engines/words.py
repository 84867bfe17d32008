"""Which typologies of words judge a text: of calls, of posts and of news each another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from engines.typologies import enforcement_language, mis_selling, pump_coordination
from engines.typologies.enforcement_language import EnforcementConfig
from engines.typologies.mis_selling import MisSellingConfig
from engines.typologies.pump_coordination import PumpCoordinationConfig
from schemas.alerts import Explanation

SPECS = {module.SPEC.name: module.SPEC for module in (mis_selling, pump_coordination, enforcement_language)}


class WordsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of all of them."""

    mis_selling: MisSellingConfig = MisSellingConfig()
    pump_coordination: PumpCoordinationConfig = PumpCoordinationConfig()
    enforcement_language: EnforcementConfig = EnforcementConfig()


class Finding(NamedTuple):
    """What a typology says of a text; ``explain`` takes the topic that the text came by."""

    head: str
    score: float
    explain: Callable[[str], Explanation]


def of_call(config: WordsConfig, text: str, role: str) -> Finding:
    """Return what is found in a segment of a call, spoken in ``role``."""
    reading = mis_selling.read(config.mis_selling, text, role)
    return Finding(
        mis_selling.SPEC.name,
        mis_selling.score(config.mis_selling, reading),
        partial(mis_selling.explain, config.mis_selling, reading),
    )


def of_document(config: WordsConfig, text: str, *, post: bool) -> Finding:
    """Return what is found in a post, or in news.

    Example
    -------
    >>> found = of_document(WordsConfig(), "Regulator charges broker with market manipulation", post=False)
    >>> found.head, round(found.score, 2)
    ('enforcement_language', 0.59)
    """
    if post:
        reading = pump_coordination.read(config.pump_coordination, text)
        return Finding(
            pump_coordination.SPEC.name,
            pump_coordination.score(config.pump_coordination, reading),
            partial(pump_coordination.explain, config.pump_coordination, reading),
        )
    reading = enforcement_language.read(config.enforcement_language, text)
    return Finding(
        enforcement_language.SPEC.name,
        enforcement_language.score(config.enforcement_language, reading),
        partial(enforcement_language.explain, config.enforcement_language, reading),
    )
