"""Calibration: how what members say becomes one probability, chosen on rows that no member has learnt from.

A logistic regression on the members' log odds weighs and calibrates them at once (of one member it is Platt's scaling).
The others start from what it says: `anchored` moves all log odds from the base rate of the rows that are weighed,
which may be of a calmer or a wilder time, to that of all rows that members learn from (Saerens, Latinne & Decaestecker
2002, *Adjusting the outputs of a classifier to new a priori probabilities*); `beta` is Kull, Silva Filho & Flach 2017,
*Beta calibration*. Isotonic regression is no choice: it ties rows, and alerts are ranked by their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
#: What turns members' log odds (n, members) into probabilities (n,).
Calibrator = Callable[[Floats], Floats]

#: A probability counts no further than this from 0 and 1.
SURE = 1e-4


class Told(NamedTuple):
    """What members said of rows that they have not learnt from: log odds (n, members) and the truth, 0 or 1, (n,).

    ``base`` is the share of 1 among the rows that they had learnt.
    """

    odds: Floats
    truth: Ints
    base: float


def log_odds(p: Floats) -> Floats:
    """Return the log odds of probabilities of any shape."""
    sure = np.clip(p, SURE, 1 - SURE)
    return np.asarray(np.log(sure / (1 - sure)), np.float64)


def logistic(odds: Floats, truth: Ints, base: float) -> Calibrator:
    """Return the logistic regression of ``truth`` (n,) on ``odds`` (n, members)."""
    weights = LogisticRegression(C=1.0, max_iter=1000).fit(odds, truth)
    return lambda asked: np.asarray(weights.predict_proba(asked)[:, 1], np.float64)


def anchored(odds: Floats, truth: Ints, base: float) -> Calibrator:
    """Return the same, moved from the share of 1 in ``truth`` to ``base``."""
    first = logistic(odds, truth, base)
    by = float(log_odds(np.array(base)) - log_odds(np.array(truth.mean())))
    return lambda asked: np.asarray(1 / (1 + np.exp(-log_odds(first(asked)) - by)), np.float64)


def beta(odds: Floats, truth: Ints, base: float) -> Calibrator:
    """Return the same, its log p and its -log(1 - p) weighed anew."""
    first = logistic(odds, truth, base)

    def parts(asked: Floats) -> Floats:
        p = np.clip(first(asked), SURE, 1 - SURE)  # (n,)
        return np.stack([np.log(p), -np.log(1 - p)], 1)

    again = LogisticRegression(C=1e3, max_iter=1000).fit(parts(odds), truth)
    return lambda asked: np.asarray(again.predict_proba(parts(asked))[:, 1], np.float64)


#: The first stays unless another is better wherever it was looked at.
METHODS: Mapping[str, Callable[[Floats, Ints, float], Calibrator]] = {
    "logistic": logistic,
    "anchored": anchored,
    "beta": beta,
}


def fit(parts: Sequence[Told], base: float) -> tuple[str, Calibrator]:
    """Return the method that is chosen, by name, and what it made of all ``parts``.

    Each part is told by each method from the parts before it. Another method than the first is chosen where its log
    loss was lower on every one of them, and lowest in the mean.

    Parameters
    ----------
    parts
        In the order of time where rows have one.
    base
        The share of 1 among all rows that members learn from in the end.

    """
    losses: dict[str, list[float]] = {name: [] for name in METHODS}
    for at in range(1, len(parts)):
        odds, truth = _all(parts[:at])
        if len(np.unique(truth)) < 2:
            continue
        for name, method in METHODS.items():
            told = method(odds, truth, parts[at].base)(parts[at].odds)
            losses[name].append(float(log_loss(parts[at].truth, told, labels=[0, 1])))
    plain, *others = METHODS
    better = {
        name: float(np.mean(losses[name]))
        for name in others
        if losses[name] and all(mine < its for mine, its in zip(losses[name], losses[plain], strict=True))
    }
    chosen = min(better, key=better.__getitem__) if better else plain
    return chosen, METHODS[chosen](*_all(parts), base)


def _all(parts: Sequence[Told]) -> tuple[Floats, Ints]:
    return np.concatenate([part.odds for part in parts]), np.concatenate([part.truth for part in parts])
