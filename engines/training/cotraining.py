"""Co-training: two views of the same rows label for each other what nobody has labelled.

Blum & Mitchell, *Combining labeled and unlabeled data with co-training*, COLT 1998. It helps where each view can tell
by itself and the two are wrong on different rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engines.training.calibration import SURE
from engines.training.stacking import Classifier

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Rounds(NamedTuple):
    """How often the views label, and how many rows each of them labels as 0 and as 1 a round."""

    times: int
    zeros: int
    ones: int


def co_train(
    views: Sequence[Floats], truth: Ints, known: Ints, unlabelled: Ints, make: Callable[[], Classifier], rounds: Rounds
) -> list[Classifier]:
    """Return a classifier a view.

    Parameters
    ----------
    views
        What each view sees of all rows, each (rows, F).
    truth
        0 or 1 for every row, (rows,); read at ``known`` only.
    known, unlabelled
        Rows with a label, and rows to be labelled. Each round every view's classifier takes those that it is surest of,
        and both learn from them thereafter; rounds end where fewer are left than one takes.
    make
        Makes a classifier of either view.

    Example
    -------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rows = np.array([[-3.0], [3.0], [-4.0], [4.0]])
    >>> models = co_train([rows, -rows], np.array([0, 1, 0, 0]), np.arange(2), np.arange(2, 4),
    ...                   LogisticRegression, Rounds(1, 1, 1))
    >>> together(models, [rows, -rows]).round().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    labels, labelled, left = truth.copy(), known, unlabelled
    for _ in range(rounds.times):
        if len(left) < rounds.zeros + rounds.ones:
            break
        taken: dict[int, int] = {}
        for model, view in zip(_fitted(views, labels, labelled, make), views, strict=True):
            order = left[np.argsort(model.predict_proba(view[left])[:, 1], kind="stable")]
            # Where the views contradict each other, the first one's word stands.
            for row in order[: rounds.zeros]:
                taken.setdefault(int(row), 0)
            for row in order[::-1][: rounds.ones]:
                taken.setdefault(int(row), 1)
        rows = np.fromiter(taken, np.int64, len(taken))
        labels[rows] = np.fromiter(taken.values(), np.int64, len(taken))
        labelled, left = np.concatenate([labelled, rows]), np.setdiff1d(left, rows)
    return _fitted(views, labels, labelled, make)


def together(models: Sequence[Classifier], views: Sequence[Floats]) -> Floats:
    """Return what the views' classifiers say together, (rows,): the mean of their log odds, as a probability."""
    told = [np.clip(m.predict_proba(view)[:, 1], SURE, 1 - SURE) for m, view in zip(models, views, strict=True)]
    odds = np.mean([np.log(p / (1 - p)) for p in told], axis=0)  # (rows,)
    return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


def _fitted(views: Sequence[Floats], labels: Ints, rows: Ints, make: Callable[[], Classifier]) -> list[Classifier]:
    return [make().fit(view[rows], labels[rows]) for view in views]
