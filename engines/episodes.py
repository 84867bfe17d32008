"""Episodes: from a track of scores to openings, worsenings and closings, with hysteresis.

An episode opens when a score reaches ``open``, becomes critical when one reaches ``critical``, and closes when the
scores have stayed below ``close`` for ``hold_ns`` of event time. The machine is a pure function of the moments that
it is fed, so any framing of them gives the same transitions.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from engines.typologies import TypologySpec
from schemas.alerts import Activity, Severity


class Episode(msgspec.Struct, kw_only=True):
    """What is remembered between two frames, per instrument and typology.

    Times are int64 ns, 0 for never. ``calm_since`` is the first moment of the present run of scores below ``close``,
    ``opened`` the moment that opened the running episode, ``peak`` its highest score so far. ``lift`` is by how much
    log odds the threshold was moved when it opened, where it follows (`engines.alert_budget`).
    """

    firing: bool = False
    severity: Severity = "warning"
    revision: int = 0
    opened: int = 0
    calm_since: int = 0
    score: float = 0.0
    peak: float = 0.0
    lift: float = 0.0


@dataclass(frozen=True, slots=True)
class Transition:
    """What changed at moment ``index`` of the track.

    ``ts`` is the event time at which it became true: a close is due at ``calm_since + hold_ns``, which no moment of
    the track needs to hit; ``index`` is then the first moment at or after it.
    """

    activity: Activity
    index: int
    ts: int
    severity: Severity
    revision: int
    score: float


def step(
    spec: TypologySpec, episode: Episode, ts: npt.NDArray[np.int64], score: npt.NDArray[np.float64]
) -> list[Transition]:
    """Feed moments to an episode, in order, and return what changed; ``episode`` is brought up to date in place.

    Parameters
    ----------
    ts, score
        int64 ns and float64 in [0, 1], shape (n,).

    Example
    -------
    >>> spec = TypologySpec(name="x", version="1", title="X", open=0.5, critical=0.9, close=0.2, hold_ns=10)
    >>> episode = Episode()
    >>> ts, score = np.array([1, 2, 3, 20]), np.array([0.1, 0.6, 0.1, 0.1])
    >>> [(t.activity, t.index, t.ts) for t in step(spec, episode, ts, score)]
    [('create', 1, 2), ('close', 3, 13)]
    """
    n = len(ts)
    if n == 0:
        return []
    transitions: list[Transition] = []
    for i in _interesting(spec, episode, score):
        now, value = int(ts[i]), float(score[i])
        due = episode.calm_since + spec.hold_ns
        if episode.firing and episode.calm_since and now >= due:
            transitions.append(_close(episode, i, due))
        if not episode.firing:
            if value >= spec.open:
                episode.firing, episode.revision, episode.opened, episode.peak = True, 0, now, value
                episode.severity = "critical" if value >= spec.critical else spec.opens_as
                episode.calm_since = now if spec.momentary else 0
                transitions.append(Transition("create", i, now, episode.severity, 0, value))
        else:
            if value >= spec.close:
                episode.calm_since = now if spec.momentary else 0
            elif not episode.calm_since:
                episode.calm_since = now
            if value >= spec.critical and episode.severity != "critical":
                episode.severity, episode.revision = "critical", episode.revision + 1
                transitions.append(Transition("update", i, now, "critical", episode.revision, value))
            episode.peak = max(episode.peak, value)
        episode.score = value
    episode.score = float(score[-1])
    return transitions


def expire(spec: TypologySpec, episode: Episode, now_ns: int) -> Transition | None:
    """Close a calm episode by the clock; None where it is not due. The transition's index is -1."""
    due = episode.calm_since + spec.hold_ns
    if not (episode.firing and episode.calm_since and now_ns >= due):
        return None
    return _close(episode, -1, due)


def deadline(spec: TypologySpec, episode: Episode) -> int:
    """Return the event time (ns) at which `expire` would close the episode, 0 if none is due."""
    return episode.calm_since + spec.hold_ns if episode.firing and episode.calm_since else 0


def _close(episode: Episode, index: int, due: int) -> Transition:
    episode.firing, episode.calm_since, episode.revision = False, 0, episode.revision + 1
    return Transition("close", index, due, episode.severity, episode.revision, episode.score)


def _interesting(spec: TypologySpec, episode: Episode, score: npt.NDArray[np.float64]) -> range:
    # Nothing can change below ``open`` while nothing fires: most frames end here.
    return range(len(score) if episode.firing or bool((score >= spec.open).any()) else 0)
