"""Tasks: each trains on one folder, predicts another, and says how it did where that one has labels.

A task is a module of this package that has ``run`` (see `Task`), and ``SCHEDULE`` where it trains by one (see
`engines.training.loop`). Its seeds are fixed, it chooses nothing by looking at
the folder it predicts, and it keeps to two cores for at most 15 minutes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from rich.progress import Progress

from engines.bundle import Metric

if TYPE_CHECKING:
    from engines.training.augment import Augmentation
    from engines.training.coverage import Stream
    from engines.training.loop import Schedule
    from engines.training.measures import Judged
    from engines.training.robustness import Robustness

#: Tasks by name, and the module of each.
TASKS = {
    "credit": "credit",
    "financial_phrasebank": "texts",
    "fomc": "texts",
    "kdd17_prices": "kdd17",
    "maec": "maec",
    "nab": "nab",
    "order_flow": "order_flow",
    "sec_litigation": "litigation",
    "speech_fsdd": "speech",
    "stocknet": "stocknet",
    "twitter_fin_news": "texts",
}


class Run(NamedTuple):
    """What a task is given beside its folders.

    ``keep`` is where the model, its learning curve and checkpoints that a stopped run resumes from are left, None for
    nowhere; ``changes`` are to fields of the task's ``SCHEDULE``, where it has one; ``folds`` is how many parts of one
    folder are predicted, each by a model of the others (of the earlier ones where rows have dates); ``trials`` is how
    many schedules are tried before the best is taken. With ``strict``, folders that overlap in time are refused.

    Read by tasks of texts: networks learn on ``device`` ("cpu", "cuda"), and from the copies that ``augment`` makes;
    with ``attack``, one of them is attacked. They begin as ``encoder``: "mpnet", "minilm", the folder of a checkpoint,
    or "auto", which is what the machine has the speed for.
    """

    progress: Progress
    keep: Path | None = None
    changes: Mapping[str, object] = MappingProxyType({})
    folds: int = 1
    trials: int = 1
    strict: bool = False
    device: str = "cpu"
    augment: Augmentation | None = None
    attack: bool = False
    encoder: str = "auto"

    def overlap(self, own: bool) -> Callable[[str], None] | None:
        """Return what is told that rows learnt from reach into the time of those asked for; None: it is refused.

        It always is where the split is our ``own``; somebody else may split one time by company.
        """
        return None if own or self.strict else self.progress.console.print


class Outcome(NamedTuple):
    """How a task did: its own measures by contender ("tocsin macro_f1", "majority macro_f1"), empty without labels.

    ``judged`` is what the contenders told, where they told probabilities of classes; ``robustness`` is how an encoder
    of texts did under attack, where that was asked for; ``stream`` are the task's own scores, where rows have dates and
    no other folder was predicted.
    """

    metrics: dict[str, Metric]
    judged: Judged | None = None
    robustness: Robustness | None = None
    stream: Stream | None = None


class Task(Protocol):
    """What a task's ``run`` does: train on ``train``, write predictions for ``test`` to ``out``, say how it did.

    Raises
    ------
    FolderError
        A folder does not hold what the task reads.
    LeakError
        Rows of ``train`` reach into the time of those of ``test`` (see `Run.overlap`).
    """

    def __call__(self, train: Path, test: Path, out: Path, run: Run) -> Outcome: ...


def load_task(name: str) -> Task:
    """Return a task by its name in `TASKS`."""
    return cast(Task, importlib.import_module(f"{__name__}.{TASKS[name]}").run)


def schedule_of(name: str) -> Schedule | None:
    """Return the schedule that a task trains by, None where it does not train by epochs."""
    return getattr(importlib.import_module(f"{__name__}.{TASKS[name]}"), "SCHEDULE", None)
