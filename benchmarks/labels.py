"""Labels from a few examples (`engines.few_shot`) on real texts, beside plainer ways to make one.

`python -m benchmarks.labels --data ../shared/data`. Texts that the bundle's encoder has learnt nothing of:
*insider trading* is what releases of the SEC are about or not (sec_litigation, 500 characters from the 400th on, the
words that the label is a search for cut out; up to 2004 teaches, 2005 to 2013 is told), *hawkish* and *dovish* are
sentences of the Federal Reserve's minutes and speeches (fomc; up to 2008 teaches, 2009 to 2019 is told). Later texts
that are nearly an earlier one are left out. (twitter_fin_news would prove nothing: the encoder was trained on it.)

k examples and the background (what is not of the label, in order of time) are drawn anew from the earlier part each
time; figures are means over the draws, with the lowest and highest. *Recall* is the share of the later texts of the
label that ring, *false* that of the others, which the budget promises to hold: where it does not, the later part is not
like the earlier one, or chance of so few calibration texts. A budget that the background is too small for has no row.

*head* is what `tocsin labels add` makes; *cosine* the angle to the examples' mean; *logistic* a regression on the
examples against the same half of the background that the head sees, balanced; *dummy* draws a number. All four are
calibrated on the background's other half.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.harness import close, table
from engines.bundle import DEFAULT, Bundle
from engines.conformal import BudgetError, threshold
from engines.few_shot import fit, sized
from engines.text import TextEncoder
from engines.training.tasks import litigation
from engines.training.text import near_copies

EXAMPLES = (8, 16, 32)
BUDGETS = (0.01, 0.001)
DRAWS = 10
#: Texts of sec_litigation that are encoded: early of the label and not, late of the label and not.
MOST = (400, 2_200, 500, 1_000)
#: Of the background that is there, so much is drawn.
SHARE = 0.95
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
#: From examples, the background's first half and vectors to judge: their statistics, (n,).
Way = Callable[[Floats, Floats, Floats], Floats]


class Case(NamedTuple):
    """Vectors (n, dim) in order of time: early ones of the label and others, late ones likewise."""

    examples: Floats
    background: Floats
    told: Floats
    others: Floats


class Result(NamedTuple):
    """One draw: ``recall`` and ``false`` by budget, nan where the background is too small."""

    auc: float
    recall: dict[float, float]
    false: dict[float, float]


def cosine(examples: Floats, usual: Floats, vectors: Floats) -> Floats:
    """Return the cosine of unit ``vectors`` to the examples' mean, up to a factor."""
    return np.asarray(vectors @ examples.mean(0))


def logistic(examples: Floats, usual: Floats, vectors: Floats) -> Floats:
    """Return the log odds of a regression."""
    about = np.repeat([1, 0], [len(examples), len(usual)])
    model = LogisticRegression(class_weight="balanced", max_iter=1000).fit(np.concatenate([examples, usual]), about)
    return np.asarray(model.decision_function(vectors), np.float64)


def judged(way: Way | None, case: Case, examples: Floats, background: Floats) -> Result:
    """Return how a label made in some way does on the late texts; None is the head itself."""
    calibrating = sized(len(examples), len(background))
    usual, quiet = background[:-calibrating], background[-calibrating:]
    if way is None:
        head = fit(examples, background)
        calibration, told, others = head.quiet, head.statistic(case.told), head.statistic(case.others)
    else:
        calibration, told, others = (way(examples, usual, part) for part in (quiet, case.told, case.others))
    recall, false = {}, {}
    for budget in BUDGETS:
        try:
            above = threshold(calibration, budget)
        except BudgetError:
            above = np.nan
        recall[budget] = float(np.mean(told > above)) if np.isfinite(above) else np.nan
        false[budget] = float(np.mean(others > above)) if np.isfinite(above) else np.nan
    about = np.repeat([1, 0], [len(told), len(others)])
    return Result(float(roc_auc_score(about, np.concatenate([told, others]))), recall, false)


