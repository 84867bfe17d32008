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
    from monitor.registry import Model, Registry
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
LabelFile = Annotated[
    Path | None,
    typer.Option(
        "--labels", help="What is known to have happened: CSV or Parquet, as for a backtest.", show_default=False
    ),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy", help="What the gate asks: YAML (examples/policy.yaml).", show_default="the defaults of that file"
    ),
]
From = Annotated[
    str | None,
    typer.Option("--from", help="First moment that is judged: ISO 8601 (UTC), or an age (7d).", show_default=False),
]
To = Annotated[str | None, typer.Option("--to", help="The moment before which to end.", show_default=False)]
Author = Annotated[str, typer.Option(help="Who.", default_factory=getuser, show_default="the user's name")]


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
    from monitor.gating import show_gate
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
            show_gate(console, one.gate)


@app.command()
def fetch(name: Name, registry: RegistryPlace = None) -> None:
    """Copy a model's bundle to this machine, check every digest, and say where it lies.

    Example: `tocsin replay day --bundle $(tocsin models fetch november) --bundle $(tocsin models fetch december)`
    """
    settings = load(registry=registry)
    typer.echo(_registry(settings).fetch(name, settings.cache).bundle)


@app.command()
def shadow(name: Name, registry: RegistryPlace = None, bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Run a challenger in the champion's shadow until it is stopped: the same daemon, settings and inputs.

    It reads by a group of its own, from the oldest message that the topics hold, and writes to `PREFIXshadow.NAME.*`
    alone. Several of these share the partitions; TOCSIN_SHADOW=NAME makes `tocsin run` one.

    Example: `TOCSIN_HTTP_PORT=8400 tocsin models shadow december`
    """
    from monitor.commands.run import until_stopped

    until_stopped(load(shadow=name, registry=registry, bootstrap=bootstrap, prefix=prefix))


@app.command()
def compare(
    name: Name,
    labels: LabelFile = None,
    policy: PolicyFile = None,
    begin: From = None,
    end: To = None,
    registry: RegistryPlace = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables, with every episode.")] = False,
) -> None:
    """Hold a challenger's shadow against the champion: what both rang for, how often, how right, how fast.

    And against the gate: exit code 1 where it does not let the challenger pass.

    Judged is the time of which both have heard, or as much of it as is asked for, by the labels of a file: such as
    `tocsin disposition export` writes.

    Example: `tocsin models compare december --labels labels.parquet`
    """
    from monitor.backtest_view import paper
    from monitor.gating import judged, read_policy, show_judged

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    model = _registry(settings).find(name)
    found = judged(settings, model.name, read_policy(policy), labels, *_bounds(begin, end))
    if as_json:
        typer.echo(msgspec.json.encode(found._asdict()))
    else:
        show_judged(paper(), found, model.name)
    if not found.passed:
        raise typer.Exit(1)


@app.command()
def review(
    labels: LabelFile = None,
    policy: PolicyFile = None,
    begin: From = None,
    end: To = None,
    promote: Annotated[bool, typer.Option("--promote", help="Promote it: no person is asked.")] = False,
    registry: RegistryPlace = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Put every challenger that runs in shadow before the gate, and say which one to promote; for a schedule.

    Of several that pass, it is the one that was added last.

    Example: `tocsin models review --labels labels.parquet --policy policy.yaml --promote`
    """
    from rich.console import Console

    from monitor.champion import standings
    from monitor.gating import judged, passes, read_policy, show_gate

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    told, rules = _promotions(settings), read_policy(policy)
    models = _registry(settings).models()
    of = standings(models, told)
    console, passed = Console(highlight=False), None
    for model in models:
        if of[model.id].role != "challenger":
            continue
        console.print(f"{model.name} ({model.id})", style="bold")
        try:
            gate = judged(settings, model.name, rules, labels, *_bounds(begin, end)).gate
        except StartupError as error:
            console.print(f"it has no shadow: {error}", soft_wrap=True, markup=False)
            continue
        show_gate(console, gate)
        if passes(gate):
            passed = model, gate
    if passed is None:
        typer.echo("No challenger passes: the champion stays.")
        return
    model, gate = passed
    if not promote:
        typer.echo(f"{model.name} passes: `tocsin models promote {model.name}`, or --promote here, makes it champion.")
        return
    target = gate[-1]
    _promote(settings, model, gate, author="policy", reason=f"{target.name}: {target.told}", forced=False)


@app.command()
def promote(
    name: Name,
    reason: Why,
    author: Author,
    labels: LabelFile = None,
    policy: PolicyFile = None,
    begin: From = None,
    end: To = None,
    force: Annotated[bool, typer.Option("--force", help="Promote it though the gate does not let it pass.")] = False,
    registry: RegistryPlace = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Have every running worker serve a model: each fetches it, checks it, and swaps between two turns.

    A worker that cannot serve it goes on with what it serves, and says why on /readyz and in its log. Workers that
    start later serve the last model that was promoted.

    Before it stands the gate: what the model said in shadow (`tocsin models shadow`), held against the champion by a
    policy. A line that is not passed refuses the promotion, with its figures, unless it is forced; both are published.

    Example: `tocsin models promote december --labels labels.parquet --reason "Fewer false alarms, ticket 4712"`
    """
    from rich.console import Console

    from monitor.gating import judged, passes, read_policy, show_gate
    from schemas.control import Check

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    model = _registry(settings).find(name)
    try:
        gate = judged(settings, model.name, read_policy(policy), labels, *_bounds(begin, end)).gate
    except StartupError as error:
        gate = [Check(name="shadow", passed=False, told=str(error))]
    show_gate(Console(highlight=False), gate)
    if not (force or passes(gate)):
        raise StartupError(f"The gate does not let {model.name} pass: the champion stays, unless you say --force.")
    _promote(settings, model, gate, author=author, reason=reason, forced=not passes(gate))


def _promote(settings: Settings, model: Model, gate: list[Check], *, author: str, reason: str, forced: bool) -> None:
    from monitor.champion import champion_of
    from schemas.control import Promotion

    serves = asyncio.run(champion_of(settings))
    if model.id == serves:
        raise StartupError(f"{model.name} ({model.id}) is champion already.")
    _registry(settings).fetch(model.id, settings.cache)  # whole, by every digest
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
            gate=gate,
            forced=forced,
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
    from monitor.registry import registry_of

    return registry_of(settings)


def _promotions(settings: Settings) -> list[Promotion]:
    from monitor.control import promotions

    return [one.promotion for one in asyncio.run(promotions(settings))]


def _publish(settings: Settings, promotion: Promotion) -> None:
    from monitor.control import publish

    offset = asyncio.run(publish(settings, promotion))
    now = f"{promotion.name} ({promotion.model})" if promotion.model else "what each worker was started with"
    typer.echo(
        f"{promotion.change} stands at offset {offset}: champion is {now}, before it {promotion.previous or 'none'}"
    )


def _bounds(begin: str | None, end: str | None) -> tuple[int, int]:
    from monitor.when import since_ns

    return since_ns(begin, option="--from") if begin else 0, since_ns(end, option="--to") if end else 0
