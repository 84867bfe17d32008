"""What the commands that train share: the names of tasks, the extra that they need, and a progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from engines.training.tasks import TASKS
from monitor.errors import StartupError

if TYPE_CHECKING:
    from rich.progress import Progress

#: The tasks that there are, as a choice of the command line.
Task = StrEnum("Task", {name: name for name in sorted(TASKS)})  # type: ignore[misc]


@contextmanager
def extra() -> Iterator[None]:
    """Turn a library that is not installed into a sentence on the extra that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise StartupError(
            f"training needs {error.name}, which is not installed: install Tocsin with the extra `train`"
            " (in a checkout: make venv-dev, then build/venv-dev/bin/tocsin)"
        ) from error


def bar() -> Progress:
    """Return a progress bar on stderr that tells the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
