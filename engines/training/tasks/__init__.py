"""Tasks: each trains on one folder, predicts another, and says how it did where that one has labels.

A task is a module of this package that has ``run`` (see `Task`). Its seeds are fixed, it chooses nothing by looking at
the folder it predicts, and it keeps to two cores for at most 15 minutes.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

import polars as pl
from rich.progress import Progress

from engines.bundle import Metric

#: Tasks by name, and the module of each.
TASKS = {
    "financial_phrasebank": "texts",
    "fomc": "texts",
    "nab": "nab",
    "twitter_fin_news": "texts",
}


class Task(Protocol):
    """What a task's ``run`` does: train on ``train``, write predictions for ``test`` to ``out``, return its measures.

    The measures, the task's own beside those of a baseline and a dummy ("tocsin macro_f1", "majority macro_f1"), are
    empty where ``test`` has no labels.

    Raises
    ------
    FolderError
        A folder does not hold what the task reads.
    """

    def __call__(self, train: Path, test: Path, out: Path, progress: Progress) -> dict[str, Metric]: ...


class FolderError(ValueError):
    """A folder does not hold what a task reads; the message says what was expected and what is there."""


def load_task(name: str) -> Task:
    """Return a task by its name in `TASKS`."""
    return cast(Task, importlib.import_module(f"{__name__}.{TASKS[name]}").run)


def read_table(folder: Path, *columns: str) -> pl.DataFrame:
    """Return the rows of all tables of ``folder`` that have these columns, whatever the files are called, by file name.

    Raises
    ------
    FolderError
        No CSV (plain or gzip) or Parquet file there has them.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".parquet":
            table = pl.read_parquet(path)
        elif path.name.endswith((".csv", ".csv.gz")):
            table = pl.read_csv(path, infer_schema_length=None)
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
