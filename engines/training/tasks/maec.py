"""Volatility after earnings calls, from past volatility, what was said and how it sounded.

What is forecast is the log of the standard deviation of the next 3, 7, 15 and 30 daily returns, the first after the
call left out. A ridge regression has four numbers of the price (`engines.calls.price_features`), the market's
volatility in the last three weeks (`engines.calls.market_levels`), and ten principal components each of the words'
TF-IDF and of the voices' summaries. All but the price are held down a hundred times harder: there are many calls to a
season and few seasons. Slopes are drawn half-way to their mean over horizons.

Each month of calls is forecast by what could be learnt before it: calls whose 30 returns were over (every target takes
deviations from the mean of these 30). Noise bounds what is reachable: with normal returns of known variance the squared
errors are a quarter of trigamma(n/2), which is 0.234, 0.083, 0.036 and 0.017, in the mean 0.092.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.progress import Progress
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from engines.bundle import Metric
from engines.calls import (
    DAYS,
    VOICE,
    closures,
    market_levels,
    price_features,
    squares_of_closes,
    squares_of_volatilities,
    trading_days,
    voice_summary,
)
from engines.training import leaks
from engines.training.ablation import fused
from engines.training.coverage import Stream
from engines.training.measures import Measure, judge
from engines.training.models.fusion import Head
from engines.training.tasks import Outcome, Run
from engines.training.tasks.tables import FolderError, read_table

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Strings = npt.NDArray[np.str_]

SEED = 0
HORIZONS = (3, 7, 15, 30)
TARGETS = tuple(f"target_logvol_{n}d" for n in HORIZONS)
PAST = tuple(f"past_logvol_{k}" for k in range(DAYS))
NAME = r"\d{8}_.+"

#: A target is known so many days after the call: the first return is left out, thirty follow.
CLOSED = max(HORIZONS) + 1
PENALTY = 10.0
DIRECTIONS = 10
#: What standardised price, market, words and voices are multiplied by: a tenth is a hundred times the penalty.
SIZES = (1.0, 0.1, 0.1, 0.1)
#: Days whose mean is the market's volatility now, and the slope that the market's is drawn to instead of 0: how much of
#: it lasts. Rolling origins over the five seasons of the set are as good with 0.6 to 1, and worse with 0.
RECENT = 15
LASTING = 0.8
#: Fewer calls are not learnt from.
LEAST = 100
#: Of a folder that forecasts itself, the first so much is learnt from only.
FIRST = 1 / 3
FOLDS = 5
#: Which parts each model has: price, market, words, voices.
MODELS = {"tocsin": (0, 1, 2, 3), "price": (0, 1), "price+text": (0, 1, 2), "price+audio": (0, 1, 3)}


class Calls(NamedTuple):
    """Calls in the table's order, NaN (or no text) where something is not known."""

    name: Strings  # (call,) YYYYMMDD_TICKER
    past: Floats  # (call, 30) log volatilities
    squares: Floats  # (call, 30), see engines.calls
    price: Floats  # (call,)
    text: Strings  # (call,)
    voice: Floats  # (call, 3 * 29 + 1)
    target: Floats  # (call, horizon)

    def take(self, rows: Ints) -> Calls:
        """Return some of the calls."""
        return Calls._make(column[rows] for column in self)


