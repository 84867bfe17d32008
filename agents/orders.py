"""Orders: frames of order events become tracks of scores, most of them of one account each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, MutableMapping

from agents.flow import Arrival, Item, Scored
from agents.instrument_state import InstrumentState
from agents.text import fingerprint
from agents.ticks import moments, note
from engines.order_state import MINUTE_NS, OrderState
from engines.orders import OrderEngine
from engines.tracks import OrderUpdate
from engines.typologies import cross_product
from schemas.alerts import identity
from schemas.frames import Frame
from schemas.journal import RULES_ONLY, Clock, Ladder
from schemas.order_frames import OrderFrame
from schemas.records import Half, News, Opening


async def orders(
    items: AsyncIterator[Item],
    state: MutableMapping[str, InstrumentState],
    *,
    engine: OrderEngine,
    count: Callable[[dict[str, int]], None],
) -> AsyncIterator[Item]:
    """Apply order frames, news and the passing of time; events that could not be used go to ``count``, by reason.

    What the engine could not use of ticks has been counted with them.

    An instrument's orders are watched from its first order event on, with its ticks and its news. Rules run at every
    level of the ladder; the engine's model, if it has one, is asked beside them but under the last.
    """
    level = 0
    deadlines = {key: at_ns for key, kept in state.items() if (at_ns := kept.deadlines_ns[1])}
    async for item in items:
        if isinstance(item, Arrival):
            kept, value = state[item.key], item.value
            known = isinstance(value, News) and fingerprint("text", value.document_id) in kept.documents
            yield item
            if kept.orders is None:
                if not isinstance(value, OrderFrame):
                    continue
                kept.orders = engine.new_state()
            watched, update = kept.orders, OrderUpdate()
            if isinstance(value, OrderFrame):
                update = engine.apply(watched, value, asking=level < RULES_ONLY)
                kept.lack(update.counts)
                if update.counts:
                    count(update.counts)
            elif isinstance(value, Frame):
                update = _observed(engine, watched, value)
            elif isinstance(value, News) and not known:
                engine.hear(watched, value)
            else:
                continue
            state[item.key] = kept
            note(deadlines, item.key, watched.deadline_ns)
            for track in update.tracks:
                yield Scored(item.key, track, item)
            for available_ns, half in update.halves:
                yield _opening(item.key, available_ns, half)
        elif isinstance(item, Clock):
            for at_ns in moments(deadlines, item.now_ns):
                yield Clock(at_ns)
                for key in [key for key, due_ns in deadlines.items() if due_ns <= at_ns]:
                    kept = state[key]
                    assert kept.orders is not None
                    update = engine.advance(kept.orders, at_ns, asking=level < RULES_ONLY)
                    note(deadlines, key, kept.orders.deadline_ns)
                    state[key] = kept
                    for track in update.tracks:
                        yield Scored(key, track, None)
        else:
            if isinstance(item, Ladder):
                level = item.level
            yield item


def _opening(key: str, available_ns: int, half: Half) -> Opening:
    """Return what the market's scope is told of a half."""
    return Opening(
        ts_event=half.end_ns,
        ts_available=available_ns,
        instrument=key,
        typology=f"{cross_product.SPEC.name}@{cross_product.SPEC.version}",
        episode_id=identity(key, half.account, half.act, half.start_ns, half.end_ns),
        severity="info",
        score=0.0,
        half=half,
    )


def _observed(engine: OrderEngine, watched: OrderState, frame: Frame) -> OrderUpdate:
    """Let ticks be seen from a minute after the first order event on.

    Of those nearer to it some may have come before there was a state, as both were packed into frames.
    """
    since_ns = watched.origin_ns + MINUTE_NS
    if frame.ts_event.item(0) < since_ns:
        frame = frame[frame.ts_event >= since_ns]
    return engine.observe(watched, frame)
