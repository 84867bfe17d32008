"""A bounded random search of a schedule (Bergstra & Bengio 2012), judged on what stops training and never on a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from engines.training.adversary import Adversary
from engines.training.loop import Schedule


class Trial(NamedTuple):
    """A schedule that was tried, and the score of its best epoch."""

    schedule: Schedule
    score: float


def search(start: Schedule, trials: int, seed: int, score: Callable[[Schedule], float]) -> list[Trial]:
    """Return ``trials`` schedules, best first: ``start`` itself and neighbours of it, each scored once.

    Rates go from a quarter to four times the start's, evenly in logarithms; batches, decay and the adversary are drawn
    from a few values. Of equals the earlier is first.
    """
    rng = np.random.default_rng(seed)
    drawn = [start, *(_neighbour(start, rng) for _ in range(trials - 1))]
    return sorted((Trial(one, score(one)) for one in drawn), key=lambda trial: -trial.score)


def _neighbour(start: Schedule, rng: np.random.Generator) -> Schedule:
    radius = float(rng.choice([0.0, 0.5, 1.0, 2.0]))
    return replace(
        start,
        rate=start.rate * float(2 ** rng.uniform(-2, 2)),
        head_rate=start.head_rate * float(2 ** rng.uniform(-2, 2)),
        batch=int(rng.choice([16, 32, 64])),
        decay=float(rng.choice([0.0, 0.01, 0.1])),
        adversary=Adversary(radius) if radius else None,
    )
