"""`tocsin retrain`: a challenger that has learnt what was recorded lately."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from monitor.commands import training
from monitor.commands.options import Author, Bootstrap, Prefix, RegistryPlace
from monitor.errors import StartupError
from monitor.settings import Settings, load

app = typer.Typer()


@app.command()
def retrain(
    member: Annotated[Literal["order_flow"], typer.Argument(help="Which model of the bundle learns anew.")],
    recordings: Annotated[list[Path], typer.Argument(help="Recordings with orders, on this machine.")],
    author: Author,
    labels: Annotated[
        Path | None,
        typer.Option(help="What is known to have happened: CSV or Parquet.", show_default="what each recording brings"),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(help="The day (YYYY-MM-DD) before which to learn.", show_default="all that was recorded"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What to call the challenger.", show_default="the member and the time")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Model whose other members it keeps.", show_default="the champion")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--if-drifted",
            metavar="SINCE",
            help="Learn only where instruments drifted since then: an age (7d) or ISO 8601.",
            show_default=False,
        ),
    ] = None,
    least: Annotated[
        int, typer.Option("--at-least", min=1, help="So many instruments, for --if-drifted: one may be chance.")
    ] = 3,
    reason: Annotated[
        str | None, typer.Option(help="What it is for.", show_default="a schedule, or what drifted")
    ] = None,
    registry: RegistryPlace = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Learn a member of the champion's bundle anew from recordings up to now, into a challenger in the registry.

    The order-flow model is what a recording can teach. Of its days the last quarter is what the challenger is measured
    on, beside the champion's and rules alone; the quarter before calibrates it. Every other member, and labels that
    belong to the model, stay what they are. Nothing serves it: put it in shadow, and before the gate. Needs the extra
    `train`.

    Example: `tocsin retrain order_flow captured --labels labels.parquet --if-drifted 7d`
    """
    with training.extra():
        from engines.training.build import put
        from engines.training.models.order_flow import EPOCHS
        from engines.training.order_flow import SOURCE
        from engines.training.retrain import RetrainError, Steps, days_of, order_flow
    from rich.console import Console

    from engines.bundle import DEFAULT, Bundle
    from engines.order_flow import of as order_flow_of
    from monitor import label_files
    from monitor.champion import champion_of
    from monitor.registry import registry_of
    from monitor.trust import signed

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    there = registry_of(settings)
    called = name or f"{member}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    there.free(called)  # before hours are spent on it
    if since is not None:
        drifted = asyncio.run(_drifted(settings, since))
        told = f"{len(drifted)} instruments drifted since {since}"
        if len(drifted) < least:
            typer.echo(f"{told}, fewer than {least}: nothing is learnt.")
            return
        reason = reason or told
    at = _day(until)
    known = list(label_files.read(labels).labels) if labels else None
    if known is None and (lacking := [path for path in recordings if not (path / "labels.parquet").is_file()]):
        raise StartupError(f"{lacking[0]} brings no labels: name a file of them by --labels.")
    kept = base or asyncio.run(champion_of(settings))
    fetched = there.fetch(kept, settings.cache) if kept else None
    begins = fetched.bundle if fetched else settings.bundle or DEFAULT
    try:
        days = days_of(recordings, at)
        with training.bar() as progress, training.extra():
            bars = progress.add_task("days", total=len(days)), progress.add_task("epochs", total=EPOCHS)
            steps = Steps(lambda: progress.advance(bars[0]), lambda: progress.advance(bars[1]))
            learnt = order_flow(days, known, steps, order_flow_of(Bundle.load(begins)))
    except RetrainError as error:
        raise StartupError(f"{member} cannot learn: {error}.") from error
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / called
        shutil.copytree(begins, bundle)
        put(bundle, member, learnt, instead_of=[SOURCE.name])
        if settings.bundle_key_file:
            signed(bundle, settings)
        model = there.add(
            bundle,
            called,
            labels=fetched.labels if fetched else None,
            author=author,
            reason=reason or "a schedule",
            origin=f"tocsin retrain {member}, of {kept or begins}, on {learnt.source.window}",
            now_ns=time.time_ns(),
        )
    console = Console(highlight=False)
    for contender, metrics in learnt.part.metrics.items():
        if contender.endswith((" tocsin", " champion", " rules")):
            told = ", ".join(f"{of} {m.value:.3f} [{m.low:.3f}, {m.high:.3f}]" for of, m in metrics.items())
            console.print(f"{contender}: {told}", soft_wrap=True, markup=False)
    for note in learnt.part.notes:
        console.print(note, soft_wrap=True, markup=False)
    console.print(f"{model.name} is {model.id}, a challenger: `tocsin models shadow {model.name}`", soft_wrap=True)
    if not settings.bundle_key_file:
        console.print(f"Nobody has signed it: `tocsin models sign {model.name} --key KEY`.", soft_wrap=True)


async def _drifted(settings: Settings, since: str) -> set[str]:
    """Return the instruments that drifted; what drifted of their data alone says nothing of what is to be learnt."""
    from monitor import drifts
    from monitor.when import since_ns

    told = await drifts.on_topic(settings, since_ns(since, option="--if-drifted"))
    return {name for one in told if one.kind == "market" for name in (one.instruments or [one.subject])}


def _day(until: str | None) -> date:
    if until is None:
        return date.max
    try:
        return date.fromisoformat(until)
    except ValueError as error:
        raise StartupError(f"--until: expected a date such as 2026-06-01, found {until!r}.") from error
