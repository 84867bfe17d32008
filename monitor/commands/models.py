"""`tocsin models`: which models there are, which of them serves, and the way from one to another."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from monitor.commands.options import Bootstrap, Prefix, RegistryPlace
from monitor.errors import StartupError
from monitor.settings import Settings, load

if TYPE_CHECKING:
    from monitor.registry import Registry
    from schemas.control import Check, Promotion

app = typer.Typer(
    help="A registry of models: which there are, which serves, and how another takes its place.",
    epilog="docs/models.md tells a model's life from its first day to its last.",
    no_args_is_help=True,
)


def _names(incomplete: str) -> list[str]:
    with suppress(StartupError):
        return [model.name for model in _registry(load()).models() if model.name.startswith(incomplete)]
    return []


Name = Annotated[str, typer.Argument(help="The model's name, or its id.", autocompletion=_names)]
Why = Annotated[str, typer.Option(help="Why: it stands in the control topic.")]
Author = Annotated[str, typer.Option(help="Who.", default_factory=getuser, show_default="the user's name")]


@app.command()
def add(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    name: Annotated[str, typer.Option(help="What to call it, such as 2026-12-wider.")],
    author: Author,
    reason: Annotated[str, typer.Option(help="What it is for.")] = "",
    labels: Annotated[
        Path | None,
        typer.Option(help="Labels of texts (`tocsin labels`) that are to come and go with it; else TOCSIN_LABELS'."),
    ] = None,
    registry: RegistryPlace = None,
) -> None:
    """Put a bundle into the registry, where it is never changed. Nothing serves it yet.

    Example: `tocsin models add bundles/2026-12 --name december --reason "Learnt the autumn"`
    """
    from engines.bundle import BundleError

    there = _registry(load(registry=registry))
    try:
        model = there.add(
            bundle,
            name,
            labels=labels,
            author=author,
            reason=reason,
            origin=str(bundle.resolve()),
            now_ns=time.time_ns(),
        )
    except (BundleError, OSError) as error:
        raise StartupError(str(error)) from error
    mb = sum(entry.size for entry in model.files.values()) / 1e6
    typer.echo(f"{model.name} is {model.id} ({len(model.files)} files, {mb:.1f} MB) in {there.where}")


class Row(msgspec.Struct, kw_only=True):
    """What `tocsin models list --json` tells of a model."""

    id: str
    name: str
    role: str
    since: str
    author: str
    reason: str
    bundle: str
    labels: list[str]
    metrics: dict[str, float]


@app.command("list")
def list_(
    registry: RegistryPlace = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, one model a line.")] = False,
) -> None:
    """List the models: what each is used for, since when, by whom and why.

    The champion serves; what was champion is retired; the others are challengers. Without a champion workers serve what
    they were started with (TOCSIN_BUNDLE). Exit code 1 if a model is not there whole.

    Example: `tocsin models list`
    """
    from rich.console import Console
    from rich.table import Table

    from monitor.champion import standings
    from monitor.render import clock, plain

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    there = _registry(settings)
    models = there.models()
    of = standings(models, _promotions(settings))
    styles = {"champion": "bold green", "retired": "dim", "challenger": ""}
    table = Table("id", "name", "role", "since (UTC)", "author", "reason", "metrics", box=None, pad_edge=False)
    for model in models:
        role, since_ns, author, reason = of[model.id]
        metrics = {name: round(metric.value, 4) for name, metric in model.metrics.items()}
        if as_json:
            row = Row(
                id=model.id, name=model.name, role=role, since=clock(since_ns), author=author, reason=reason,
                bundle=model.bundle, labels=model.labels, metrics=metrics,
            )  # fmt: skip
            typer.echo(msgspec.json.encode(row))
        shown = "\n".join(f"{name.partition(' (')[0]} {metric:.3f}" for name, metric in metrics.items())
        table.add_row(
            *map(plain, (model.id, model.name)), f"[{styles[role]}]{role}" if styles[role] else role, clock(since_ns),
            *map(plain, (author, reason, shown)),
        )  # fmt: skip
    console = Console(stderr=as_json)
    if not as_json:
        console.print(table if models else f"{there.where} holds no model: `tocsin models add` puts one in")
    if broken := there.broken():
        for sentence in broken:
            console.print("[red]✗[/]", plain(sentence), soft_wrap=True)
        raise typer.Exit(1)


@app.command()
def show(name: Name, registry: RegistryPlace = None, bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Show a model whole: what it is made of, what it reached, and every promotion that concerned it, with its gate.

    Example: `tocsin models show december`
    """
    from rich.console import Console

    from monitor.champion import standings
    from monitor.render import clock, pairs, plain

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    there = _registry(settings)
    model = there.find(name)
    told = _promotions(settings)
    role, since_ns, author, reason = standings([model], told)[model.id]
    console = Console()
    console.print(
        pairs(
            [
                ("model", f"{model.name} ({model.id})"),
                ("role", f"{role} since {clock(since_ns)} UTC, {author}: {reason}"),
                ("added", f"{clock(model.added_ns)} UTC by {model.author}: {model.reason}"),
                ("origin", model.origin),
                ("bundle", model.bundle),
                ("labels", ", ".join(model.labels)),
                *((what, f"{m.value:.4f} [{m.low:.4f}, {m.high:.4f}]") for what, m in model.metrics.items()),
            ]
        )
    )
    for one in told:
        if model.id in (one.model, one.previous):
            forced = ", forced" if one.forced else ""
            change = f"{clock(one.published_ns)} {one.change} to {one.name or 'the start'}{forced}"
            console.print(plain(f"\n{change} by {one.author}: {one.reason}"), style="bold", soft_wrap=True)
            _print_gate(one.gate)


