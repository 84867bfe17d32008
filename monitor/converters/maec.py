"""MAEC: transcripts of earnings calls → transcript segments, and the calls that turmoil followed → labels.

Input: ``calls_text.parquet`` (call_id, ticker, date, text: one sentence a line), and, where it is there,
``labels.csv.gz`` (call_id and log volatilities: past_logvol_0 of the thirty days before, target_logvol_3d). The set
knows a call's day, neither its hour nor how long a sentence took: a call begins at 21:00 UTC (after New York's close)
and a sentence takes 8 s. Its voice features are measurements of sentences, not sound, so nothing of them is converted.

Labels: a call after which the volatility of three daily returns is `TURMOIL` times that of the thirty days before or
more. The set leaves the first return after a call out, so the three are known by the fourth close; the event is the
call, whose words would have to foretell them.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path

import numpy as np
import pyarrow.csv as pv
import pyarrow.parquet as pq

from engines.calls import closures
from engines.instruments import COLUMNS
from engines.labels import Label
from engines.typologies import adverse_text
from monitor.converters.conversion import Made, Report, choose, require
from monitor.converters.messages import record_message
from schemas.records import TranscriptSegment

#: ISO 10383's code for "no market": the set does not say where a company is listed.
VENUE = "XXXX"
SENTENCES = 4
SENTENCE_NS = 8_000_000_000
#: Volatility after over volatility before from which a call is labelled: one in eight is.
TURMOIL = 1.5
#: The close, counted from the call's day, by which it is known.
KNOWN = 4
_LABELS = "labels.csv.gz"
_BEFORE, _AFTER, _MORE = "past_logvol_0", "target_logvol_3d", math.log(TURMOIL)


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
        labels=_labels(data / _LABELS, calls, segments) if (data / _LABELS).is_file() else None,
        symbols=_symbols({call["ticker"] for call in calls}),
    )


def _labels(path: Path, calls: Sequence[dict[str, str]], segments: Sequence[TranscriptSegment]) -> list[Label]:
    """Return the labels of the calls that turmoil followed, in order of the calls."""
    table = pv.read_csv(path, convert_options=pv.ConvertOptions(include_columns=["call_id", _BEFORE, _AFTER]))
    before, after = (table[name].to_numpy() for name in (_BEFORE, _AFTER))
    turmoil = {name for name, more in zip(table["call_id"].to_pylist(), after - before, strict=True) if more >= _MORE}
    ends = {segment.call_id: segment.ts_event for segment in segments}  # the last one's counts
    labels = []
    for call in calls:
        if call["call_id"] in turmoil and call["call_id"] in ends:
            end_ns = ends[call["call_id"]]
            labels.append(
                Label(
                    event_id=call["call_id"],
                    typology=adverse_text.SPEC.name,
                    start_ns=_begin_ns(call["date"]),
                    onset_ns=end_ns,
                    end_ns=end_ns,
                    instruments=[f"{call['ticker']}.{VENUE}"],
                    public_ns=known_ns(call["date"]),
                )
            )
    return labels


def _begin_ns(day: str) -> int:
    """Return when a call of a day is taken to begin, which is after New York's close."""
    return int(datetime.combine(date.fromisoformat(day), time(21), UTC).timestamp()) * 1_000_000_000


def known_ns(day: str) -> int:
    """Return the close by which the volatility after a call is known."""
    year = int(day[:4])
    shut = [*closures(year), *closures(year + 1)]
    return _begin_ns(str(np.busday_offset(day, KNOWN, roll="backward", holidays=shut)))


def _segments(call: dict[str, str], report: Report) -> list[TranscriptSegment]:
    lines = call["text"].split("\n")
    sentences = [line.strip() for line in lines if line.strip()]
    report.read += len(lines)
    report.kept += len(sentences)
    report.aside["empty sentences"] += len(lines) - len(sentences)
    begin_ns = _begin_ns(call["date"])
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
