"""Streams to judge drift detectors on: real values, spliced where it is known.

A source has pools of real values, in their order, each of one *regime*. A stream of a regime is put together of
blocks of its pool, each from a random place (the stationary bootstrap of Politis and Romano, 1994): however long,
nothing changes in it, and within blocks its values hang together as they did. A splice goes from one regime to
another, at once, little by little, or to and fro. What thresholds are fixed on (`tuned`) are pools of other stocks,
coins, machines, weeks and authors than those judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.linear_model import LogisticRegression

from engines.bundle import DEFAULT, Bundle
from engines.text import TextEncoder

Pool = npt.NDArray[np.floating]  # (n,) or, for texts, (n, dim)
Form = Literal["abrupt", "gradual", "recurring"]
FORMS: tuple[Form, ...] = ("abrupt", "gradual", "recurring")

BEFORE = (600, 1000)  # values before the first change, drawn from
HORIZON = 500  # values after a change in which it is to be found
RAMP = 250  # values over which a gradual one comes
TURNS = 3  # changes of a recurring one
#: Two regimes are two where their distributions are this far apart (Kolmogorov and Smirnov); of errors, their rates.
APART = 0.5
ERRORS_APART = 0.25
TEXTS = 300  # of a pool


@dataclass(frozen=True)
class Source:
    """Pools that thresholds are fixed on, and pairs of pools, before and after, that are judged; ``block`` is the mean
    length of a block, in values.
    """

    name: str
    block: float
    tuned: Sequence[Pool]
    judged: Sequence[tuple[Pool, Pool]]
    errors: bool = False


class Splice(NamedTuple):
    """A stream's values and its changes, each from where it begins to where it should have been found, half-open."""

    values: Pool
    changes: tuple[tuple[int, int], ...]


def stable(pool: Pool, block: float, rng: np.random.Generator) -> Iterator[np.floating]:
    """Yield a stream of one regime without end."""
    while True:
        at = int(rng.integers(len(pool)))
        yield from pool[np.arange(at, at + int(rng.geometric(1 / block))) % len(pool)]


def spliced(form: Form, before: Pool, after: Pool, block: float, rng: np.random.Generator) -> Splice:
    """Return a stream that goes from the regime of ``before`` to that of ``after``."""
    first = int(rng.integers(*BEFORE))
    ends = [first + HORIZON * turn for turn in range(TURNS + 1 if form == "recurring" else 2)]
    at = np.arange(ends[-1])
    ramp = np.clip((at - first) / RAMP, 0, 1)
    share = (
        ramp if form == "gradual" else np.searchsorted(ends, at, "right") % 2
    )  # (n,): the chance of a value of after
    regimes = stable(before, block, rng), stable(after, block, rng)
    values = [next(regimes[int(chosen)]) for chosen in rng.random(len(at)) < share]
    return Splice(np.array(values), tuple(pairwise(ends)))


def sources(data: Path, cache: Path) -> list[Source]:
    """Return the sources that are made of the folders in ``data``; embeddings are kept in ``cache``."""
    return [texts(data, cache), days(data), trades(data), series(data), errors(data)]


def texts(data: Path, cache: Path) -> Source:
    """Posts on one stock (stocknet), then headlines and posts (twitter_fin_news) or news (financial_phrasebank)."""
    tweets = pl.read_parquet(data / "stocknet" / "tweets.parquet").sort("created_at")
    counts = tweets["ticker"].value_counts(sort=True).sort("count", "ticker", descending=True)
    tickers = counts["ticker"].head(12).to_list()
    said = {ticker: tweets.filter(pl.col("ticker") == ticker)["text"].unique(maintain_order=True) for ticker in tickers}
    said["headlines"] = pl.read_csv(data / "twitter_fin_news" / "train.csv")["text"]
    said["news"] = pl.read_csv(data / "financial_phrasebank" / "sentences.csv")["sentence"]
    pools = {name: embedded(name, column.head(TEXTS).to_list(), cache) for name, column in said.items()}
    judged = [(pools[ticker], pools[other]) for ticker in tickers[1::2] for other in ("headlines", "news")]
    return Source("texts", 4, [pools[ticker] for ticker in tickers[::2]], judged)


def embedded(name: str, said: list[str], cache: Path) -> Pool:
    """Return the texts' vectors by the default bundle, float32 (n, dim), from the cache where they are there."""
    bundle = Bundle.load(DEFAULT)
    kept = cache / f"{bundle.id}-{name}-{len(said)}.npy"
    if kept.exists():
        return np.asarray(np.load(kept))
    encoder = TextEncoder(bundle)
    vectors = np.array([encoder.encode(text).vector for text in said])
    cache.mkdir(parents=True, exist_ok=True)
    np.save(kept, vectors)
    return vectors


