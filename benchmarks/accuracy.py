"""How good a task's models are on data of the user's own: train on one folder, predict another.

    python -m benchmarks.accuracy nab --train ../shared/data/nab --test DIR --out predictions

The folders have the layout of the task's folder in ../shared/data; tables are found by their columns, not by their
names. What is predicted is written to ``--out``; where ``--test`` has labels, measures follow, with 95 % intervals and
beside those of a baseline and a dummy.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.harness import close, table
from engines.training.leaks import LeakError
from engines.training.pretrained import PretrainedError
from engines.training.tasks import TASKS, Run, load_task
from engines.training.tasks.tables import FolderError


def main() -> None:
    """Train, predict, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("--train", type=Path, required=True, help="folder to train on")
    parser.add_argument("--test", type=Path, required=True, help="folder to predict; it may lack labels")
    parser.add_argument(
        "--out", type=Path, required=True, help="file (for nab: folder) that predictions are written to"
    )
    chosen = parser.parse_args()
    began_s = time.monotonic()
    for folder in (chosen.train, chosen.test):
        if not folder.is_dir():
            parser.error(f"{folder} is no folder")
    with Progress(console=Console(stderr=True)) as progress:
        try:
            found = load_task(chosen.task)(chosen.train, chosen.test, chosen.out, Run(progress)).metrics
        except (FolderError, LeakError, PretrainedError) as error:
            parser.error(str(error))
    rows = [(name, f"{m.value:.4f}", f"[{m.low:.4f}, {m.high:.4f}]") for name, m in found.items()]
    if rows:
        table(f"{chosen.task}: {chosen.test}", ("measure", "value", "95 % interval"), rows)
    print(f"predictions: {chosen.out}")
    figures = {name.replace(" ", "_"): m.value for name, m in found.items()}
    close(benchmark="accuracy", task=chosen.task, seconds=round(time.monotonic() - began_s, 1), **figures)


if __name__ == "__main__":
    main()
