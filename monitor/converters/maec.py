"""MAEC: transcripts of earnings calls → transcript segments.

Input: ``calls_text.parquet`` (call_id, ticker, date, text: one sentence a line). The set knows a call's day, neither
its hour nor how long a sentence took: a call begins at 21:00 UTC (after New York's close) and a sentence takes 8 s. Its
voice features are measurements of sentences, not sound, so nothing of them is converted.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from datetime import UTC, date, datetime, time
from pathlib import Path

import pyarrow.parquet as pq

from engines.instruments import COLUMNS
from monitor.converters.conversion import Made, Report, choose, require
from monitor.converters.messages import record_message
from schemas.records import TranscriptSegment

#: ISO 10383's code for "no market": the set does not say where a company is listed.
VENUE = "XXXX"
SENTENCES = 4
SENTENCE_NS = 8_000_000_000


def read(data: Path, events: Collection[str], limit: int | None, report: Report) -> Made:
    """Read calls in segments of four sentences; ``events`` are their call_id, ``limit`` takes the first by date."""
    require(data, "calls_text.parquet")
    table = pq.read_table(data / "calls_text.parquet", columns=["call_id", "ticker", "date", "text"])
    calls = sorted(table.to_pylist(), key=lambda call: (call["date"], call["call_id"]))
    choose(events, {call["call_id"] for call in calls}, data / "calls_text.parquet")
    calls = [call for call in calls if not events or call["call_id"] in events][:limit]
    segments = [segment for call in calls for segment in _segments(call, report)]
    segments.sort(key=lambda segment: (segment.ts_available, segment.call_id))
    report.notes += [
        "The hour of a call is not recorded: it begins at 21:00 UTC, and a sentence takes 8 s.",
        "The voice features are measurements, not sound: left out.",
        f"Listings are not recorded: instruments are TICKER.{VENUE}.",
    ]
    return Made(
        messages=(record_message("transcripts", segment) for segment in segments),
        last_ns=segments[-1].ts_available if segments else 0,
        parameters={"calls": len(calls)},
        symbols=_symbols({call["ticker"] for call in calls}),
    )


def _segments(call: dict[str, str], report: Report) -> list[TranscriptSegment]:
    lines = call["text"].split("\n")
    sentences = [line.strip() for line in lines if line.strip()]
    report.read += len(lines)
    report.kept += len(sentences)
    report.aside["empty sentences"] += len(lines) - len(sentences)
    begin = datetime.combine(date.fromisoformat(call["date"]), time(21), UTC)
    begin_ns = int(begin.timestamp()) * 1_000_000_000
    made = []
    for number, first in enumerate(range(0, len(sentences), SENTENCES)):
        said = sentences[first : first + SENTENCES]
        end_ns = begin_ns + (first + len(said)) * SENTENCE_NS
        made.append(
            TranscriptSegment(
                ts_event=end_ns,
                ts_available=end_ns,
                instrument=f"{call['ticker']}.{VENUE}",
                call_id=call["call_id"],
                segment=number,
                text=" ".join(said),
            )
        )
    return made


def _symbols(tickers: set[str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for ticker in sorted(tickers):
        writer.writerow({"instrument": f"{ticker}.{VENUE}", "symbol": ticker, "venue": VENUE, "currency": "USD"})
    return out.getvalue()
