"""Members that learn as labels come, and an ensemble that trusts each by its loss of late.

What is told is told before its label is known, and learnt when that comes, days later or never (progressive
validation: A. P. Dawid 1984, *Present position and potential developments*). The ensemble's answer is the members'
mean, weighted by exp(-loss) with a loss that fades (Y. Freund & R. E. Schapire 1997, *A decision-theoretic
generalization of on-line learning*): over any stretch it is hardly worse than the best of them, and it follows when
another becomes that.

River's members have no bytes but pickles, and no state of ours may be one: what they have learnt is written down as
numbers (``plain``), which `engines.opinion` reads in a worker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from river.forest import ARFClassifier
from river.linear_model import LogisticRegression
from river.preprocessing import StandardScaler
from river.tree.nodes.branch import NumericBinaryBranch

from engines.opinion import LEAST, Features, Linear, Split, Tree

#: A forest learns a label of weight n n times, at most so often.
MOST_TIMES = 10


class Member(Protocol):
    """What learns as it goes."""

    def told(self, features: Features) -> float:
        """Return the probability of a risk."""

    def learn(self, features: Features, risk: bool, weight: float) -> None:
        """Learn a label; ``weight`` is for how many it stands."""


class Logistic:
    """River's logistic regression over features in deviations of those seen."""

    def __init__(self) -> None:
        self._scaler, self._model = StandardScaler(), LogisticRegression()

    def told(self, features: Features) -> float:
        """Return the probability of a risk."""
        return float(self._model.predict_proba_one(self._scaler.transform_one(dict(features)))[True])

    def learn(self, features: Features, risk: bool, weight: float) -> None:
        """Learn a label."""
        self._scaler.learn_one(dict(features))
        self._model.learn_one(self._scaler.transform_one(dict(features)), risk, weight)

    def plain(self) -> Linear:
        """Return what it has learnt so far as numbers."""
        weights = {name: float(weight) for name, weight in self._model.weights.items()}
        return Linear(
            bias=float(self._model.intercept),
            weights=weights,
            means={name: float(self._scaler.means[name]) for name in weights},
            deviations={name: math.sqrt(self._scaler.vars[name]) for name in weights},
        )


class Forest:
    """River's adaptive random forest: each tree is replaced where its errors drift; a leaf tells its share of risks."""

    def __init__(self, trees: int = 10, seed: int = 7) -> None:
        self._model = ARFClassifier(n_models=trees, seed=seed, leaf_prediction="mc")

    def told(self, features: Features) -> float:
        """Return the probability of a risk, 0.5 before anything was learnt."""
        shares: dict[Any, float] = self._model.predict_proba_one(dict(features))
        return float(shares.get(True, 0.0 if shares else 0.5))

    def learn(self, features: Features, risk: bool, weight: float) -> None:
        """Learn a label as often as it weighs."""
        for _ in range(max(1, min(MOST_TIMES, round(weight)))):
            self._model.learn_one(dict(features), risk)

    def plain(self) -> list[Tree]:
        """Return what it has learnt so far as numbers: trees that have seen something, by what their votes weigh."""
        votes = zip(self._model, self._model._metrics, strict=False)  # it has no trees before it has learnt
        grown = [(_plain(tree._root), metric.get()) for tree, metric in votes]
        return [Tree(weight if weight > 0 else 1.0, root) for root, weight in grown if root is not None]


def _plain(node: Any) -> Split | float | None:
    """Return a node of River's as ours, None where it has seen nothing."""
    if isinstance(node, NumericBinaryBranch):
        below, above = map(_plain, node.children)
        if below is None or above is None:  # of a side that has seen nothing, what the other one says
            return above if below is None else below
        return Split(node.feature, node.threshold, below, above)
    total = sum(node.stats.values()) if node is not None else 0.0
    return float(node.stats.get(True, 0.0) / total) if total else None


class Online:
    """Members by name, and what was told of which no label has come.

    Parameters
    ----------
    memory
        How many labels ago a loss counts 1/e of what it did.
    waiting
        How many rows may wait for their labels; beyond, the oldest is forgotten.

    Example
    -------
    >>> online = Online({"logistic": Logistic()})
    >>> online.tell("alert 1", {"score": 0.7})
    0.5
    >>> online.learn("alert 1", risk=True), online.learn("alert 1", risk=False)
    (True, False)
    """

    def __init__(self, members: Mapping[str, Member], *, memory: float = 200.0, waiting: int = 10_000) -> None:
        if not members or memory <= 0 or waiting < 1:
            raise ValueError(f"expected members, a memory and room to wait, found {len(members)}, {memory}, {waiting}")
        self._members = dict(members)
        self._keep = math.exp(-1 / memory)
        self._losses = dict.fromkeys(members, 0.0)
        self._most = waiting
        self._waiting: dict[str, tuple[Features, dict[str, float]]] = {}

    @property
    def weights(self) -> dict[str, float]:
        """The members' weights, which add up to 1."""
        least = min(self._losses.values())
        told = {name: math.exp(least - loss) for name, loss in self._losses.items()}
        return {name: weight / sum(told.values()) for name, weight in told.items()}

    def tell(self, key: str, features: Features) -> float:
        """Return the probability that ``key`` is a risk, and keep what it was told by until its label comes.

        Raises
        ------
        ValueError
            A feature is not finite: nothing is told and nothing kept.
        """
        if wrong := sorted(name for name, value in features.items() if not math.isfinite(value)):
            raise ValueError(f"expected finite features, found {', '.join(wrong)} of {key} not to be; leave them out")
        told = {name: min(1 - LEAST, max(LEAST, one.told(features))) for name, one in self._members.items()}
        self._waiting[key] = dict(features), told
        if len(self._waiting) > self._most:
            del self._waiting[next(iter(self._waiting))]
        return sum(self.weights[name] * share for name, share in told.items())

    def waits(self, key: str) -> dict[str, float]:
        """Return what each member said of what waits for its label."""
        return dict(self._waiting[key][1])

    def learn(self, key: str, risk: bool, weight: float = 1.0) -> bool:
        """Learn the label of what was told; False where nothing waits for it: never told, learnt before, or forgotten.

        Members are judged by what they said then, not by what they would say now.
        """
        if (found := self._waiting.pop(key, None)) is None:
            return False
        features, told = found
        for name, share in told.items():
            loss = -math.log(share if risk else 1 - share)
            self._losses[name] = self._keep * self._losses[name] + loss
            self._members[name].learn(features, risk, weight)
        return True
