"""What learning without labels, with few of them, or from others' data is worth for the large days of stocknet.

    python -m benchmarks.pretraining --data ../shared/data

One table: the area under the curve for a large next day (see `engines.training.tasks.stocknet`) without each method and
with it, and the gain with its 95 % interval of 500 bootstraps over whole weeks. Rows are split by time: "fold" learns
from the first 60 % of the days and is judged on the next 20 %, which is where everything was chosen; "test" learns from
the first 80 % and is judged on the rest. Nothing that learns, with labels or without, reads a day that it is judged on.

*Contrastive*: MiniLM's vectors of the latest post until a close (32 tokens) learn which bars of that day and the next
five they go with; then a logistic regression has the directions learnt, or as many principal components of the same
vectors. The first line is the share of other rows' bars that lie further from a later day's text than its own.
*Co-training*: bars and posts label the four fifths of the rows whose labels are hidden, drawn by chance twice.
*Transfer*: a TCN restores hidden bars of kdd17_prices (non-commercial: for evaluation) before stocknet's first day,
then learns stocknet's labels; without, from scratch, by as many steps. Two seeds.
*Graph*: stocks by sector and by mention, embedded without labels, beside bars' and posts' numbers.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from rich.progress import Progress
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.harness import close, table
from engines import bars as barlib
from engines.bundle import Metric
from engines.training import text
from engines.training.cotraining import Rounds, co_train, together
from engines.training.measures import BINARY, gain
from engines.training.models import contrastive, ticks
from engines.training.pretrained import minilm
from engines.training.relations import graph_vectors, related
from engines.training.stacking import pair
from engines.training.tasks import kdd17, stocknet
from engines.training.tasks.stocknet import Days

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SEED = 0
DRAWS = 2  # of labels that are hidden, and of weights to begin with
LATEST = 1  # posts of a stock and day that are encoded
TOKENS = 32
WINDOW = 60  # bars to a close
AHEAD = 5  # bars after it that a text is taught to find
NEVER = np.iinfo(np.int64).max
# Chosen on the fold.
DIM, EPOCHS = 8, 20
ROUNDS = Rounds(10, 75, 5)
NODE_DIM, NODE_STEPS = 16, 300
MASKED_EPOCHS, TUNED_EPOCHS = 10, 2
FEW = 10  # one label of so many


class Sample(NamedTuple):
    """Stocknet's days, row by row.

    ``vectors`` (row, 384) are of what was said, NaN where nothing was; ``past`` (row, 60, 5) are features of the bars
    to the close, ``ahead`` (row, 6, 5) of the close's bar and those after it, which end on the day ``ends`` (row,).
    """

    days: Days
    posts: pl.DataFrame
    sectors: dict[str, str]
    vectors: Singles
    past: Singles
    ahead: Singles
    ends: Ints

    @property
    def numbers(self) -> Floats:
        """What bars and posts tell, (row, B + T)."""
        return np.hstack([self.days.bars, self.days.posts])


class Part(NamedTuple):
    """Rows to learn from, which end before the day ``begin``, and later ones to be judged on."""

    name: str
    begin: int
    known: Ints
    asked: Ints


class Line(NamedTuple):
    """What a method is worth; ``labels`` that were read of rows learnt from."""

    task: str
    part: str
    labels: int
    without: float
    with_it: float
    gained: Metric


def sample(folder: Path, progress: Progress) -> Sample:
    """Return the rows of stocknet's ``folder``; encoding its posts is what takes long."""
    prices, posts = stocknet.read(folder)
    days = stocknet.days(prices, posts)
    raw = kdd17.read(folder)
    series = kdd17.assemble(raw, raw.clear())
    ordered = raw.sort("ticker", "date")
    place = {at: i for i, at in enumerate(zip(ordered["ticker"], ordered["date"], strict=True))}
    rows = np.array([place[at] for at in zip(days.ticker, days.day.tolist(), strict=True)])  # (row,)
    listed = pl.read_csv(folder / "StockTable.tsv", separator="\t")
    by_symbol = {symbol.strip("$"): sector for sector, symbol in listed.select("Sector", "Symbol").iter_rows()}
    sectors = {ticker: by_symbol.get(ticker, "") for ticker in sorted(set(days.ticker))}
    past = barlib.features(barlib.windows(series.bars, series.first, rows, WINDOW + 1))  # (row, 60, 5)
    ahead, ends = after(series, rows)
    return Sample(days, posts, sectors, encode(days, progress), past, ahead, ends)


def after(series: kdd17.Table, rows: Ints) -> tuple[Singles, Ints]:
    """Return features of the bars of ``rows`` (row,) and of the `AHEAD` after each, (row, 1 + AHEAD, 5).

    And the day that the last of them closes, (row,), `NEVER` where there are not as many.
    """
    later = np.minimum(rows + AHEAD, len(series.day) - 1)  # (row,)
    whole = (series.first[later] == series.first[rows]) & (rows + AHEAD < len(series.day))  # (row,)
    found = np.zeros((len(rows), 1 + AHEAD, len(barlib.NAMES)), np.float32)  # (row, 1 + AHEAD, 5)
    seen = barlib.windows(series.bars, series.first, later[whole], WINDOW + 1 + AHEAD)
    found[whole] = barlib.features(seen)[:, -1 - AHEAD :]
    return found, np.where(whole, series.day[later], NEVER)


