"""`tocsin models`: which models there are, and which of them serves; `promotion` is the way from one to another."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from monitor.commands import promotion
from monitor.commands.options import Author, Bootstrap, ModelName, Prefix, RegistryPlace, SigningKey
from monitor.errors import StartupError
from monitor.settings import load

app = typer.Typer(
    help="A registry of models: which there are, which serves, and how another takes its place.",
    epilog="docs/models.md tells a model's life from its first day to its last.",
    no_args_is_help=True,
)


@app.command()
def add(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    name: Annotated[str, typer.Option(help="What to call it, such as december-wider.")],
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
    from engines.bundle import Bundle, BundleError
    from monitor.labels import load_labels
    from monitor.registry import registry_of
    from monitor.trust import doubted

    settings = load(registry=registry)
    there = registry_of(settings)
    try:
        if labels is not None:
            load_labels(labels, Bundle.load(bundle), settings.precision)  # else no worker could serve it
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
    if doubt := doubted(Bundle.load(bundle), settings):
        typer.echo(f"No worker will serve it yet ({doubt}): `tocsin models sign {model.name} --key KEY`.", err=True)


@app.command()
def sign(name: ModelName, key: SigningKey = None, registry: RegistryPlace = None) -> None:
    """Sign the bundle of a model in the registry, so that workers that trust the key may serve it.

    Example: `tocsin models sign december --key release.key`
    """
    from monitor.registry import registry_of
    from monitor.trust import signed

    settings = load(registry=registry, bundle_key_file=key)
    there = registry_of(settings)
    model = there.find(name)
    bundle = there.fetch(model.id, settings.cache).bundle
    by = signed(bundle, settings)
    there.put_signatures(model, bundle)
    typer.echo(f"{model.name} ({model.id}) is signed by {by}")


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
    from monitor.registry import registry_of
    from monitor.render import clock, plain

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    there = registry_of(settings)
    models = there.models()
    of = standings(models, promotion.published(settings))
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
def show(name: ModelName, registry: RegistryPlace = None, bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Show a model whole: what it is made of, what it reached, and every promotion that concerned it, with its gate.

    Example: `tocsin models show december`
    """
    from rich.console import Console

    from monitor.champion import standings
    from monitor.gating import show_gate
    from monitor.registry import registry_of
    from monitor.render import clock, pairs, plain

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    there = registry_of(settings)
    model = there.find(name)
    told = promotion.published(settings)
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
            show_gate(console, one.gate)


@app.command()
def fetch(name: ModelName, registry: RegistryPlace = None) -> None:
    """Copy a model's bundle to this machine, check every digest, and say where it lies.

    Example: `tocsin replay day --bundle $(tocsin models fetch november) --bundle $(tocsin models fetch december)`
    """
    from monitor.registry import registry_of

    settings = load(registry=registry)
    typer.echo(registry_of(settings).fetch(name, settings.cache).bundle)


for command in (promotion.shadow, promotion.compare, promotion.review, promotion.promote, promotion.rollback):
    app.command()(command)
