"""Trains the model of default that ships, on Taiwan's card holders, and says what it reaches on those kept back.

    python -m engines.training.build --data ../shared/data --out bundles/default --only credit

Boosted trees on `engines.credit.statements` (no schooling, no sex, no age, no marital status), calibrated by a
logistic regression on what trees said of parts that they had not learnt (Platt 1999), all in one graph of ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from engines.bundle import Metric, Part, Source, sha256_of
from engines.credit import KEPT_BACK, STATEMENT, TAIWAN_BILLS, TAIWAN_PAYMENTS, kept_back, statements
from engines.credit_model import CreditSpec
from engines.training import export
from engines.training.models.trees import Trees
from engines.training.stacking import grouped_folds, pair
from engines.training.tasks import credit as task
from engines.training.tasks.credit import BOOKS, Borrowers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FILES = ("credit/taiwan_default.parquet",)
CURRENCY = "TWD"
SEEDS = 2
SPLIT_RULE = (
    f"By borrower: one of {KEPT_BACK} is kept back, chosen by what the statements are, near copies together. All are of"
    " the same six months, so this is no forecast of how it does in another year, on other cards or in another country."
    " Intervals draw borrowers."
)


def source(data: Path) -> Source:
    """Return what the model was made of."""
    return Source(
        name="credit",
        stage="training",
        origin="UCI Default of Credit Card Clients (Yeh and Lien 2009), by a copy of it",
        licence="CC BY 4.0",
        may_train_what_ships=True,
        window="2005-04-01 to 2005-10-31",
        sha256={name: sha256_of(data / name) for name in FILES},
        note="Statements of card holders of a bank in Taiwan, April to September 2005, and who defaulted in October.",
    )


def train(folder: Path, seed: int, progress: Progress) -> tuple[bytes, CreditSpec, Part]:
    """Return credit.onnx, what credit.json holds, and what the model and its baselines reach on those kept back.

    Parameters
    ----------
    folder
        Holds Taiwan's table with its labels.
    """
    book = BOOKS["taiwan"]
    columns = task.columns(folder, book)
    known = task.borrowers(columns, book, statements)
    assert known.default is not None
    back = kept_back(known.features)
    features = known.features.astype(np.float32).astype(np.float64)  # (n, F): as the graph is asked
    learn, rest = np.flatnonzero(~back), np.flatnonzero(back)
    folds = grouped_folds(learn, task.near_copies(known.features)[learn], task.FOLDS, seed)
    bar = progress.add_task("credit", total=len(folds) + 1)
    unseen = np.zeros(len(back))
    for some, others in folds:
        unseen[others] = _raw(_trees(features[some], known.default[some]), features[others])
        progress.advance(bar)
    fitted = LogisticRegression(C=1e6).fit(unseen[learn, None], known.default[learn])
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    trees = _trees(features[learn], known.default[learn])
    progress.advance(bar)
    told = {"tocsin": _chance(slope * _raw(trees, features[rest]) + intercept)}
    payers = learn[known.default[learn] == 0]
    limit = columns["LIMIT_BAL"]
    shared = {name: columns[name] / limit for name in (*TAIWAN_BILLS, *TAIWAN_PAYMENTS)}
    typical = {name: float(np.median((columns | shared)[name][payers])) for name in STATEMENT}
    part = _report(known, learn, rest, told)
    return onnx_of(trees, slope, intercept), CreditSpec(currency=CURRENCY, typical=typical), part


def onnx_of(trees: list[HistGradientBoostingClassifier], slope: float, intercept: float) -> bytes:
    """Return the graph of the trees' mean log odds, calibrated."""
    model = Trees(trees, slope, intercept)
    return export.onnx_of(model, {"features": torch.zeros(2, trees[0].n_features_in_)}, ["log_odds"])


def _trees(features: Floats, truth: Ints) -> list[HistGradientBoostingClassifier]:
    make = BOOKS["taiwan"].learners["trees"].make
    made = [make(seed).fit(features, truth) for seed in range(SEEDS)]
    return [one for one in made if isinstance(one, HistGradientBoostingClassifier)]


def _raw(trees: list[HistGradientBoostingClassifier], features: Floats) -> Floats:
    """Return the trees' mean log odds (n,)."""
    return np.asarray(np.mean([one.decision_function(features) for one in trees], axis=0), np.float64)


def _chance(log_odds: Floats) -> Floats:
    return pair(1.0 / (1.0 + np.exp(-log_odds)))


def _report(known: Borrowers, learn: Ints, rest: Ints, told: dict[str, Floats]) -> Part:
    assert known.default is not None
    truth, learners = known.default, BOOKS["taiwan"].learners
    everything = np.hstack([known.features, np.nan_to_num(known.barred, nan=-1.0)])
    told = told | {
        "trees": pair(learners["trees"].on(known.features, truth)(learn, rest)),
        "logistic": pair(learners["logistic"].on(known.features, truth)(learn, rest)),
        "barred": pair(learners["trees"].on(everything, truth)(learn, rest)),
        "prevalence": pair(np.full(len(rest), truth[learn].mean())),
    }
    group = {name: rows[rest] for name, rows in known.group.items()}
    kept = Borrowers(known.features[rest], known.barred[rest], truth[rest], group)
    metrics: dict[str, dict[str, Metric]] = {}
    for name, metric in task.measure(kept, told).items():
        contender, _, measure = name.rpartition(" ")
        metrics.setdefault(contender, {})[measure] = metric
    return Part(
        task="default in October 2005 of a card holder in Taiwan, by six statements",
        split={"train": len(learn), "test": len(rest)},
        split_rule=SPLIT_RULE,
        metrics=metrics,
        notes=[
            "Sex, age, marital status and schooling are no inputs; accepted_payers is the share of those who paid that"
            " a bank would accept which refuses whoever is likelier to default than the average: equal opportunity.",
            f"Probability told and share that defaulted, in fifths of those kept back: {_fifths(told, truth[rest])}.",
            f"Amounts are in {CURRENCY}. The scores are true where 22 in 100 default in a month; where another share"
            " does, they rank, and do not say how often.",
        ],
    )


def _fifths(told: Mapping[str, Floats], truth: Ints) -> str:
    p = told["tocsin"][:, 1]
    parts = np.array_split(np.argsort(p, kind="stable"), 5)
    return ", ".join(f"{p[rows].mean():.3f} and {truth[rows].mean():.3f}" for rows in parts)
