"""Boosted trees as a network of standard operators, which runs wherever networks do.

All splits are asked at once; a product with a matrix of ways then tells which leaf of each tree they lead to (Nakandala
et al. 2020, *A Tensor Compiler for Unified Machine Learning Prediction Serving*, strategy GEMM). The leaves are the
trees' own: features are float32, and each threshold is the largest float32 that is not above theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor, nn

Floats = npt.NDArray[np.float64]


class Trees(nn.Module):
    """``slope`` times the mean log odds of two-class trees, and ``intercept``; features must be finite float32."""

    feature: Tensor
    threshold: Tensor
    way: Tensor
    lefts: Tensor
    value: Tensor

    def __init__(self, trees: Sequence[HistGradientBoostingClassifier], slope: float, intercept: float) -> None:
        super().__init__()
        mean = slope / len(trees)
        self.base = intercept + mean * sum(float(one._baseline_prediction.item()) for one in trees)
        nodes = [predictor[0].nodes for one in trees for predictor in one._predictors]
        most = max(int(tree["is_leaf"].sum()) for tree in nodes)
        feature = np.zeros((len(nodes), most - 1), np.int64)
        threshold = np.zeros(feature.shape)
        way = np.zeros((len(nodes), most - 1, most), np.float32)  # 1 where a leaf is left of a split, -1 where right
        lefts = np.ones((len(nodes), most), np.float32)  # a leaf that is not there is left of one split, and of none
        value = np.zeros((len(nodes), most))
        for at, tree in enumerate(nodes):
            splits = leaves = 0
            waiting = [(0, np.zeros(most - 1, np.float32))]
            while waiting:
                node, path = waiting.pop()
                if tree["is_leaf"][node]:
                    way[at, :, leaves], lefts[at, leaves] = path, (path > 0).sum()
                    value[at, leaves] = mean * tree["value"][node]
                    leaves += 1
                else:
                    feature[at, splits], threshold[at, splits] = tree["feature_idx"][node], tree["num_threshold"][node]
                    step = np.eye(most - 1, dtype=np.float32)[splits]
                    waiting += [(tree["left"][node], path + step), (tree["right"][node], path - step)]
                    splits += 1
        tables = {"feature": feature, "threshold": _below(threshold), "way": way, "lefts": lefts}
        for name, table in (tables | {"value": value.astype(np.float32)}).items():
            self.register_buffer(name, torch.from_numpy(table))

    def forward(self, features: Tensor) -> Tensor:
        """Return log odds (row, 1) of ``features`` (row, F)."""
        asked = features.index_select(1, self.feature.flatten()).unflatten(1, self.threshold.shape)
        left = (asked <= self.threshold).float()  # (row, tree, split)
        ways = (left.unsqueeze(2) @ self.way).squeeze(2)  # (row, tree, leaf)
        told = torch.where(ways == self.lefts, self.value, 0.0)  # (row, tree, leaf)
        return told.sum((1, 2)).unsqueeze(1) + self.base


def _below(values: Floats) -> npt.NDArray[np.float32]:
    """Return the largest float32 that is at most each of ``values``, of any shape."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
