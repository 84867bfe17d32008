"""Probability that a stock's next day is large: daily bars and the day's posts, stacked.

Large is a next day whose |log return| of adjusted closes exceeds `engines.training.fusion.LARGE` standard deviations of
the last 60. Predictions are ``ticker,date,p_move``, where ``date`` is the day at whose close (16:00 in New York) one
predicts, and the move is the one from that close to the next: all days of the price table that posts cover, the last
one too. Only posts before that close are read. A folder holds a table of prices and one of posts; days before its own
are taken from the training folder for tickers that are there. Where train and test are one folder, the first four
fifths of the days predict the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.progress import Progress
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from engines.training import leaks
from engines.training.ablation import fused
from engines.training.calibration import log_odds
from engines.training.coverage import Stream
from engines.training.fusion import LARGE, TRAILING
from engines.training.measures import BINARY, Judged
from engines.training.models.fusion import Head
from engines.training.stacking import Learner, Member, Stacked, later_folds, pair, stacked
from engines.training.tasks import Outcome, Run
from engines.training.tasks.tables import FolderError, read_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEED = 0
FOLDS = 3
HELD_OUT = 0.2
LEAST = 30
#: Directions in which posts' words differ most, as fusions see them.
WORDS = 32
#: The day after the last one, in days since 1970.
NEVER = np.iinfo(np.int32).max
PRICES = ("ticker", "date", "open", "high", "low", "close", "adj_close", "volume")
POSTS = ("ticker", "created_at", "text")
#: Reports come each quarter: days before the next one, from and to, whose largest surprise is told.
LAGS = ((62, 64), (58, 68), (120, 132), (183, 195), (250, 254), (246, 258))
REPORTS = r"\b(earnings?|eps|quarter\w*|q[1-4]|results|guidance|revenues?|estimates?|conference call|whisper)\b"
SOON = r"\b(tomorrow|tmrw?|after the (bell|close)|after ?hours|before the (bell|open)|pre ?market|this week|ahead of)\b"
#: The ticker's own tag and the set's masks for links and handles are no words of the language.
MASKS = re.compile(r"AT_USER|URL|\$\s?[a-z_.]+")


@dataclass(frozen=True)
class Days:
    """One row a stock and day: numbers of its bars (n, B) and its posts (n, T), the day's posts as one text.

    ``day`` (n,) is days since 1970, ``next`` (n,) the next one with a price, ``large`` (n,) whether that one is (-1
    unknown), ``past`` (n, 2) what the baseline of past volatility sees.
    """

    ticker: list[str]
    date: list[str]
    day: Ints
    next: Ints
    bars: Floats
    posts: Floats
    text: list[str]
    past: Floats
    large: Ints

    def take(self, rows: Ints) -> Days:
        """Return some of the rows."""
        ticker, date, text = ([names[i] for i in rows] for names in (self.ticker, self.date, self.text))
        numbers = (self.bars[rows], self.posts[rows], text, self.past[rows], self.large[rows])
        return Days(ticker, date, self.day[rows], self.next[rows], *numbers)


def run(train: Path, test: Path, out: Path, run: Run) -> Outcome:
    """Train on ``train``, write ``ticker,date,p_move`` for the days of ``test`` to ``out``; see `Task`.

    Returns
    -------
    Measures of bars and posts, of bars alone, of posts alone, of a logistic regression on past volatility, and of
    prevalence, and the AUC that posts add to bars; intervals draw whole weeks.

    Raises
    ------
    FolderError
        A folder lacks prices or posts, or ``train`` has not enough large days to learn.
    """
    prices, posts = read(train)
    known = days(prices, posts)
    same = train.resolve() == test.resolve()
    if same:
        first = int(np.quantile(known.day, 1 - HELD_OUT))
        # A label that reaches into the days to predict is not learnt from.
        asked, known = known.take(np.flatnonzero(known.day >= first)), known.take(np.flatnonzero(known.next < first))
    else:
        later, other = read(test)
        before = prices.join(later, on=["ticker", "date"], how="anti")
        asked = days(pl.concat([before, later]), other)
        # The others lend their past, and the market its mean: they are not asked for.
        rows = set(zip(later["ticker"], later["date"].cast(pl.String), strict=True))
        asked = asked.take(np.flatnonzero([at in rows for at in zip(asked.ticker, asked.date, strict=True)]))
    known = known.take(np.flatnonzero(known.large >= 0))
    if min(np.bincount(known.large, minlength=2)) < LEAST or not asked.date:
        raise FolderError(
            f"{train}: expected {LEAST} large days or more (and {TRAILING} days of prices before them), and days with"
            f" posts in {test}; found {int((known.large == 1).sum())} and {len(asked.date)}"
        )
    told = predict(known, asked, run.progress, run.overlap(same))
    out.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"ticker": asked.ticker, "date": asked.date, "p_move": told.told["tocsin"][:, 1]}).write_csv(out)
    found = measure(asked, told.told)
    return found._replace(stream=stream(known, asked, told)) if train.resolve() == test.resolve() else found


def read(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a folder's prices and its posts, each with the day of the close (`date`) that it belongs to.

    Raises
    ------
    FolderError
        One of them is not there, or holds what is no date or number.
    """
    prices, posts = read_table(folder, *PRICES).select(PRICES), read_table(folder, *POSTS).select(POSTS)
    try:
        prices = prices.with_columns(
            pl.col("ticker").cast(pl.String),
            pl.col("date").cast(pl.String).str.slice(0, 10).str.to_date(),
            pl.col(PRICES[2:]).cast(pl.Float64),
        )
        posts = posts.with_columns(pl.col("ticker", "text").cast(pl.String))
        if posts.schema["created_at"] == pl.String:
            posts = posts.with_columns(pl.col("created_at").str.to_datetime(time_zone="UTC"))
    except pl.exceptions.PolarsError as error:
        raise FolderError(f"{folder}: expected dates such as 2015-06-01, and numbers: {error}") from error
    here = pl.col("created_at").dt.convert_time_zone("America/New_York")
    # What comes at or after the close is for the next one.
    posts = posts.with_columns(date=(here + pl.duration(hours=8)).dt.date(), late=here.dt.hour().is_between(14, 15))
    return prices.unique(["ticker", "date"]), posts