@app.command()
def fetch(name: Name, registry: RegistryPlace = None) -> None:
    """Copy a model's bundle to this machine, check every digest, and say where it lies.

    Example: `tocsin replay day --bundle $(tocsin models fetch november) --bundle $(tocsin models fetch december)`
    """
    settings = load(registry=registry)
    typer.echo(_registry(settings).fetch(name, settings.cache).bundle)


@app.command()
def promote(
    name: Name,
    reason: Why,
    author: Author,
    registry: RegistryPlace = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Have every running worker serve a model: each fetches it, checks it, and swaps between two turns.

    A worker that cannot serve it goes on with what it serves, and says why on /readyz and in its log. Workers that
    start later serve the last model that was promoted.

    Example: `tocsin models promote december --reason "Fewer false alarms at equal recall, ticket 4712"`
    """
    from schemas.control import Promotion

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    there = _registry(settings)
    model = there.find(name)
    serves = _champion(settings)
    if model.id == serves:
        raise StartupError(f"{model.name} ({model.id}) is champion already.")
    there.fetch(model.id, settings.cache)
    _publish(
        settings,
        Promotion(
            model=model.id,
            name=model.name,
            change="promotion",
            previous=serves,
            published_ns=time.time_ns(),
            author=author,
            reason=reason,
        ),
    )


@app.command()
def rollback(
    reason: Why, author: Author, registry: RegistryPlace = None, bootstrap: Bootstrap = None, prefix: Prefix = None
) -> None:
    """Have every running worker serve the model that was champion before; before the first, what it was started with.

    Asks no gate, and needs nothing of the registry but that workers can fetch what they served. A second rollback goes
    back one more.

    Example: `tocsin models rollback --reason "Rings for every dividend"`
    """
    from monitor.champion import way_back
    from schemas.control import Promotion

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    way = way_back(_promotions(settings))
    if not way:
        raise StartupError(
            "No model is promoted: workers serve what they were started with, and nothing lies before it."
        )
    before = way[-2] if len(way) > 1 else None
    _publish(
        settings,
        Promotion(
            model=before.model if before else "",
            name=before.name if before else "",
            change="rollback",
            previous=way[-1].model,
            published_ns=time.time_ns(),
            author=author,
            reason=reason,
        ),
    )


def _registry(settings: Settings) -> Registry:
    from monitor.registry import Registry

    if not settings.registry:
        raise StartupError("No registry is named: set TOCSIN_REGISTRY, or --registry, to a folder or a URL.")
    return Registry(settings.registry)


def _promotions(settings: Settings) -> list[Promotion]:
    from monitor.control import promotions

    return [one.promotion for one in asyncio.run(promotions(settings))]


def _champion(settings: Settings) -> str:
    from monitor.champion import way_back

    way = way_back(_promotions(settings))
    return way[-1].model if way else ""


def _publish(settings: Settings, promotion: Promotion) -> None:
    from monitor.control import publish

    offset = asyncio.run(publish(settings, promotion))
    now = f"{promotion.name} ({promotion.model})" if promotion.model else "what each worker was started with"
    typer.echo(
        f"{promotion.change} stands at offset {offset}: champion is {now}, before it {promotion.previous or 'none'}"
    )


def _print_gate(gate: list[Check]) -> None:
    from rich.console import Console

    from monitor.render import plain

    console = Console()
    for check in gate:
        console.print(
            "[green]✓[/]" if check.passed else "[red]✗[/]", plain(f"{check.name}: {check.told}"), soft_wrap=True
        )
