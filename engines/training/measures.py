"""What models are judged by, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from engines.bundle import Metric

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Measure = Callable[[Ints, Floats], float]


def brier(y: Ints, p: Floats) -> float:
    """Return the mean squared error of probabilities ``p`` (n, k) of classes ``y`` (n,), summed over the classes."""
    return float(np.mean(np.sum((p - np.eye(p.shape[1])[y]) ** 2, axis=1)))


def calibration_error(y: Ints, p: Floats, bins: int = 15) -> float:
    """Return the expected calibration error: |share - mean probability| of equally filled bins, over all classes.

    Equal probabilities share a bin, so that the order of the rows says nothing.
    """
    columns = _columns(p)
    gaps = [
        np.bincount(bin_of, (y == k) - p[:, k], bins)
        for k, bin_of in zip(columns, (_bins(p[:, k], bins) for k in columns), strict=True)
    ]
    return float(np.abs(gaps).sum() / (len(p) * len(columns)))


def calibration_floor(y: Ints, p: Floats, blocks: Ints, seed: int, bins: int = 15) -> Metric:
    """Return what `calibration_error` is where every probability is true, of as many rows: mean and 95 % range.

    Few rows in a bin stray from their probability by chance, and the error counts that, so that it has a floor above 0.
    Rows of one block may stray together: what each block adds to each bin, less its share of what is wrong in the bin
    as a whole, comes with either sign in each of 500 draws (Wu 1986's wild bootstrap, over blocks). Where rows are
    blocks of their own, and ``p`` is true, that is as if classes had been drawn from it.
    """
    _, block = np.unique(blocks, return_inverse=True)
    count = int(block.max()) + 1
    signs = np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), (500, count))  # (draw, block)
    total = np.zeros(500)
    for k in _columns(p):
        cell = block * bins + _bins(p[:, k], bins)  # (row,)
        gap = np.bincount(cell, (y == k) - p[:, k], count * bins).reshape(count, bins)
        rows = np.bincount(cell, minlength=count * bins).reshape(count, bins)
        by_chance = gap - rows * (gap.sum(0) / np.maximum(rows.sum(0), 1))  # (block, bin)
        total += np.abs(signs @ by_chance).sum(1)
    found = total / (len(p) * len(_columns(p)))  # (draw,)
    return _metric(float(found.mean()), found.tolist())


def _columns(p: Floats) -> range:
    """Return the classes whose probabilities are looked at: of two the second, which tells the first."""
    return range(1, 2) if p.shape[1] == 2 else range(p.shape[1])


def _bins(probability: Floats, bins: int) -> Ints:
    edges = np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, probability, side="right").astype(np.int64)


MULTICLASS: Mapping[str, Measure] = {
    "macro_f1": lambda y, p: float(f1_score(y, p.argmax(1), average="macro")),
    "accuracy": lambda y, p: float(np.mean(p.argmax(1) == y)),
    "ece": calibration_error,
    "brier": brier,
}
BINARY: Mapping[str, Measure] = {
    "auc": lambda y, p: _where_both(roc_auc_score, y == 1, p[:, 1]),
    "average_precision": lambda y, p: _where_both(average_precision_score, y == 1, p[:, 1]),
    "ece": calibration_error,
    "brier": lambda y, p: float(np.mean((p[:, 1] - y) ** 2)),
}

#: All that `tocsin evaluate` tells of classes; the columns beside a task's own.
EVERY: Mapping[str, Measure] = {
    "accuracy": lambda y, p: float(np.mean(p.argmax(1) == y)),
    "precision": lambda y, p: float(precision_score(y, p.argmax(1), average=_average(p), zero_division=0)),
    "recall": lambda y, p: float(recall_score(y, p.argmax(1), average=_average(p), zero_division=0)),
    "f1": lambda y, p: float(f1_score(y, p.argmax(1), average=_average(p), zero_division=0)),
    "mcc": lambda y, p: float(matthews_corrcoef(y, p.argmax(1))),
    "auc": lambda y, p: _by_class(roc_auc_score, y, p),
    "pr_auc": lambda y, p: _by_class(average_precision_score, y, p),
    "brier": lambda y, p: BINARY["brier"](y, p) if p.shape[1] == 2 else brier(y, p),
    "ece": calibration_error,
}


def _average(p: Floats) -> str:
    return "binary" if p.shape[1] == 2 else "macro"


def _by_class(measure: Callable[[npt.NDArray[np.bool_], Floats], float], y: Ints, p: Floats) -> float:
    """Return the mean of a measure of each class against the rest (of two classes, of the second alone)."""
    asked = [1] if p.shape[1] == 2 else range(p.shape[1])
    return float(np.nanmean([_where_both(measure, y == k, p[:, k]) for k in asked]))


def _where_both(
    measure: Callable[[npt.NDArray[np.bool_], Floats], float], happened: npt.NDArray[np.bool_], p: Floats
) -> float:
    """Return a measure of probabilities ``p`` (n,), NaN where all rows are alike: a draw may lack one kind."""
    return float(measure(happened, p)) if 0 < happened.sum() < len(happened) else float("nan")


def judge(measures: Mapping[str, Measure], y: Ints, p: Floats, blocks: Ints, seed: int) -> dict[str, Metric]:
    """Return each measure of probabilities ``p`` (n, k) with a 95 % interval of 500 bootstraps over whole ``blocks``.

    ``blocks`` (n,) numbers what is drawn together: a document, or all that happened in one week. Beside "ece" comes
    "ece_floor", see `calibration_floor`.
    """
    drawn = [[measure(y[rows], p[rows]) for measure in measures.values()] for rows in _draws(blocks, seed)]
    judged = {
        name: _metric(measure(y, p), found)
        for (name, measure), found in zip(measures.items(), zip(*drawn, strict=True), strict=True)
    }
    return judged | ({"ece_floor": calibration_floor(y, p, blocks, seed)} if "ece" in measures else {})


def gain(measure: Measure, y: Ints, a: Floats, b: Floats, blocks: Ints, seed: int) -> Metric:
    """Return the measure of probabilities ``a`` less that of ``b``, both (n, k); both are drawn by the same blocks."""
    drawn = [measure(y[rows], a[rows]) - measure(y[rows], b[rows]) for rows in _draws(blocks, seed)]
    return _metric(measure(y, a) - measure(y, b), drawn)


def _draws(blocks: Ints, seed: int) -> Iterator[Ints]:
    rng = np.random.default_rng(seed)
    order = np.argsort(blocks, kind="stable")
    _, starts, counts = np.unique(blocks[order], return_index=True, return_counts=True)
    for _ in range(500):
        drawn = rng.integers(0, len(starts), len(starts))
        sizes = counts[drawn]
        # Each drawn block's rows one after the other: its start in ``order``, and on from there.
        yield order[np.repeat(starts[drawn] - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())]


def _metric(value: float, drawn: Sequence[float]) -> Metric:
    # A draw may lack a class, where there is no such measure.
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return Metric(*(round(float(x), 4) for x in (value, low, high)))


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What contenders told of rows whose truth is known.

    ``truth`` (n,) numbers ``classes`` (k), ``told`` holds probabilities (n, k) by contender, the task's own first;
    ``blocks`` (n,) numbers what a bootstrap draws together.
    """

    classes: tuple[str, ...]
    truth: Ints
    told: Mapping[str, Floats]
    blocks: Ints

    def metrics(self, measures: Mapping[str, Measure], seed: int) -> dict[str, Metric]:
        """Return each measure of each contender, as "contender measure"."""
        return {
            f"{contender} {measure}": value
            for contender, p in self.told.items()
            for measure, value in judge(measures, self.truth, p, self.blocks, seed).items()
        }

    def gain(
        self, name: str, measure: str, measures: Mapping[str, Measure], best: str, other: str, seed: int
    ) -> dict[str, Metric]:
        """Return how far one contender's measure is above another's, by the same draws, as "name measure"."""
        gained = gain(measures[measure], self.truth, self.told[best], self.told[other], self.blocks, seed)
        return {f"{name} {measure}": gained}
