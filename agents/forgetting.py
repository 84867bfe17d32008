"""Forgetting: what has said nothing for long is dropped, so that state is bounded by what is alive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, MutableMapping
from typing import TypeVar

from agents.flow import Arrival, Item
from agents.watched import Mortal
from schemas.journal import Clock

M = TypeVar("M", bound=Mortal)


async def forgetting(
    items: AsyncIterator[Item],
    state: MutableMapping[str, M],
    *,
    after_ns: int,
    moved: Callable[[Arrival], tuple[str, ...]] = lambda item: (item.key,),
) -> AsyncIterator[Item]:
    """Drop a state at the first clock that is ``after_ns`` past the newest available time heard of its key.

    The newest, not the last: a document out of an archive says nothing about how long an instrument has been quiet.
    What still waits for the passing of time (an open bar, an episode) keeps its state. Time is the journal's, so
    recovery and replay forget what the daemon forgot; should it be heard of again, it begins as one never seen.

    Parameters
    ----------
    after_ns
        0: never.
    moved
        Returns the keys whose states an arrival changes.
    """
    if not after_ns:
        async for item in items:
            yield item
        return
    due = {key: kept.latest_ns + after_ns for key, kept in state.items()}
    earliest_ns = min(due.values(), default=0)
    async for item in items:
        yield item
        # Asked for more, all agents behind this one have done with the item.
        if isinstance(item, Arrival):
            for key in moved(item):
                due[key] = max(due.get(key, 0), item.ts_available + after_ns)
                earliest_ns = min(earliest_ns, due[key])
        elif isinstance(item, Clock) and item.now_ns >= earliest_ns:
            for key in [key for key, at in due.items() if at <= item.now_ns]:
                if not state[key].waits:
                    del state[key], due[key]
            earliest_ns = min(due.values(), default=item.now_ns)
