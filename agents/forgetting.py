"""Forgetting: an instrument that has said nothing for long is dropped, so that state is bounded by what is alive."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping

from agents.flow import Arrival, Item
from agents.state import InstrumentState
from schemas.journal import Clock


async def forgetting(
    items: AsyncIterator[Item], state: MutableMapping[str, InstrumentState], *, after_ns: int
) -> AsyncIterator[Item]:
    """Drop an instrument at the first clock that is ``after_ns`` past the newest available time heard of it.

    The newest, not the last: a document out of an archive says nothing about how long an instrument has been quiet.
    What still waits for the passing of time (an open bar, an episode) keeps its instrument. Time is the journal's, so
    recovery and replay forget what the daemon forgot; should it be heard of again, it begins as one never seen.

    Parameters
    ----------
    after_ns
        0: never.
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
            due[item.key] = max(due.get(item.key, 0), item.ts_available + after_ns)
            earliest_ns = min(earliest_ns, due[item.key])
        elif isinstance(item, Clock) and item.now_ns >= earliest_ns:
            for key in [key for key, at in due.items() if at <= item.now_ns]:
                kept = state[key]
                if not kept.episodes and not any(kept.deadlines_ns):
                    del state[key], due[key]
            earliest_ns = min(due.values(), default=item.now_ns)
