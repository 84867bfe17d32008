"""Half-space trees: River's scores, in a fraction of the memory."""

from __future__ import annotations

import numpy as np
import pytest
from river.anomaly import HalfSpaceTrees

from engines.halfspace import Forest, ForestConfig, grow, leaves, new_masses, score_and_learn


def copied(model: HalfSpaceTrees, features: list[str]) -> Forest:
    """Return River's own trees as arrays in heap order."""
    inner = 2**model.height - 1
    feature = np.zeros((model.n_trees, inner), dtype=np.intp)
    threshold = np.zeros((model.n_trees, inner))
    for tree, root in enumerate(model.trees):
        level = [root]
        at = 0
        while at < inner:
            for node in level:
                feature[tree, at], threshold[tree, at] = features.index(node.feature), node.threshold
                at += 1
            level = [child for node in level for child in node.children]
    return Forest(feature, threshold, model.height, model.window_size)


@pytest.mark.parametrize(("trees", "height", "window"), [(10, 8, 250), (5, 3, 20), (3, 6, 100)])
def test_scores_equal_rivers_given_its_trees(trees: int, height: int, window: int) -> None:
    names = ["a", "b", "c"]
    draw = np.random.default_rng(height)
    rows = np.clip(draw.normal(0.5, 0.1, (700, 3)), 0, 1)
    rows[::97] = draw.random((8, 3))
    model = HalfSpaceTrees(n_trees=trees, height=height, window_size=window, seed=3)
    expected = []
    for row in rows:
        x = dict(zip(names, row.tolist(), strict=True))
        expected.append(model.score_one(x))
        model.learn_one(x)
    forest = copied(model, names)
    masses = new_masses(forest)
    cuts = np.array_split(rows, [1, 8, 300, 301, 600])
    scores = np.concatenate([score_and_learn(forest, masses, leaves(forest, part)) for part in cuts])
    np.testing.assert_array_equal(scores, expected)


def test_an_outlier_scores_higher_than_the_crowd() -> None:
    forest = grow(ForestConfig(), 4)
    masses = new_masses(forest)
    draw = np.random.default_rng(0)
    score_and_learn(forest, masses, leaves(forest, np.clip(draw.normal(0.5, 0.02, (500, 4)), 0, 1)))
    rows = np.array([[0.5] * 4, [0.95, 0.05, 0.95, 0.05]])
    crowd, outlier = score_and_learn(forest, masses, leaves(forest, rows))
    assert outlier > crowd


def test_the_same_configuration_grows_the_same_forest_within_its_padding() -> None:
    one, other = grow(ForestConfig(), 5), grow(ForestConfig(), 5)
    np.testing.assert_array_equal(one.threshold, other.threshold)
    assert one.threshold[:, 0].min() >= 0.15
    assert one.threshold[:, 0].max() <= 0.85
    assert not np.array_equal(one.feature, grow(ForestConfig(seed=8), 5).feature)


def test_masses_of_one_instrument_take_a_few_kilobytes() -> None:
    masses = new_masses(grow(ForestConfig(), 14))
    assert masses.latest.nbytes + masses.reference.nbytes == 2 * 10 * 127


def test_a_window_that_would_overflow_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="single bytes"):
        ForestConfig(window=256)
