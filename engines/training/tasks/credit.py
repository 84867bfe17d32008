"""Probability that a borrower defaults: trees and a logistic regression on `engines.credit`'s features, stacked.

Two tables are known by their columns, Taiwan's card holders and Germany's loans; a folder may hold either or both, with
a column of labels or without. The predictions are one file, ``row,p_default,table``: Taiwan's rows first, in their
order, Germany's after them; ``row`` counts on from 0 through both. Where train and test are one folder, each fifth is
predicted by the rest, near copies kept together.

Sex, marital status, age and citizenship are no inputs. Measured are what leaving them out costs, and by sex and age:
calibration, and equal opportunity (Hardt, Price & Srebro, *Equality of Opportunity in Supervised Learning*, NeurIPS
2016): the share of those who paid that a bank would have accepted which refuses whoever is likelier to default than the
average of those it learnt from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.progress import Progress
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from engines.bundle import Metric
from engines.credit import GERMAN, TAIWAN, german, rounded, taiwan
from engines.training import leaks
from engines.training.measures import BINARY, Measure, calibration_error, gain, judge
from engines.training.stacking import Learner, grouped_folds, pair, stacked
from engines.training.tasks import Outcome, Run
from engines.training.tasks.tables import FolderError, NoTableError, read_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEED = 0
FOLDS = 5
LEAST = 100


@dataclass(frozen=True)
class Book:
    """A table of borrowers: its columns, the label and which value of it is a default, and whom it must not ask after.

    ``sex`` has the column and codes of men and women; the ``learners`` are stacked.
    """

    columns: tuple[str, ...]
    label: str
    default: int
    barred: tuple[str, ...]
    sex: Mapping[str, tuple[str, tuple[int, ...]]]
    features: Callable[[Mapping[str, Floats]], Floats]
    learners: Mapping[str, Learner]


@dataclass(frozen=True)
class Borrowers:
    """Rows of one table: features (n, F), what the bank must not use (n, B; NaN where unknown), 1 default (n,) or None.

    ``group`` (n,) tells by name which rows are men, women, young or old.
    """

    features: Floats
    barred: Floats
    default: Ints | None
    group: Mapping[str, npt.NDArray[np.bool_]]


def run(train: Path, test: Path, out: Path, run: Run) -> Outcome:
    """Train on ``train``, write ``row,p_default,table`` for the tables of ``test`` to ``out``; see `Task`.

    Returns
    -------
    By table: measures of the stack, of its members (the logistic regression is the baseline) and of prevalence; the AUC
    that the barred columns would add to the trees; the stack's calibration and equal opportunity by sex and age.

    Raises
    ------
    FolderError
        ``test`` has neither table, or ``train`` not the same one with at least `LEAST` labels of both kinds.
    """
    tables = []
    found: dict[str, Metric] = {}
    for name, book in BOOKS.items():
        asked = read(test, book)
        if asked is None:
            continue
        known = asked if train.resolve() == test.resolve() else read(train, book)
        if known is None or known.default is None or min(np.bincount(known.default, minlength=2)) < LEAST // 2:
            raise FolderError(f"{train}: expected {name} with {LEAST} labels or more of {book.label}, half of a kind")
        told = predict(book, known, asked, run.progress)
        tables.append(pl.DataFrame({"p_default": told["tocsin"][:, 1], "table": name}))
        found |= {f"{name} {key}": metric for key, metric in measure(asked, told).items()}
    if not tables:
        raise FolderError(f"{test}: expected a table with the columns of {' or '.join(BOOKS)} (see engines/credit.py)")
    out.parent.mkdir(parents=True, exist_ok=True)
    pl.concat(tables).with_row_index("row").write_csv(out)
    return Outcome(found)


def read(folder: Path, book: Book) -> Borrowers | None:
    """Return the rows of a folder's table with ``book``'s columns, None where there is no such table."""
    try:
        return borrowers(columns(folder, book), book, book.features)
    except NoTableError:
        return None


def columns(folder: Path, book: Book) -> dict[str, Floats]:
    """Return the columns (n,) of a folder's table that ``book`` knows, NaN where a value is none.

    Raises
    ------
    FolderError
        There is no such table.
    """
    table = read_table(folder, *book.columns)
    return {
        name: table[name]
        .cast(pl.String)
        .str.strip_prefix("A")
        .cast(pl.Float64, strict=False)
        .to_numpy()
        .astype(np.float64)
        for name in table.columns
        if name in (*book.columns, *book.barred, book.label)
    }


def borrowers(numbers: Mapping[str, Floats], book: Book, made: Callable[[Mapping[str, Floats]], Floats]) -> Borrowers:
    """Return the rows of a table's columns (n,), with the features (n, F) that are ``made`` of them."""
    with np.errstate(divide="ignore", invalid="ignore"):  # of what is 0 or unknown nothing is known
        features = made(numbers)
    unknown = np.full(len(features), np.nan)
    barred = {name: numbers.get(name, unknown) for name in book.barred}
    label = numbers.get(book.label, unknown)
    age = barred["AGE"]
    group = {f"sex={sex}": np.isin(barred[column], codes) for sex, (column, codes) in book.sex.items()}
    group |= {"age<30": age < 30, "age=30-44": (age >= 30) & (age < 45), "age>=45": age >= 45}
    return Borrowers(
        np.where(np.isfinite(features), features, np.nan),
        np.stack(list(barred.values()), 1),
        None if np.isnan(label).any() else (label == book.default).astype(np.int64),
        group,
    )


