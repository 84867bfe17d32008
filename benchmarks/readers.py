"""How far the readers of releases agree (docs/labelling-sec-releases.md): `python -m benchmarks.readers`.

Cohen's kappa (1960) of two columns of sec_releases.csv, over all labels and of each against the rest, with 95 %
intervals of a bootstrap over runs of neighbouring releases, as those of `tocsin evaluate sec_litigation`, and the
releases on which the two readers differ. Where none differs of 240 the interval has no width, though as many as 1.5 %
may differ of releases that nobody has read (Clopper and Pearson 1934).
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.metrics import cohen_kappa_score

from benchmarks.harness import close, table
from engines.bundle import Metric
from engines.training.measures import judge
from engines.training.tasks.litigation import NEIGHBOURS, READ, SEED

Ints = npt.NDArray[np.int64]
#: Reader a's first pass, the second, which knew the first, and what they came to; reader b's pass, which knew none.
PAIRS = (("a", "b"), ("a_first", "b"), ("a_first", "a_second"))


def kappa(one: Ints, other: Ints, blocks: Ints) -> Metric:
    """Return Cohen's kappa of labels 0, 1, ... of two readers, each (n,); ``blocks`` (n,) are drawn together."""
    told = np.eye(1 + int(max(one.max(), other.max())))[other]  # (n, labels)
    return judge({"kappa": lambda y, p: float(cohen_kappa_score(y, p.argmax(1)))}, one, told, blocks, SEED)["kappa"]


def agreement(one: pl.Series, other: pl.Series, blocks: Ints) -> dict[str, Metric]:
    """Return `kappa` of two columns of labels (n,) over "all" of them, and of each against the rest."""
    labels = sorted({*one, *other})
    a, b = (np.searchsorted(labels, said.to_list()).astype(np.int64) for said in (one, other))
    found = {"all": kappa(a, b, blocks)}
    for k, label in enumerate(labels):
        found[label] = kappa((a == k).astype(np.int64), (b == k).astype(np.int64), blocks)
    return found


def main() -> None:
    """Run the benchmark."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    read = pl.read_csv(READ)
    figures: dict[str, float] = {}
    for one, other in PAIRS:
        found = agreement(read[one], read[other], (read["lt_no"] // NEIGHBOURS).to_numpy())
        rows = []
        for label, metric in found.items():
            of_it = read.filter(pl.lit(label == "all") | (pl.col(one) == label) | (pl.col(other) == label))
            same = of_it.filter(pl.col(one) == pl.col(other))
            rows.append([label, len(of_it), len(same), *(f"{x:.3f}" for x in (metric.value, metric.low, metric.high))])
            figures[f"{one}, {other}: {label}"] = metric.value
        table(f"{one} and {other}", ["label", "said by either", "by both", "kappa", "from", "to"], rows)
    table("Where a and b differ", read.columns, read.filter(pl.col("a") != pl.col("b")).rows())
    close(**figures)


if __name__ == "__main__":
    main()
