"""Adverse moves of stocks: how probable it is that the next 20 trading days are among the worst tenth for their risk.

A row's outcome is its log-return over the next 20 rows of its ticker, by adjusted closes, divided by its trailing
volatility times √20: the geometric mean of the standard deviations of the last 20 and the last 60 daily log-returns (by
the first alone, what is told is mostly that a calm month does not last). It was adverse where that is at most the 10 %
quantile of all outcomes (all tickers pooled) of the rows that were trained on. Rows whose 20 days lie not wholly
in the same folder have no outcome, and no row of training has one that reaches into what it is judged by.

Members learn from rows up to a moment and predict the rows after it, for several moments; from what they told so, a
logistic regression learns how much each weighs, and calibrates (stacking, in the order of time). Then members learn
anew from all rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from engines import bars as barlib
from engines import charts
from engines.training import calibration, checkpoints, leaks
from engines.training.calibration import Told, log_odds
from engines.training.coverage import Stream
from engines.training.measures import BINARY, Judged
from engines.training.models import chart, ticks
from engines.training.tasks import Outcome, Run
from engines.training.tasks.tables import FolderError, read_table

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SEEDS = (0,)  # of the networks whose logits are averaged
BODY: Literal["tcn", "lstm"] = "tcn"
FEWEST = 500  # rows to learn from, and to be told, at each moment
AHEAD = 20  # rows that an outcome looks ahead, and back for its volatility
WORST = 0.1
PRICES = ("open", "high", "low", "close", "adj_close")
GAP_DAYS = 30  # without a price; what was before says nothing about what comes after
YEAR = 250
WINDOW = 60  # bars that the ticks' encoder sees
LEAST = WINDOW + 1  # bars of a ticker up to a row that models are asked about; before, the prevalence stands
EVERY = 10  # an epoch takes one row of so many: windows of neighbours are nearly the same
MOMENTS = (0.5, 0.75)  # shares of the training dates after which members are asked about what follows
#: Which members' logits (columns of `tell`) each contender weighs.
STACKS = {"tocsin": [0, 2, 3], "chart": [2], "ticks": [0, 3], "same_numbers": [4], "levels": [0], "trailing": [1]}
HELD_OUT = 0.2  # latest share of the dates that is predicted where a folder is to predict itself


class Table(NamedTuple):
    """Prices of both folders by ticker and date, one row a day.

    ``bars`` (row, 5) are adjusted for splits and dividends; ``first`` (row,) the first row of the ticker,
    or after a gap; ``day`` (row,) days since 1970; ``asked`` (row,) the place in the folder to predict, -1 for rows of
    the other.
    """

    bars: Floats
    first: Ints
    day: Ints
    asked: Ints


class Seen(NamedTuple):
    """What models see of rows: charts' bars and average, the numbers on a chart, the ticks' features and context."""

    bars: Floats  # (row, 20, 5)
    average: Floats  # (row, 20)
    numbers: Singles  # (row, 20, 6)
    ticks: Singles  # (row, 60, 5)
    context: Floats  # (row, 3): see `look`
    simple: Floats  # (row, 4): log of volatility, momentum of 5, 20 and 60 days

    def at(self, rows: Ints | Mask) -> Seen:
        """Return some of the rows."""
        return Seen._make(part[rows] for part in self)


def read(folder: Path) -> pl.DataFrame:
    """Return the prices of a folder, in its order.

    Raises
    ------
    FolderError
        There are none, or a price or date cannot be used.
    """
    columns = ("ticker", "date", "open", "high", "low", "close", "volume", "adj_close")
    table = read_table(folder, *columns).select(columns)
    try:
        table = table.with_columns(
            written=pl.col("date").cast(pl.String),
            date=pl.col("date").cast(pl.String).str.slice(0, 10).str.to_date().cast(pl.Int64),
            ticker=pl.col("ticker").cast(pl.String),
        ).with_columns(pl.col(columns[2:]).cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        raise FolderError(f"{folder}: expected dates such as 2007-01-03, and numbers: {error}") from error
    good = pl.all_horizontal(pl.col(columns[2:]).is_finite() & (pl.col(columns[2:]) >= 0), pl.col(PRICES) > 0)
    if not (usable := table.select(good.fill_null(False)).to_series()).all():
        raise FolderError(f"{folder}: row {usable.arg_min() + 1}: expected prices above 0 and a volume of at least 0")
    if table.select(pl.struct("ticker", "date").is_duplicated().any()).item():
        raise FolderError(f"{folder}: expected one row a ticker and date, found several")
    return table


def assemble(known: pl.DataFrame, asked: pl.DataFrame) -> Table:
    """Return the rows of both, those of ``asked`` where both have a ticker's date."""
    asked = asked.with_row_index("asked").with_columns(pl.col("asked").cast(pl.Int64))
    rest = known.join(asked, on=["ticker", "date"], how="anti").with_columns(asked=pl.lit(-1, pl.Int64))
    table = pl.concat([rest, asked], how="diagonal").sort("ticker", "date")
    adjusted = table.with_columns(pl.col("open", "high", "low", "close") * pl.col("adj_close") / pl.col("close"))
    ticker, day = table["ticker"].rle_id().to_numpy(), table["date"].to_numpy()  # (row,) each
    begins = (np.diff(ticker, prepend=-1) != 0) | (np.diff(day, prepend=0) > GAP_DAYS)  # (row,)
    series = np.cumsum(begins)  # (row,)
    return Table(
        adjusted.select("open", "high", "low", "close", "volume").to_numpy(),
        np.searchsorted(series, series).astype(np.int64),
        day,
        table["asked"].to_numpy(),
    )


