"""`tocsin train`: a task's model from a folder of data, or what a replay of later times is decided by."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from monitor.commands import training
from monitor.commands.options import Data
from monitor.commands.train_until import UNTIL, until
from monitor.commands.training import Task
from monitor.errors import StartupError

app = typer.Typer()
#: Tasks, and what is trained until a date.
What = StrEnum("What", {name: name for name in sorted({*Task, *UNTIL})})  # type: ignore[misc]


class Optimizer(StrEnum):
    """Optimizers of `engines.training.loop`."""

    adamw = "adamw"
    adam = "adam"
    sgd = "sgd"


class Attack(StrEnum):
    """What training is hardened against: nothing, one step up the loss, or several within a radius."""

    none = "none"
    fgm = "fgm"
    pgd = "pgd"


class Device(StrEnum):
    """Where networks of texts learn: on a GPU where there is one, or on what is named."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Copies(StrEnum):
    """Copies of texts that are learnt from beside them."""

    none = "none"
    synonyms = "synonyms"


@app.command()
def train(
    task: Annotated[
        What, typer.Argument(help="Which task; bundle, pump_trades and turmoil are for replays of later times.")
    ],
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for predictions, and networks as far as they have learnt; of texts also their learning curves."
            " Of bundle the bundle's folder, of pump_trades and turmoil a file."
        ),
    ],
    day: Annotated[
        str | None,
        typer.Option(
            "--until",
            help="Of bundle, pump_trades, turmoil: the day (YYYY-MM-DD) before which to learn.",
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="Folder to predict.", show_default="the later part of the task's own")
    ] = None,
    charts: Annotated[
        bool, typer.Option("--charts/--no-charts", help="Of bundle: whether it has a chart encoder, and learns it.")
    ] = True,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs at most.", show_default="the task's")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Rows a step.", show_default="the task's")] = None,
    rate: Annotated[float | None, typer.Option(min=0, help="Learning rate.", show_default="the task's")] = None,
    decay: Annotated[float | None, typer.Option(min=0, help="Weight decay.", show_default="the task's")] = None,
    optimizer: Annotated[Optimizer | None, typer.Option(help="Optimizer.", show_default="the task's")] = None,
    adversary: Annotated[
        Attack | None, typer.Option(help="Inputs nudged to where the loss is worse.", show_default="the task's")
    ] = None,
    radius: Annotated[float, typer.Option(min=0, help="How far a nudge goes, in the input's units.")] = 0.3,
    freeze: Annotated[
        list[str] | None,
        typer.Option(help="Parameters whose names begin so stay as they are (word, layers.0); may be repeated."),
    ] = None,
    search: Annotated[
        int, typer.Option(min=1, help="Schedules to try before the best, on what stops training, is taken.")
    ] = 1,
    encoder: Annotated[
        str,
        typer.Option(
            help="What encoders of texts begin with: mpnet, minilm, or the folder of a BERT or MPNet checkpoint.",
            show_default="mpnet where the processor has bf16",
        ),
    ] = "auto",
    device: Annotated[Device, typer.Option(help="Where networks of texts learn.")] = Device.auto,
    augment: Annotated[
        Copies, typer.Option(help="Copies of texts to learn from, in which words are replaced by synonyms.")
    ] = Copies.none,
    back_translate: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="THERE BACK",
            help="Folders of two MarianMT checkpoints: texts that went through both are learnt too.",
        ),
    ] = None,
) -> None:
    """Train a task's model on DATA/TASK (or on DATA itself), and say how it does on what it has not seen.

    The same command goes on where it was stopped, from the networks in OUT, those of texts from their last epoch and on
    another device too. The options on how it learns are for tasks of texts; the others choose for themselves. Splits
    are by time where rows have dates, else by groups of near copies; a folder to predict that lies not later than what
    is learnt from is refused. Needs the extra `train`.

    `tocsin train bundle --until DATE` makes a bundle whose chart encoder and fusion know nothing from DATE on, and
    `tocsin train pump_trades --until DATE` the thresholds of pump_and_dump, `tocsin train turmoil --until DATE` a label
    of what is said in calls before turmoil (of MAEC, by the text encoder as it is): a replay and a backtest of what
    follows accept them. They take --data, --until and --out alone.

    Example: `tocsin train fomc --data data --out build/fomc --epochs 3`
    """
    if task.value in UNTIL:
        how = {"test": test, "epochs": epochs, "batch": batch, "rate": rate, "decay": decay, "optimizer": optimizer}
        if asked_for := [name for name, value in how.items() if value is not None]:
            raise StartupError(f"{task.value} takes --data, --until and --out alone: leave out --{asked_for[0]}.")
        until(task.value, data, day, out, charts=charts)
        return
    if day is not None:
        raise StartupError(f"--until is of {', '.join(UNTIL)}: {task.value} is split by time as its data ask for.")
    with training.extra():
        from engines.training.adversary import PGD_STEPS, Adversary
        from engines.training.augment import Augmentation, AugmentError
        from engines.training.checkpoints import CheckpointError
        from engines.training.leaks import LeakError
        from engines.training.loop import ScheduleError, device_named
        from engines.training.pretrained import PretrainedError
        from engines.training.tasks import Run, load_task, schedule_of
        from engines.training.tasks.tables import FolderError
    from rich.console import Console
    from rich.table import Table

    given = {"epochs": epochs, "batch": batch, "rate": rate, "decay": decay}
    changes: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    if freeze:
        changes["freeze"] = tuple(freeze)
    if optimizer is not None:
        changes["optimizer"] = optimizer.value
    if adversary is not None:
        steps = PGD_STEPS if adversary is Attack.pgd else 1
        changes["adversary"] = None if adversary is Attack.none else Adversary(radius, steps)
    copies = Augmentation(augment is Copies.synonyms, back_translate)
    if schedule_of(task) is None:
        asked = {"search": search > 1, "device": device is Device.cuda, "augment": copies.synonyms}
        asked |= {"encoder": encoder != "auto", "back-translate": back_translate is not None}
        named = [*changes, *(name for name, is_asked in asked.items() if is_asked)]
    else:
        named = []
    if named:
        raise StartupError(f"{task} does not train by epochs: leave out {', '.join(f'--{name}' for name in named)}")
    try:
        place = device_named(device.value)
    except ScheduleError as error:
        raise StartupError(f"--device {device}: {error}") from error
    folder = data / task if (data / task).is_dir() else data
    if missing := next((path for path in (folder, test) if path is not None and not path.is_dir()), None):
        raise StartupError(f"{missing} is no folder: expected the data of {task}")
    with training.bar() as progress:
        run = Run(
            progress,
            keep=out,
            changes=changes,
            trials=search,
            strict=True,
            device=place,
            augment=copies if copies.synonyms or copies.translators else None,
            attack=True,
            encoder=encoder,
        )
        try:
            with training.extra():
                found = load_task(task)(folder, test or folder, out / "predictions.csv", run)
        except (AugmentError, CheckpointError, FolderError, LeakError, PretrainedError, ScheduleError) as error:
            raise StartupError(str(error)) from error
    console = Console()
    for metrics, sentence in (
        (found.metrics, ""),
        (found.robustness.metrics, found.robustness.sentence()) if found.robustness else ({}, ""),
    ):
        if sentence:
            console.print(f"\n{sentence}", highlight=False)
        if metrics:
            table = Table("measure", "value", "95 % interval", box=None, pad_edge=False)
            for name, metric in metrics.items():
                table.add_row(name, f"{metric.value:.4f}", f"[{metric.low:.4f}, {metric.high:.4f}]".replace("[", r"\["))
            console.print(table)
    console.print(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")
