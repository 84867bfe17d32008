"""Binance trades around announced pumps → frames, and the verified events as labels.

Input: ``events.csv`` and ``trades/*.parquet`` (ts_ms int64 Unix ms UTC, is_buy taker side, price BTC, amount coins).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engines.labels import Label
from monitor.converters.conversion import Made, Report, choose, require
from monitor.converters.messages import frame_messages, merged
from monitor.errors import StartupError
from schemas.frames import DTYPES, Frame, Kind, frame_of

VENUE = "BINA"
_HOUR_NS = 3_600_000_000_000


def read(data: Path, events: Collection[str], limit: int | None, report: Report) -> Made:
    """Read the trades around the events; ``events`` are their event_id, ``limit`` takes the first by announcement.

    Files of one coin that overlap in time are joined at the end of the earlier one. Equal rows within a file stay:
    without trade ids, two fills of one order look the same as one trade twice.
    """
    require(data, "events.csv", "trades")
    with (data / "events.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["announced_utc"])
    choose(events, {row["event_id"] for row in rows}, data / "events.csv")
    rows = [row for row in rows if not events or row["event_id"] in events][:limit]
    by_coin: dict[str, list[Path]] = defaultdict(list)
    for row in rows:
        by_coin[row["symbol"]].append(data / row["file"])
    coins = {f"{symbol}.{VENUE}": _trades(f"{symbol}.{VENUE}", files, report) for symbol, files in by_coin.items()}
    labels = [_label(row) for row in rows if row["verified"] == "True" and row["onset_rule_utc"]]
    report.remarks["events without a verified onset, not labelled"] = len(rows) - len(labels)
    report.remarks["event times without zone, read as UTC"] = len(labels)
    report.notes.append("When a trade was received is not recorded: ts_available is its exchange time.")
    return Made(
        messages=merged([frame_messages(frame) for frame in coins.values()]),
        last_ns=max(int(frame.ts_available[-1]) for frame in coins.values()),
        parameters={"events": len(rows)},
        labels=labels,
    )


def _trades(instrument: str, files: list[Path], report: Report) -> Frame:
    """Return one coin's trades in order of time."""
    parts: list[Frame] = []
    end_ms = -1
    for path in files:
        try:
            table = pq.read_table(path, columns=["ts_ms", "is_buy", "price", "amount"])
        except (pa.ArrowInvalid, OSError) as error:
            raise StartupError(f"{path} cannot be read ({str(error).splitlines()[0]}); fetch it again.") from error
        ts_ms = table["ts_ms"].to_numpy()
        price, amount = table["price"].to_numpy(), table["amount"].to_numpy()
        sound = np.isfinite(price) & np.isfinite(amount) & (price > 0) & (amount > 0)
        fresh = ts_ms > end_ms
        report.read += len(ts_ms)
        report.aside["no positive price and amount"] += int((~sound).sum())
        report.aside["in the coin's earlier file too"] += int((sound & ~fresh).sum())
        report.remarks["out of order, sorted"] += int((np.diff(ts_ms) < 0).sum())
        _, counts = np.unique(np.column_stack([ts_ms, price, amount]), axis=0, return_counts=True)
        report.remarks["equal to another row of the file, kept"] += int((counts - 1).sum())
        rows = np.flatnonzero(sound & fresh)
        rows = rows[np.argsort(ts_ms[rows], kind="stable")]
        if not len(rows):
            continue
        end_ms = int(ts_ms[rows[-1]])
        ns = ts_ms[rows] * 1_000_000
        columns = {
            "ts_event": ns,
            "ts_available": ns,
            "kind": np.full(len(rows), Kind.TRADE),
            "side": np.where(table["is_buy"].to_numpy(zero_copy_only=False)[rows], 1, -1),
            "price": price[rows],
            "size": amount[rows],
        }
        parts.append(frame_of(instrument, columns))
    report.kept += sum(len(part) for part in parts)
    if len(parts) == 1:
        return parts[0]
    return Frame(instrument, *(np.concatenate([getattr(part, name) for part in parts]) for name in DTYPES))


def _label(row: dict[str, str]) -> Label:
    onset_ns = _ns(row["onset_rule_utc"])
    return Label(
        event_id=row["event_id"],
        typology="pump_and_dump",
        start_ns=onset_ns,
        onset_ns=onset_ns,
        end_ns=onset_ns + _HOUR_NS,
        instruments=[f"{row['symbol']}.{VENUE}"],
        public_ns=_ns(row["announced_utc"]),
    )


def _ns(text: str) -> int:
    at = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1_000
