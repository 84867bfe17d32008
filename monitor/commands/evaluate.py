"""`tocsin evaluate`: what every task reaches, as a page with pictures."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Annotated

import typer

from monitor.commands import training
from monitor.commands.options import Data
from monitor.commands.training import Task
from monitor.errors import StartupError

app = typer.Typer()


@app.command()
def evaluate(
    data: Data,
    tasks: Annotated[list[Task] | None, typer.Argument(help="Tasks to run again.", show_default="all")] = None,
    out: Annotated[Path, typer.Option(help="The page; its figures and pictures lie beside it.")] = Path(
        "docs/evaluation.md"
    ),
    folds: Annotated[
        int | None, typer.Option(min=1, max=8, help="Parts of a folder that are predicted.", show_default="the task's")
    ] = None,
) -> None:
    """Train every task on one part of its folder, predict the rest, and write how well it went.

    Splits are by time where rows have dates, else by groups of near copies. The page is written from the results of
    all tasks that were ever run into its folder, so `tocsin evaluate nab` renews one section of it. Needs the extra
    `train`; the texts take most of the time.

    Example: `tocsin evaluate nab fomc --data data --out build/evaluation.md`
    """
    with training.extra():
        import msgspec

        from engines.training.evaluate import Result, page
        from engines.training.evaluate import evaluate as run
        from engines.training.leaks import LeakError
        from engines.training.pretrained import PretrainedError
        from engines.training.tasks.tables import FolderError
    folder = out.with_suffix("")
    chosen = [task.value for task in tasks or Task]
    if missing := [name for name in chosen if not (data / name).is_dir()]:
        raise StartupError(f"{data / missing[0]} is no folder: expected the data of {missing[0]}")
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = msgspec.json.decode(path.read_bytes(), type=Result)
        except msgspec.DecodeError as error:
            raise StartupError(f"{path} is no result of this version ({error}): remove it") from error
    with training.bar() as progress:
        whole = progress.add_task("tasks", total=len(chosen))
        for name in chosen:
            began_s = time.monotonic()
            try:
                result = run(name, data, folder, folds, progress)
            except (FolderError, LeakError, PretrainedError) as error:
                raise StartupError(str(error)) from error
            told = msgspec.structs.replace(
                result, date=datetime.datetime.now(datetime.UTC).date().isoformat(), seconds=time.monotonic() - began_s
            )
            found[name] = told
            _replace(folder / f"{name}.json", msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")
            _replace(out, page(list(found.values()), folder.name).encode())
            progress.advance(whole)
    typer.echo(f"{out}: {len(found)} of {len(Task)} tasks")


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)