def encode(days: Days, progress: Progress) -> Singles:
    """Return the mean of MiniLM's vectors of the latest posts of each row, (row, 384), NaN where there are none."""
    said = [[stocknet.MASKS.sub(" ", post) for post in all_.split(" \n ")[-LATEST:] if post] for all_ in days.text]
    number = {post: i for i, post in enumerate(sorted({post for posts in said for post in posts}))}
    tokenizer = minilm().tokenizer()
    tokenizer.enable_truncation(TOKENS)
    rows = [e.ids for e in tokenizer.encode_batch(list(number))]
    encoder = minilm().encoder()
    bar = progress.add_task("encoding posts", total=len(rows))
    told = []
    for at in range(0, len(rows), 1024):
        told.append(text.predict(encoder, rows[at : at + 1024])[0])
        progress.advance(bar, len(told[-1]))
    vectors = np.concatenate(told)  # (post, 384)
    found = np.full((len(said), vectors.shape[1]), np.nan, np.float32)  # (row, 384)
    for row, posts in enumerate(said):
        if posts:
            found[row] = vectors[[number[post] for post in posts]].mean(0)
    return found


def parts(days: Days) -> list[Part]:
    """Return the fold inside the training part, and the test part."""
    bounds = [int(np.quantile(days.day, share)) for share in (0.6, 0.8)] + [NEVER]
    found = []
    for name, begin, end in zip(("fold", "test"), bounds, bounds[1:], strict=False):
        known = np.flatnonzero((days.large >= 0) & (days.day < begin))
        # A label that reaches into the days to judge on is not learnt from.
        known = known[days.day[known] < days.day[known].max()]
        found.append(
            Part(name, begin, known, np.flatnonzero((days.large >= 0) & (days.day >= begin) & (days.day < end)))
        )
    return found


def linear() -> Pipeline:
    """Return the classifier that features are judged by."""
    return make_pipeline(
        SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression(C=0.01, max_iter=500)
    )


def told(features: Floats, days: Days, part: Part) -> Floats:
    """Return the probability of a large day, (asked, 1), by a classifier of ``features`` (row, F)."""
    model = linear().fit(features[part.known], days.large[part.known])
    return np.asarray(model.predict_proba(features[part.asked])[:, 1:], np.float64)


def mean_auc(y: Ints, p: Floats) -> float:
    """Return the mean area under the curve of the columns of ``p`` (n, draw)."""
    return float(np.mean([BINARY["auc"](y, pair(column)) for column in p.T]))


def line(task: str, days: Days, part: Part, labels: int, without: Floats, with_it: Floats) -> Line:
    """Return the comparison of probabilities (asked, draw)."""
    y, weeks = days.large[part.asked], (days.day[part.asked] + 3) // 7
    gained = gain(mean_auc, y, with_it, without, weeks, SEED)
    return Line(task, part.name, labels, mean_auc(y, without), mean_auc(y, with_it), gained)