def read(folder: Path) -> Calls:
    """Return the calls of the tables that have a past or targets, or where there is none of all, with texts and voices.

    The past is past_logvol_0..29, or the 31 closes up to the call's day in columns called ``past_close...``.

    Raises
    ------
    FolderError
        There are no calls, or a call_id is not made of a date that there is and ticker.
    """
    rows = read_table(folder, "call_id").with_columns(pl.col("call_id").cast(pl.String))
    voice = {}
    if "sent_idx" in rows.columns:
        sentences = rows.filter(pl.col("sent_idx").is_not_null()).sort("sent_idx")
        rows = rows.filter(pl.col("sent_idx").is_null())
        for (name,), said in sentences.group_by("call_id"):
            voice[name] = voice_summary(_numbers(said, VOICE))
    closes = sorted((c for c in rows.columns if re.fullmatch(r"past_close\D*\d*", c)), key=_last_number)
    told = [c for c in rows.columns if c in PAST or c in TARGETS or c in closes]
    if told:
        named = rows.filter(pl.any_horizontal(pl.col(told).is_not_null()))["call_id"].unique(maintain_order=True)
        rows = named.to_frame().join(rows, on="call_id", how="left", maintain_order="left_right")
    rows = rows.group_by("call_id", maintain_order=True).agg(pl.all().drop_nulls().first())
    name = rows["call_id"].to_numpy().astype(np.str_)
    if not len(name) or not all(re.fullmatch(NAME, one) for one in name):
        raise FolderError(f"{folder}: expected call_id like 20150225_LMAT, found {name[:3].tolist()}")
    try:
        _dates(name)
    except ValueError as error:
        raise FolderError(f"{folder}: expected call_id to begin with a day such as 20150225: {error}") from error

    past = _numbers(rows, PAST)
    squares, price = squares_of_volatilities(past), _numbers(rows, ("current_adjclose_price",))[:, 0]
    if closes:
        written = [re.findall(r"\d[\d.eE+-]*", " ".join(map(str, row))) for row in rows.select(closes).iter_rows()]
        close = np.array([row[-DAYS - 1 :] if len(row) > DAYS else [np.nan] * (DAYS + 1) for row in written], float)
        found = squares_of_closes(close)
        past = np.where(np.isnan(past), _volatilities(found), past)
        squares = np.where(np.isnan(squares), found, squares)
        price = np.where(np.isnan(price), close[:, -1], price)
    silence = np.full(3 * len(VOICE) + 1, np.nan)
    return Calls(
        name,
        past,
        squares,
        price,
        rows["text"].fill_null("").to_numpy().astype(np.str_) if "text" in rows.columns else np.full(len(name), ""),
        np.array([voice.get(one, silence) for one in name]),
        _numbers(rows, TARGETS),
    )


def _dates(name: Strings) -> npt.NDArray[np.datetime64]:
    """Return the day (call,) of calls by their names."""
    return np.array([f"{one[:4]}-{one[4:6]}-{one[6:8]}" for one in name], "datetime64[D]")


def _last_number(column: str) -> int:
    return int((re.findall(r"\d+", column) or ["0"])[-1])


