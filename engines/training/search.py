"""A bounded random search of a schedule (Bergstra & Bengio 2012), judged on what stops training and never on a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from engines.training.loop import Schedule


class Trial(NamedTuple):
    """A schedule that was tried, and its score."""

    schedule: Schedule
    score: float


def search(start: Schedule, trials: int, seed: int, score: Callable[[Schedule], float]) -> list[Trial]:
    """Return ``trials`` schedules, best first: ``start`` itself and neighbours of it, each scored once.

    Rates go from a quarter to four times the start's, evenly in logarithms; decay, and the radius of an adversary where
    there is one, from a third to three times. Of equals the earlier is first.
    """
    rng = np.random.default_rng(seed)
    drawn = [start, *(_neighbour(start, rng) for _ in range(trials - 1))]
    return sorted((Trial(one, score(one)) for one in drawn), key=lambda trial: -trial.score)


def _neighbour(start: Schedule, rng: np.random.Generator) -> Schedule:
    rate, head_rate = (2 ** rng.uniform(-2, 2) for _ in range(2))
    decay, radius = (3 ** rng.uniform(-1, 1) for _ in range(2))
    return replace(
        start,
        rate=start.rate * float(rate),
        head_rate=start.head_rate * float(head_rate),
        decay=start.decay * float(decay),
        adversary=start.adversary and replace(start.adversary, radius=start.adversary.radius * float(radius)),
    )
