"""Reviews: of what stays below its threshold a few windows, drawn by chance, are sent to be looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping
from types import MappingProxyType

import numpy as np

from agents.flow import Item, Scored
from agents.instrument_state import InstrumentState
from engines.alert_budget import lift, lifted
from engines.exploration import Drawn, Exploration, chance, propensity
from engines.typologies import TypologySpec
from schemas.alerts import Alert, identity
from schemas.records import Review

DAY_NS = 86_400_000_000_000


async def reviews(
    items: AsyncIterator[Item | Alert],
    state: MutableMapping[str, InstrumentState],
    *,
    specs: Mapping[str, TypologySpec],
    config: Exploration,
    decides: str,
    budgets: Mapping[str, float] = MappingProxyType({}),
) -> AsyncIterator[Item | Alert]:
    """Tell of a window that was drawn with the first score of its instrument behind it.

    Windows are of available time, in which messages are ordered, so that any framing draws the same. One in which
    nothing scored is none, and one that rang, or in which an episode was running, is left out.

    Parameters
    ----------
    specs
        A track's head → its typology; tracks of other heads are passed over.
    decides
        The decision configuration: under another one, other windows are drawn.
    budgets
        As triage has them: a head → how many episodes a day its threshold lets an instrument open.
    """
    heads = {f"{spec.name}@{spec.version}": head for head, spec in specs.items()}
    async for item in items:
        yield item
        if isinstance(item, Scored) and item.track.head in specs:
            kept, available = state[item.key], item.track.ts_available
            # All of a track is of one message, or of one step of the clock.
            for review in _opened(kept, item.key, int(available[0]), specs, config, decides, budgets):
                yield review
            if _seen(kept, item, specs[item.track.head], config, decides):
                state[item.key] = kept
        elif isinstance(item, Alert):
            key, kept = item.subject.instrument, state[item.subject.instrument]
            if drawn := kept.explored.of(heads.get(item.finding.typology, ""), item.subject.account):
                drawn.rang = True
                state[key] = kept


def _opened(
    kept: InstrumentState,
    key: str,
    now_ns: int,
    specs: Mapping[str, TypologySpec],
    config: Exploration,
    decides: str,
    budgets: Mapping[str, float],
) -> Iterator[Review]:
    """Close the window before ``now_ns``, if it is over, and yield what was drawn of it."""
    explored = kept.explored
    window = now_ns - now_ns % config.window_ns
    if window <= explored.window:
        return
    drawn, explored.drawn = explored.drawn, []
    before, explored.window = explored.window, window
    for head, account, one in drawn:
        if one.rang or (spec := specs.get(head)) is None:
            continue
        named = f"{spec.name}@{spec.version}"
        threshold = spec.open
        # Rules that have just brought the budget: nothing was reckoned with it yet.
        if (budget := budgets.get(head)) and (spent := kept.spent.get(head)):
            threshold = lifted(spec, lift(spec, budget, spent, one.ts)).open
        share = propensity(config, one.score, threshold)
        if chance(named, key, account, before, decides) >= share:
            continue
        if (day := before // DAY_NS) != explored.day:
            explored.day, explored.told = day, 0
        if explored.told >= config.most_a_day:
            continue
        explored.told += 1
        yield Review(
            ts_event=one.ts,
            ts_available=now_ns,
            review_id=identity("review", named, key, account, before, decides),
            instrument=key,
            typology=named,
            account=account,
            window_start=before,
            window_end=before + config.window_ns,
            score=one.score,
            threshold=threshold,
            propensity=share,
            config=decides,
        )


def _seen(kept: InstrumentState, item: Scored, spec: TypologySpec, config: Exploration, decides: str) -> bool:
    """Keep a track's highest score, where its window may be drawn; tell whether anything is kept of it."""
    track, explored = item.track, kept.explored
    drawn = explored.of(track.head, track.account)
    if drawn is None:
        named = f"{spec.name}@{spec.version}"
        if chance(named, item.key, track.account, explored.window, decides) >= config.rate:
            return False
        drawn = Drawn(-1.0)
        explored.drawn.append((track.head, track.account, drawn))
    at = int(np.argmax(track.score))
    drawn.rang |= (track.head, track.account) in kept.episodes
    if track.score[at] > drawn.score:
        drawn.score, drawn.ts = float(track.score[at]), int(track.ts_event[at])
    return True
