"""A new label from a few examples: prototypes over the vectors of an encoder that stays as it is.

Snell, Swersky & Zemel, *Prototypical networks for few-shot learning*, NeurIPS 2017; the space is first made round by
the background's covariance, shrunk to its mean as there are few vectors to tell it by (as in linear discriminants).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.conformal import p_values, threshold

Floats = npt.NDArray[np.float64]

#: Examples of a label that a desk makes: fewer say too little, and who has more has a set to train on.
LEAST, MOST = 8, 32
#: Texts that are not of a label, at least.
USUAL = 32
#: Share of the background that the space is made round by; the rest, which had no part in that, tells p-values.
SHARE = 0.5
SHRINK = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A direction (dim,) along which examples lie beyond the background, and where the background lies, (n,)."""

    direction: Floats
    quiet: Floats

    def statistic(self, vectors: Floats) -> Floats:
        """Return how far ``vectors`` (n, dim) lie towards the examples, (n,)."""
        return np.asarray(vectors @ self.direction, np.float64)

    def p_value(self, vectors: Floats) -> Floats:
        """Return how rare each of ``vectors`` (n, dim) would be in the background, (n,); see `engines.conformal`."""
        return p_values(self.quiet, self.statistic(vectors))

    def alarms(self, vectors: Floats, budget: float) -> npt.NDArray[np.bool_]:
        """Return which of ``vectors`` (n, dim) ring where a share ``budget`` of the background may.

        Raises
        ------
        BudgetError
            The background is too small for it.
        """
        return np.asarray(self.statistic(vectors) > threshold(self.quiet, budget))


def fit(examples: Floats, background: Floats, most: int = MOST) -> Head:
    """Return the head of a new label.

    Parameters
    ----------
    examples
        Vectors (8 to ``most``, dim) of what the label names.
    background
        Vectors (n, dim) of what usually comes, in the order in which it came; a few of the label do no harm.

    Raises
    ------
    ValueError
        There are fewer than 8 examples, more than ``most``, or fewer than 32 of the background.
    """
    sized(len(examples), len(background), most)
    directions, rest = _towards(examples.mean(0)[None], background)
    return Head(directions[0], rest @ directions[0])


def sized(examples: int, background: int, most: int = MOST) -> int:
    """Return how many of so many background texts tell p-values.

    Raises
    ------
    ValueError
        As `fit` says.
    """
    if not LEAST <= examples <= most:
        raise ValueError(f"a label takes {LEAST} to {most} examples, there are {examples}")
    if background < USUAL:
        raise ValueError(f"a label takes at least {USUAL} texts that are not of it, there are {background}")
    return background - int(background * SHARE)


def left_out(examples: Floats, background: Floats, budget: float) -> npt.NDArray[np.bool_]:
    """Return which of ``examples`` (k, dim) would ring, had the k - 1 others made the head, (k,); see `fit`.

    Raises
    ------
    ValueError
        The background is too small to fit, or for ``budget`` (`BudgetError`).
    """
    others = (examples.sum(0) - examples) / (len(examples) - 1)  # (k, dim)
    directions, rest = _towards(others, background)
    quiet = rest @ directions.T  # (m, k)
    return np.array(
        [
            example @ direction > threshold(statistics, budget)
            for example, direction, statistics in zip(examples, directions, quiet.T, strict=True)
        ]
    )


def _towards(means: Floats, background: Floats) -> tuple[Floats, Floats]:
    """Return directions from the background to each of ``means`` (k, dim), and the vectors that had no part in that."""
    cut = len(background) - sized(LEAST, len(background))
    usual = background[:cut]
    covariance = np.cov(usual, rowvar=False)
    even = np.trace(covariance) / len(covariance)
    round_ = (1 - SHRINK) * covariance + SHRINK * even * np.eye(len(covariance))  # (dim, dim)
    directions = np.linalg.solve(round_, (means - usual.mean(0)).T).T  # (k, dim)
    return directions, background[cut:]
