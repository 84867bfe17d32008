"""Scenarios: what the rules weigh together is judged at an instrument's or account's moments, and silence ends here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from typing import TypeVar

import numpy as np

from agents.flow import Arrival, Item, Scored, Settled
from agents.watched import INPUTS_KEPT, Mortal, seen_of
from engines import scenarios as engine
from engines.rules import Scenario
from engines.scenarios import Judged, Moment
from engines.tracks import Seen, Track
from schemas.journal import Clock

M = TypeVar("M", bound=Mortal)


async def scenarios(
    items: AsyncIterator[Item],
    state: MutableMapping[str, M],
    *,
    names: Mapping[str, str],
    silent: Collection[str],
    applying: Callable[[str], Sequence[Scenario]],
) -> AsyncIterator[Item]:
    """Let tracks pass, but of silent typologies, and add those of scenarios.

    All that came of one message, or of one step of the clock, is looked at together, in order of time: how ticks were
    packed into frames then changes nothing.

    Parameters
    ----------
    names
        A track's head → its typology.
    silent
        The typologies that end here.
    applying
        Returns the scenarios of a state, by its key.
    """
    gathered: dict[str, list[Scored]] = {}
    async for item in items:
        if isinstance(item, Scored):
            name = names[item.track.head]
            if not item.track.silent and any(name in one.weights for one in applying(item.key)):
                gathered.setdefault(item.key, []).append(item)
            if name in silent:
                continue
        elif gathered and isinstance(item, Arrival | Clock | Settled):
            for key, scored in gathered.items():
                for one in _judged(applying(key), state[key], scored, names):
                    yield one
                state[key] = state[key]  # it has changed
            gathered = {}
        yield item
    for key, scored in gathered.items():
        for one in _judged(applying(key), state[key], scored, names):
            yield one
        state[key] = state[key]


def _judged(
    applying: Sequence[Scenario], kept: Mortal, gathered: list[Scored], names: Mapping[str, str]
) -> Iterator[Scored]:
    """Yield the tracks of scenarios at what was gathered of one state."""
    moments = sorted(_moments(kept, gathered, names), key=lambda moment: moment.available)
    for scenario, judged in zip(applying, engine.judge(applying, kept.peaks, moments), strict=True):
        for account in dict.fromkeys(one.account for one in judged):
            found = [one for one in judged if one.account == account]
            yield Scored(gathered[-1].key, _track(scenario, found, account), gathered[-1].arrival)


def _moments(kept: Mortal, gathered: list[Scored], names: Mapping[str, str]) -> Iterator[Moment]:
    for scored in gathered:
        track = scored.track
        # What the passing of time completes stands on what came last.
        last = (seen_of(scored.arrival),) if scored.arrival else tuple(kept.inputs[-1:])
        for i in np.flatnonzero(track.score > 0.0).tolist():
            yield Moment(
                track.ts_event.item(i),
                names[track.head],
                track.account,
                track.score.item(i),
                track.ts_available.item(i),
                tuple(dict.fromkeys([*kept.sources_of(track.weights(i)), *last])),
            )


def _track(scenario: Scenario, judged: list[Judged], account: str) -> Track:
    ts = np.array([one.ts for one in judged], np.int64)
    return Track(
        head=scenario.head,
        ts_event=ts,
        ts_available=np.array([one.available for one in judged], np.int64),
        score=np.array([one.score for one in judged], np.float64),
        window_start=ts - scenario.within_ns,
        explain=lambda i: engine.explain(scenario, judged[i]),
        inputs=lambda i: _shared(judged[i]),
        account=account,
    )


def _shared(judged: Judged) -> list[Seen]:
    """Return what the peaks stand on, as many inputs of each typology as there is room for, one at least."""
    carrying = [inputs for inputs in judged.inputs if inputs]
    each = max(1, INPUTS_KEPT // max(1, len(carrying)))
    return [seen for inputs in carrying for seen in inputs[-each:]]