def cases(data: Path, encode: Callable[[list[str]], Floats]) -> dict[str, Case]:
    """Return what is to be told, by name."""
    releases = litigation.read(data / "sec_litigation")
    assert releases.year is not None
    assert releases.about is not None
    parts = list[list[str]]()
    for (late, about), most in zip(((False, 1), (False, 0), (True, 1), (True, 0)), MOST, strict=True):
        rows = np.flatnonzero((releases.about == about) & ((releases.year > 2004) == late))
        rows = rows[np.argsort(releases.year[rows], kind="stable")]
        rows = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
        parts.append([text for i in rows if len(text := releases.text[i][400:900]) > 300])
    found = {"insider trading": _case(parts, encode)}

    sentences = pl.read_csv(data / "fomc" / "train_1996_2019.csv").sort("year", maintain_order=True)
    for name, label in (("hawkish", 1), ("dovish", 0)):
        parts = [
            sentences.filter(((pl.col("year") > 2008) == late) & ((pl.col("label") == label) == about))[
                "sentence"
            ].to_list()
            for late, about in ((False, True), (False, False), (True, True), (True, False))
        ]
        found[name] = _case(parts, encode)
    return found


def _case(parts: list[list[str]], encode: Callable[[list[str]], Floats]) -> Case:
    early = parts[0] + parts[1]
    late = [[t for t, copy in zip(part, near_copies(part, early), strict=True) if not copy] for part in parts[2:]]
    return Case(*(encode(part) for part in (*parts[:2], *late)))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with sec_litigation and fomc")
    options = parser.parse_args()

    encoder = TextEncoder(Bundle.load(DEFAULT))
    known: dict[str, npt.NDArray[np.float32]] = {}
    with Progress(transient=True) as progress:

        def encode(texts: list[str]) -> Floats:
            for text in progress.track(texts, description="encoding"):
                if text not in known:
                    known[text] = encoder.encode(text).vector
            return np.array([known[text] for text in texts], np.float64)

        found = cases(options.data, encode)

    figures: dict[str, float] = {}
    for name, case in found.items():
        rows = []
        for k in EXAMPLES:
            results = _drawn(case, k)
            for way, drawn in results.items():
                row: list[object] = [k, way, _told([one.auc for one in drawn], "{:.3f}")]
                for budget in BUDGETS:
                    for measure in ("recall", "false"):
                        values = [getattr(one, measure)[budget] for one in drawn]
                        row.append(_told(values, "{:.1%}" if measure == "recall" else "{:.2%}"))
                        if way == "head" and np.isfinite(values).all():
                            figures[f"{name}: {way}, {k}: {measure} at {budget:g}"] = round(float(np.mean(values)), 4)
                figures[f"{name}: {way}, {k}: AUC"] = round(float(np.mean([one.auc for one in drawn])), 4)
                rows.append(row)
        size = round(SHARE * len(case.background))
        table(
            f"{name}: {len(case.told):,} later texts of it, {len(case.others):,} others; background {size:,}",
            ["examples", "", "AUC", *(f"{what} at {b:.1%}" for b in BUDGETS for what in ("recall", "false"))],
            rows,
        )
    close(**figures)


def _drawn(case: Case, k: int) -> dict[str, list[Result]]:
    results: dict[str, list[Result]] = {}
    for seed in range(DRAWS):
        rng = np.random.default_rng([seed, k])
        examples = case.examples[rng.choice(len(case.examples), k, replace=False)]
        size = round(SHARE * len(case.background))
        background = case.background[np.sort(rng.choice(len(case.background), size, replace=False))]

        def dummy(_: Floats, __: Floats, vectors: Floats, rng: np.random.Generator = rng) -> Floats:
            return rng.normal(size=len(vectors))

        ways: dict[str, Way | None] = {"head": None, "cosine": cosine, "logistic": logistic, "dummy": dummy}
        for name, way in ways.items():
            results.setdefault(name, []).append(judged(way, case, examples, background))
    return results


def _told(values: list[float], form: str) -> str:
    if not np.isfinite(values).all():
        return "–"
    low, high = form.format(min(values)), form.format(max(values))
    return f"{form.format(float(np.mean(values)))} ({low} to {high})"


if __name__ == "__main__":
    main()
