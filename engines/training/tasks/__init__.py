"""Tasks: each trains on one folder, predicts another, and says how it did where that one has labels.

A task is a module of this package that has ``run`` (see `Task`). Its seeds are fixed, it chooses nothing by looking at
the folder it predicts, and it keeps to two cores for at most 15 minutes.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from rich.progress import Progress

from engines.bundle import Metric

#: Tasks by name, and the module of each.
TASKS = {
    "financial_phrasebank": "texts",
    "fomc": "texts",
    "kdd17_prices": "kdd17",
    "nab": "nab",
    "speech_fsdd": "speech",
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


def load_task(name: str) -> Task:
    """Return a task by its name in `TASKS`."""
    return cast(Task, importlib.import_module(f"{__name__}.{TASKS[name]}").run)
