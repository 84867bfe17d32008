"""Stacking: what weighs members is fitted on rows that they have not learnt from, which calibrates them too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from engines.training import calibration
from engines.training.calibration import Told, log_odds

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
#: A member learns the rows (n,) and tells the probability (m,) of the rows (m,).
Member = Callable[[Ints, Ints], Floats]
#: Rows to learn and later, or other, rows to tell.
Fold = tuple[Ints, Ints]


class Stacked(NamedTuple):
    """What stacks and members say.

    ``told`` are probabilities (m, 2) of the rows asked for by each member and each stack. ``unseen`` are those (n, 2)
    of each stack for the rows ``weighed`` (n,), of members that have not learnt them; the stack itself is fitted on
    them. ``method`` is each stack's in `calibration.METHODS`.
    """

    told: dict[str, Floats]
    unseen: dict[str, Floats]
    weighed: Ints
    method: dict[str, str]


class Classifier(Protocol):
    """What scikit-learn calls so."""

    def fit(self, x: Floats, y: Ints, /) -> Self:
        """Learn from rows and their classes."""
        ...

    def predict_proba(self, x: Floats, /) -> Floats:
        """Return the probability of each class for each row."""
        ...


class Learner(NamedTuple):
    """How a classifier is made of a seed, and of how many seeds the probabilities are averaged."""

    make: Callable[[int], Classifier]
    seeds: int = 1

    def on(self, features: Floats, truth: Ints) -> Member:
        """Return the member that reads ``features`` (rows, F) and learns ``truth`` (rows,)."""

        def tell(learn: Ints, rows: Ints) -> Floats:
            made = [self.make(seed).fit(features[learn], truth[learn]) for seed in range(self.seeds)]
            return np.asarray(np.mean([one.predict_proba(features[rows])[:, 1] for one in made], axis=0), np.float64)

        return tell


def stacked(
    members: Mapping[str, Member],
    truth: Ints,
    known: Ints,
    asked: Ints,
    folds: Sequence[Fold],
    advance: Callable[[], None] = lambda: None,
    stacks: Mapping[str, Sequence[str]] | None = None,
) -> Stacked:
    """Return what each member and each stack of members says of the rows ``asked`` (m,).

    Parameters
    ----------
    members
        What is stacked, by name; they say which columns of a row they read.
    truth
        0 or 1 for every row, (rows,); read at ``known`` only.
    known
        Rows whose truth is known.
    folds
        Parts of ``known``: members learn the first of each pair and tell the second; what they tell is weighed and
        calibrated (Wolpert 1992, *Stacked generalization*; see `engines.training.calibration`).
    advance
        Called after each fit: ``len(members) * (len(folds) + 1)`` times.
    stacks
        Which members each stack is of, by name; "tocsin" of all of them unless said.

    """

    def tell(member: Member, learn: Ints, rows: Ints) -> Floats:
        told = member(learn, rows)
        advance()
        return told

    weighed = np.concatenate([rows for _, rows in folds])
    parts = {name: [tell(member, *fold) for fold in folds] for name, member in members.items()}
    told = {name: tell(member, known, asked) for name, member in members.items()}
    found = Stacked({name: pair(p) for name, p in told.items()}, {}, weighed, {})
    for stack, names in (stacks or {"tocsin": tuple(members)}).items():
        unseen = [
            Told(_odds([parts[name][i] for name in names]), truth[rows], float(truth[learn].mean()))
            for i, (learn, rows) in enumerate(folds)
        ]
        found.method[stack], calibrator = calibration.fit(unseen, float(truth[known].mean()))
        found.told[stack] = pair(calibrator(_odds([told[name] for name in names])))
        found.unseen[stack] = pair(calibrator(np.concatenate([part.odds for part in unseen])))
    return found


def pair(p: Floats) -> Floats:
    """Return probabilities (n,) as those of both classes, (n, 2)."""
    return np.stack([1 - p, p], 1)


def grouped_folds(rows: Ints, groups: Ints, count: int, seed: int) -> list[Fold]:
    """Return ``rows`` in ``count`` folds that keep a group together; ``groups`` (rows,) numbers each row's."""
    names, of = np.unique(groups, return_inverse=True)
    part = (np.random.default_rng(seed).permutation(len(names)) % count)[of]
    return [(rows[part != i], rows[part == i]) for i in range(count)]


def later_folds(rows: Ints, time: Ints, known: Ints, count: int, first: float = 0.5) -> list[Fold]:
    """Return folds of ``rows`` in which the later is told by all before it; ``time`` (rows,) orders them.

    What is not ``known`` (rows,), as its label is, when the first is told is not learnt from. The earliest share
    ``first`` is only learnt from, the rest told in ``count`` parts; what is of one time stays together.
    """
    bounds = np.quantile(time, np.linspace(first, 1, count + 1), method="higher")
    folds = [
        (rows[(time < low) & (known <= low)], rows[(time >= low) & ((time < high) | (i == count - 1))])
        for i, (low, high) in enumerate(pairwise(bounds))
    ]
    return [(learn, told) for learn, told in folds if len(learn) and len(told)]


def _odds(told: Sequence[Floats]) -> Floats:
    return log_odds(np.stack(told, 1))
