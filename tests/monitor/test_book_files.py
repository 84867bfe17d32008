"""A book's file says what each column is, alike as Parquet and as CSV."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from engines.book_replay import Book, of_orders
from monitor import book_files
from monitor.errors import StartupError
from tests import misconduct

DOCS = Path(__file__).parents[2] / "docs" / "report.md"


@pytest.fixture(scope="module")
def book() -> Book:
    market = misconduct.market("spoofing")
    return of_orders(
        [market.orders()], "spoofer", market.ns(misconduct.AT - 10), market.ns(misconduct.AT + misconduct.AFTER)
    )


def test_both_kinds_hold_the_same_rows_in_order_of_time(book: Book, tmp_path: Path) -> None:
    for name in ("book.parquet", "book.csv"):
        book_files.write(book, tmp_path / name)
    held = pq.read_table(tmp_path / "book.parquet")
    read = pa.csv.read_csv(
        tmp_path / "book.csv",
        convert_options=pa.csv.ConvertOptions(column_types=held.schema, strings_can_be_null=True),
    )
    assert read.to_pylist() == held.to_pylist()
    since = held["from_ns"].to_pylist()
    assert since == sorted(since)
    kinds = held["kind"].to_pylist()
    assert {kind: kinds.count(kind) for kind in ("level", "best", "order", "fill", "trade")} == {
        "level": len(book.spells), "best": len(book.best), "order": 6, "fill": 3, "trade": len(book.trades),
    }  # fmt: skip


def test_the_accounts_orders_are_told_apart(book: Book) -> None:
    rows = book_files.table(book).to_pylist()
    bids = [row for row in rows if row["kind"] == "order" and row["side"] == "buy"]
    assert [(row["size"], row["filled"], row["end"]) for row in bids] == [(60.0, 0.0, "cancelled")] * 3
    assert max(row["own"] for row in rows if row["kind"] == "level") == 60.0


def test_parquet_says_what_its_columns_are_and_of_whom_it_is(book: Book, tmp_path: Path) -> None:
    book_files.write(book, tmp_path / "book.parquet")
    schema = pq.read_schema(tmp_path / "book.parquet")
    assert schema.metadata[b"account"] == b"spoofer"
    assert all(schema.field(name).metadata[b"description"] for name in book_files.COLUMNS)


def test_the_docs_list_every_column_as_the_file_does() -> None:
    rows = [f"| {name} | {kind} | {said} |" for name, (kind, said) in book_files.COLUMNS.items()]
    assert "\n".join(rows) in DOCS.read_text()


def test_a_name_that_tells_no_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"ends in \.parquet or \.csv"):
        book_files.write(Book(), tmp_path / "book.txt")
