"""The tables of a task's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl


class FolderError(ValueError):
    """A folder does not hold what a task reads; the message says what was expected and what is there."""


class NoTableError(FolderError):
    """No table of a folder has the columns that were asked for."""


def read_file(path: Path, separator: str = ",", *, typed: bool = True) -> pl.DataFrame:
    """Return the table of a Parquet file or else of a CSV file (plain or gzip), without a column where that is empty.

    Columns of a CSV file are as all of their values are, or strings where they are not to be ``typed``.

    Raises
    ------
    FolderError
        It cannot be read.
    """
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(
            path, separator=separator, infer_schema_length=None, infer_schema=typed, raise_if_empty=False
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FolderError(
            f"{path}: expected a table (CSV in UTF-8, Parquet), found what cannot be read: {error}"
        ) from error


def read_table(folder: Path, *columns: str) -> pl.DataFrame:
    """Return the rows of all tables of ``folder`` that have these columns, whatever the files are called, by file name.

    Raises
    ------
    FolderError
        One has no rows, or a file cannot be read; `NoTableError` where no CSV (plain or gzip), Parquet or .data file
        (separated by spaces) there has the columns.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if not path.name.endswith((".parquet", ".csv", ".csv.gz", ".data")):
            continue
        table = read_file(path, " " if path.suffix == ".data" else ",")
        if set(columns) <= set(table.columns):
            found.append(table)
    if not found:
        names = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise NoTableError(
            f"{folder}: expected a CSV or Parquet file with the columns {', '.join(columns)}; found {names}"
        )
    rows = pl.concat(found, how="diagonal_relaxed")
    if not len(rows):
        raise FolderError(f"{folder}: expected rows in the table of {', '.join(columns)}, found none")
    return rows


def whole_numbers(folder: Path, table: pl.DataFrame, column: str) -> npt.NDArray[np.int64] | None:
    """Return a column (row,) of a folder's table, None where it is not there or has gaps.

    Raises
    ------
    FolderError
        A value is no whole number.
    """
    if column not in table.columns or table[column].null_count():
        return None
    numbers = table[column].cast(pl.Float64, strict=False)
    good = (numbers.is_finite() & (numbers == numbers.round())).fill_null(False)
    if not good.all():
        row = good.arg_min() or 0
        raise FolderError(
            f"{folder}: {column} of row {row + 1}: expected a whole number, found {str(table[column][row])[:40]!r}"
        )
    return np.asarray(numbers.to_numpy(), np.int64)
