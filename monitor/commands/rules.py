"""`tocsin rules`: what a compliance officer may change of how we judge, as a file."""

from __future__ import annotations

import asyncio
import time
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands.options import SHIPPED, Author, Bootstrap, Prefix
from monitor.errors import StartupError
from monitor.settings import load

if TYPE_CHECKING:
    from rich.table import Table

    from engines.instruments import SymbolMaster
    from engines.rules import RuleFile, Scenario

app = typer.Typer(
    help="What a compliance officer may change: thresholds and parameters of typologies, and scenarios.",
    epilog="Begin with `examples/rules.yaml`; docs/rules.md says what everything means.",
    no_args_is_help=True,
)


def _files(incomplete: str) -> list[str]:
    folder = Path(incomplete).parent
    return sorted(str(path) for path in folder.glob("*.y*ml") if str(path).startswith(incomplete))


def _names(incomplete: str) -> list[str]:
    from engines.library import library

    return [name for name in library() if name.startswith(incomplete)]


File = Annotated[Path, typer.Argument(help="Rules in YAML.", autocompletion=_files)]
Symbols = Annotated[Path | None, typer.Option(help="Symbol master, CSV or YAML [TOCSIN_SYMBOLS]", show_default=SHIPPED)]


@app.command()
def check(file: File, symbols: Symbols = None) -> None:
    """Say every mistake of a rule file, each with its line and column, what was expected and what to do.

    A scenario that is for no instrument of the symbol master is told too; that is no mistake. Exit code 1 if there is
    a mistake.

    Example: `tocsin rules check examples/rules.yaml`
    """
    from rich.console import Console

    from engines.rule_text import RulesError, read
    from monitor.render import plain
    from monitor.rules import effect, idle, mistakes

    console = Console()
    try:
        rules = read(_text(file))
    except RulesError as error:
        for sentence in mistakes(file, error):
            console.print("[red]✗[/]", plain(sentence), soft_wrap=True)
        raise typer.Exit(1) from None
    for sentence in idle(rules, _master(symbols)):
        console.print("[yellow]▲[/]", plain(sentence), soft_wrap=True)
    told = (
        f"version {rules.version}: typologies changed: {len(rules.typologies)}, scenarios: {len(rules.scenarios)},"
        f" sessions: {len(rules.sessions)}"
    )
    console.print("[green]✓[/]", plain(f"{told}, in effect {effect(rules)}"), soft_wrap=True)


@app.command()
def explain(
    file: File,
    typology: Annotated[str | None, typer.Option(help="Only this typology.", autocompletion=_names)] = None,
    scenario: Annotated[str | None, typer.Option(help="Only this scenario.")] = None,
    instrument: Annotated[str | None, typer.Option(help="What applies to this instrument, such as ACME.XTOC.")] = None,
    symbols: Symbols = None,
) -> None:
    """Say what would be in effect: every threshold and parameter, where it is not the default, what it serves.

    Without an option: the typologies that the file changes, all of its scenarios, and hours of venues.

    Example: `tocsin rules explain examples/rules.yaml --instrument ACME.XTOC`
    """
    from rich.console import Console

    from engines.library import library
    from monitor.render import plain
    from monitor.rules import effect, hours, read_rules

    _, rules = read_rules(file)
    names = {one.name: one for one in rules.scenarios}
    for given, known, what in ((typology, library(), "typology"), (scenario, names, "scenario")):
        if given is not None and given not in known:
            raise StartupError(f"--{what}: expected one of {', '.join(known) or 'none'}, found {given!r}.")
    console = Console()
    console.print(plain(f"version {rules.version}, in effect {effect(rules)}"))
    shown = list(rules.typologies) if typology is None else [typology]
    applying = list(rules.scenarios) if scenario is None else [names[scenario]]
    asset_class = ""
    if instrument is not None:
        listing = _master(symbols).listing(instrument)
        asset_class = listing.asset_class
        told = ", ".join(
            f"{name} {value}" for name in ("desk", "venue", "asset_class") if (value := getattr(listing, name))
        )
        console.print(plain(f"{instrument}: {told or 'not in the symbol master'}"))
        shown = list(library()) if typology is None else shown
        applying = [one for one in applying if one in rules.applying(listing)]
    for venue in rules.sessions if typology is None and scenario is None else ():
        if instrument is None or instrument.endswith(f".{venue}"):
            console.print(plain(f"{venue} is open {hours(rules, venue)['hours']}"))
    for name in [] if scenario is not None else shown:
        spec, definition = library()[name].spec, library()[name].definition.partition(": ")[2]
        serves = f" ({'; '.join(spec.regulation)})" if spec.regulation else ""
        console.print(plain(f"\n{spec.name}@{spec.version}: {definition}{serves}"), style="bold", soft_wrap=True)
        console.print(_typology(rules, name, asset_class))
        if typology is not None and (config := library()[name].config) is not None:
            console.print(plain("\n" + cleandoc(config.__doc__ or "")), style="dim")
    for one in [] if typology is not None else applying:
        console.print(plain(f"\n{one.head}@{rules.version}: {one.title}"), style="bold", soft_wrap=True)
        console.print(_scenario(one))
    if instrument is not None and typology is None and not applying:
        console.print("no scenario is for it")


