"""Thresholds of the pump typology, chosen on the past alone: the procedure, fixed before its result was seen.

What it chooses: the five thresholds of `PumpConfig`, each from a short list of round numbers; windows, times and the
episode's hold stay. What it maximises on the files that it is given: verified events caught within 120 s less false
episodes, so that a false episode costs as much as an event brings. Many choices tie, often over wide ranges; it takes
the one nearest to the middle of all that tie, for the widest margin on every side.

A file's ticks are replayed once, through an engine with the loosest of all thresholds; what matters is kept as
`Moments`, from which the episodes of any choice follow exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from engines.ticks import TickConfig, TickEngine
from engines.typologies.pump_and_dump import SPEC, PumpConfig
from schemas.frames import Frame

#: Of `PumpConfig`, in the order of the rules of an explanation.
CHOICES: dict[str, tuple[float, ...]] = {
    "rise": (0.03, 0.04, 0.05, 0.06),
    "breakout": (0.015, 0.02, 0.03, 0.04),
    "buying": (20.0, 40.0, 80.0),
    "orders": (90.0, 120.0, 150.0, 200.0),
    "order_rate": (20.0, 40.0, 80.0),
}
FRAME = 500


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The ticks of a file that could keep an episode open under any choice.

    ``ts`` int64 ns (n,); ``then`` the time of the tick after each, which begins the calm; ``measures`` float64
    (n, 5) in the order of `CHOICES`.
    """

    ts: npt.NDArray[np.int64]
    then: npt.NDArray[np.int64]
    measures: npt.NDArray[np.float64]


def candidates() -> list[PumpConfig]:
    """Return every choice, the first threshold varying slowest."""
    return [
        PumpConfig(**dict(zip(CHOICES, values, strict=True)))  # type: ignore[arg-type]
        for values in itertools.product(*CHOICES.values())
    ]


def moments(ticks: Frame) -> Moments:
    """Return what a file's ticks are judged by, as the engine explains it."""
    loosest = msgspec.structs.replace(PumpConfig(), **{name: values[0] for name, values in CHOICES.items()})
    engine = TickEngine(TickConfig(pump=loosest))
    state = engine.new_state()
    every: list[npt.NDArray[np.int64]] = []
    rows: list[int] = []
    measures: list[list[float]] = []
    seen = 0
    for at in range(0, len(ticks), FRAME):
        for track in engine.apply(state, ticks[at : at + FRAME]).tracks:
            if track.head == SPEC.name:
                kept = np.flatnonzero(track.score >= SPEC.close).tolist()
                measures += [[rule.value for rule in track.explain(i).rules] for i in kept]
                rows += [seen + i for i in kept]
                every.append(track.ts_event)
                seen += len(track.ts_event)
    ts = np.concatenate([*every, np.array([np.iinfo(np.int64).max // 2])])
    at_rows = np.array(rows, dtype=np.int64)
    return Moments(ts[at_rows], ts[at_rows + 1], np.array(measures).reshape(len(rows), len(CHOICES)))


def openings(config: PumpConfig, seen: Moments) -> list[int]:
    """Return when (int64 ns) episodes open under a choice, as `engines.episodes.step` would open them."""
    limits = np.array([getattr(config, name) for name in CHOICES])
    weakest = (seen.measures / limits).min(axis=1)
    alive = np.flatnonzero(weakest >= (SPEC.close / (1.0 - SPEC.close)) ** 0.5)
    hits = np.flatnonzero(weakest[alive] >= 1.0)
    if not len(hits):
        return []
    ts = seen.ts[alive]
    calm = np.flatnonzero(ts[1:] >= seen.then[alive[:-1]] + SPEC.hold_ns) + 1  # an episode that is open ends before
    stretch = calm.searchsorted(hits, side="right")
    first = np.concatenate([[True], stretch[1:] != stretch[:-1]])
    opened: list[int] = ts[hits[first]].tolist()
    return opened


def choose(worth: Sequence[npt.NDArray[np.float64]]) -> int:
    """Return the choice (index into `candidates`) that files of such worth ask for.

    ``worth`` has for each file what every choice earns there, float64 (choices,).

    Example
    -------
    >>> nothing = np.zeros(len(candidates()))
    >>> config = candidates()[choose([nothing])]
    >>> config.rise, config.orders
    (0.04, 120.0)
    """
    total = np.sum(worth, axis=0)
    shape = [len(values) for values in CHOICES.values()]
    best = np.flatnonzero(total == total.max())
    places = np.stack(np.unravel_index(best, shape), axis=1)  # (ties, thresholds)
    away = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
    return int(best[np.argmin(away)])
