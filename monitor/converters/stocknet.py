"""StockNet: tweets about US stocks → news, daily bars → four trades a day, large days → labels.

Input: ``tweets.parquet`` (ticker, created_at UTC, text), ``prices_daily.parquet`` (ticker, date, open, high, low, close
and adj_close USD, volume shares), ``StockTable.tsv`` (sector, symbol, company).

A daily bar is no tape: of what it says, the close alone happened at a known time, and the rest is known by then. So a
day becomes four trades at the close, at 16:00 in New York: at the open's, the high's, the low's and the close's price,
in this order, each of a quarter of the day's volume and without a side. A bar of a day (``TOCSIN_BAR_S=86400``) made of
them is the day's; nothing shorter can be read from them. Half trading days are not told apart. Prices are adjusted as a
whole by adj_close over close: later dividends lower them all, but no return knows of one before its day.

Labels: a day of which the next is large (see `engines.large_moves`), from its close to the next, where the move is
known. Whoever rings in between foretold it.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engines import large_moves
from engines.instruments import COLUMNS
from engines.labels import Label
from engines.typologies import elevated_risk
from monitor.converters.conversion import Made, Report, choose, require
from monitor.converters.messages import frame_messages, merged, record_message
from schemas.frames import Frame, Kind, frame_of
from schemas.records import News

#: Where the table's companies were listed in 2014 and 2015: here, else at the New York Stock Exchange.
NASDAQ = frozenset(
    ["AAPL", "AGFS", "AMGN", "AMZN", "CELG", "CHTR", "CMCSA", "CSCO", "FB", "GOOG", "IEP", "INTC", "MSFT", "PCLN"]
)
_NEW_YORK = ZoneInfo("America/New_York")
_PRICES = ("open", "high", "low", "close")


def read(data: Path, events: Collection[str], limit: int | None, report: Report) -> Made:
    """Read tweets and bars; ``events`` are tickers, ``limit`` takes the companies with the most tweets.

    A tweet that lies in several companies' files is one document that reaches each of them. Bars are those from the
    first tweet's day on; those before it tell which of them are large.
    """
    require(data, "tweets.parquet", "prices_daily.parquet", "StockTable.tsv")
    tweets = pq.read_table(data / "tweets.parquet", columns=["ticker", "created_at", "text"])
    if tweets.schema.field("created_at").type.tz is None:
        report.remarks["times without zone, read as UTC"] = tweets.num_rows
    counts = tweets.group_by("ticker").aggregate([([], "count_all")]).sort_by([("count_all", "descending")])
    choose(events, counts["ticker"].to_pylist(), data / "tweets.parquet")
    tickers = [t for t in counts["ticker"].to_pylist() if not events or t in events][:limit]
    chosen = pa.array(tickers, tweets.schema.field("ticker").type)
    tweets = tweets.filter(pc.is_in(tweets["ticker"], value_set=chosen))
    news = _news(tweets, report)
    first_day = datetime.fromtimestamp(news[0].ts_event / 1e9, UTC).date().isoformat() if news else ""
    prices = pq.read_table(data / "prices_daily.parquet", columns=["ticker", "date", *_PRICES, "adj_close", "volume"])
    prices = prices.filter(pc.is_in(prices["ticker"], value_set=chosen)).sort_by("date")
    closes: list[Frame] = []
    labels: list[Label] = []
    for ticker in tickers:
        days = _days(ticker, prices.filter(pc.equal(prices["ticker"], ticker)), first_day, report)
        closes.append(_trades(ticker, days))
        labels += _labels(ticker, days)
    report.remarks["days before a large one, labelled"] = len(labels)
    report.notes += [
        "When a tweet reached its readers is not recorded: ts_available is created_at.",
        "A daily bar became four trades at the close (16:00 New York), at its open, high, low and close, of a quarter"
        " of the day's volume each, side unknown: set TOCSIN_BAR_S=86400 and TOCSIN_GRACE_MS=0.",
        "Prices are adjusted for splits and dividends, by adj_close over close.",
    ]
    tweeted = (record_message("news", item) for item in news)
    return Made(
        messages=merged([tweeted, *map(frame_messages, closes)]),
        last_ns=max(
            [*(n.ts_available for n in news[-1:]), *(int(f.ts_available[-1]) for f in closes if len(f))], default=0
        ),
        parameters={"instruments": len(tickers)},
        labels=labels,
        symbols=_symbols(data / "StockTable.tsv", set(tickers)),
    )


def instrument(ticker: str) -> str:
    """Return the instrument of a ticker."""
    return f"{ticker}.{'XNAS' if ticker in NASDAQ else 'XNYS'}"


def _news(tweets: pa.Table, report: Report) -> list[News]:
    """Return the tweets as news, in order of time; equal ones of several companies are one document."""
    named: dict[tuple[int, str], dict[str, None]] = defaultdict(dict)
    stamps = tweets["created_at"].cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_pylist()
    order = np.diff(np.array(stamps, dtype=np.int64)) < 0
    report.remarks["out of order across the files, sorted"] = int(order.sum())
    for ticker, ns, text in zip(tweets["ticker"].to_pylist(), stamps, tweets["text"].to_pylist(), strict=True):
        report.read += 1
        if not text or not text.strip():
            report.aside["tweets without text"] += 1
        elif ticker in named[ns, text]:
            report.aside["tweets that stand in their company's file twice"] += 1
        else:
            named[ns, text][ticker] = None
    made = []
    for (ns, text), tickers in sorted(named.items()):
        mentions = [instrument(ticker) for ticker in tickers]
        document_id = hashlib.sha256(f"{ns} {text}".encode()).hexdigest()[:24]
        made += [
            News(
                ts_event=ns,
                ts_available=ns,
                instrument=name,
                document_id=document_id,
                headline=text,
                source="twitter",
                channel="post",
                mentions=mentions,
            )
            for name in mentions
        ]
        report.remarks["tweets in several companies' files, one document each"] += len(mentions) > 1
    report.kept += len(made)
    return made


@dataclass(frozen=True, slots=True, eq=False)
class _Days:
    """One stock's days with volume, oldest first: ``date``, ``close_ns`` (n,), adjusted ``prices`` (n, 4) as `_PRICES`.

    ``volume`` (n,) in shares; ``covered`` (n,) tells which lie on or after the first tweet's day.
    """

    date: list[str]
    close_ns: npt.NDArray[np.int64]
    prices: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]
    covered: npt.NDArray[np.bool_]


def _days(ticker: str, table: pa.Table, first_day: str, report: Report) -> _Days:
    dates = table["date"].to_pylist()
    prices = np.stack([table[name].to_numpy() for name in _PRICES], axis=1)  # (n, 4)
    factor, volume = table["adj_close"].to_numpy() / prices[:, -1], table["volume"].to_numpy()
    covered = np.array([day >= first_day for day in dates], dtype=bool)
    sound = np.isfinite(prices).all(1) & (prices > 0).all(1) & np.isfinite(factor) & (factor > 0) & (volume > 0)
    report.read += len(dates)
    report.aside["daily bars before the first tweet"] += int((~covered).sum())
    report.aside["daily bars without volume"] += int((covered & ~sound).sum())
    report.kept += int((covered & sound).sum())
    rows = np.flatnonzero(sound)
    close_ns = np.array([_close_ns(dates[row]) for row in rows], np.int64)
    adjusted = prices[rows] * factor[rows, None]
    return _Days([dates[row] for row in rows], close_ns, adjusted, volume[rows].astype(np.float64), covered[rows])


def _trades(ticker: str, days: _Days) -> Frame:
    ns = np.repeat(days.close_ns[days.covered], len(_PRICES))
    columns = {
        "ts_event": ns,
        "ts_available": ns,
        "kind": np.full(len(ns), Kind.TRADE),
        "price": days.prices[days.covered].ravel(),
        "size": np.repeat(days.volume[days.covered] / len(_PRICES), len(_PRICES)),
    }
    return frame_of(instrument(ticker), columns)


def _labels(ticker: str, days: _Days) -> list[Label]:
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(days.covered & (large_moves.sizes(days.prices[:, -1]) > large_moves.LARGE))
    return [
        Label(
            event_id=f"{ticker}_{days.date[row + 1]}",
            typology=elevated_risk.SPEC.name,
            start_ns=int(days.close_ns[row]),
            onset_ns=int(days.close_ns[row + 1]),
            end_ns=int(days.close_ns[row + 1]),
            instruments=[instrument(ticker)],
            public_ns=int(days.close_ns[row + 1]),
        )
        for row in rows.tolist()
    ]


def _close_ns(day: str) -> int:
    at = datetime.combine(date.fromisoformat(day), time(16), _NEW_YORK)
    return int(at.timestamp()) * 1_000_000_000


def _symbols(table: Path, tickers: set[str]) -> str:
    """Return the symbol master of the set's companies as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            ticker = row["Symbol"].removeprefix("$")
            if ticker in tickers:
                symbol, _, venue = instrument(ticker).rpartition(".")
                writer.writerow(
                    {
                        "instrument": instrument(ticker),
                        "symbol": symbol,
                        "venue": venue,
                        "name": row["Company"].strip(),
                        "sector": row["Sector"].strip().lower(),
                        "currency": "USD",
                    }
                )
    return out.getvalue()
