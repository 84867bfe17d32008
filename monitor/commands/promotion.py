"""The way from one model to another: in shadow, before the gate, promoted, and back (`tocsin models`)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from monitor.commands.options import Author, Bootstrap, ModelName, Prefix, RegistryPlace
from monitor.errors import StartupError
from monitor.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engines.backtest.gate import Policy
    from engines.labels import Label
    from monitor.registry import Model
    from schemas.control import Check, Promotion

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


def shadow(name: ModelName, registry: RegistryPlace = None, bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Run a challenger in the champion's shadow until it is stopped: the same daemon, settings and inputs.

    It reads by a group of its own, from the oldest message that the topics hold, and writes to `PREFIXshadow.NAME.*`
    alone. Several of these share the partitions; TOCSIN_SHADOW=NAME makes `tocsin run` one.

    Example: `TOCSIN_HTTP_PORT=8400 tocsin models shadow december`
    """
    from monitor.commands.run import until_stopped

    until_stopped(load(shadow=name, registry=registry, bootstrap=bootstrap, prefix=prefix))


def compare(
    name: ModelName,
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
    from monitor.gating import judged, show_judged
    from monitor.registry import registry_of

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    model = registry_of(settings).find(name)
    found = judged(settings, model.name, *_asked(policy, labels, begin, end))
    if as_json:
        typer.echo(msgspec.json.encode(found._asdict()))
    else:
        show_judged(paper(), found, model.name)
    if not found.passed:
        raise typer.Exit(1)


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
    from monitor.gating import judged, passes, show_gate
    from monitor.registry import registry_of

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    asked, told = _asked(policy, labels, begin, end), published(settings)
    models = registry_of(settings).models()
    of = standings(models, told)
    console, passed = Console(highlight=False), None
    for model in models:
        if of[model.id].role != "challenger":
            continue
        console.print(f"{model.name} ({model.id})", style="bold")
        try:
            gate = judged(settings, model.name, *asked).gate
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


def promote(
    name: ModelName,
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

    from monitor.gating import judged, passes, show_gate
    from monitor.registry import registry_of
    from schemas.control import Check

    settings = load(registry=registry, bootstrap=bootstrap, prefix=prefix)
    asked, model = _asked(policy, labels, begin, end), registry_of(settings).find(name)
    try:
        gate = judged(settings, model.name, *asked).gate
    except StartupError as error:
        gate = [Check(name="shadow", passed=False, told=str(error))]
    show_gate(Console(highlight=False), gate)
    if not (force or passes(gate)):
        raise StartupError(f"The gate does not let {model.name} pass: the champion stays, unless you say --force.")
    _promote(settings, model, gate, author=author, reason=reason, forced=not passes(gate))


def _promote(settings: Settings, model: Model, gate: list[Check], *, author: str, reason: str, forced: bool) -> None:
    from engines.bundle import Bundle
    from monitor.champion import champion_of
    from monitor.registry import registry_of
    from monitor.trust import vouched
    from schemas.control import Promotion

    serves = asyncio.run(champion_of(settings))
    if model.id == serves:
        raise StartupError(f"{model.name} ({model.id}) is champion already.")
    fetched = registry_of(settings).fetch(model.id, settings.cache)  # whole, by every digest
    vouched(Bundle.load(fetched.bundle), settings)
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
    way = way_back(published(settings))
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


def published(settings: Settings) -> list[Promotion]:
    """Return all promotions that stand in the control topic, in their order."""
    from monitor.control import promotions

    return [one.promotion for one in asyncio.run(promotions(settings))]


def _publish(settings: Settings, promotion: Promotion) -> None:
    from monitor.control import publish

    offset = asyncio.run(publish(settings, promotion))
    now = f"{promotion.name} ({promotion.model})" if promotion.model else "what each worker was started with"
    typer.echo(
        f"{promotion.change} stands at offset {offset}: champion is {now}, before it {promotion.previous or 'none'}"
    )


def _asked(
    policy: Path | None, labels: Path | None, begin: str | None, end: str | None
) -> tuple[Policy, Sequence[Label], int, int]:
    """Return what `judged` is asked by; a mistake in it is no shadow's, and is told before any is heard."""
    from monitor import label_files
    from monitor.gating import read_policy
    from monitor.when import since_ns

    known = label_files.read(labels).labels if labels else ()
    from_ns, to_ns = since_ns(begin, option="--from") if begin else 0, since_ns(end, option="--to") if end else 0
    return read_policy(policy), known, from_ns, to_ns
