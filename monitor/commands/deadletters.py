"""`tocsin deadletters`: look at what could not be used, and send it again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands.options import Bootstrap, Prefix
from monitor.errors import StartupError
from monitor.settings import Settings, load

if TYPE_CHECKING:
    from monitor.deadletters import Selection
    from schemas.records import DeadLetter

app = typer.Typer(help="Look at what could not be used, and send it again.", no_args_is_help=True)

Reason = Annotated[str | None, typer.Option(help="Only this reason, such as not_json")]
Topic = Annotated[str | None, typer.Option(help="Only from this topic, without prefix")]
Since = Annotated[str, typer.Option(help="Only from then on: `beginning`, 15m, 1h, 7d, or a time in ISO 8601")]
AsJson = Annotated[bool, typer.Option("--json", help="The records as JSON, one a line; key and value in base64.")]


@app.command("list")
def list_(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    reason: Reason = None,
    topic: Topic = None,
    since: Since = "beginning",
    limit: Annotated[int, typer.Option(min=1, help="Show the newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest last: where each message stood, when, why, and how large it is.

    Example: `tocsin deadletters list --since 1d --reason not_json`
    """
    from rich.console import Console
    from rich.table import Table

    from monitor.render import clock, plain

    letters = _read(load(bootstrap=bootstrap, prefix=prefix), _selection(None, reason, topic, since))
    shown = letters[-limit:]
    if as_json:
        _print_json(shown)
        return
    table = Table("id", "at (UTC)", "reason", "bytes", "key", "detail", box=None, pad_edge=False)
    for letter in shown:
        table.add_row(
            _id(letter), clock(letter.ts_available), f"[yellow]{letter.reason}", f"{letter.size:,}",
            plain(letter.key.decode("utf-8", "backslashreplace")[:32]), plain(letter.detail),
        )  # fmt: skip
    console = Console()
    console.print(table)
    left = f", {len(letters) - len(shown)} older ones not shown (--limit)" if len(letters) > len(shown) else ""
    console.print(f"{len(letters)} dead letters{left}")


@app.command()
def show(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="TOPIC/PARTITION/OFFSET, as `list` gives it")],
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Show dead letters whole: headers and value too.

    Example: `tocsin deadletters show news/3/1042`
    """
    from rich.console import Console

    from monitor.deadletters import obstacle
    from monitor.render import clock, pairs, plain

    letters = _read(load(bootstrap=bootstrap, prefix=prefix), _selection(ids, None, None, "beginning"))
    if as_json:
        _print_json(letters)
        return
    console = Console()
    for letter in letters:
        facts = [
            ("message", _id(letter)),
            ("at", clock(letter.ts_available)),
            ("reason", letter.reason),
            ("detail", letter.detail),
            ("key", letter.key.decode("utf-8", "backslashreplace")),
            ("headers", ", ".join(f"{name}={value}" for name, value in letter.headers.items())),
            ("bytes", f"{letter.size:,}"),
            ("note", obstacle(letter) or ""),
        ]
        console.print(pairs(facts))
        console.print(plain(letter.excerpt if letter.sealed else letter.value.decode("utf-8", "backslashreplace")))
        console.print()


@app.command()
def resend(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="TOPIC/PARTITION/OFFSET; may be given several times")
    ] = None,
    reason: Reason = None,
    topic: Topic = None,
    since: Since = "beginning",
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send. Without it nothing is sent, only counted.")] = False,
) -> None:
    """Send messages again to where they came from: same key, value, headers, timestamp and partition.

    Name them by --id, --reason, --topic, --since, or --all. Without --yes this says what would be sent, and sends
    nothing. What is sent again carries the header `resent`; its dead letter stays, so sending twice makes two of it.
    Messages of which the dead letter keeps only the beginning are left out, and the exit code is 1.

    Example: `tocsin deadletters resend --reason wrong_type --since 1d --yes`
    """
    from rich.console import Console
    from rich.progress import Progress

    from monitor.deadletters import obstacle
    from monitor.deadletters import resend as send

    if not (ids or reason or topic or everything or since != "beginning"):
        raise StartupError("Say what to send again: --id, --reason, --topic, --since, or --all.")
    settings = load(bootstrap=bootstrap, prefix=prefix)
    letters = _read(settings, _selection(ids, reason, topic, since))
    refused = [sentence for letter in letters if (sentence := obstacle(letter))]
    good = [letter for letter in letters if not obstacle(letter)]
    for sentence in refused:
        typer.echo(sentence, err=True)
    if not yes:
        for name in sorted({letter.topic for letter in good}):
            count = sum(letter.topic == name for letter in good)
            typer.echo(f"would send {count} to {settings.prefix}{name}")
        typer.echo("Nothing was sent; --yes sends." if good else "There is nothing to send.")
    elif good:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("sending again", total=len(good))
            asyncio.run(send(settings, good, lambda _: progress.advance(task)))
        typer.echo(f"{len(good)} sent again")
    else:
        typer.echo("There is nothing to send.")
    if refused:
        raise typer.Exit(1)


def _selection(ids: list[str] | None, reason: str | None, topic: str | None, since: str) -> Selection:
    from monitor.deadletters import Selection
    from monitor.when import since_ns
    from schemas.errors import REASONS
    from schemas.topics import BY_NAME

    if reason is not None and reason not in REASONS:
        raise StartupError(f"--reason: expected one of {', '.join(REASONS)}, found {reason!r}.")
    if topic is not None and topic not in BY_NAME:
        raise StartupError(f"--topic: expected one of {', '.join(BY_NAME)}, found {topic!r}.")
    return Selection(frozenset(ids) if ids else None, reason, topic, since_ns(since))


def _read(settings: Settings, selection: Selection) -> list[DeadLetter]:
    from monitor.deadletters import letter_id, read

    letters = asyncio.run(read(settings, selection))
    if missing := (selection.ids or frozenset()) - {letter_id(letter) for letter in letters}:
        raise StartupError(f"No dead letter {', '.join(sorted(missing))}; `tocsin deadletters list` gives ids.")
    return letters


def _id(letter: DeadLetter) -> str:
    from monitor.deadletters import letter_id

    return letter_id(letter)


def _print_json(letters: list[DeadLetter]) -> None:
    import msgspec

    for letter in letters:
        print(msgspec.json.encode(letter).decode())
