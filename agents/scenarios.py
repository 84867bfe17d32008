"""Scenarios: what the rules weigh together is judged at an instrument's moments, and silent typologies end here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping
from functools import cache

import numpy as np

from agents.flow import Arrival, Item, Scored, Settled
from agents.state import INPUTS_KEPT, InstrumentState, seen_of
from engines import scenarios as engine
from engines.instruments import Listing
from engines.rules import RuleFile, Scenario
from engines.scenarios import Judged, Moment
from engines.tracks import Seen, Track
from schemas.journal import Clock


async def scenarios(
    items: AsyncIterator[Item],
    state: MutableMapping[str, InstrumentState],
    *,
    rules: RuleFile,
    names: Mapping[str, str],
    listing: Callable[[str], Listing],
) -> AsyncIterator[Item]:
    """Let tracks pass, but of silent typologies, and add those of scenarios.

    All that came of one message, or of one step of the clock, is looked at together, in order of time: how ticks were
    packed into frames then changes nothing.

    Parameters
    ----------
    names
        A track's head → its typology.
    listing
        Says of an instrument what scenarios ask.
    """
    judges = _Judges(rules, listing)
    gathered: dict[str, list[Scored]] = {}
    async for item in items:
        if isinstance(item, Scored):
            name = names[item.track.head]
            if not item.track.silent and judges.hear(item.key, name):
                gathered.setdefault(item.key, []).append(item)
            if name in rules.silent:
                continue
        elif gathered and isinstance(item, Arrival | Clock | Settled):
            for key, scored in gathered.items():
                for one in judges.judge(key, state[key], scored, names):
                    yield one
                state[key] = state[key]  # it has changed
            gathered = {}
        yield item
    for key, scored in gathered.items():
        for one in judges.judge(key, state[key], scored, names):
            yield one
        state[key] = state[key]


class _Judges:
    """The scenarios of each instrument."""

    def __init__(self, rules: RuleFile, listing: Callable[[str], Listing]) -> None:
        self.of: Callable[[str], tuple[Scenario, ...]] = cache(lambda key: rules.applying(listing(key)))

    def hear(self, key: str, name: str) -> bool:
        """Tell whether a scenario of the instrument weighs a typology."""
        return any(name in scenario.weights for scenario in self.of(key))

    def judge(
        self, key: str, kept: InstrumentState, gathered: list[Scored], names: Mapping[str, str]
    ) -> Iterator[Scored]:
        """Yield the tracks of the instrument's scenarios."""
        applying = self.of(key)
        moments = sorted(_moments(kept, gathered, names), key=lambda moment: moment.available)
        for scenario, judged in zip(applying, engine.judge(applying, kept.peaks, moments), strict=True):
            for account in dict.fromkeys(one.account for one in judged):
                found = [one for one in judged if one.account == account]
                yield Scored(key, _track(scenario, found, account), gathered[-1].arrival)


def _moments(kept: InstrumentState, gathered: list[Scored], names: Mapping[str, str]) -> Iterator[Moment]:
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
