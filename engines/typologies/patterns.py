"""Patterns of transfers: the conditions that they meet, and the transfers and accounts that they are made of."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from engines.typologies import conditions
from engines.typologies.conditions import Conditions
from schemas.alerts import Attribution, Explanation

#: Transfers that an explanation names, the latest.
NAMED = 24


class Pattern(NamedTuple):
    """What was found among transfers: it began at ``since_ns`` (event time).

    ``transfers`` are the ids that it is made of, ``path`` the accounts in the order in which the money went, where it
    has one; ``told`` is a clause more.
    """

    since_ns: int
    conditions: Conditions
    transfers: tuple[str, ...]
    path: tuple[str, ...] = ()
    told: str = ""


def explain(pattern: Pattern) -> Explanation:
    """Return the conditions with their values, the transfers and the path, and what would clear it.

    Example
    -------
    >>> from engines.typologies.conditions import Condition
    >>> found = Pattern(0, (Condition("payers", 16.0, 8.0, "accounts"),), ("t1", "t2"), ("A", "B"), "all from abroad")
    >>> explain(found).attributions[0].locator, explain(found).clears
    ('ids t1 t2', 'payers below 8 (accounts; it was 16); all from abroad')
    """
    told = conditions.explain(pattern.conditions)
    place = Attribution(
        topic="transfers",
        locator="ids " + " ".join(pattern.transfers[-NAMED:]),
        weight=1.0,
        excerpt=" > ".join(pattern.path),
    )
    clears = f"{told.clears}; {pattern.told}" if pattern.told else told.clears
    return msgspec.structs.replace(told, attributions=[place], clears=clears)