@app.command()
def diff(old: File, new: File) -> None:
    """Say in words what new rules would change, and which alert ids. Exit code 1 if something would.

    Example: `tocsin rules diff rules-2026-11.yaml rules-2026-12.yaml`
    """
    from rich.console import Console

    from monitor.render import plain
    from monitor.rules import changes, effect, ids, read_rules

    before, after = read_rules(old)[1], read_rules(new)[1]
    console = Console()
    console.print(plain(f"version {before.version} → {after.version}, in effect {effect(after)}"))
    found = list(changes(before, after))
    for sentence in found:
        console.print("·", plain(sentence), soft_wrap=True)
    if not found:
        console.print("They judge alike.")
    console.print(plain(ids(before, after)), soft_wrap=True)
    if before.digest != after.digest:
        raise typer.Exit(1)


@app.command()
def publish(
    file: File,
    reason: Annotated[str, typer.Option(help="Why: it stands in the topic beside the rules.")],
    author: Author,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Send rules to every running worker, by the control topic; they take effect at their time, without a restart.

    A file without `effective_from` is of now, of the wall's clock: a stream that is played from the past never comes to
    that. A version is published once. Each partition takes them up where its event time comes to `effective_from`, and
    its journal says so.

    Example: `tocsin rules publish rules.yaml --reason "Pumps of smaller rises, ticket 4711"`
    """
    from monitor.control import change_of, read, refuse
    from monitor.control import publish as send
    from monitor.render import clock
    from monitor.rules import read_rules

    text, rules = read_rules(file)
    settings = load(bootstrap=bootstrap, prefix=prefix)
    now_ns = time.time_ns()
    change = change_of(
        text, rules.version, effective_ns=rules.effective_ns, now_ns=now_ns, author=author, reason=reason
    )
    refuse(change, asyncio.run(read(settings)))
    offset = asyncio.run(send(settings, change))
    typer.echo(f"version {rules.version} stands at offset {offset}, in effect from {clock(change.effective_ns)} UTC")


@app.command()
def show(
    version: Annotated[str | None, typer.Argument(help="Print the rules of this version.", show_default=False)] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """List the rules that were published, and which are in effect for events of now; print those of a version.

    Rules that workers are started with (TOCSIN_RULES) are in effect before the first of these, and are listed where
    this environment names them. A worker that has not come to now may still follow earlier ones: its `/readyz` names
    version, digest and time of those in effect in each of its partitions, as they stand here.

    Example: `tocsin rules show`
    """
    from rich.console import Console
    from rich.table import Table

    from monitor.control import judged, read
    from monitor.render import clock, plain
    from monitor.rulebook import Rulebook
    from monitor.rules import in_effect, load_rules

    settings = load(bootstrap=bootstrap, prefix=prefix)
    there = list(judged(asyncio.run(read(settings))))
    found = [one for one, reason in there if not reason]
    if version is not None:
        texts = {one.change.version: one.change.text for one in found if one.change is not None}
        if version not in texts:
            raise StartupError(f"version: expected one of {', '.join(texts) or 'none'}, found {version!r}.")
        typer.echo(texts[version], nl=False)
        return
    book, now_ns = Rulebook(load_rules(settings.rules)), time.time_ns()
    for one in found:
        book.add(one.rules)
    serves = book.at(now_ns)
    about = {one.rules: one.change for one in found if one.change is not None}
    table = Table("", "version", "since (event time)", "digest", "author", "reason", "published", box=None)
    for rules in (*((book.base,) if book.base.text else ()), *about):
        other = "[yellow]to come" if rules.effective_ns > now_ns else "[dim]over"
        mark = "[green]in effect" if rules == serves else other
        told, change = in_effect(rules), about.get(rules)
        who = (change.author, change.reason, clock(change.published_ns)) if change else ("", "TOCSIN_RULES", "")
        table.add_row(mark, *map(plain, (told.version, told.since or "the beginning", told.digest, *who)))
    console = Console(soft_wrap=True)
    console.print(table if table.row_count else "none were published")
    for one, reason in there:
        if reason:
            console.print("[red]✗[/]", plain(f"what stands at offset {one.offset} is refused: {reason}"))


def _typology(rules: RuleFile, name: str, asset_class: str) -> Table:
    from rich.table import Table

    from engines.rules import NONE
    from monitor.rules import typology

    table = Table("", "in effect", "default", box=None, pad_edge=False)
    usual = typology(NONE, name, asset_class)
    for field, value in typology(rules, name, asset_class).items():
        changed = value != usual[field]
        table.add_row(field, f"[bold]{value}" if changed else value, usual[field] if changed else "[dim]it is")
    return table


def _scenario(one: Scenario) -> Table:
    from rich.table import Table

    from monitor.render import plain
    from monitor.rules import scenario

    table = Table("", "in effect", box=None, pad_edge=False)
    for field, value in scenario(one).items():
        if value and field != "title":
            table.add_row(field, plain(value))
    return table


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"{file} cannot be read ({error}): expected rules in YAML.") from error


def _master(symbols: Path | None) -> SymbolMaster:
    from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster

    path = symbols or load().symbols or DEFAULT_SYMBOLS
    try:
        return SymbolMaster.load(path)
    except (ValueError, OSError) as error:
        raise StartupError(str(error)) from error
