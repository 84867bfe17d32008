"""The tables of a task's folder."""

from __future__ import annotations

from pathlib import Path

import polars as pl


class FolderError(ValueError):
    """A folder does not hold what a task reads; the message says what was expected and what is there."""


def read_table(folder: Path, *columns: str) -> pl.DataFrame:
    """Return the rows of all tables of ``folder`` that have these columns, whatever the files are called, by file name.

    Raises
    ------
    FolderError
        No CSV (plain or gzip), Parquet or .data file (separated by spaces) there has them.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".parquet":
            table = pl.read_parquet(path)
        elif path.name.endswith((".csv", ".csv.gz")):
            table = pl.read_csv(path, infer_schema_length=None)
        elif path.suffix == ".data":
            table = pl.read_csv(path, separator=" ", infer_schema_length=None)
        else:
            continue
        if set(columns) <= set(table.columns):
            found.append(table)
    if not found:
        names = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise FolderError(
            f"{folder}: expected a CSV or Parquet file with the columns {', '.join(columns)}; found {names}"
        )
    return pl.concat(found, how="diagonal_relaxed")