def days(data: Path) -> Source:
    """The logarithm of a stock's daily range (kdd17_prices): the calm of 2012-14, then the crisis of 2008-09."""
    prices = pl.read_parquet(data / "kdd17_prices" / "prices_daily.parquet").filter(pl.col("high") > pl.col("low"))
    rows = prices.select("ticker", pl.col("date").cast(pl.String), range=(pl.col("high") / pl.col("low")).log().log())
    calm = _by_ticker(rows.filter((pl.col("date") >= "2012-01-01") & (pl.col("date") <= "2014-09-15")))
    crisis = _by_ticker(rows.filter((pl.col("date") >= "2008-09-15") & (pl.col("date") <= "2009-06-30")))
    names = sorted(calm)
    pairs = [(calm[name], crisis[name]) for name in names[1::2] if name in crisis]
    return Source("days", 40, [calm[name] for name in names[::2]], apart(pairs))


def _by_ticker(rows: pl.DataFrame) -> dict[str, Pool]:
    return {str(ticker): part["range"].to_numpy() for (ticker,), part in rows.group_by("ticker", maintain_order=True)}


def trades(data: Path) -> Source:
    """The logarithm of the volatility over 20 trades of a coin (pump_trades): the two days before, then a pump."""
    folder = data / "pump_trades"
    pairs = []
    for event in pl.read_csv(folder / "events.csv").filter("verified").sort("event_id").iter_rows(named=True):
        ticks = pl.read_parquet(folder / "trades" / f"{event['event_id']}.parquet")
        groups = len(ticks) // 20
        log_prices = np.log(ticks["price"].to_numpy()[: 20 * groups].reshape(groups, 20))
        moved = np.log(np.sqrt((np.diff(log_prices, axis=1) ** 2).mean(1)) + 1e-4)  # (groups,)
        ends = ticks["ts_ms"].to_numpy()[19 : 20 * groups : 20]
        onset, told = (_ms(event[column]) for column in ("onset_rule_utc", "announced_utc"))
        before = moved[ends < min(onset, told) - 3_600_000]
        after = moved[ends >= onset][:60]
        if len(before) >= 100:
            pairs.append((before, after))
    return Source("trades", 20, [before for before, _ in pairs[::2]], apart(pairs[1::2]))


def _ms(utc: str) -> int:
    return int(pl.Series([utc]).str.to_datetime(time_zone="UTC").dt.epoch("ms")[0])


def series(data: Path) -> Source:
    """One measured series, without its labelled anomalies, then another of its kind (NAB)."""
    windows = json.loads((data / "nab" / "combined_windows.json").read_text())
    pools: dict[str, Pool] = {}
    for name in sorted(windows):
        if not name.startswith("real"):
            continue
        table = pl.read_csv(data / "nab" / "data" / name)
        anomalous = [pl.col("timestamp").is_between(pl.lit(a[:19]), pl.lit(b[:19])) for a, b in windows[name]]
        usual = table.filter(~pl.any_horizontal(pl.lit(False), *anomalous))
        values = usual["value"].cast(pl.Float64).to_numpy()
        centred = values - values.mean()
        if centred[1:] @ centred[:-1] < 0.9 * (centred @ centred):  # else blocks of it make no stable stream
            pools[name] = values
    names = sorted(pools)
    judged = [
        (pools[one], pools[other])
        for one in names[1::2]
        for other in names
        if one != other and Path(one).parent == Path(other).parent
    ]
    return Source("series", 40, [pools[name] for name in names[::2]], apart(judged))


def errors(data: Path) -> Source:
    """The errors of a model that was fitted on four weeks (Elec2): the two after, then a week in which it fails."""
    rows = pl.read_csv(data / "elec2" / "electricity_first60pct.csv.gz").to_numpy()
    features, labels, week = rows[:, :-1], rows[:, -1], 336
    tuned: list[Pool] = []
    judged: list[tuple[Pool, Pool]] = []
    for index, start in enumerate(range(0, len(rows) - 8 * week, 2 * week)):
        fitted, until = slice(start, start + 4 * week), start + 6 * week
        model = LogisticRegression(C=10.0, max_iter=500).fit(features[fitted], labels[fitted])
        wrong = (model.predict(features) != labels).astype(np.float64)
        before = wrong[start + 4 * week : until]
        if index % 2 == 0:
            tuned.append(before)
            continue
        later = wrong[until : until + (len(wrong) - until) // week * week].reshape(-1, week)
        judged += [(before, after) for after in later if after.mean() >= before.mean() + ERRORS_APART]
    return Source("errors", 24, tuned, judged, errors=True)


def apart(pairs: Sequence[tuple[Pool, Pool]]) -> list[tuple[Pool, Pool]]:
    """Return the pairs of pools whose distributions are `APART` or more."""
    return [(one, other) for one, other in pairs if _distance(one, other) >= APART]


def _distance(one: Pool, other: Pool) -> float:
    at = np.concatenate((one, other))
    shares = [np.searchsorted(np.sort(pool), at, "right") / len(pool) for pool in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())
