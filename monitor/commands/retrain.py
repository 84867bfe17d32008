"""`tocsin retrain`: a challenger that has learnt what was recorded lately."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from monitor.commands import training
from monitor.commands.options import Author, Bootstrap, Prefix, RegistryPlace
from monitor.errors import StartupError
from monitor.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from engines.labels import Label
    from engines.training.build import Member

app = typer.Typer()


#: What cannot be learnt of what runs through the monitor, and what to do instead.
ELSEWHERE = {
    "text": "it is learnt from labelled texts: `make bundle`; a pattern of few texts is `tocsin labels add`",
    "chart": "it is learnt from years of daily charts: `make bundle`",
    "fusion": "it is learnt from years of days with what came of them: `tocsin train stocknet --until DAY`",
    "voice": "it is learnt from simulated voices: `make bundle`",
    "credit": "it is learnt from statements with what was paid a month later, of many counterparties: `make bundle`",
    "pump": "its thresholds are in no bundle: `tocsin train pump_trades --until DAY` writes a file for TOCSIN_PUMP",
}


class Learnt(NamedTuple):
    """A member that was learnt anew, what it takes the place of in the lineage, and what to say of it."""

    member: Member
    instead_of: Sequence[str]
    said: Sequence[RenderableType]


@app.command()
def retrain(
    member: Annotated[str, typer.Argument(help="Which model of the bundle learns anew: order_flow or opinion.")],
    author: Author,
    recordings: Annotated[
        list[Path] | None,
        typer.Argument(help="order_flow: recordings with orders, on this machine.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="order_flow: what is known to have happened, CSV or Parquet.",
            show_default="what each recording brings",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="order_flow: the day (YYYY-MM-DD) before which to learn.", show_default="all that was recorded"
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="opinion: alerts are in a replay's folder, a recording of their topic or a file of `tocsin alerts"
            " --json`, not on the topic.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="opinion: dispositions are in this file, not on the topic.", show_default=False),
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
    """Learn a member of the champion's bundle anew from what came until now, into a challenger in the registry.

    `order_flow` learns from recordings of orders: of their days the last quarter is what it is measured on, beside the
    champion's and rules alone; the quarter before calibrates it.

    `opinion` learns from dispositions what analysts will find of an alert: River's logistic regression and adaptive
    random forest, each told of every alert before what was found of it is learnt, weighted by their losses of late.
    Workers that serve it put a probability on alerts (docs/adaptation.md); it decides nothing.

    Every other member, and labels that belong to the model, stay what they are. Nothing serves it: put it in shadow,
    and before the gate. Needs the extra `train`.

    Examples:

    `tocsin retrain order_flow captured --labels labels.parquet --if-drifted 7d`

    `tocsin retrain opinion --name october`
    """
    from rich.console import Console

    from engines.bundle import DEFAULT
    from monitor.champion import champion_of
    from monitor.registry import registry_of
    from monitor.trust import signed

    if why := ELSEWHERE.get(member):
        raise StartupError(f"{member} cannot learn from what runs through the monitor: {why}.")
    if member not in ("order_flow", "opinion"):
        raise StartupError(f"MEMBER: expected order_flow or opinion, found {member!r}.")
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

    days, at = recordings or [], _day(until)
    known = _known(days, labels) if member == "order_flow" else None
    kept = base or asyncio.run(champion_of(settings))
    fetched = there.fetch(kept, settings.cache) if kept else None
    begins = fetched.bundle if fetched else settings.bundle or DEFAULT
    if member == "order_flow":
        learnt = _order_flow(days, at, known, begins)
    else:
        learnt = _opinion(settings, source, file)
    with training.extra():
        from engines.training.build import put
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / called
        shutil.copytree(begins, bundle)
        put(bundle, member, learnt.member, instead_of=learnt.instead_of)
        if settings.bundle_key_file:
            signed(bundle, settings)
        model = there.add(
            bundle,
            called,
            labels=fetched.labels if fetched else None,
            author=author,
            reason=reason or "a schedule",
            origin=f"tocsin retrain {member}, of {kept or begins}, on {learnt.member.source.window}",
            now_ns=time.time_ns(),
        )
    console = Console(highlight=False)
    for line in learnt.said:
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"{model.name} is {model.id}, a challenger: `tocsin models shadow {model.name}`", soft_wrap=True)
    if not settings.bundle_key_file:
        console.print(f"Nobody has signed it: `tocsin models sign {model.name} --key KEY`.", soft_wrap=True)


def _known(recordings: Sequence[Path], labels: Path | None) -> list[Label] | None:
    from monitor import label_files

    if not recordings:
        raise StartupError("order_flow learns from recordings: name at least one (`tocsin record --out captured`).")
    if labels is not None:
        return list(label_files.read(labels).labels)
    if lacking := [path for path in recordings if not (path / "labels.parquet").is_file()]:
        raise StartupError(f"{lacking[0]} brings no labels: name a file of them by --labels.")
    return None


def _order_flow(recordings: Sequence[Path], until: date, known: list[Label] | None, begins: Path) -> Learnt:
    with training.extra():
        from engines.training.models.order_flow import EPOCHS
        from engines.training.order_flow import SOURCE
        from engines.training.retrain import RetrainError, Steps, days_of, order_flow
    from engines.bundle import Bundle
    from engines.order_flow import of as order_flow_of

    try:
        days = days_of(recordings, until)
        with training.bar() as progress, training.extra():
            bars = progress.add_task("days", total=len(days)), progress.add_task("epochs", total=EPOCHS)
            steps = Steps(lambda: progress.advance(bars[0]), lambda: progress.advance(bars[1]))
            learnt = order_flow(days, known, steps, order_flow_of(Bundle.load(begins)))
    except RetrainError as error:
        raise StartupError(f"order_flow cannot learn: {error}.") from error
    said = []
    for contender, metrics in learnt.part.metrics.items():
        if contender.endswith((" tocsin", " champion", " rules")):
            told = ", ".join(f"{of} {m.value:.3f} [{m.low:.3f}, {m.high:.3f}]" for of, m in metrics.items())
            said.append(f"{contender}: {told}")
    return Learnt(learnt, [SOURCE.name], [*said, *learnt.part.notes])


def _opinion(settings: Settings, source: Path | None, file: Path | None) -> Learnt:
    from rich.table import Table

    with training.extra():
        from engines.training.opinion import member_of
    from engines.progressive import OpinionError, learn, measured
    from monitor.dispositions import Store, openings
    from monitor.numbers import estimate

    found = asyncio.run(Store(settings, file).read())
    try:
        learnt = learn(asyncio.run(openings(settings, source, {one.episode_id for one in found})), found)
    except OpinionError as error:
        raise StartupError(f"opinion cannot learn: {error}.") from error
    table = Table("told before it was known", "accuracy", "log loss", "kappa-temporal", box=None, pad_edge=False)
    for name, one in measured(learnt.judged).items():
        table.add_row(name, *(estimate(figure, ".3f") for figure in one))
    member = member_of(learnt)
    return Learnt(member, [], [table, *member.part.notes])


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
