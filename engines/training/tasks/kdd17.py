"""Adverse moves of stocks: how probable it is that the next 20 trading days are among the worst tenth for their risk.

A row's outcome is its log-return over the next 20 rows of its ticker, by adjusted closes, divided by its trailing
volatility: the standard deviation of the last 20 daily log-returns, times √20. It was adverse where that is at most the
10 % quantile of all outcomes (all tickers pooled) of the rows that were trained on. Rows whose 20 days lie not wholly
in the same folder have no outcome, and no row of training has one that reaches into what it is judged by.

Members learn from rows up to a moment and predict the rows after it, for several moments; from what they told so, a
logistic regression learns how much each weighs, and calibrates (stacking, in the order of time). Then members learn
anew from all rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from engines import bars as barlib
from engines import charts
from engines.bundle import Metric
from engines.training.measures import BINARY, judge
from engines.training.models import chart, ticks
from engines.training.tasks.tables import FolderError, read_table

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SEED = 0
AHEAD = 20  # rows that an outcome looks ahead, and back for its volatility
WORST = 0.1
PRICES = ("open", "high", "low", "close", "adj_close")
WINDOW = 60  # bars that the ticks' encoder sees
LEAST = WINDOW + 1  # bars of a ticker up to a row that models are asked about; before, the prevalence stands
EVERY = 5  # an epoch takes one row of so many: windows of neighbours are nearly the same
MOMENTS = (0.4, 0.6, 0.8)  # shares of the training dates after which members are asked about what follows
HELD_OUT = 0.2  # latest share of the dates that is predicted where a folder is to predict itself


class Table(NamedTuple):
    """Prices of both folders by ticker and date, one row a day.

    ``bars`` (row, 5) are adjusted for splits and dividends; ``first`` (row,) the first row of the ticker; ``day``
    (row,) days since 1970; ``asked`` (row,) the place in the folder to predict, -1 for rows of the other.
    """

    bars: Floats
    first: Ints
    day: Ints
    asked: Ints


class Seen(NamedTuple):
    """What models see of rows: the bars and average of charts, the numbers on them, the ticks' features, the context."""

    bars: Floats  # (row, 20, 5)
    average: Floats  # (row, 20)
    numbers: Singles  # (row, 20, 6)
    ticks: Singles  # (row, 60, 6)
    context: Singles  # (row, k)
    simple: Floats  # (row, 4)

    def at(self, rows: Ints | Mask) -> Seen:
        """Return some of the rows."""
        return Seen(*(part[rows] for part in self))


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
    ticker = table["ticker"].rle_id().to_numpy()  # (row,)
    first = np.searchsorted(ticker, ticker).astype(np.int64)  # (row,)
    return Table(
        adjusted.select("open", "high", "low", "close", "volume").to_numpy(),
        first,
        table["date"].to_numpy(),
        table["asked"].to_numpy(),
    )


def outcomes(table: Table) -> tuple[Floats, Ints]:
    """Return each row's outcome (row,), NaN where it has none, and the day it ends (row,)."""
    close = np.log(table.bars[:, 3])  # (row,)
    _, deviation = barlib.trailing(returns(table), table.first, AHEAD)  # (row,)
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
    """Return what models see of each row, known at its close."""
    moves, first = returns(table), table.first
    _, day = np.unique(table.day, return_inverse=True)  # (row,)
    known = np.isfinite(moves)
    market = np.bincount(day, np.where(known, moves, 0.0)) / np.maximum(np.bincount(day, known), 1)  # (day,)
    average, _ = barlib.trailing(table.bars[:, 3], first, charts.BARS)  # (row,)
    mean, deviation = {}, {}
    for length in (5, 20, 60, 250):
        mean[length], deviation[length] = barlib.trailing(moves, first, length)
    _, market_deviation = zip(*(barlib.trailing(market, np.zeros(len(market), np.int64), n) for n in (20, 60, 250)), strict=True)
    log = {length: np.log(np.maximum(deviation[length], 1e-6)) for length in deviation}
    mlog = [np.log(np.maximum(x, 1e-6))[day] for x in market_deviation]
    momentum = {n: mean[n] * np.sqrt(n) / np.maximum(deviation[60], 1e-6) for n in mean}
    simple = np.stack([log[20], momentum[5], momentum[20], momentum[60]], 1)  # (row, 4)
    context = np.stack([log[20], log[20] - log[60], log[60] - log[250], momentum[5], momentum[20], momentum[60], momentum[250],
       mlog[0], mlog[0]-mlog[1], mlog[1]-mlog[2]], 1)
    parts = []
    for rows in np.array_split(np.arange(len(moves)), max(1, len(moves) // 10_000)):
        bars = barlib.windows(table.bars, first, rows, charts.BARS)  # (row, 20, 5)
        line = barlib.windows(average, first, rows, charts.BARS)  # (row, 20)
        parts.append(
            Seen(
                bars,
                line,
                numbers(bars, line),
                barlib.features(
                    barlib.windows(table.bars, first, rows, WINDOW + 1),
                    barlib.windows(market[day], first, rows, WINDOW),
                ),
                np.nan_to_num(context[rows]).astype(np.float32),
                np.nan_to_num(simple[rows]),
            )
        )
    return Seen(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def numbers(bars: Floats, average: Floats) -> Singles:
    """Return what a chart of ``bars`` (row, 20, 5) shows, as numbers: prices, average, volume in [-1, 1], (row, 20, 6)."""
    prices = np.concatenate([bars[:, :, :4], average[:, :, None]], 2)  # (row, 20, 5)
    top = np.fmax.reduce(prices, (1, 2), keepdims=True)  # (row, 1, 1)
    bottom = np.fmin.reduce(prices, (1, 2), keepdims=True)  # (row, 1, 1)
    volume = bars[:, :, 4:]  # (row, 20, 1)
    most = np.fmax.reduce(volume, 1, keepdims=True)  # (row, 1, 1)
    share = np.concatenate([(prices - bottom) / np.fmax(top - bottom, 1e-9), volume / np.fmax(most, 1e-9)], 2)
    return np.nan_to_num(2 * share - 1).astype(np.float32)
