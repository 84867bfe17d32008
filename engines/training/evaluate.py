"""What every task reaches inside the folder of its data, as figures, pictures and a page that tells both.

A task's result is a file, so that one task can be evaluated again without the others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.progress import Progress
from sklearn.metrics import precision_recall_fscore_support

from engines.bundle import Metric
from engines.conformal import BudgetError
from engines.training import card, pictures
from engines.training.coverage import NEAR, Coverage, coverage, within
from engines.training.measures import EVERY, Judged
from engines.training.robustness import Robustness
from engines.training.tasks import TASKS, Run, load_task

SEED = 0
#: Parts of a folder that are predicted, where it is not the task's own number: fifths, and for fomc the years 2012-19.
FOLDS = {"financial_phrasebank": 5, "twitter_fin_news": 5, "fomc": 8}

_INTRODUCTION = """\
# Evaluation

Written by `tocsin evaluate`, from the files in docs/evaluation. Each task trains on one part of its folder in
../shared/data and predicts the rest: later rows where rows have dates, else groups of near copies that no other part
has. No model chooses anything by the part that it predicts; what people settled who had seen figures of it is told in
[benchmarks](benchmarks.md). Brackets hold 95 % intervals of a
bootstrap over whole blocks (documents, runs of neighbours, speakers, weeks). Beside every figure of Tocsin's stand a
simple baseline's and a dummy's. Precision, recall and F1 are macro averages, of two classes the second's at 0.5;
MCC is Matthews' correlation; AUC and PR-AUC are means over each class against the rest; Brier is the
squared error of probabilities, summed over classes where there are more than two. ECE is the expected calibration
error over 15 equally filled bins, and ece_floor what it would be, by chance alone, if every probability were true of as
many rows that stray together as these do (its mean and its 95 % range): an ECE within that range shows no
miscalibration, and where the range begins above 0.03 none below 0.03 could be shown.

Coverage is told where rows have dates: the share of quiet rows (nothing came of them) whose conformal p-value is above
0.1, which should be 90 %, and above 0.01, which should be 99 %. *fixed* are p-values against the quiet scores before
the part that is predicted, *rolling* against the last ones that had settled, *following* those of
`engines.conformal.Follow`. How much they look back on was chosen in the months before. "Noise" is how far the share of
so many independent rows strays, in 95 % of all draws.

