"""Drift: at a period's close, at a text and by the clock, what of an instrument is no longer as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping, Sequence

from agents.flow import Arrival, Heard, Item, Ticked, first_clock
from agents.instrument_state import InstrumentState
from agents.ticks import note
from engines.drift.streams import DriftConfig, Found, Watcher
from engines.instruments import Listing
from engines.tracks import Seen
from schemas.alerts import Input, identity
from schemas.journal import Clock
from schemas.order_frames import AnyFrame
from schemas.records import Drift, News, Score, TranscriptSegment
from schemas.topics import NO_INSTRUMENTS

#: How long after its deadline a silence is told, so that what is still on its way can end it, ns.
PATIENCE_NS = 2_000_000_000
NEVER_NS = 2**63 - 1


async def drift(
    items: AsyncIterator[Item],
    state: MutableMapping[str, InstrumentState],
    *,
    config: DriftConfig,
    count: Callable[[dict[str, int]], None],
    listing: Callable[[str], Listing],
    bundle: str,
    decides: str,
) -> AsyncIterator[Item]:
    """Watch what instruments do, what models say of them, and what is written; nothing is done for a tick.

    A silence is told by the first whole second of the clock after its deadline, whether a clock says so or the message
    that ends it, so that it is the same however far the clock leaps.

    Parameters
    ----------
    count
        Takes values that were passed over, by reason.
    listing
        What the symbol master says of an instrument.
    bundle
        Whose models judge.
    decides
        The decision configuration, which is a part of the signals' ids.
    """
    watcher = Watcher(config, count)

    def told(
        key: str, kept: InstrumentState, found: Iterable[Found], arrival: Arrival | None, seen: Sequence[Seen] = ()
    ) -> list[Drift]:
        drifts = []
        for one in found:
            kept.drift.keep(config, one)
            drifts.append(_record(key, one, arrival, seen or kept.inputs[-1:], listing(key), decides, bundle))
        state[key] = kept
        return drifts

    def silent(key: str, kept: InstrumentState, last: Sequence[Seen]) -> list[Drift]:
        known_ns = first_clock(kept.drift.feed.deadline_ns + PATIENCE_NS)
        drifts = told(key, kept, watcher.silent(kept.drift, kept.ticks.windows.newest, known_ns), None, last)
        note(due, key, _due(kept))
        return drifts

    due = {key: at for key, kept in state.items() if (at := _due(kept))}
    earliest_ns = min(due.values(), default=NEVER_NS)  # at or before the first of those
    async for item in items:
        if isinstance(item, Clock) and item.now_ns >= earliest_ns:
            # Before it passes: what it closes is judged beside what was known by then.
            for key in sorted((key for key, at in due.items() if at <= item.now_ns), key=lambda key: (due[key], key)):
                while key in state and 0 < due.get(key, 0) <= item.now_ns:
                    kept = state[key]
                    for one in silent(key, kept, kept.inputs[-1:]):
                        yield one
                if key not in state:  # forgotten
                    del due[key]
            earliest_ns = min(due.values(), default=NEVER_NS)
        yield item
        if isinstance(item, Arrival) and item.key not in NO_INSTRUMENTS:
            kept, (begin, known) = state[item.key], _begins(item)
            if not kept.drift.first_ns:
                due.pop(item.key, None)  # of the one of its name that was forgotten
            while 0 < due.get(item.key, 0) <= known:
                for one in silent(item.key, kept, kept.inputs[-2:-1]):
                    yield one
            if not kept.drift.first_ns:
                kept.drift.first_ns = max(begin, 1)
                new = Found(kind="new_instrument", stream=item.topic, since=begin, ts_event=begin, ts_available=known)
                for one in told(item.key, kept, [new], item):
                    yield one
        elif isinstance(item, Ticked) and (bars := item.update.bars) is not None:
            kept = state[item.key]
            for one in told(item.key, kept, watcher.bars(kept.drift, bars), item.arrival):
                yield one
            note(due, item.key, _due(kept))
            earliest_ns = min(earliest_ns, due.get(item.key, NEVER_NS))
        elif isinstance(item, Score) and item.window_end > item.window_start and "elevated_risk" in item.scores:
            kept, risk = state[item.instrument], item.scores["elevated_risk"]
            scored = watcher.score(kept.drift, bundle, item.window_end, item.ts_available, risk)
            for one in told(item.instrument, kept, scored, None):
                yield one
        elif isinstance(item, Heard) and isinstance(item.arrival.value, News | TranscriptSegment):
            kept, text = state[item.key], item.embedding
            at, known = text.ts_event, item.arrival.ts_available
            heard = watcher.text(kept.drift, bundle, at, known, text.tone, text.vector)
            for one in told(item.key, kept, heard, item.arrival):
                yield one


def _due(kept: InstrumentState) -> int:
    """Return the clock at which a silence is to be told, ns; 0: none."""
    at = kept.drift.feed.deadline_ns
    return first_clock(at + PATIENCE_NS) if at else 0


def _begins(item: Arrival) -> tuple[int, int]:
    """Return when the first of a message happened and was available, ns."""
    value = item.value
    if isinstance(value, AnyFrame) and len(value):
        return value.ts_event.item(0), value.ts_available.item(0)
    return (0 if isinstance(value, AnyFrame) else value.ts_event), item.ts_available


def _record(
    key: str,
    found: Found,
    arrival: Arrival | None,
    seen: Sequence[Seen],
    listing: Listing,
    decides: str,
    bundle: str,
) -> Drift:
    """Return the signal; ``seen`` is the newest input, which completed it or after which time did."""
    return Drift(
        ts_event=found.ts_event,
        ts_available=found.ts_available,
        subject=key,
        drift_id=identity("drift", key, found.kind, found.stream, found.since, found.ts_event, decides),
        kind=found.kind,
        stream=found.stream,
        since=found.since,
        moved=found.moved,
        before=found.before,
        after=found.after,
        above=found.above,
        times=found.times,
        values=found.values,
        run_time=found.run_time,
        instruments=[key],
        asset_class=listing.asset_class,
        sector=listing.sector,
        config=decides,
        bundle=bundle,
        trace=arrival.trace if arrival else "",
        evidence=[
            Input(topic=one.topic, partition=one.partition, offset=one.offset, sha256=one.sha256.hex()) for one in seen
        ],
    )