def days(prices: pl.DataFrame, posts: pl.DataFrame) -> Days:
    """Return the days that posts cover, each with what was known at its close, and whether the next one was large."""
    bars = of_bars(prices)
    said = of_posts(bars.select("ticker", "date"), posts)
    first, last = posts["date"].min(), posts["date"].max()
    whole = bars.join(said, on=["ticker", "date"], how="left", maintain_order="left").sort("date", "ticker")
    whole = whole.filter(pl.col("date").is_between(first, last))
    bar_names = [name for name in whole.columns if name.startswith("bar_")]
    post_names = [name for name in whole.columns if name.startswith("post_")]
    return Days(
        ticker=whole["ticker"].to_list(),
        date=whole["date"].cast(pl.String).to_list(),
        day=whole["date"].cast(pl.Int32).to_numpy().astype(np.int64),
        next=whole["next"].cast(pl.Int32).fill_null(NEVER).to_numpy().astype(np.int64),
        bars=_numbers(whole, bar_names),
        posts=_numbers(whole, post_names),
        text=whole["text"].fill_null("").to_list(),
        past=_numbers(whole, ["bar_std5", "bar_deviation"]),
        large=whole["large"].cast(pl.Int64).fill_null(-1).to_numpy(),
    )


def of_bars(prices: pl.DataFrame) -> pl.DataFrame:
    """Return ticker, date, the columns ``bar_*`` that a day's close tells, ``next`` and ``large`` (null: not known)."""
    table = prices.sort("ticker", "date").with_columns(
        # Splits would look like crashes: prices are adjusted as a whole, by the day's own factor.
        move=pl.col("adj_close").log().diff().over("ticker"),
        gap=((pl.col("open") * pl.col("adj_close") / pl.col("close")).log() - pl.col("adj_close").log().shift(1)).over(
            "ticker"
        ),
        range=(pl.col("high") / pl.col("low")).log(),
        traded=pl.col("volume").log1p(),
        at=pl.int_range(pl.len()).over("ticker"),
    )
    table = table.with_columns(_std("move", TRAILING).clip(lower_bound=1e-6).alias("deviation"))
    deviation, move = pl.col("deviation"), pl.col("move")
    table = table.with_columns(
        surprise=move.abs() / deviation.shift(1).over("ticker"),
        bar_move=move / deviation,
        bar_size=move.abs() / deviation,
        bar_gap=pl.col("gap").abs() / deviation,
        bar_std5=(_std("move", 5) / deviation + 1e-3).log(),
        bar_std20=_std("move", 20) / deviation,
        bar_std250=_std("move", 250) / deviation,
        bar_max5=move.abs().rolling_max(5, min_samples=1).over("ticker") / deviation,
        bar_deviation=deviation.log(),
        bar_range=pl.col("range") / _mean("range", TRAILING),
        bar_range5=_mean("range", 5) / _mean("range", TRAILING),
        bar_volume=pl.col("traded") - _mean("traded", TRAILING),
        bar_volume5=_mean("traded", 5) - _mean("traded", TRAILING),
        large=pl.when(pl.col("at") >= TRAILING).then(move.shift(-1).over("ticker").abs() > LARGE * deviation),
    )
    shock = pl.when(pl.col("surprise") > 3).then(pl.col("at")).forward_fill().over("ticker")
    lags = [
        # Counted from the next day, whose move is asked for.
        pl.col("surprise").rolling_max(to - since + 1, min_samples=1).shift(since - 1).over("ticker").alias(f"bar_{to}")
        for since, to in LAGS
    ]
    return table.with_columns(
        *lags,
        next=pl.col("date").shift(-1).over("ticker"),
        bar_since=(pl.col("at") - shock).clip(upper_bound=150),
        bar_market=pl.col("surprise").mean().over("date"),
        bar_market_std5=pl.col("bar_std5").mean().over("date"),
        bar_weekday=pl.col("date").dt.weekday(),
        bar_season=(pl.col("date") - pl.col("date").dt.truncate("1q")).dt.total_days(),
    ).select("ticker", "date", "next", "large", pl.col("^bar_.*$"))