def _numbers(rows: pl.DataFrame, columns: tuple[str, ...]) -> Floats:
    """Return columns (row, column) as numbers, NaN for what is empty, not finite or not there."""
    unknown = pl.repeat(None, len(rows), dtype=pl.Float64, eager=True)
    found = [rows[c].cast(pl.Float64, strict=False) if c in rows.columns else unknown for c in columns]
    numbers = np.column_stack([column.fill_null(np.nan).to_numpy() for column in found])
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _volatilities(squares: Floats) -> Floats:
    sums = np.cumsum(squares[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(0.5 * np.log(np.maximum(sums / np.arange(DAYS, 0, -1), 1e-12)))


def run(train: Path, test: Path, out: Path, run: Run) -> Outcome:
    """Learn the calls of ``train``, write call_id and four forecasts for the calls of ``test`` to ``out``; see `Task`.

    Where both are one folder, the first third of its calls is learnt from only and the others are forecast month by
    month. Intervals are of 500 bootstraps over weeks.

    Returns
    -------
    The mean squared error over the horizons of the four `MODELS`, of the volatility of the past 30 days, of that
    without the call's day and of the mean; how much text and audio take off the price's error; and the same, "of other
    companies", where each company's calls are forecast by what was learnt from others. "tocsin mse_3d" and so on are
    the horizons.

    Raises
    ------
    FolderError
        There are no calls in a folder, or fewer than 100 with targets in ``train``.
    """
    progress = run.progress
    task = progress.add_task("calls", total=4)
    calls, asked = read(train), read(test)
    same = train.resolve() == test.resolve()
    if same:
        dates = np.array([one[:8] for one in calls.name])
        ask = dates > np.sort(dates)[int(len(dates) * FIRST)]
    else:
        rest = calls.take(np.flatnonzero(~np.isin(calls.name, asked.name)))
        ask = np.arange(len(rest.name) + len(asked.name)) >= len(rest.name)
        calls = Calls._make(np.concatenate(pair) for pair in zip(rest, asked, strict=True))
    learn = ~np.isnan(calls.target).any(1) & (same | ~ask)
    if learn.sum() < LEAST:
        raise FolderError(f"{train}: expected at least {LEAST} calls with targets, found {learn.sum()}")
    progress.advance(task)

    date = _dates(calls.name)
    day, ticker = trading_days(date), np.array([one[9:] for one in calls.name])
    span = _span(date)
    basis = _known(learn, ask, day, day[ask].min(), same)
    if basis.sum() < LEAST // 2:
        raise FolderError(
            f"{train}: expected at least {LEAST // 2} calls {CLOSED} trading days or more before those to forecast,"
            f" found {basis.sum()}"
        )
    leaks.check(np.flatnonzero(basis), np.flatnonzero(ask), span, tell=run.overlap(same))
    levels = market_levels(day, calls.squares)
    market = levels[:, 1 : RECENT + 1].mean(1)[:, None]  # (call, 1)
    parts = (
        price_features(ticker, day, calls.squares, levels, calls.price),
        market,
        _words(calls.text, basis),
        _voices(calls.voice, basis),
    )
    progress.advance(task)
    month = date.astype("datetime64[M]").astype(np.int64)

    def forecasts(fold: Ints) -> list[Floats]:
        """Return each model's forecasts (call, horizon); those of a fold are learnt from the others."""
        found = [np.full(calls.target.shape, np.nan) for _ in MODELS]
        for block in np.unique(np.column_stack([month, fold])[ask], axis=0):
            rows = np.flatnonzero(ask & (month == block[0]) & (fold == block[1]))
            known = _known(learn & ((fold != block[1]) | (block[1] < 0)), ask, day, day[rows].min(), same)
            if same:
                leaks.check(np.flatnonzero(known), rows, span)
            for told, which in zip(found, MODELS.values(), strict=True):
                inputs = np.hstack([SIZES[i] * _standard(parts[i], known) for i in which])
                told[rows] = LASTING * market[rows] + forecast(inputs, calls.target - LASTING * market, known, rows)
        return found

    told = dict(zip(MODELS, forecasts(np.full(len(day), -1)), strict=True))
    told |= _fusions(parts, calls.target - LASTING * market, LASTING * market, learn, ask, day, date, progress, same)
    progress.advance(task)
    out.parent.mkdir(parents=True, exist_ok=True)
    columns = dict(zip(TARGETS, told["tocsin"][ask].T, strict=True))
    pl.DataFrame({"call_id": calls.name[ask], **columns}).write_csv(out)

    rows = np.flatnonzero(ask & ~np.isnan(calls.target).any(1))
    if not len(rows):
        return Outcome({})
    companies, company = np.unique(ticker, return_inverse=True)
    fold = np.random.default_rng(SEED).permutation(len(companies))[company] % FOLDS
    told |= dict(zip((f"{name} of other companies" for name in MODELS), forecasts(fold), strict=True))
    mean = calls.target[basis].mean(0)
    trailing = {"trailing 30 days": calls.past[:, 0], "trailing before the day": _volatilities(calls.squares)[:, 1]}
    told |= {
        name: np.where(np.isnan(one)[:, None], mean, one[:, None] + np.zeros(len(HORIZONS)))
        for name, one in trailing.items()
    }
    told["mean"] = np.tile(mean, (len(day), 1))
    progress.advance(task)
    week = (date.astype(np.int64) + 3) // 7
    found = measure({name: (one - calls.target)[rows] ** 2 for name, one in told.items()}, week[rows])
    if not same:
        return Outcome(found)
    error = np.abs(told["tocsin"] - calls.target)[rows, -1]
    return Outcome(found, stream=stream(date[rows], error, week[rows]))


def stream(date: npt.NDArray[np.datetime64], error: Floats, week: Ints) -> Stream:
    """Return the errors (call,) of the longest horizon; the later half of the calls is judged."""
    day = date.astype(np.int64)
    # Holidays are no trading days: so long a stretch has at most three.
    settles = np.busday_offset(date, CLOSED + 3, roll="forward").astype(np.int64)
    quiet = np.ones(len(day), np.bool_)
    return Stream(day, settles, error, quiet, day > int(np.median(day)), week, of_errors=True)


def _fusions(
    parts: Sequence[Floats],
    left: Floats,
    market: Floats,
    learn: Bools,
    ask: Bools,
    day: Ints,
    date: npt.NDArray[np.datetime64],
    progress: Progress,
    same: bool,
) -> dict[str, Floats]:
    """Return forecasts (call, horizon) of what the market leaves, (call, horizon), fused early, mid and late.

    See `engines.training.ablation`. They learn anew each quarter, where the ridge does each month.
    """
    heads = [Head(name, "regression") for name in TARGETS]
    quarter = date.astype("datetime64[M]").astype(np.int64) // 3
    told: dict[str, Floats] = {}
    for block in np.unique(quarter[ask]):
        rows = np.flatnonzero(ask & (quarter == block))
        known = _known(learn, ask, day, day[rows].min(), same)
        if same:
            leaks.check(np.flatnonzero(known), rows, _span(date))
        learnt = np.flatnonzero(known)[np.argsort(day[known], kind="stable")]
        level, spread = left[known].mean(0), left[known].std(0)  # (horizon,)
        order = np.concatenate([learnt, rows])
        modalities = {}
        for name, part in zip(("price", "market", "text", "audio"), parts, strict=True):
            columns = _standard(part, known)
            columns[np.isnan(part).all(1)] = np.nan
            modalities[name] = columns[order]
        truth = np.where(known[:, None], (left - level) / spread, np.nan)[order]
        found = fused(
            modalities,
            heads,
            truth,
            np.arange(len(learnt)),
            len(learnt) + np.arange(len(rows)),
            seed=SEED,
            progress=progress,
        )
        for name, said in found.items():
            told.setdefault(name, np.full(left.shape, np.nan))[rows] = market[rows] + level + spread * said
    return told


def forecast(inputs: Floats, target: Floats, known: Bools, rows: Ints) -> Floats:
    """Return forecasts (row, horizon) of some calls from inputs (call, input), learnt from those that are known."""
    learnt, asked = inputs[known], inputs[rows]  # (known, input), (row, input)
    slopes = Ridge(PENALTY).fit(learnt, target[known]).coef_  # (horizon, input)
    slopes = (slopes + slopes.mean(0)) / 2
    return np.asarray(target[known].mean(0) + (asked - learnt.mean(0)) @ slopes.T)


def measure(errors: dict[str, Floats], week: Ints) -> dict[str, Metric]:
    """Return the means of squared errors (call, horizon) by name, and what text and audio take off them."""
    means = {f"{name} mse": error.mean(1) for name, error in errors.items()}
    means |= {f"tocsin mse_{n}d": errors["tocsin"][:, i] for i, n in enumerate(HORIZONS)}
    for others in ("", " of other companies"):
        price = means[f"price{others} mse"]
        means |= {
            f"gain by text{others} mse": price - means[f"price+text{others} mse"],
            f"gain by audio{others} mse": price - means[f"price+audio{others} mse"],
            f"gain by both{others} mse": price - means[f"tocsin{others} mse"],
        }
    table = np.column_stack(list(means.values()))  # (call, measure)

    def column(at: int) -> Measure:
        return lambda _, drawn: float(drawn[:, at].mean())

    return judge({name: column(at) for at, name in enumerate(means)}, np.arange(len(table)), table, week, SEED)


def _known(learn: Bools, ask: Bools, day: Ints, today: int, same: bool) -> Bools:
    """Return the calls whose targets are known today; of two folders of one time, where they are too few, all."""
    closed = learn & (day + CLOSED <= today)
    return closed if same or closed.sum() >= LEAST else learn & ~ask


def _span(date: npt.NDArray[np.datetime64]) -> leaks.Span:
    """Return when calls (call,) are told, by the close of their day or the next on which there is one, and when known.

    By the calendar's own steps: no count of `trading_days`, whose use is what is checked.
    """
    years = range(int(str(date.min())[:4]) - 1, int(str(date.max())[:4]) + 2)
    shut = [day for year in years for day in closures(year)]
    told, known = (np.busday_offset(date, days, roll="forward", holidays=shut) for days in (0, CLOSED))
    return leaks.Span(told, known)


def _standard(values: Floats, known: Bools) -> Floats:
    """Return values (call, k) in standard deviations of the known calls, at most 4, and 0 for what is not known."""
    there = ~np.isnan(values)
    count = np.maximum(there[known].sum(0), 1)
    off = values - np.where(there, values, 0.0)[known].sum(0) / count
    spread = np.sqrt((np.where(there, off, 0.0)[known] ** 2).sum(0) / count)
    return np.where(there, np.clip(off / np.maximum(spread, 1e-9), -4, 4), 0.0)


def _words(texts: Strings, known: Bools) -> Floats:
    """Return directions (call, 10) in which the known calls' words differ most, NaN where there is no text."""
    found = np.full((len(texts), DIRECTIONS), np.nan)
    there = texts != ""
    if (there & known).sum() >= LEAST:
        bag = TfidfVectorizer(
            sublinear_tf=True, min_df=5, max_df=0.9, ngram_range=(1, 2), token_pattern=r"[a-z][a-z'-]+"
        )
        axes = PCA(DIRECTIONS, svd_solver="arpack", random_state=SEED).fit(bag.fit_transform(texts[there & known]))
        found[there] = axes.transform(bag.transform(texts[there]))
    return found


def _voices(voices: Floats, known: Bools) -> Floats:
    """Return directions (call, 10) in which the known calls' voices differ most, NaN where there are none."""
    found = np.full((len(voices), DIRECTIONS), np.nan)
    there = ~np.isnan(voices).all(1)
    if (there & known).sum() >= LEAST:
        even = _standard(voices, known)
        axes = PCA(DIRECTIONS, svd_solver="full").fit(even[there & known])
        found[there] = axes.transform(even[there])
    return found
