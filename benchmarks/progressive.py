"""A model that learns as it goes, on a real stream that drifts (Elec2): each half-hour is predicted, then learned.

    python -m benchmarks.progressive --data ../shared/data

The label of a half-hour, whether the price went up against its mean of the last day, is known when the next one
comes. So the classifier that says what the last label was is right 85 % of the time, and kappa-temporal is what is
better than it: (accuracy - its accuracy) / (1 - its accuracy) (I. Zliobaite et al. 2015, Evaluation methods and
decision theory for classification of streaming data with temporal dependence, Machine Learning 98).

River's adaptive random forest and its logistic regression (of standardised features), both at their defaults, are
given the row as the data set has it, this half-hour's price included, and the last label; then also how far this price
lies from its mean over the 48 rows before, which is nearly what the label says; and, at last, nothing that was not
known before the half-hour began: its time of day, the last label, and the last row's prices, demands and distance.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.progress import Progress
from river.base import Classifier
from river.forest import ARFClassifier
from river.linear_model import LogisticRegression
from river.preprocessing import StandardScaler

from benchmarks.harness import close, table

DAY = 48  # rows
SEED = 7

#: Features by name, and label.
Row = tuple[dict[str, float], int]


def rows(data: Path) -> list[Row]:
    """Return the half-hours in their order, features by name and label."""
    read = pl.read_csv(data / "elec2" / "electricity_first60pct.csv.gz")
    return [(row, int(row.pop("class"))) for row in read.iter_rows(named=True)]


def with_label(stream: list[Row]) -> Iterator[Row]:
    """Yield each row with the last label."""
    last = 0
    for row, truth in stream:
        yield row | {"last": float(last)}, truth
        last = truth


def with_mean(stream: list[Row]) -> Iterator[Row]:
    """Yield each row with the last label, and how far its price lies from the mean of the day before."""
    prices = deque[float](maxlen=DAY)
    for row, truth in with_label(stream):
        yield row | {"above": row["nswprice"] - sum(prices) / len(prices) if prices else 0.0}, truth
        prices.append(row["nswprice"])


def known_before(stream: list[Row]) -> Iterator[Row]:
    """Yield for each row what was known before it: its time of day, the last label, the rest of the row before it."""
    before: dict[str, float] = {}
    for row, truth in with_mean(stream):
        now = {name: row[name] for name in ("period", "last")}
        yield {f"before: {name}": value for name, value in before.items()} | now, truth
        before = {name: value for name, value in row.items() if name not in now}


def hits(model: Classifier, stream: Iterator[Row]) -> int:
    """Return how many rows a model predicts rightly before it learns them."""
    right = 0
    for row, truth in stream:
        right += model.predict_one(row) == truth
        model.learn_one(row, truth)
    return right


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with elec2")
    options = parser.parse_args()
    stream = rows(options.data)
    labels = [truth for _, truth in stream]
    unchanged = sum(one == other for one, other in zip([0, *labels], labels, strict=False)) / len(labels)
    told = {"the commoner label": max(sum(labels), len(labels) - sum(labels)) / len(labels), "no change": unchanged}
    ways = {
        "the row, the last label": with_label,
        "and the day's mean price": with_mean,
        "what was known before": known_before,
    }
    models: dict[str, Callable[[], Classifier]] = {
        "regression": lambda: StandardScaler() | LogisticRegression(),
        "forest": lambda: ARFClassifier(seed=SEED),
    }
    with Progress(console=Console(stderr=True)) as progress:
        for (name, way), (kind, model) in product(ways.items(), models.items()):
            title = f"{kind}: {name}"
            given = progress.track(way(stream), total=len(stream), description=title)
            told[title] = hits(model(), iter(given)) / len(stream)
    kappa = {name: (accuracy - unchanged) / (1 - unchanged) for name, accuracy in told.items()}
    table(
        f"Elec2, {len(stream):,} half-hours",
        ["", "accuracy", "kappa-temporal"],
        [[name, f"{accuracy:.2%}", f"{kappa[name]:.3f}"] for name, accuracy in told.items()],
    )
    close(benchmark="progressive", **{f"accuracy: {name}": round(accuracy, 4) for name, accuracy in told.items()})


if __name__ == "__main__":
    main()
