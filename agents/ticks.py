"""Ticks: frames of an instrument become closed bars and tracks of scores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping

import numpy as np

from agents.flow import Arrival, Item, Lapsed, Scored, Ticked, first_clock
from agents.instrument_state import InstrumentState
from agents.watched import seen_of
from engines.ticks import TickEngine
from schemas.frames import Frame
from schemas.journal import Clock
from schemas.order_frames import AnyFrame


async def ticks(
    items: AsyncIterator[Item],
    state: MutableMapping[str, InstrumentState],
    *,
    engine: TickEngine,
    count: Callable[[dict[str, int]], None],
) -> AsyncIterator[Item]:
    """Apply frames and the passing of time; what cleaning set aside goes to ``count``, and whose clock is ahead.

    Every arrival is kept as possible evidence of its instrument, whatever it is, and passed on.
    """
    deadlines = {key: kept.ticks.deadline_ns for key, kept in state.items() if kept.ticks.deadline_ns}
    async for item in items:
        if isinstance(item, Arrival):
            kept = state.get(item.key) or InstrumentState(engine.new_state())
            kept.remember(seen_of(item), again=item.again)
            state[item.key] = kept
            if isinstance(item.value, AnyFrame):
                _count_ahead(item.key, item.value, count)
            yield item  # only now: a first text finds its state, and is evidence of its own alert
            if isinstance(item.value, Frame):
                update = engine.apply(kept.ticks, item.value)
                note(deadlines, item.key, kept.ticks.deadline_ns)
                if update.counts:
                    count(update.counts)
                yield Ticked(item.key, update, item)
                for track in update.tracks:
                    if not track.silent or (track.head, track.account) in kept.episodes:  # a score of 0 opens nothing
                        yield Scored(item.key, track, item)
        elif isinstance(item, Clock):
            for at_ns in moments(deadlines, item.now_ns):
                yield Clock(at_ns)
                keys = [key for key, due in deadlines.items() if due <= at_ns]
                if keys:
                    found = [state[key] for key in keys]
                    updates = engine.advance_all([kept.ticks for kept in found], at_ns)
                    for key, kept in zip(keys, found, strict=True):
                        note(deadlines, key, kept.ticks.deadline_ns)
                        state[key] = kept
                    yield Lapsed(tuple(map(Ticked, keys, updates)))
        else:
            yield item


def _count_ahead(key: str, frame: AnyFrame, count: Callable[[dict[str, int]], None]) -> None:
    """Count, by venue, the rows that claim to have happened after they were known."""
    if ahead := int(np.count_nonzero(frame.ts_event > frame.ts_available)):
        _, _, venue = key.rpartition(".") if "." in key else ("", "", "no venue")
        count({f"clock_ahead: {venue}": ahead})


def moments(deadlines: Mapping[str, int], now_ns: int) -> Iterator[int]:
    """Yield the clocks up to ``now_ns`` at which something is due, and that one.

    Second by second, however far the clock leaps where a partition is quiet: what closes when, and which score an
    episode closes with, is then the same among few messages and among many.
    """
    at_ns = 0
    while at_ns < now_ns:
        due_ns = min((due for due in deadlines.values() if due > at_ns), default=now_ns)
        at_ns = min(first_clock(due_ns), now_ns)
        yield at_ns


def note(deadlines: dict[str, int], key: str, at_ns: int) -> None:
    """Keep a deadline; an instrument that waits for nothing has none, and may be forgotten."""
    if at_ns:
        deadlines[key] = at_ns
    else:
        deadlines.pop(key, None)
