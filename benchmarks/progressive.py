"""A model that learns as it goes, on a real stream that drifts (Elec2): each half-hour is predicted, then learned.

    python -m benchmarks.progressive --data ../shared/data

The label of a half-hour, whether the price went up against its mean of the last day, is known when the next one
comes. So the classifier that says what the last label was is right 85 % of the time, and kappa-temporal is what is
better than it: (accuracy - its accuracy) / (1 - its accuracy) (I. Zliobaite et al. 2015, Evaluation methods and
decision theory for classification of streaming data with temporal dependence, Machine Learning 98). River's adaptive
random forest, at its defaults, is given the row as it is; the row and the last label; and, beside it, how far the
price lies from its mean over the 48 rows before.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.progress import Progress
from river.forest import ARFClassifier

from benchmarks.harness import close, table

DAY = 48  # rows
SEED = 7

#: Features by name, and label.
Row = tuple[dict[str, float], int]


def rows(data: Path) -> list[Row]:
    """Return the half-hours in their order, features by name and label."""
    read = pl.read_csv(data / "elec2" / "electricity_first60pct.csv.gz")
    return [(row, int(row.pop("class"))) for row in read.iter_rows(named=True)]


def seen(stream: list[Row], *, label: bool, mean: bool) -> Iterator[Row]:
    """Yield each row with what of the past it is to be judged with: the last label, the day's mean of the price."""
    last, prices = 0, deque[float](maxlen=DAY)
    for row, truth in stream:
        past = {"last": float(last)} if label else {}
        if mean:
            past["above"] = row["nswprice"] - sum(prices) / len(prices) if prices else 0.0
        yield row | past, truth
        last = truth
        prices.append(row["nswprice"])


def hits(stream: Iterator[Row]) -> int:
    """Return how many rows a forest predicts rightly before it learns them."""
    model, right = ARFClassifier(seed=SEED), 0
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
    ways = {"the row": (False, False), "and the last label": (True, False), "and the day's mean price": (True, True)}
    with Progress(console=Console(stderr=True)) as progress:
        for name, (label, mean) in ways.items():
            given = progress.track(seen(stream, label=label, mean=mean), total=len(stream), description=name)
            told[f"forest: {name}"] = hits(iter(given)) / len(stream)
    kappa = {name: (accuracy - unchanged) / (1 - unchanged) for name, accuracy in told.items()}
    table(
        f"Elec2, {len(stream):,} half-hours",
        ["", "accuracy", "kappa-temporal"],
        [[name, f"{accuracy:.2%}", f"{kappa[name]:.3f}"] for name, accuracy in told.items()],
    )
    close(benchmark="progressive", **{f"accuracy: {name}": round(accuracy, 4) for name, accuracy in told.items()})


if __name__ == "__main__":
    main()