def of_texts(data: Sample, part: Part) -> list[Line]:
    """Return what contrastive pretraining is worth."""
    days, said = data.days, np.isfinite(data.vectors[:, 0])  # (row,)
    rows = np.flatnonzero(said & (data.ends < part.begin))
    model = contrastive.pretrain(
        data.vectors[rows], data.ahead[rows], dim=DIM, epochs=EPOCHS, seed=SEED, step=lambda: None
    )
    later = part.asked[said[part.asked] & (data.ends[part.asked] < NEVER)]
    later = later[:: max(1, len(later) // 2000)]
    share = contrastive.matched(model, data.vectors[later], data.ahead[later])[:, None]  # (later, 1)
    gained = gain(
        lambda _, p: float(p.mean()),
        days.large[later],
        share,
        np.full_like(share, 0.5),
        (days.day[later] + 3) // 7,
        SEED,
    )
    learnt, plain = np.full((2, len(said), DIM), np.nan)
    learnt[said] = contrastive.project(model, data.vectors[said])
    plain[said] = PCA(DIM, random_state=SEED).fit(data.vectors[rows]).transform(data.vectors[said])
    lines = [Line("contrastive: a later text finds its bars (share)", part.name, 0, 0.5, float(share.mean()), gained)]
    for name, others in (("posts", days.posts), ("bars and posts", data.numbers)):
        without, with_it = (told(np.hstack([others, vectors]), days, part) for vectors in (plain, learnt))
        lines.append(line(f"contrastive: {name}", days, part, len(part.known), without, with_it))
    return lines


def of_views(data: Sample, part: Part) -> list[Line]:
    """Return what co-training is worth where one label of five is known, and what all labels would be."""
    days, views = data.days, [data.days.bars, data.days.posts]
    shown = [view[part.asked] for view in views]

    def learnt(known: Ints, hidden: Ints, rounds: Rounds) -> Floats:
        return together(co_train(views, days.large, known, hidden, linear, rounds), shown)

    none = ROUNDS._replace(times=0)
    few, more = [], []
    for seed in range(DRAWS):
        known = np.sort(np.random.default_rng(seed).choice(part.known, len(part.known) // 5, replace=False))
        few.append(learnt(known, np.setdiff1d(part.known, known), none))
        more.append(learnt(known, np.setdiff1d(part.known, known), ROUNDS))
    without, with_it = np.stack(few, 1), np.stack(more, 1)  # (asked, draw) each
    whole = learnt(part.known, part.known[:0], none)[:, None]  # (asked, 1)
    return [
        line("co-training", days, part, len(part.known) // 5, without, with_it),
        line("co-training: all labels in its place", days, part, len(part.known), without, whole),
    ]


def source(folder: Path, before: int) -> ticks.Encoder:
    """Return an encoder that has learnt to restore hidden bars of ``folder``'s prices before a day."""
    raw = kdd17.read(folder)
    series = kdd17.assemble(raw, raw.clear())
    rows = np.flatnonzero((series.day < before) & (np.arange(len(series.day)) - series.first >= WINDOW))
    torch.manual_seed(SEED)
    model = ticks.Encoder("tcn", len(barlib.NAMES))
    seen = barlib.features(barlib.windows(series.bars, series.first, rows, WINDOW + 1))  # (row, 60, 5)
    ticks.pretrain(model, seen, seed=SEED, epochs=MASKED_EPOCHS, every=10)
    return model


def of_bars(data: Sample, part: Part, pretrained: ticks.Encoder) -> list[Line]:
    """Return what the weights of another market are worth as a beginning, at few labels and at all."""
    days, lines = data.days, []
    for every in (FEW, 1):
        scratch, moved = list[Floats](), list[Floats]()
        for seed in range(DRAWS):
            rows = np.random.default_rng(seed).permutation(part.known)[: len(part.known) // every]
            share = days.large[rows].mean()
            odds = np.full(len(days.day), np.log(share / (1 - share)), np.float32)  # (row,)
            torch.manual_seed(seed)
            fresh = ticks.Encoder("tcn", data.past.shape[2])
            for begin, kept in ((fresh, scratch), (pretrained, moved)):
                model = ticks.transfer(
                    begin,
                    data.past[rows],
                    odds[rows],
                    days.large[rows],
                    seed=seed,
                    epochs=TUNED_EPOCHS * every,
                    every=1,
                    step=lambda: None,
                )
                kept.append(ticks.logits(model, data.past[part.asked], odds[part.asked]))
        without, with_it = (np.stack(kept, 1) for kept in (scratch, moved))  # (asked, seed) each
        lines.append(line("transfer: bars", days, part, len(part.known) // every, without, with_it))
    return lines


def of_neighbours(data: Sample, part: Part) -> list[Line]:
    """Return what the graph is worth beside bars and posts."""
    days, numbers = data.days, data.numbers
    graph = related(data.sectors, data.posts, part.begin)
    vectors = graph_vectors(
        days.ticker,
        days.day,
        numbers,
        graph,
        part.begin,
        dim=NODE_DIM,
        steps=NODE_STEPS,
        seed=SEED,
        step=lambda: None,
    )
    with_it = told(np.hstack([numbers, vectors]), days, part)
    return [line("graph: bars and posts", days, part, len(part.known), told(numbers, days, part), with_it)]


def main() -> None:
    """Pretrain, learn, judge, print the table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with kdd17_prices and stocknet")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[Line] = []
    with Progress() as progress:
        data = sample(chosen.data / "stocknet", progress)
        other = source(chosen.data / "kdd17_prices", int(data.days.day.min()))
        bar = progress.add_task("methods", total=8)
        for part in parts(data.days):
            for found in (of_texts, of_views, lambda d, p: of_bars(d, p, other), of_neighbours):
                for one in found(data, part):
                    lines.append(one)
                    progress.print(f"{one.task}, {one.labels:,} labels, {one.part}: {one.gained.value:+.4f}")
                progress.advance(bar)
    rows = [
        (task, part, f"{labels:,}", without, with_it, f"{g.value:+.3f} [{g.low:+.3f}, {g.high:+.3f}]", _verdict(g))
        for task, part, labels, without, with_it, g in sorted(lines, key=lambda line: line.task)
    ]
    table("large days of stocknet", ["method", "part", "labels", "without", "with", "gain", ""], rows)
    close(**{f"{one.task}, {one.labels} labels, {one.part}": one.gained.value for one in lines})


def _verdict(gained: Metric) -> str:
    return "adds" if gained.low > 0 else "takes away" if gained.high < 0 else "not told from chance"


if __name__ == "__main__":
    main()