def of_posts(at: pl.DataFrame, posts: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of ``at`` (ticker, date) with columns ``post_*`` and the ``text`` of posts until the close."""
    plain = pl.col("text").str.to_lowercase()
    by_close = (
        posts.sort("date")
        .join_asof(
            at.sort("date").with_columns(close=pl.col("date")),
            on="date",
            by="ticker",
            strategy="forward",
            check_sortedness=False,
        )
        .drop("date")
        .drop_nulls("close")
        .sort("created_at")
        .group_by("ticker", date=pl.col("close"))
        .agg(
            count=pl.len().cast(pl.Float64),
            late=pl.col("late").sum().cast(pl.Float64),
            reports=plain.str.contains(REPORTS).sum().cast(pl.Float64),
            soon=plain.str.contains(SOON).sum().cast(pl.Float64),
            both=(plain.str.contains(REPORTS) & plain.str.contains(SOON)).sum().cast(pl.Float64),
            text=pl.col("text").str.join(" \n "),
        )
    )
    counts = ("count", "late", "reports", "soon", "both")
    table = at.join(by_close, on=["ticker", "date"], how="left").sort("ticker", "date")
    table = table.with_columns(pl.col(*counts).fill_null(0.0))
    count = pl.col("count")
    return table.select(
        "ticker",
        "date",
        "text",
        *(pl.col(name).log1p().alias(f"post_{name}") for name in counts),
        *((pl.col(name) / (count + 1)).alias(f"post_{name}_share") for name in counts[1:]),
        *(
            ((pl.col(name) + 1) / (_mean(name, 20) + 1)).log().alias(f"post_{name}_burst")
            for name in ("count", "reports")
        ),
        *(pl.col(name).rolling_sum(3, min_samples=1).over("ticker").alias(f"post_{name}3") for name in counts[2:]),
    )


def predict(known: Days, asked: Days, progress: Progress, overlap: Callable[[str], None] | None = None) -> Stacked:
    """Return what contenders say of ``asked``.

    They are "tocsin", "bars", "posts" (each a stack), fusions of bars, posts and words with and without each of them
    (see `engines.training.ablation`), "past volatility" and "prevalence".

    Raises
    ------
    LeakError
        A move that is known reaches into the days that are asked for, and ``overlap`` is not there to be told.
    """
    n = len(known.day)
    learn, rows = np.arange(n), n + np.arange(len(asked.day))
    bars, posts = np.vstack([known.bars, asked.bars]), np.vstack([known.posts, asked.posts])
    truth = known.large
    members = {
        "bars, trees": _TREES.on(bars, truth),
        "bars, logistic": _LOGISTIC.on(bars, truth),
        "posts, trees": _TREES.on(posts, truth),
        "words": _words([*known.text, *asked.text], truth),
        "bars and posts, trees": _TREES.on(np.hstack([bars, posts]), truth),
        "bars and posts, logistic": _LOGISTIC.on(np.hstack([bars, posts]), truth),
    }
    alone = ("bars, trees", "bars, logistic")
    stacks = {
        # Posts' own models are not in it: with them it was worse where it was looked at, on the last fifth of the days.
        "tocsin": (*alone, "bars and posts, trees", "bars and posts, logistic"),
        "bars": alone,
        "posts": ("posts, trees", "words"),
    }
    bar = progress.add_task("days", total=len(members) * (FOLDS + 1))
    folds = later_folds(learn, known.day, known.next, FOLDS)
    day, ends = (np.append(a, b).astype("datetime64[D]") for a, b in ((known.day, asked.day), (known.next, asked.next)))
    leaks.check(learn, rows, leaks.Span(day, ends), tell=overlap)
    for before, after in folds:
        leaks.check(before, after, leaks.Span(day, ends))
    found = stacked(members, truth, learn, rows, folds, lambda: progress.advance(bar), stacks)
    past = _LOGISTIC.on(np.vstack([known.past, asked.past]), truth)(learn, rows)
    told = found.told | _fusions(known, asked, progress)
    baselines = {"past volatility": pair(past), "prevalence": pair(np.full(len(rows), truth.mean()))}
    return found._replace(told={name: p for name, p in told.items() if name not in members} | baselines)


def stream(known: Days, asked: Days, told: Stacked) -> Stream:
    """Return the stack's log odds: those of ``known`` that it has weighed, then those of ``asked``."""
    judged = asked.large >= 0  # (asked,)
    day = np.concatenate([known.day[told.weighed], asked.day[judged]])
    p = np.concatenate([told.unseen["tocsin"], told.told["tocsin"][judged]])[:, 1]
    large = np.concatenate([known.large[told.weighed], asked.large[judged]])
    later = np.arange(len(day)) >= len(told.weighed)
    # A day's move is known at the next close.
    days = np.append(np.unique(np.concatenate([known.day, asked.day])), asked.day.max() + 1)
    return Stream(day, days[np.searchsorted(days, day) + 1], log_odds(p), large == 0, later, (day + 3) // 7)


def _fusions(known: Days, asked: Days, progress: Progress) -> dict[str, Floats]:
    order = np.argsort(known.day, kind="stable")
    n = len(known.day)
    rows = np.concatenate([order, n + np.arange(len(asked.day))])
    vectorizer = TfidfVectorizer(min_df=20, sublinear_tf=True, max_features=30_000)
    plain = [MASKS.sub(" ", text) for text in [*known.text, *asked.text]]
    counted = vectorizer.fit(plain[:n]).transform(plain)
    with np.errstate(divide="ignore", invalid="ignore"):  # texts that are all alike have no variance to explain
        directions = TruncatedSVD(min(WORDS, counted.shape[1]), random_state=SEED).fit(counted[:n])
    words = directions.transform(counted)  # (row, at most WORDS)
    words[[not text for text in plain]] = np.nan
    modalities = {
        "bars": np.vstack([known.bars, asked.bars]),
        "posts": np.vstack([known.posts, asked.posts]),
        "words": words,
    }
    truth = np.concatenate([known.large, asked.large]).astype(np.float64)[:, None]
    truth[n:] = np.nan
    odds = fused(
        {name: columns[rows] for name, columns in modalities.items()},
        [Head("large", "binary")],
        truth[rows],
        np.arange(n),
        n + np.arange(len(asked.day)),
        seed=SEED,
        progress=progress,
    )
    return {name: pair(1 / (1 + np.exp(-found[:, 0]))) for name, found in odds.items()}


def measure(asked: Days, told: dict[str, Floats]) -> Outcome:
    """Return the measures over the days whose next one is known, empty where they are all of a kind."""
    rows = np.flatnonzero(asked.large >= 0)
    truth, weeks = asked.large[rows], (asked.day[rows] + 3) // 7
    if len(np.unique(truth)) < 2:
        return Outcome({})
    what = Judged(("small", "large"), truth, {name: p[rows] for name, p in told.items()}, weeks)
    return Outcome(what.metrics(BINARY, SEED) | what.gain("gain by posts", "auc", BINARY, "tocsin", "bars", SEED), what)


def _words(texts: list[str], truth: Ints) -> Member:
    plain = [MASKS.sub(" ", text) for text in texts]

    def tell(learn: Ints, rows: Ints) -> Floats:
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), min_df=20, sublinear_tf=True, max_features=30_000),
            LogisticRegression(C=0.05, max_iter=500),
        ).fit([plain[i] for i in learn], truth[learn])
        return np.asarray(model.predict_proba([plain[i] for i in rows])[:, 1], np.float64)

    return tell


_TREES = Learner(
    lambda seed: make_pipeline(
        # Trees refuse a column that is nowhere known, as last year's is where a folder has no last year.
        SimpleImputer(strategy="constant", fill_value=-99.0, keep_empty_features=True),
        HistGradientBoostingClassifier(
            learning_rate=0.04,
            max_iter=150,
            max_leaf_nodes=8,
            min_samples_leaf=100,
            l2_regularization=20,
            max_features=0.3,
            random_state=seed,
        ),
    ),
    seeds=2,
)
_LOGISTIC = Learner(
    lambda _: make_pipeline(
        SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression(C=0.01, max_iter=500)
    )
)


def _std(name: str, days: int) -> pl.Expr:
    return pl.col(name).rolling_std(days, min_samples=min(days, 5), ddof=0).over("ticker")


def _mean(name: str, days: int) -> pl.Expr:
    return pl.col(name).rolling_mean(days, min_samples=1).over("ticker")


def _numbers(table: pl.DataFrame, names: list[str]) -> Floats:
    numbers = table.select(pl.col(names).cast(pl.Float64).fill_null(np.nan)).to_numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)
