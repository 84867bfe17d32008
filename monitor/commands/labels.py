"""`tocsin labels`: have texts of a kind of one's own rung for, from a few examples."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands.options import BundleFolder
from monitor.errors import StartupError
from monitor.settings import Settings, load

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from engines.bundle import Bundle
    from engines.text import TextEncoder
    from schemas.alerts import Severity

app = typer.Typer(help="Have texts of a kind of one's own rung for, from a few examples.", no_args_is_help=True)

SHOWN = 5
DEFAULT_FOLDER = Path("labels")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it: a-z, 0-9 and _. Its alerts are of label_NAME.")],
    examples: Annotated[Path, typer.Option(help="8 to 32 texts of it: CSV with a column `text`, or NDJSON.")],
    background: Annotated[
        Path,
        typer.Option(
            help="Texts that usually come, in the order in which they came: CSV, NDJSON of documents or news, or a "
            "recording's folder. Half of them tell what is rare."
        ),
    ],
    budget: Annotated[float, typer.Option(help="Share of such texts that may ring by chance.")] = 0.001,
    severity: Annotated[str, typer.Option(help="As what it opens: info, warning or critical.")] = "warning",
    title: Annotated[
        str | None, typer.Option(help="What alerts are called.", show_default="a text is about NAME")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write.", show_default="NAME.json in TOCSIN_LABELS, else in labels")
    ] = None,
    bundle: BundleFolder = None,
) -> None:
    """Make a label of a few texts, so that the daemon rings for an instrument when a text like them comes.

    The examples say in which direction such texts lie from the background, by the vectors of the bundle's text encoder;
    half of the background says how far out a text has to be to be as rare as the budget. Shown is how many of the
    examples would ring had the others made the label, and what of the background comes closest: where that is of the
    label too, take it out, for it makes the label deaf; where it is something else, give more examples.

    The daemon and `tocsin replay` load all labels of the folder TOCSIN_LABELS when they start.

    Example: `tocsin labels add cyber --examples attacks.csv --background headlines.csv --budget 0.001`
    """
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from engines.conformal import BudgetError, allowed
    from engines.few_shot import left_out, sized
    from engines.text_labels import NAME, TextLabel, encoder_digest, make
    from monitor.labels import read_texts, write_label
    from monitor.render import plain

    settings = load(bundle=bundle)
    if not NAME.fullmatch(name):
        raise StartupError(f"{name!r} is no name: expected up to 40 of a-z, 0-9 and _, a letter first.")
    as_what = _severity(severity)
    path = out or (settings.labels or DEFAULT_FOLDER) / f"{name}.json"
    if path.name != f"{name}.json":
        raise StartupError(f"{path} would not be found by its name: expected a file {name}.json.")
    shown = dict.fromkeys(read_texts(examples))  # each once
    usual = [text for text in read_texts(background) if text not in shown]
    try:
        allowed(sized(len(shown), len(usual)), budget)
    except BudgetError as error:
        raise StartupError(f"{background}: {error} (half of its {len(usual):,} texts calibrate).") from error
    except ValueError as error:
        raise StartupError(f"The label cannot be made: {error}.") from error
    loaded, encoder = load_encoder(settings)
    console = Console()
    vectors = vectors_of(encoder, [*shown, *usual])
    few, many = vectors[: len(shown)], vectors[len(shown) :]
    try:
        file = make(
            name=name,
            title=(title or "").strip() or f"A text is about {name.replace('_', ' ')}",
            severity=as_what,
            budget=budget,
            bundle=loaded.id,
            encoder=encoder_digest(loaded, settings.precision),
            examples=few,
            background=many,
        )
        label = TextLabel(file)
    except ValueError as error:
        raise StartupError(f"The label cannot be made of these texts: {error}.") from error
    caught = int(left_out(few, many, budget).sum())
    write_label(path, file)
    statistics = many @ np.array(file.direction)  # (n,)
    ringing = int((statistics > file.threshold).sum())
    table = Table("", "p-value", "closest in the background", box=None, pad_edge=False)
    for row in np.argsort(-statistics, kind="stable")[:SHOWN]:
        mark = "[yellow]▲" if statistics[row] > file.threshold else ""
        table.add_row(mark, f"{label.p_value(float(statistics[row])):.4f}", plain(" ".join(usual[row].split())[:200]))
    console.print(table)
    console.print(
        f"{ringing} of {len(usual):,} texts of the background would ring ({ringing / len(usual):.2%}, the budget is "
        f"{budget:.2%})",
        soft_wrap=True,
    )
    console.print(
        f"{caught} of {len(shown)} examples would ring had the others made the label", soft_wrap=True, highlight=False
    )
    console.print(f"[green]✓[/] {path}: the daemon loads it where TOCSIN_LABELS is {path.parent}", soft_wrap=True)


@app.command("list")
def list_(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of labels [TOCSIN_LABELS]", show_default="labels")
    ] = None,
    bundle: BundleFolder = None,
) -> None:
    """List the labels of a folder, as the daemon would load them.

    Example: `tocsin labels list labels`
    """
    from rich.console import Console
    from rich.table import Table

    from monitor.labels import load_labels
    from monitor.render import STYLES, plain

    settings = load(bundle=bundle)
    labels = load_labels(folder or settings.labels or DEFAULT_FOLDER, _bundle(settings), settings.precision)
    table = Table("label", "severity", "budget", "examples", "calibrated on", "title", box=None, pad_edge=False)
    for label in labels:
        file = label.file
        table.add_row(
            f"[bold]{file.name}", f"[{STYLES[file.severity]}]{file.severity}", f"{file.budget:.2%}", str(file.examples),
            f"{file.calibrated:,} texts", plain(file.title),
        )  # fmt: skip
    Console().print(table)


@app.command("try")
def try_(
    label: Annotated[Path, typer.Argument(help="A label's file.")],
    texts: Annotated[list[str], typer.Argument(metavar="TEXT…", help="Texts to judge.")],
    bundle: BundleFolder = None,
) -> None:
    """Say what a label makes of texts.

    Example: `tocsin labels try labels/cyber.json "Hackers take the exchange's order books offline"`
    """
    from rich.console import Console
    from rich.table import Table

    from monitor.labels import read_label
    from monitor.render import STYLES, plain

    settings = load(bundle=bundle)
    loaded, encoder = load_encoder(settings)
    judge = read_label(label, loaded, settings.precision)
    console = Console()
    table = Table("", "p-value", "statistic", "text", box=None, pad_edge=False)
    for text in texts:
        found = judge.judge(encoder.encode(text).vector)
        as_what: Severity = "critical" if found.score >= judge.spec.critical else judge.file.severity
        rings = found.score >= judge.spec.open
        table.add_row(
            f"[{STYLES[as_what]}]{as_what}" if rings else "[dim]quiet",
            f"{found.p_value:.4g}",
            f"{found.statistic:.4g}",
            plain(text),
        )
    console.print(table)
    file = judge.file
    console.print(f"{file.name} rings above {file.threshold:.4g}, p-value {file.budget:g} or less", soft_wrap=True)


def _severity(given: str) -> Severity:
    from schemas.alerts import SEVERITIES

    for one in SEVERITIES:
        if one == given:
            return one
    raise StartupError(f"--severity: expected one of {', '.join(SEVERITIES)}, found {given!r}.")


def _bundle(settings: Settings) -> Bundle:
    from engines.bundle import DEFAULT, Bundle, BundleError

    try:
        return Bundle.load(settings.bundle or DEFAULT)
    except (BundleError, OSError) as error:
        raise StartupError(str(error)) from error


def load_encoder(settings: Settings) -> tuple[Bundle, TextEncoder]:
    """Return the bundle of settings, and its text encoder."""
    from engines.bundle import BundleError
    from engines.plans import PLANS
    from engines.text import TextEncoder

    bundle = _bundle(settings)
    try:
        return bundle, TextEncoder(bundle, plans=settings.cache / PLANS, precision=settings.precision)
    except (BundleError, OSError) as error:
        raise StartupError(str(error)) from error


def vectors_of(encoder: TextEncoder, texts: list[str]) -> npt.NDArray[np.float64]:
    """Return the vectors (n, dim) of texts; one that comes again is encoded once."""
    import numpy as np
    from rich.progress import Progress

    different = list(dict.fromkeys(texts))
    with Progress(transient=True) as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        found = progress.track(
            pool.map(lambda text: encoder.encode(text).vector, different), len(different), description="encoding"
        )
        vector = dict(zip(different, found, strict=True))
    return np.array([vector[text] for text in texts], np.float64)