def outcomes(table: Table) -> tuple[Floats, Ints]:
    """Return each row's outcome (row,), NaN where it has none, and the day it ends (row,)."""
    close = np.log(table.bars[:, 3])  # (row,)
    month, quarter = (barlib.trailing(returns(table), table.first, n * AHEAD)[1] for n in (1, 3))  # (row,) each
    deviation = np.sqrt(month * quarter)  # (row,)
    run = np.cumsum(np.diff(table.first + (table.asked >= 0) * len(close), prepend=-1) != 0)  # (row,)
    later = np.minimum(np.arange(len(close)) + AHEAD, len(close) - 1)  # (row,)
    whole = (run[later] == run) & (np.arange(len(close)) + AHEAD < len(close))  # (row,)
    whole &= (np.arange(len(close)) - table.first >= LEAST - 1) & (deviation > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        outcome = (close[later] - close) / (deviation * np.sqrt(AHEAD))  # (row,)
    return np.where(whole, outcome, np.nan), table.day[later]


def returns(table: Table) -> Floats:
    """Return log-returns from close to close (row,), NaN in a ticker's first row."""
    close = np.log(table.bars[:, 3])  # (row,)
    found = np.diff(close, prepend=np.nan)  # (row,)
    found[table.first == np.arange(len(close))] = np.nan
    return np.asarray(found)


def look(table: Table) -> Seen:
    """Return what models see of each row, known at its close.

    The context is the log of the volatility of 20 days; and the logs of its ratio to that of 60 days, and of that to
    that of 250, each less its mean over all tickers on that day: volatility returns to its level, so that after days
    that were calm for this ticker the same move weighs more.
    """
    moves, first = returns(table), table.first
    _, day = np.unique(table.day, return_inverse=True)  # (row,)
    average, _ = barlib.trailing(table.bars[:, 3], first, charts.BARS)  # (row,)
    deviation = [barlib.trailing(moves, first, length)[1] for length in (AHEAD, 3 * AHEAD, YEAR)]
    short, middle, long = (np.log(np.maximum(known, 1e-6)) for known in deviation)  # (row,) each
    momentum = [barlib.trailing(moves, first, n)[0] * np.sqrt(n) / np.exp(middle) for n in (5, AHEAD, 3 * AHEAD)]
    simple = np.nan_to_num(np.stack([short, *momentum], 1))  # (row, 4)
    ratios = np.nan_to_num(np.stack([short - middle, middle - long], 1))  # (row, 2)
    usual = np.stack([np.bincount(day, ratio) / np.bincount(day) for ratio in ratios.T], 1)  # (day, 2)
    context = np.concatenate([simple[:, :1], ratios - usual[day]], 1)  # (row, 3)
    parts = []
    for rows in np.array_split(np.arange(len(moves)), max(1, len(moves) // 10_000)):
        bars = barlib.windows(table.bars, first, rows, charts.BARS)  # (row, 20, 5)
        line = barlib.windows(average, first, rows, charts.BARS)  # (row, 20)
        parts.append(
            Seen(
                bars,
                line,
                charts.numbers(bars, line),
                barlib.features(barlib.windows(table.bars, first, rows, WINDOW + 1)),
                context[rows],
                simple[rows],
            )
        )
    return Seen._make(np.concatenate(part) for part in zip(*parts, strict=True))


def run(train: Path, test: Path, out: Path, run: Run) -> Outcome:
    """Learn from ``train``, write ``ticker,date,p_adverse`` for the rows of ``test`` to ``out``, in order; see `Task`.

    Where both are one folder, the earlier dates predict the later, whose rows are written. History before a row comes
    from either folder; with too little of it, `WORST` is what is told. Intervals are of 500 bootstraps over months.

    Returns
    -------
    Measures of the chart's and the ticks' networks stacked ("tocsin"), of the chart's network on charts as others draw
    them ("chart_redrawn"), of either network alone, of one that is given the numbers that the chart shows
    ("same_numbers"), of a regression on the ticks' context ("levels") and one on trailing volatility and momentum
    ("trailing"), and of the prevalence; and what "tocsin" gains in AUC over chart and ticks.

    Raises
    ------
    FolderError
        A folder has no prices that can be used, or ``train`` too few to learn from.
    """
    progress = run.progress
    known = asked = read(train)
    same = train.resolve() == test.resolve()
    if same:
        later = pl.col("date") >= int(np.quantile(known["date"].unique().to_numpy(), 1 - HELD_OUT))
        known, asked = known.filter(~later), known.filter(later)
    else:
        asked = read(test)
    table = assemble(known, asked)
    outcome, ends = outcomes(table)
    seen = look(table)
    learned = np.flatnonzero(np.isfinite(outcome) & (table.asked < 0))
    parts = walk(table.day[learned], ends[learned])
    if not parts or any(len(rows) < FEWEST for pair in parts for rows in pair):
        raise FolderError(f"{train}: expected a few years of prices of several tickers, found {len(known)} rows")
    rows = np.flatnonzero((table.asked >= 0) & (np.arange(len(outcome)) - table.first >= LEAST - 1))
    span = leaks.Span(table.day.astype("datetime64[D]"), ends.astype("datetime64[D]"))
    leaks.check(learned, rows, span, tell=run.overlap(same))
    for before, after in parts:
        leaks.check(learned[before], learned[after], span)
    epochs = (len(parts) + 1) * len(SEEDS) * (chart.EPOCHS + 2 * ticks.EPOCHS)
    task = progress.add_task("training", total=epochs)

    def learn_from(rows: Ints, name: str) -> tuple[Models, float]:
        bound = float(np.quantile(outcome[rows], WORST))
        adverse = (outcome[rows] <= bound).astype(np.int64)  # (row,)
        learnt = learn(seen.at(rows), adverse, lambda: progress.advance(task), run.keep and run.keep / name)
        return learnt, bound

    told = []
    for moment, (before, after) in zip(MOMENTS, parts, strict=True):
        models, bound = learn_from(learned[before], f"to-{moment:.0%}")
        happened = (outcome[learned[after]] <= bound).astype(np.int64)  # (row,)
        told.append(Told(tell(models, seen.at(learned[after])), happened, WORST))
    models, bound = learn_from(learned, "all")
    progress.update(task, completed=epochs)
    logits = tell(models, seen.at(rows))  # (row, member)
    guesses = {}
    for name, columns in STACKS.items():
        _, weigh = calibration.fit([part._replace(odds=part.odds[:, columns]) for part in told], WORST)
        guesses[name] = weigh(logits[:, columns])  # (row,)
        if name == "tocsin":
            earlier = weigh(np.concatenate([part.odds for part in told])[:, columns])  # (earlier,)
        if name == "chart":
            others = np.random.default_rng(SEEDS[0])
            redrawn = [chart.logits(one, seen.bars[rows], seen.average[rows], others) for one in models.charts]
            guesses["chart_redrawn"] = weigh(np.mean(redrawn, axis=0)[:, None])
    guesses["prevalence"] = np.full(len(rows), WORST)

    p_adverse = np.full(len(asked), WORST)
    p_adverse[table.asked[rows]] = guesses["tocsin"]
    out.parent.mkdir(parents=True, exist_ok=True)
    asked.select("ticker", date="written").with_columns(p_adverse=p_adverse).write_csv(out)
    judged = np.isfinite(outcome[rows])
    adverse = (outcome[rows][judged] <= bound).astype(np.int64)  # (judged,)
    month = table.day[rows][judged].astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)  # (judged,)
    found = measure(adverse, {n: p[judged] for n, p in guesses.items()}, month)
    if train.resolve() != test.resolve():
        return found
    p = np.concatenate([earlier, guesses["tocsin"][judged]])
    happened = np.concatenate([*(part.truth for part in told), adverse])
    at = np.concatenate([*(learned[after] for _, after in parts), rows[judged]])
    later = np.arange(len(at)) >= len(earlier)
    months = table.day[at].astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return found._replace(stream=Stream(table.day[at], ends[at], log_odds(p), happened == 0, later, months))


def walk(day: Ints, ends: Ints) -> list[tuple[Ints, Ints]]:
    """Return for each of `MOMENTS` which rows are learnt from, and which told: up to the next, or the last, moment.

    ``day`` (row,) is when a row is known, ``ends`` (row,) when its outcome is: that of no row that is learnt from lies
    within what is told.
    """
    days = np.unique(day)
    bounds = [*(int(days[int(len(days) * moment)]) for moment in MOMENTS if len(days)), int(days.max(initial=0)) + 1]
    return [
        (np.flatnonzero(ends < start), np.flatnonzero((day >= start) & (day < end)))
        for start, end in itertools.pairwise(bounds)
    ]


class Models(NamedTuple):
    """What has been learnt: regressions on the context and on the simple figures, and the networks, once a seed."""

    levels: Pipeline
    trailing: Pipeline
    charts: list[chart.Network]
    ticks: list[ticks.Encoder]
    numbers: list[ticks.Encoder]


def learn(seen: Seen, adverse: Ints, step: Callable[[], None], keep: Path | None = None) -> Models:
    """Return models that know whether rows were ``adverse`` (row,); ``step`` is called after each network's epoch.

    With ``keep``, networks that lie in that folder are not learnt again, and others are left there.
    """
    levels, trailing = (
        make_pipeline(StandardScaler(), LogisticRegression()).fit(x, adverse) for x in (seen.context, seen.simple)
    )
    known = levels.decision_function(seen.context).astype(np.float32)  # (row,)
    nothing = prior(len(adverse))  # (row,)
    models = Models(levels, trailing, [], [], [])

    def looked(seed: int) -> chart.Network:
        def fit() -> chart.Network:
            return chart.fit(seen.bars, seen.average, adverse, seed, step, every=EVERY, epochs=chart.EPOCHS)

        source = checkpoints.digest(seen.bars, seen.average, adverse, chart.EPOCHS)
        return checkpoints.once(keep and keep / f"chart-{seed}.pt", source, chart.Network, fit)

    def heard(name: str, bars: Singles, given: Singles, seed: int) -> ticks.Encoder:
        def fit() -> ticks.Encoder:
            return ticks.fit(BODY, bars, given, adverse, seed, EVERY // 2, step)

        source = checkpoints.digest(bars, given, adverse, BODY, ticks.EPOCHS)
        begin = partial(ticks.Encoder, BODY, bars.shape[2])
        return checkpoints.once(keep and keep / f"{name}-{seed}.pt", source, begin, fit)

    for seed in SEEDS:
        models.charts.append(looked(seed))
        models.ticks.append(heard("ticks", seen.ticks, known, seed))
        models.numbers.append(heard("numbers", seen.numbers, nothing, seed))
    return models


def prior(count: int) -> Singles:
    """Return the logit of `WORST` for each of ``count`` rows."""
    return np.full(count, np.log(WORST / (1 - WORST)), np.float32)


def tell(models: Models, seen: Seen) -> Floats:
    """Return logits (row, member) in the order of `Models`."""
    known = models.levels.decision_function(seen.context)  # (row,)
    given, nothing = known.astype(np.float32), prior(len(known))  # (row,) each
    told = [
        [known],
        [models.trailing.decision_function(seen.simple)],
        [chart.logits(model, seen.bars, seen.average) for model in models.charts],
        [ticks.logits(model, seen.ticks, given) for model in models.ticks],
        [ticks.logits(model, seen.numbers, nothing) for model in models.numbers],
    ]
    return np.stack([np.mean(member, axis=0) for member in told], 1)


def measure(adverse: Ints, guesses: dict[str, Floats], month: Ints) -> Outcome:
    """Return what ``guesses`` (row,) of ``adverse`` (row,) are worth; nothing where all rows are alike, or none."""
    if len(set(adverse.tolist())) < 2:
        return Outcome({})
    told = {name: np.stack([1 - p, p], 1) for name, p in guesses.items()}
    what = Judged(("usual", "adverse"), adverse, told, month)
    found = what.metrics(BINARY, SEEDS[0])
    for name in ("chart", "ticks"):
        found |= what.gain(f"gain over {name}", "auc", BINARY, "tocsin", name, SEEDS[0])
    return Outcome(found, what)
