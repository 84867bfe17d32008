"""Half-space trees in arrays: the trees are shared by all instruments, each keeps only its masses.

Tan, Ting, Liu (2011), *Fast Anomaly Detection for Streaming Data*, IJCAI. Given the same trees and limits the scores
are those of `river.anomaly.HalfSpaceTrees`; the masses of one instrument take 2 x trees x nodes bytes instead of
objects.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

PADDING = 0.15  # of a range, kept free of splits at both ends, as the paper's work ranges are drawn
#: Levels of a tree that are walked in one step: the seven splits of such a block answer in the bits of one byte.
LEVELS = 3
_EXITS = 8


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


class _Walk(NamedTuple):
    """A forest laid out for walking all trees and rows at once.

    ``feature`` and ``threshold`` list the splits of every block, eight to a block (the last one never turns right),
    blocks by stage, then tree. ``first`` has each tree's first block of every stage, shape (stages, trees). Leaves are
    numbered through the trees, each tree's from ``base`` (trees,) on: ``places`` names their nodes from the root on, in
    the raveled masses, shape (trees x leaves, height + 1).
    """

    feature: npt.NDArray[np.intp]
    threshold: npt.NDArray[np.float64]
    first: npt.NDArray[np.intp]
    base: npt.NDArray[np.intp]
    places: npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Split features and thresholds, nodes in heap order: arrays of shape (trees, 2**height - 1)."""

    feature: npt.NDArray[np.intp]
    threshold: npt.NDArray[np.float64]
    height: int
    window: int
    walk: _Walk = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "walk", _laid_out(self.feature, self.threshold, self.height))

    @property
    def trees(self) -> int:
        return int(self.feature.shape[0])

    @property
    def nodes(self) -> int:
        """Nodes of one tree, leaves included."""
        return int(2 ** (self.height + 1) - 1)


@dataclass(slots=True, eq=False)
class Masses:
    """What one instrument keeps: uint8 masses of shape (trees, nodes) of the window in work and of the one before.

    ``weights`` follows from ``reference``: what each leaf's path weighs, None until it is asked for.
    """

    latest: npt.NDArray[np.uint8]
    reference: npt.NDArray[np.uint8]
    count: int = 0
    warm: bool = False
    weights: npt.NDArray[Any] | None = None


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


def leaves(forest: Forest, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return the leaf that each row falls into in each tree, numbered through the trees, of shape (n, trees).

    ``rows`` are float64 of shape (n, features), in [0, 1]; they may be those of many instruments.
    """
    walk, (trees, _) = forest.walk, forest.feature.shape
    # All splits at once cost less than rounds of gathering; then the walk only looks its turns up.
    right = rows.take(walk.feature, axis=1) >= walk.threshold
    exits = _EXIT.take(np.packbits(right, axis=1, bitorder="little"))  # (n, blocks)
    leaf = exits[:, :trees]
    row = np.arange(0, exits.size, exits.shape[1])[:, None]
    for first in walk.first[1:]:
        leaf = leaf * _EXITS + exits.take(row + first + leaf)
    if surplus := -forest.height % LEVELS:
        leaf = leaf >> surplus
    return leaf + walk.base


def score_and_learn(forest: Forest, masses: Masses, found: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return each row's anomaly score as River gives it, learning each row after it was scored.

    Parameters
    ----------
    found
        Where the rows of one instrument fall, oldest first, as `leaves` gives it.

    Returns
    -------
    float64 of shape (n,): 0 while the first window fills, else 1 minus the normalised mass around the row.

    Example
    -------
    >>> forest = grow(ForestConfig(trees=4, height=3, window=2), features=2)
    >>> masses = new_masses(forest)
    >>> score_and_learn(forest, masses, leaves(forest, np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]))).tolist()
    [0.0, 0.0, 0.0]
    """
    trees, nodes = masses.latest.shape
    scores = np.zeros(len(found))
    done = 0
    while done < len(found):
        take = min(len(found) - done, forest.window - masses.count)
        part = found[done : done + take]
        if masses.warm:
            if masses.weights is None:
                masses.weights = _weights(forest, masses.reference)
            # Whole numbers, so any order of adding gives the same.
            total = np.add.reduce(masses.weights.take(part), axis=1)
            scores[done : done + take] = 1.0 - total / (trees * forest.window * nodes)
        learned = np.bincount(forest.walk.places.take(part, axis=0).ravel(), minlength=trees * nodes)
        masses.latest += learned.astype(np.uint8).reshape(masses.latest.shape)
        masses.count += take
        if masses.count == forest.window:
            masses.reference, masses.latest, masses.weights = masses.latest, np.zeros_like(masses.latest), None
            masses.count, masses.warm = 0, True
        done += take
    return scores


def _weights(forest: Forest, reference: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Return what the paths to the leaves weigh, of shape (trees x leaves): mass times 2**depth, added up.

    The paper's size limit: below a node with less mass nothing more is added.
    """
    mass = reference.ravel().take(forest.walk.places)  # (trees x leaves, height + 1), uint8
    counted = np.ones(mass.shape, np.bool_)
    np.logical_and.accumulate(mass[:, :-1] >= 0.1 * forest.window, axis=1, out=counted[:, 1:])
    weights = (mass * counted) @ (1 << np.arange(forest.height + 1))
    return weights.astype(np.min_scalar_type(forest.window * forest.nodes))


def _laid_out(feature: npt.NDArray[np.intp], threshold: npt.NDArray[np.float64], height: int) -> _Walk:
    trees, inner = feature.shape
    # One more split a tree: it never turns right, and stands where a block reaches below the tree.
    features = np.pad(feature, ((0, 0), (0, 1)))
    thresholds = np.pad(threshold, ((0, 0), (0, 1)), constant_values=np.inf)
    slot = np.arange(1, _EXITS)
    breadth = 1 << np.array([int(k).bit_length() - 1 for k in slot])  # of the block's level that a slot stands in
    splits, first, at = [], [], 0
    for blocks in (_EXITS**stage for stage in range(-(-height // LEVELS))):
        node = np.full((blocks, _EXITS), inner)
        node[:, :-1] = (blocks + np.arange(blocks))[:, None] * breadth - 1 + slot - breadth
        node = np.minimum(node, inner)
        splits.append((features[:, node].ravel(), thresholds[:, node].ravel()))
        first.append(at + np.arange(trees) * blocks)
        at += trees * blocks
    depth = np.arange(height + 1)
    below = (1 << depth) - 1 + (np.arange(1 << height)[:, None] >> height - depth)  # (leaves, height + 1)
    places = (np.arange(trees) * (2 * inner + 1))[:, None, None] + below
    return _Walk(
        np.concatenate([one for one, _ in splits]),
        np.concatenate([one for _, one in splits]),
        np.array(first),
        np.arange(trees) << height,
        places.reshape(-1, height + 1),
    )


def _exit(turns: int) -> int:
    at = 1
    for _ in range(LEVELS):
        at = 2 * at + (turns >> at - 1 & 1)
    return at - _EXITS


#: A block's answers, that of split k in bit k → the exit that they lead to, from the left.
_EXIT = np.array([_exit(turns) for turns in range(256)], dtype=np.intp)
