"""Opinions: each alert that rings says how probable it is that an analyst will find it to be a risk."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from agents.flow import Item
from engines.opinion import Opinion
from schemas.alerts import Alert


async def opinions(items: AsyncIterator[Item | Alert], *, opinion: Opinion) -> AsyncIterator[Item | Alert]:
    """Put the opinion of a bundle on each alert that opens an episode or goes on with it; nothing is held back."""
    async for item in items:
        if isinstance(item, Alert) and item.activity != "close":
            told = msgspec.structs.replace(item.finding, probability=opinion.probability(item))
            yield msgspec.structs.replace(item, finding=told)
        else:
            yield item
