"""Half-space trees in arrays: the trees are shared by all instruments, each keeps only its masses.

Tan, Ting, Liu (2011), *Fast Anomaly Detection for Streaming Data*, IJCAI. Given the same trees and limits the scores
are those of `river.anomaly.HalfSpaceTrees`; the masses of one instrument take 2 x trees x nodes bytes instead of
objects.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

PADDING = 0.15  # of a range, kept free of splits at both ends, as the paper's work ranges are drawn


class ForestConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Shape of the forest. ``window`` counts bars between two references and is at most 255, so that masses fit a byte.

    Features are expected in [0, 1].
    """

    trees: int = 10
    height: int = 6
    window: int = 250
    seed: int = 7

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 255:
            raise ValueError(f"forest window: expected 1 to 255 bars, found {self.window}; masses are single bytes")


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Split features and thresholds, nodes in heap order: arrays of shape (trees, 2**height - 1)."""

    feature: npt.NDArray[np.intp]
    threshold: npt.NDArray[np.float64]
    height: int
    window: int

    @property
    def trees(self) -> int:
        return int(self.feature.shape[0])

    @property
    def nodes(self) -> int:
        """Nodes of one tree, leaves included."""
        return int(2 ** (self.height + 1) - 1)


@dataclass(slots=True, eq=False)
class Masses:
    """What one instrument keeps: uint8 masses of shape (trees, nodes) of the window in work and of the one before."""

    latest: npt.NDArray[np.uint8]
    reference: npt.NDArray[np.uint8]
    count: int = 0
    warm: bool = False


def grow(config: ForestConfig, features: int) -> Forest:
    """Return a random forest over ``features`` features in [0, 1]; the same configuration gives the same forest.

    A node splits a random feature at a random point of its remaining range, ``PADDING`` away from both ends.
    """
    rng = random.Random(config.seed)
    inner = 2**config.height - 1
    feature = np.zeros((config.trees, inner), dtype=np.intp)
    threshold = np.zeros((config.trees, inner), dtype=np.float64)
    for tree in range(config.trees):
        limits: dict[int, list[tuple[float, float]]] = {0: [(0.0, 1.0)] * features}
        for node in range(inner):
            box = limits.pop(node)
            split = rng.randrange(features)
            low, high = box[split]
            pad = PADDING * (high - low)
            at = rng.uniform(low + pad, high - pad)
            feature[tree, node], threshold[tree, node] = split, at
            limits[2 * node + 1] = [*box[:split], (low, at), *box[split + 1 :]]
            limits[2 * node + 2] = [*box[:split], (at, high), *box[split + 1 :]]
    return Forest(feature, threshold, config.height, config.window)


def new_masses(forest: Forest) -> Masses:
    """Return the masses of an instrument that has seen nothing."""
    shape = (forest.trees, forest.nodes)
    return Masses(np.zeros(shape, dtype=np.uint8), np.zeros(shape, dtype=np.uint8))


def score_and_learn(forest: Forest, masses: Masses, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return each row's anomaly score as River gives it, learning each row after it was scored.

    Parameters
    ----------
    rows
        float64 of shape (n, features), in [0, 1], oldest first.

    Returns
    -------
    float64 of shape (n,): 0 while the first window fills, else 1 minus the normalised mass around the row.

    Example
    -------
    >>> forest = grow(ForestConfig(trees=4, height=3, window=2), features=2)
    >>> masses = new_masses(forest)
    >>> score_and_learn(forest, masses, np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])).tolist()
    [0.0, 0.0, 0.0]
    """
    paths = _paths(forest, rows)  # (n, trees, height + 1)
    scores = np.zeros(len(rows))
    done = 0
    while done < len(rows):
        take = min(len(rows) - done, forest.window - masses.count)
        part = paths[done : done + take]
        if masses.warm:
            scores[done : done + take] = _scores(forest, masses.reference, part)
        learned = np.bincount(part.ravel(), minlength=forest.trees * forest.nodes)
        masses.latest += learned.astype(np.uint8).reshape(masses.latest.shape)
        masses.count += take
        if masses.count == forest.window:
            masses.reference, masses.latest = masses.latest, np.zeros_like(masses.latest)
            masses.count, masses.warm = 0, True
        done += take
    return scores


def _paths(forest: Forest, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return each row's nodes from root to leaf, as places in the raveled masses, of shape (n, trees, height + 1)."""
    n, trees = len(rows), forest.trees
    inner = forest.feature.size
    # All splits at once cost less than six rounds of gathering; then the walk only looks its turns up.
    right = (rows.take(forest.feature.ravel(), axis=1) >= forest.threshold.ravel()).astype(np.intp)
    # Walked as places in the raveled splits, where node k of a tree stands k after the tree's root.
    root = (np.arange(n) * inner)[:, None] + np.arange(trees) * (inner // trees)  # (n, trees)
    walk = np.empty((forest.height + 1, n, trees), dtype=np.intp)
    walk[0] = root
    first_child = 1 - root
    for at, below in itertools.pairwise(walk):
        np.add(at, at, out=below)
        below += first_child
        below += right.take(at)
    paths = np.empty((n, trees, forest.height + 1), dtype=np.intp)
    shift = np.arange(trees) * forest.nodes - root
    return np.add(walk.transpose(1, 2, 0), shift[:, :, None], out=paths)


def _scores(forest: Forest, reference: npt.NDArray[np.uint8], paths: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    mass = reference.ravel().take(paths)  # (n, trees, height + 1), uint8
    # The paper's size limit: below a node with less mass nothing more is added.
    open_ = np.logical_and.accumulate(mass[:, :, :-1] >= 0.1 * forest.window, axis=2)
    weighed = mass * (2.0 ** np.arange(forest.height + 1))
    weighed[:, :, 1:] *= open_
    total = weighed.sum(axis=(1, 2))  # whole numbers, so any order of adding gives the same
    result: npt.NDArray[np.float64] = 1.0 - total / (forest.trees * forest.window * forest.nodes)
    return result