`python -m benchmarks.accuracy TASK --train DIR --test DIR --out PATH` does the same from one folder to another.
"""


class ByClass(msgspec.Struct, frozen=True):
    """How the task's own contender does on one class."""

    name: str
    precision: float
    recall: float
    f1: float
    rows: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a task reached: ``own`` are its own measures ("contender measure"), ``every`` those of `EVERY`.

    ``date`` and ``seconds`` are told by who ran it; ``command`` runs it again. ``coverage`` is there where the task has
    scores in the order of time; ``refused`` says why they are too few for the budgets.
    """

    task: str
    command: str
    date: str
    seconds: float
    rows: int
    own: dict[str, Metric]
    every: dict[str, Metric]
    classes: list[ByClass]
    robustness: Robustness | None = None
    coverage: Coverage | None = None
    refused: str = ""


def evaluate(task: str, data: Path, folder: Path, folds: int | None, progress: Progress) -> Result:
    """Return what ``task`` reaches inside ``data``/TASK; its picture is left in ``folder``, its predictions nowhere.

    Raises
    ------
    FolderError
        The data are not there, or not what the task reads.
    """
    run = Run(progress, folds=FOLDS.get(task, 1) if folds is None else folds, attack=True)
    with tempfile.TemporaryDirectory(prefix="tocsin-") as scratch:
        found = load_task(task)(data / task, data / task, Path(scratch) / "predictions.csv", run)
    judged = found.judged
    if judged is not None:
        pictures.judged(judged, folder / f"{task}.svg")
    covered, refused = None, ""
    if found.stream is not None:
        try:
            covered = coverage(found.stream, SEED)
            pictures.coverage(covered, folder / f"{task}-coverage.svg")
        except BudgetError as error:
            refused = str(error)
    return Result(
        task=task,
        command=f"tocsin evaluate {task} --data ../shared/data" + ("" if folds is None else f" --folds {folds}"),
        date="",
        seconds=0.0,
        rows=0 if judged is None else len(judged.truth),
        own=found.metrics,
        every={} if judged is None else judged.metrics(EVERY, SEED),
        classes=[] if judged is None else _by_class(judged),
        robustness=found.robustness,
        coverage=covered,
        refused=refused,
    )


def _by_class(judged: Judged) -> list[ByClass]:
    best = next(iter(judged.told.values())).argmax(1)
    told = precision_recall_fscore_support(judged.truth, best, labels=np.arange(len(judged.classes)), zero_division=0)
    return [
        ByClass(name, round(float(p), 4), round(float(r), 4), round(float(f), 4), int(n))
        for name, p, r, f, n in zip(judged.classes, *told, strict=True)
    ]


def page(results: Sequence[Result], pictures_at: str) -> str:
    """Return the page of all results as Markdown; ``pictures_at`` is where their pictures lie, relative to it."""
    lines = [_INTRODUCTION]
    for result in sorted(results, key=lambda result: list(TASKS).index(result.task)):
        rows = f"{result.rows:,} rows, " if result.rows else ""
        lines += [f"## {result.task}", "", f"`{result.command}`: {rows}{result.seconds:.0f} s, {result.date}.", ""]
        told = {key.rsplit(" ", 1)[0] for key in result.every}
        own = {key: metric for key, metric in result.own.items() if key.rsplit(" ", 1)[0] not in told}
        lines += [*_table(result.every), *_table(own)]
        if result.classes:
            lines += ["| class | precision | recall | F1 | rows |", "|---|---|---|---|---|"]
            lines += [
                f"| {c.name} | {c.precision:.3f} | {c.recall:.3f} | {c.f1:.3f} | {c.rows:,} |" for c in result.classes
            ]
            lines += ["", f"![{result.task}: calibration and errors]({pictures_at}/{result.task}.svg)", ""]
        if result.robustness:
            lines += [result.robustness.sentence(), "", *_table(result.robustness.metrics)]
        if result.coverage:
            lines += _covered(result.coverage)
            lines += [f"![{result.task}: coverage]({pictures_at}/{result.task}-coverage.svg)", ""]
        if result.refused:
            lines += [f"Coverage was not measured: {result.refused}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(metrics: Mapping[str, Metric]) -> list[str]:
    """Return "contender measure" figures as a table, nothing where there are none."""
    contenders: dict[str, dict[str, Metric]] = {}
    for key, metric in metrics.items():
        contender, measure = key.rsplit(" ", 1)
        contenders.setdefault(contender, {})[measure] = metric
    return [*card.table(contenders), ""] if contenders else []


def _covered(found: Coverage) -> list[str]:
    """Return how p-values held their budgets, as two tables."""
    shares = [f"{1 - budget:.0%}" for budget in found.budgets]
    of = len(found.spans)
    near = [f"within {100 * NEAR:g} point of {share} (or noise)" for share in shares]
    lines = [
        f"Quiet rows covered; following: {found.chosen}.",
        "",
        "| p-values | " + " | ".join(shares + near) + " | others that ring | AUC |",
        "|" + "---|" * (3 + 2 * len(shares)),
    ]
    for name, pooled in found.pooled.items():
        cells = [f"{metric.value:.2%} [{metric.low:.2%}, {metric.high:.2%}]" for metric in pooled]
        cells += [
            f"{within(found.spans, name, at, noisy=False)} ({within(found.spans, name, at, noisy=True)}) of {of}"
            for at in range(len(shares))
        ]
        cells += [", ".join(f"{share:.1%}" for share in found.rang[name])] if name in found.rang else [""]
        cells += [f"{found.auc[name]:.3f}"] if name in found.auc else [""]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    columns = [f"{name} {share}" for share in shares for name in found.pooled]
    lines += ["", "| | quiet rows | noise | " + " | ".join(columns) + " |", "|" + "---|" * (3 + len(columns))]
    for span in found.spans:
        noise = ", ".join(f"{span.noise(budget):.1%}" for budget in found.budgets)
        cells = [f"{span.covered[name][at]:.1%}" for at in range(len(shares)) for name in found.pooled]
        lines.append(f"| {span.name} | {span.rows:,} | {noise} | " + " | ".join(cells) + " |")
    return [*lines, ""]