def predict(book: Book, known: Borrowers, asked: Borrowers, progress: Progress) -> dict[str, Floats]:
    """Return probabilities (n, 2) of ``asked`` by the stack, by its members, by trees that see all, by prevalence."""
    assert known.default is not None
    same = known is asked
    rows = np.arange(len(known.features))
    copies = near_copies(known.features)
    outer = (
        grouped_folds(rows, copies, FOLDS, SEED) if same else [(rows, rows[-1] + 1 + np.arange(len(asked.features)))]
    )
    features, barred = known.features, known.barred
    if not same:
        features, barred = np.vstack([features, asked.features]), np.vstack([barred, asked.barred])
    everything = np.hstack([features, np.nan_to_num(barred, nan=-1.0)])  # trees refuse what is nowhere known
    told: dict[str, Floats] = {}
    truth, learners = known.default, book.learners
    bar = progress.add_task("borrowers", total=len(outer) * (FOLDS + 1) * len(learners))
    for learn, rest in outer:
        leaks.check(learn, rest, group=copies if same else None)
        members = {name: learner.on(features, truth) for name, learner in learners.items()}
        inner = grouped_folds(learn, copies[learn], FOLDS, SEED + 1)
        parts = stacked(members, truth, learn, rest, inner, lambda: progress.advance(bar)).told
        parts["barred"] = pair(learners["trees"].on(everything, truth)(learn, rest))
        parts["prevalence"] = pair(np.full(len(rest), truth[learn].mean()))
        at = rest if same else rest - len(rows)
        for name, p in parts.items():
            told.setdefault(name, np.zeros((len(asked.features), 2)))[at] = p
    return told


def near_copies(features: Floats) -> Ints:
    """Return the group (n,) of each row: near copies have the same features once these are rounded to tenths."""
    return np.asarray(np.unique(rounded(features), axis=0, return_inverse=True)[1], np.int64).ravel()


def measure(asked: Borrowers, told: Mapping[str, Floats]) -> dict[str, Metric]:
    """Return the measures, empty where the labels are not there or are all of a kind; intervals draw rows."""
    truth = asked.default
    if truth is None or len(np.unique(truth)) < 2:
        return {}
    blocks = np.arange(len(truth))
    found = {
        f"{name} {key}": metric
        for name, p in told.items()
        if name != "barred"
        for key, metric in judge(BINARY, truth, p, blocks, SEED).items()
    }
    found["gain of trees by barred columns auc"] = gain(
        BINARY["auc"], truth, told["barred"], told["trees"], blocks, SEED
    )
    bound = float(told["prevalence"][:, 1].mean())
    fair: dict[str, Measure] = {
        "ece": calibration_error,
        "accepted_payers": lambda y, p: float(np.mean(p[y == 0, 1] < bound)),
    }
    for group, rows in asked.group.items():
        if rows.any() and not truth[rows].all():
            judged = judge(fair, truth[rows], told["tocsin"][rows], blocks[rows], SEED)
            found |= {f"tocsin {group} {key}": metric for key, metric in judged.items()}
    return found


def _trees(leaves: int, least: int, rounds: int, share: float) -> Learner:
    return Learner(
        lambda seed: HistGradientBoostingClassifier(
            learning_rate=0.03,
            max_iter=rounds,
            max_leaf_nodes=leaves,
            min_samples_leaf=least,
            l2_regularization=10,
            max_features=share,
            random_state=seed,
        ),
        seeds=2,
    )


def _logistic(strength: float) -> Learner:
    return Learner(
        lambda _: make_pipeline(
            SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression(C=strength, max_iter=1000)
        )
    )


def _forest(least: int, share: float) -> Learner:
    return Learner(
        lambda seed: make_pipeline(
            SimpleImputer(keep_empty_features=True),
            RandomForestClassifier(200, min_samples_leaf=least, max_features=share, random_state=seed),
        )
    )


BOOKS = {
    "taiwan": Book(
        columns=TAIWAN,
        label="default.payment.next.month",
        default=1,
        barred=("SEX", "MARRIAGE", "AGE"),
        sex={"male": ("SEX", (1,)), "female": ("SEX", (2,))},
        features=taiwan,
        learners={"trees": _trees(12, 60, 300, 0.3), "logistic": _logistic(0.02)},
    ),
    "german": Book(
        columns=GERMAN,
        label="CLASSIFICATION",
        default=0,
        barred=("PERSONAL_STATUS_AND_SEX", "FOREIGN", "AGE"),
        sex={"male": ("PERSONAL_STATUS_AND_SEX", (91, 93, 94)), "female": ("PERSONAL_STATUS_AND_SEX", (92, 95))},
        features=german,
        learners={"trees": _trees(3, 15, 300, 0.2), "forest": _forest(4, 0.3), "logistic": _logistic(0.02)},
    ),
}
