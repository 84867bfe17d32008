"""`tocsin topics`: create, check and describe the topics of schemas/topics.py."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from monitor.acls import ROLES
from monitor.commands.options import Bootstrap, Prefix
from monitor.errors import StartupError
from monitor.settings import load

app = typer.Typer(help="Create, check and describe Tocsin's topics.", no_args_is_help=True)


@app.command()
def create(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    partitions: Annotated[
        int | None, typer.Option(help="Partitions of the keyed topics [TOCSIN_PARTITIONS]", show_default="8")
    ] = None,
    replication: Annotated[
        int | None, typer.Option(help="Copies of each partition [TOCSIN_REPLICATION]", show_default="1")
    ] = None,
) -> None:
    """Create the topics that are missing, with partitions, retention and limits. Those that exist stay as they are.

    Example: `tocsin topics create --partitions 16 --replication 3`
    """
    from monitor.kafka import create_topics

    settings = load(bootstrap=bootstrap, prefix=prefix, partitions=partitions, replication=replication)
    created = asyncio.run(create_topics(settings))
    if created.embedded:
        typer.echo("This broker cannot create topics on request (librdkafka's embedded one): it made them with its own")
        typer.echo("number of partitions and no retention when they were asked for.")
    for name in created.made:
        typer.echo(f"created {name}")
    typer.echo(f"{len(created.made)} created, {len(created.there)} were there")


@app.command()
def check(bootstrap: Bootstrap = None, prefix: Prefix = None) -> None:
    """Compare the broker's topics with the table of topics; exit code 1 if one is missing or differs."""
    from rich.console import Console
    from rich.table import Table

    from monitor.kafka import topic_states

    settings = load(bootstrap=bootstrap, prefix=prefix)
    states = asyncio.run(topic_states(settings))
    table = Table("topic", "partitions", "keeps", "state", box=None, pad_edge=False)
    for state in states:
        verdict = "[red]" + "; ".join(state.problems) if state.problems else "[green]ok"
        policy = state.config.get("cleanup.policy", "")
        keeps = {"delete": _duration(int(state.config.get("retention.ms", 0))), "compact": "latest a key"}.get(
            policy, "–"
        )
        table.add_row(state.name, str(state.partitions or "–"), keeps, verdict)
    Console(soft_wrap=True).print(table)
    if wrong := sum(bool(state.problems) for state in states):
        typer.echo(f"{wrong} of {len(states)} topics are not as they should be; the last column says more.", err=True)
        raise typer.Exit(1)


@app.command("list")
def list_(prefix: Prefix = None) -> None:
    """List the topics: key, what they hold, how long they keep it. Asks no broker."""
    from rich.console import Console
    from rich.table import Table

    from monitor.retention import retention_ms
    from schemas.topics import TOPICS

    settings = load(prefix=prefix)
    table = Table("topic", "key", "codec", "keeps", "holds", box=None, pad_edge=False)
    for topic in TOPICS:
        keeps = "latest a key" if topic.compacted else _duration(retention_ms(topic, settings.retention))
        table.add_row(settings.prefix + topic.name, topic.key, topic.codec, keeps, topic.doc)
    Console(soft_wrap=True).print(table)


def _duration(ms: int) -> str:
    if ms < 0:
        return "all"
    days, rest = divmod(ms, 86_400_000)
    return f"{days} d" if not rest else f"{ms / 3_600_000:g} h"


@app.command()
def acls(
    role: Annotated[
        list[str] | None,
        typer.Argument(help=f"{', '.join(ROLES)}.", show_default="all", autocompletion=lambda: list(ROLES)),
    ] = None,
    principal: Annotated[
        str, typer.Option(help="Whom it is allowed; ROLE is replaced by the role's name.")
    ] = "User:tocsin-ROLE",
    as_json: Annotated[bool, typer.Option("--json", help="A line a right, for tools that set them.")] = False,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    group: Annotated[
        str | None, typer.Option(help="The workers' consumer group [TOCSIN_GROUP]", show_default="tocsin")
    ] = None,
) -> None:
    """Print what each part needs to be allowed on a broker that denies all else, as calls of kafka-acls.sh.

    Asks no broker. `tocsin topics acls worker gateway | sh` sets them, with admin.properties of a user who may.
    """
    import msgspec

    from monitor.acls import RUNS
    from monitor.acls import acls as of_role
    from monitor.acls import commands as calls

    if unknown := sorted(set(role or ()) - set(ROLES)):
        raise StartupError(f"No role is called {', '.join(unknown)}: there are {', '.join(ROLES)}.")
    settings = load(bootstrap=bootstrap, prefix=prefix, group=group)
    for name in ROLES:
        if role and name not in role:
            continue
        who = principal.replace("ROLE", name)
        if as_json:
            for acl in of_role(settings, name):
                typer.echo(msgspec.json.encode({"principal": who} | msgspec.structs.asdict(acl)))
        else:
            typer.echo(f"# {name}: {RUNS[name]}")
            typer.echo("\n".join(calls(settings, name, who)))


@app.command()
def schemas(
    folder: Annotated[Path, typer.Option(help="Where the documents go.")] = Path("docs/schemas"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if a document is not current.")
    ] = False,
) -> None:
    """Write the JSON Schema of every topic and of rule files, and the AsyncAPI document of all. Asks no broker."""
    from engines.rule_schema import json_schema
    from schemas.publish import documents, published

    made = documents() | {"rules.json": published(json_schema())}
    stale = [
        name for name, text in made.items() if not (folder / name).exists() or (folder / name).read_bytes() != text
    ]
    stale += sorted(path.name for path in folder.glob("*.json") if path.name not in made)
    if check:
        if stale:
            typer.echo(f"not current in {folder}: {', '.join(stale)}; run `tocsin topics schemas`", err=True)
            raise typer.Exit(1)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        if name in made:
            (folder / name).write_bytes(made[name])
        else:
            (folder / name).unlink()
    typer.echo(f"{len(made)} documents in {folder}, {len(stale)} changed")
