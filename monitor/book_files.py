"""The book around an alert as a file: CSV or Parquet, one row for whatever stood or happened, documented in the schema.

In CSV times are integers (ns UTC), and an empty cell is what does not apply to a row's kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from engines.book_replay import Book
from monitor.errors import StartupError
from monitor.folders import Folder

#: Column → its type, and what it says.
COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "kind": (pa.string(), "level, best, order, fill or trade"),
    "from_ns": (pa.int64(), "since when it stood; of a fill or trade when it was, ns UTC"),
    "to_ns": (pa.int64(), "until when it stood, itself not included; of a fill or trade when it was, ns UTC"),
    "side": (pa.string(), "buy or sell, of level, order and fill"),
    "price": (pa.float64(), "quote currency; of an order its limit, empty at the market's price; of best the mid"),
    "size": (pa.float64(), "units: resting at the level, open of the order, traded"),
    "own": (pa.float64(), "units of a level that were the alert's account's"),
    "orders": (pa.int64(), "how many orders made up a level"),
    "bid": (pa.float64(), "best bid, of best"),
    "ask": (pa.float64(), "best ask, of best"),
    "order": (pa.int64(), "the order's number, of order and fill"),
    "trade": (pa.int64(), "the trade's number, of fill and trade"),
    "filled": (pa.float64(), "units of an order that were filled from from_ns to to_ns"),
    "end": (pa.string(), "how an order's row ended: filled, cancelled, expired, rejected, amended, or open at the end"),
}
SUFFIXES = (".parquet", ".csv")
_SIDES = {1: "buy", -1: "sell"}


def check(out: Path) -> None:
    """Refuse a file whose kind its name does not tell.

    Raises
    ------
    StartupError
    """
    if out.suffix not in SUFFIXES:
        raise StartupError(f"--book {out}: expected a name that ends in {' or '.join(SUFFIXES)}; rename it.")


def write(book: Book, out: Path) -> None:
    """Write a book to ``out``, whole or not at all; rows in order of ``from_ns``.

    Raises
    ------
    StartupError
        The name ends in neither ``.parquet`` nor ``.csv``.
    """
    check(out)
    sink = pa.BufferOutputStream()
    if out.suffix == ".csv":
        pa.csv.write_csv(table(book), sink)
    else:
        pq.write_table(table(book), sink, compression="zstd")
    Folder(out.parent).write(out.name, sink.getvalue().to_pybytes())


def table(book: Book) -> pa.Table:
    """Return a book as a table of `COLUMNS`, whose descriptions are the fields' metadata."""
    schema = pa.schema(
        [pa.field(name, kind, metadata={"description": said}) for name, (kind, said) in COLUMNS.items()],
        {
            "instrument": book.instrument,
            "account": book.account,
            "source": book.source,
            "step_ns": str(book.step_ns),
            **{f"left out: {what}": str(count) for what, count in sorted(book.left_out.items())},
        },
    )
    rows = sorted(_rows(book), key=lambda row: row["from_ns"])
    return pa.Table.from_pylist(rows, schema=schema)


def _rows(book: Book) -> Iterator[dict[str, Any]]:
    for level in book.spells:
        yield level._asdict() | {"kind": "level", "side": _SIDES[level.side], "orders": level.orders or None}
    for best, after in zip(book.best, [*(one.ts for one in book.best[1:]), book.to_ns], strict=True):
        both = best.bid and best.ask
        yield {
            "kind": "best",
            "from_ns": best.ts,
            "to_ns": after,
            "bid": best.bid or None,
            "ask": best.ask or None,
            "price": (best.bid + best.ask) / 2 if both else None,
        }
    for leg in book.legs:
        yield leg._asdict() | {"kind": "order", "side": _SIDES[leg.side], "price": leg.price or None}
    for kind, traded in (("fill", book.fills), ("trade", book.trades)):
        for one in traded:
            yield {
                "kind": kind,
                "from_ns": one.ts,
                "to_ns": one.ts,
                "side": _SIDES.get(one.side),
                "price": one.price,
                "size": one.size,
                "order": one.order or None,
                "trade": one.trade or None,
            }
