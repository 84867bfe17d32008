"""`tocsin check-config`: every setting with its source, and whether what it names is in order."""

from __future__ import annotations

import asyncio
import difflib
import os
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.errors import StartupError
from monitor.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer()
#: Variables of the name that are not the daemon's: tests, benchmarks and make read them.
_OTHERS = ("TOCSIN_TEST_", "TOCSIN_BENCH_", "TOCSIN_REQUIRE_", "TOCSIN_KAFKA_", "TOCSIN_DATA")


@app.command()
def check_config(
    online: Annotated[
        bool, typer.Option("--online", help="Ask the broker too: reachable, topics as they should be.")
    ] = False,
) -> None:
    """Print every setting, its value and where it comes from, and check what it names.

    Checked are the model bundle's digests, the registry, the symbol master, the labels, the rules, the key of dead
    letters and the credentials; with --online the broker and its topics. Exit code 1 if something is wrong, with a
    sentence on each.

    Example: `TOCSIN_BOOTSTRAP=kafka:9092 tocsin check-config --online`
    """
    from rich.console import Console
    from rich.table import Table

    from monitor.render import plain

    settings = load()
    table = Table("variable", "value", "from", "what it is", box=None, pad_edge=False)
    for name, field in Settings.model_fields.items():
        variable = f"TOCSIN_{name.upper()}"
        given = name in settings.model_fields_set
        value = getattr(settings, name)
        table.add_row(
            variable,
            "–" if value is None else plain(str(value)),
            "[cyan]environment" if given else "[dim]default",
            field.description or "",
        )
    console = Console()
    console.print(table)
    problems = unknown(os.environ) + _files(settings) + (asyncio.run(_broker(settings)) if online else [])
    for problem in problems:
        console.print("[red]✗[/]", plain(problem), soft_wrap=True)
    if problems:
        raise typer.Exit(1)
    more = "" if online else "; --online asks the broker too"
    console.print(f"[green]✓[/] in order{more}")


def unknown(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence on each variable that looks like a setting and is none."""
    names = [f"TOCSIN_{name.upper()}" for name in Settings.model_fields]
    sentences = []
    for variable in sorted(environment):
        if variable.startswith("TOCSIN_") and variable not in names and not variable.startswith(_OTHERS):
            close = difflib.get_close_matches(variable, names, n=1)
            hint = f"; {close[0]} is meant?" if close else "; unset it."
            sentences.append(f"{variable} is no setting{hint}")
    return sentences


def _files(settings: Settings) -> list[str]:
    from engines.bundle import DEFAULT, Bundle, BundleError
    from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
    from monitor import credentials
    from monitor.labels import load_labels
    from monitor.pseudonyms import Pseudonyms
    from monitor.registry import Registry, registry_of
    from monitor.retention import retentions_ms
    from monitor.rules import load_rules
    from monitor.sealing import Seal
    from monitor.stage_parts import load_names, load_pump
    from monitor.trust import vouched

    problems = []
    try:
        bundle = Bundle.load(settings.bundle or DEFAULT)
    except (BundleError, OSError) as error:
        problems.append(f"TOCSIN_BUNDLE: {error}")
    else:
        try:
            load_labels(settings.labels, bundle, settings.precision)
        except StartupError as error:
            problems.append(f"TOCSIN_LABELS: {error}")
        try:
            vouched(bundle, settings)
        except StartupError as error:
            problems.append(str(error) if settings.bundle is None else f"TOCSIN_BUNDLE: {error}")
    try:
        if settings.registry:
            problems += [f"TOCSIN_REGISTRY: {one}" for one in Registry(settings.registry).broken()]
    except StartupError as error:
        problems.append(f"TOCSIN_REGISTRY: {error}")
    else:
        try:
            if settings.shadow:
                registry_of(settings).find(settings.shadow)
        except StartupError as error:
            problems.append(f"TOCSIN_SHADOW: {error}")
    for check in (
        lambda: credentials.options(settings),
        lambda: Seal.of(settings),
        lambda: Pseudonyms.of(settings),
        lambda: retentions_ms(settings.retention),
    ):
        try:
            check()
        except StartupError as error:
            problems.append(str(error))
    try:
        load_pump(settings.pump)
    except StartupError as error:
        problems.append(f"TOCSIN_PUMP: {error}")
    try:
        load_rules(settings.rules)
    except StartupError as error:
        problems += [f"TOCSIN_RULES: {sentence}" for sentence in str(error).splitlines()]
    try:
        load_names(settings)
    except StartupError as error:
        problems.append(str(error))
    try:
        SymbolMaster.load(settings.symbols or DEFAULT_SYMBOLS)
    except (ValueError, OSError) as error:
        problems.append(f"TOCSIN_SYMBOLS: {error}")
    return problems


async def _broker(settings: Settings) -> list[str]:
    from monitor import kafka
    from schemas.topics import BY_NAME

    try:
        return await kafka.check_topics(settings, list(BY_NAME))
    except StartupError as error:
        return [str(error)]
