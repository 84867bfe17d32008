"""Triage: tracks of scores become episodes, and what changes in an episode becomes an alert.

Every alert carries its evidence, and ids that depend on nothing but what was decided: the typology and its version,
the instrument, the account where it concerns one, the window and the decision configuration.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import msgspec

from agents.flow import SHED_AT, Arrival, Item, Scored, Ticked, first_clock
from agents.ticks import note
from agents.watched import HISTORY_KEPT, Bar, OpenEpisode, Scope, Watched, seen_of
from engines import alert_budget, episodes
from engines.alert_budget import Spent, lifted
from engines.episodes import Episode, Transition
from engines.tracks import Seen, Track
from engines.typologies import TypologySpec
from schemas.alerts import (
    Alert,
    Evidence,
    Explanation,
    Finding,
    Input,
    Level,
    Modality,
    Provenance,
    Quality,
    Subject,
    Times,
    identity,
)
from schemas.journal import Clock, Ladder

LEVELS: tuple[Level, ...] = ("full", "text and ticks", "rules only")
#: How long after an episode's quiet time the clock closes it, so that what is still on its way can keep it open, ns.
PATIENCE_NS = 2_000_000_000
W = TypeVar("W", bound=Watched)


async def triage(
    items: AsyncIterator[Item],
    state: MutableMapping[str, W],
    *,
    specs: Mapping[str, TypologySpec],
    subject: Callable[[str], Subject],
    provenance: Provenance,
    provenances: Mapping[str, Provenance] = MappingProxyType({}),
    made: Callable[[Provenance], Provenance] = lambda told: told,
    since_ns: int = 0,
    budgets: Mapping[str, float] = MappingProxyType({}),
) -> AsyncIterator[Item | Alert]:
    """Open, update and close episodes; one that nothing judges any more closes with the first clock.

    Tracks of heads without a typology are passed over.

    Parameters
    ----------
    specs
        A track's head → its typology.
    provenances
        A head → what its alerts name in the place of ``provenance``, where something else decides on it.
    made
        Brings a provenance up to date for an alert: another back end may serve by then.
    since_ns
        When the typologies took effect: what only they let the clock close was not known before.
    budgets
        A head → how many episodes a day an instrument is to open; its threshold follows, in event time.
    """
    judge = _Judge(specs, subject, provenance, provenances, made, since_ns, budgets)
    for kept in state.values():
        judge.take_over(kept)
    due = {key: at for key, kept in state.items() if (at := judge.deadline(kept))}
    ticked: Ticked | None = None
    before = Bar(0, 0, 0.0)
    async for item in items:
        yield item
        if isinstance(item, Ladder):
            judge.level = item.level
        elif isinstance(item, Ticked):
            # Fusion keeps the newest bar next; a tick before its close must not be judged beside it.
            ticked, before = item, state[item.key].newest_bar
        elif isinstance(item, Scored):
            kept = state[item.key]
            if judge.begins(kept, item.track):
                state[item.key] = kept
            if not judge.concerned(kept, item.track):
                continue
            own = ticked is not None and ticked.key == item.key and ticked.arrival is item.arrival
            bars = [before, *_closed(ticked)] if ticked is not None and own else [kept.newest_bar]
            for alert in judge.track(item.key, kept, item.track, item.arrival, bars):
                yield alert
            state[item.key] = kept
            note(due, item.key, judge.deadline(kept))
        elif isinstance(item, Clock):
            for key in [key for key, at in due.items() if at <= item.now_ns]:
                kept = state[key]
                for alert in judge.expire(key, kept, item.now_ns):
                    yield alert
                state[key] = kept
                note(due, key, judge.deadline(kept))


def _closed(ticked: Ticked) -> list[Bar]:
    bars = ticked.update.bars
    if bars is None:
        return []
    return list(map(Bar, bars.ts_available.tolist(), bars.end.tolist(), bars.anomaly.tolist()))


def _p_value(track: Track, transition: Transition) -> float | None:
    if track.p_value is None or transition.activity == "close":
        return None
    return float(track.p_value[transition.index])


def _evidence(
    kept: Watched, stands_on: Sequence[Seen], arrival: Arrival | None, window_start: int, available_at: int
) -> list[Seen]:
    """Return the inputs that an alert names, newest last.

    Always what completed it and what it is known to stand on, which may be older than its window and than all that is
    remembered in order; then of what is remembered of the window as many of the latest as there is room for.
    """
    named = {seen[:3]: seen for seen in stands_on}
    must = {*named, *([seen_of(arrival)[:3]] if arrival else [])}
    # Of what came with orders and ticks before a frame's last row, the moment may have been earlier than all.
    latest = [
        seen
        for seen in kept.inputs
        if seen[:3] in must
        or (seen.ts_available >= window_start and (not kept.framed or seen.ts_available <= available_at))
    ]
    others = [seen for seen in latest if seen[:3] not in must]
    left_out = others[: max(0, len(others) + len(must) - kept.inputs_kept)]
    places = {seen[:3] for seen in latest}
    older = [seen for place, seen in named.items() if place not in places]
    return [*older, *(seen for seen in latest if seen not in left_out)] or kept.inputs[-1:]


class _Judge:
    """What stands for all instruments, and the ladder's level of the moment."""

    def __init__(
        self,
        specs: Mapping[str, TypologySpec],
        subject: Callable[[str], Subject],
        provenance: Provenance,
        provenances: Mapping[str, Provenance],
        made: Callable[[Provenance], Provenance],
        since_ns: int,
        budgets: Mapping[str, float],
    ) -> None:
        self._specs = specs
        self._subject = subject
        self._provenance = provenance
        self._provenances = provenances
        self._made = made
        self._since_ns = since_ns
        self._budgets = budgets
        self.level = 0

    def take_over(self, kept: Watched) -> None:
        """Let episodes that were opened by a typology that is no longer there come to their end."""
        for (head, _), running in kept.episodes.items():
            if head not in self._specs:
                running.episode.calm_since = running.history[-1][0]

    def _spec(self, head: str) -> TypologySpec:
        return self._specs.get(head) or TypologySpec(
            name=head, version="1", title="No longer looked for", open=1.0, critical=1.0, close=1.0, hold_ns=0
        )

    def deadline(self, kept: Watched) -> int:
        """Return the clock at which an episode is to be closed, 0 if none."""
        deadlines = [episodes.deadline(self._spec(head), open_.episode) for (head, _), open_ in kept.episodes.items()]
        return min((at + PATIENCE_NS for at in deadlines if at), default=0)

    def begins(self, kept: Watched, track: Track) -> bool:
        """Begin to reckon with a budget at the first moment of a head that has one; tell whether it was that."""
        if track.head in kept.spent or track.head not in self._budgets:
            return False
        kept.spent[track.head] = Spent(0.0, int(track.ts_event[0]))
        return True

    def concerned(self, kept: Watched, track: Track) -> bool:
        """Tell whether a track can change anything: most open no episode, and none of theirs is running."""
        spec = self._specs.get(track.head)
        if spec is None:
            return False
        if (track.head, track.account) in kept.episodes:
            return True
        if budget := self._budgets.get(track.head):
            last_ns = int(track.ts_event.max())
            return alert_budget.concerned(spec, budget, kept.spent[track.head], last_ns, track.score)
        return bool((track.score >= spec.open).any())

    def track(self, key: str, kept: Watched, track: Track, arrival: Arrival | None, bars: list[Bar]) -> list[Alert]:
        """Feed a track to its episode; ``arrival`` is the message that completed it.

        ``bars`` are the last bar that was kept before that message and those that it closed.
        """
        spec, scope = self._specs[track.head], (track.head, track.account)
        running = kept.episodes.setdefault(scope, OpenEpisode(Episode()))
        alerts = []
        for transition in self._transitions(kept, spec, running.episode, track):
            if transition.activity == "create":
                self._open(key, kept, running, scope, int(track.window_start[transition.index]))
            available_at = int(track.ts_available[transition.index])
            weights = track.weights(transition.index)
            # Orders come in frames of their own: which bar had closed before one of them, only ticks can tell.
            known = [bar for bar in bars if bar.ts_available <= available_at] if weights else [Bar(0, 0, 0.0)]
            alerts.append(
                self._alert(
                    key,
                    kept,
                    running,
                    scope,
                    transition,
                    available_at,
                    known[-1],
                    arrival,
                    Explanation() if transition.activity == "close" else track.explain(transition.index),
                    weights,
                    _p_value(track, transition),
                    track.inputs(transition.index),
                )
            )
        if not running.episode.firing:
            del kept.episodes[scope]
        return alerts

    def _transitions(self, kept: Watched, spec: TypologySpec, episode: Episode, track: Track) -> list[Transition]:
        if budget := self._budgets.get(track.head):
            return alert_budget.step(spec, budget, kept.spent[track.head], episode, track.ts_event, track.score)
        return episodes.step(spec, episode, track.ts_event, track.score)

    def expire(self, key: str, kept: Watched, now_ns: int) -> list[Alert]:
        """Close the episodes that have been calm for long enough by a clock (ns), or that nothing judges any more."""
        alerts = []
        for scope, running in list(kept.episodes.items()):
            transition = episodes.expire(self._spec(scope[0]), running.episode, now_ns - PATIENCE_NS)
            if transition is not None:
                # Known with the first whole second of the clock after the patience, however far the clock leaps; where
                # a change of what decides lets it close, not before that.
                least_ns = self._since_ns if scope[0] in self._specs else max(self._since_ns, now_ns)
                available_at = max(first_clock(transition.ts + PATIENCE_NS), least_ns)
                bar = kept.newest_bar
                alerts.append(
                    self._alert(key, kept, running, scope, transition, available_at, bar, None, Explanation(), {})
                )
                del kept.episodes[scope]
        return alerts

    def _open(self, key: str, kept: Watched, running: OpenEpisode, scope: Scope, window_start: int) -> None:
        running.episode_id = identity(
            *self._concerns(key, scope), window_start, running.episode.opened, self._decided(scope[0]).config
        )
        running.window_start = window_start
        running.first_input = kept.inputs_count
        running.history = []

    def _decided(self, head: str) -> Provenance:
        return self._provenances.get(head, self._provenance)

    def _concerns(self, key: str, scope: Scope) -> list[str]:
        """Return the typology and its version, the instrument, and the account where there is one."""
        head, account = scope
        spec = self._spec(head)
        return [f"{spec.name}@{spec.version}", key, *([account] if account else [])]

    def _alert(
        self,
        key: str,
        kept: Watched,
        running: OpenEpisode,
        scope: Scope,
        transition: Transition,
        available_at: int,
        bar: Bar,
        arrival: Arrival | None,
        explanation: Explanation,
        weights: Mapping[str, float],
        p_value: float | None = None,
        stands_on: Sequence[Seen] = (),
    ) -> Alert:
        spec, concerns = self._spec(scope[0]), self._concerns(key, scope)
        subject = self._subject(key)
        if account := scope[1]:
            subject = msgspec.structs.replace(subject, account=account)
        running.history = [*running.history, (transition.ts, transition.score)][-HISTORY_KEPT:]
        stands_on = [*kept.sources_of(weights), *stands_on]
        inputs = _evidence(kept, stands_on, arrival, running.window_start, available_at)
        return Alert(
            alert_id=identity(running.episode_id, transition.revision),
            episode_id=running.episode_id,
            fingerprint=identity(*concerns),
            revision=transition.revision,
            activity=transition.activity,
            times=Times(
                event_start=running.window_start,
                event_end=transition.ts,
                available_at=available_at,
                watermark=kept.watermark_ns,
            ),
            subject=subject,
            finding=Finding(
                typology=concerns[0],
                title=spec.title,
                severity=transition.severity,
                score=transition.score,
                p_value=p_value,
                threshold=lifted(spec, running.episode.lift).open if scope[0] in self._budgets else None,
                regulation=list(spec.regulation),
            ),
            modalities=self._modalities(kept, bar, transition.ts, weights),
            explanation=explanation,
            evidence=Evidence(
                inputs=[
                    Input(topic=seen.topic, partition=seen.partition, offset=seen.offset, sha256=seen.sha256.hex())
                    for seen in inputs
                ],
                first_seen=running.window_start,
                last_seen=transition.ts,
                count=kept.inputs_count - running.first_input + 1,
                history=running.history,
            ),
            provenance=msgspec.structs.replace(
                self._made(self._decided(scope[0])), trace=arrival.trace if arrival else ""
            ),
            quality=Quality(
                ladder=LEVELS[self.level],
                late_events=kept.late,
                missing=kept.missing,
                drift=kept.drifting(available_at),
            ),
        )

    def _modalities(self, kept: Watched, bar: Bar, now_ns: int, weights: Mapping[str, float]) -> dict[str, Modality]:
        found = {
            name: msgspec.structs.replace(one, weight=round(weights.get(name, 0.0), 4))
            if one.present and weights
            else one
            for name, one in kept.modalities(bar, now_ns, self._provenance.bundle).items()
        }
        # What the ladder's level leaves out has no part in this alert.
        return {name: one if self.level < SHED_AT[name] else Modality(present=False) for name, one in found.items()}
