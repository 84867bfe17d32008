"""StockNet: tweets about US stocks → news, and daily closes → one trade a day.

Input: ``tweets.parquet`` (ticker, created_at UTC, text), ``prices_daily.parquet`` (ticker, date, close USD, volume
shares), ``StockTable.tsv`` (sector, symbol, company).

A daily bar is no tape. Of what it says, one thing happened at a known time: the close. So a day becomes one trade at
the close, at 16:00 in New York, with the day's volume as its size and no side; open, high and low are left out, and
half trading days are not told apart.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engines.instruments import COLUMNS
from monitor.converters.conversion import Made, Report, choose, require
from monitor.converters.messages import frame_messages, merged, record_message
from schemas.frames import Frame, Kind, frame_of
from schemas.records import News

#: Where the table's companies were listed in 2014 and 2015: here, else at the New York Stock Exchange.
NASDAQ = frozenset(
    ["AAPL", "AGFS", "AMGN", "AMZN", "CELG", "CHTR", "CMCSA", "CSCO", "FB", "GOOG", "IEP", "INTC", "MSFT", "PCLN"]
)
_NEW_YORK = ZoneInfo("America/New_York")


def read(data: Path, events: Collection[str], limit: int | None, report: Report) -> Made:
    """Read tweets and closes; ``events`` are tickers, ``limit`` takes the companies with the most tweets.

    A tweet that lies in several companies' files is one document that reaches each of them. Closes are those from the
    first tweet's day on.
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
    prices = pq.read_table(data / "prices_daily.parquet", columns=["ticker", "date", "close", "volume"])
    prices = prices.filter(pc.is_in(prices["ticker"], value_set=chosen))
    closes = [
        _closes(ticker, prices.filter(pc.equal(prices["ticker"], ticker)), first_day, report) for ticker in tickers
    ]
    report.notes += [
        "When a tweet reached its readers is not recorded: ts_available is created_at.",
        "A daily bar became one trade at the close (16:00 New York) of the day's volume, side unknown.",
    ]
    tweeted = (record_message("news", item) for item in news)
    return Made(
        messages=merged([tweeted, *map(frame_messages, closes)]),
        last_ns=max(
            [*(n.ts_available for n in news[-1:]), *(int(f.ts_available[-1]) for f in closes if len(f))], default=0
        ),
        parameters={"instruments": len(tickers)},
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


def _closes(ticker: str, prices: pa.Table, first_day: str, report: Report) -> Frame:
    days = prices["date"].to_pylist()
    close, volume = prices["close"].to_numpy(), prices["volume"].to_numpy()
    covered = np.array([day >= first_day for day in days], dtype=bool)
    sound = np.isfinite(close) & (close > 0) & (volume > 0)
    report.read += len(days)
    report.aside["daily bars before the first tweet"] += int((~covered).sum())
    report.aside["daily bars without volume"] += int((covered & ~sound).sum())
    ns = np.array([_close_ns(day) for day in days], dtype=np.int64)
    rows = np.flatnonzero(covered & sound)
    rows = rows[np.argsort(ns[rows], kind="stable")]
    report.kept += len(rows)
    columns = {
        "ts_event": ns[rows],
        "ts_available": ns[rows],
        "kind": np.full(len(rows), Kind.TRADE),
        "price": close[rows],
        "size": volume[rows],
    }
    return frame_of(instrument(ticker), columns)


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
