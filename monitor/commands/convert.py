"""`tocsin convert`: data of others as a recording."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class Kind(StrEnum):
    """The sets that there is a converter for: modules of monitor.converters."""

    pump_trades = "pump_trades"
    stocknet = "stocknet"
    crypto_l2_ticks = "crypto_l2_ticks"
    maec = "maec"
    taiwan_credit = "taiwan_credit"


@app.command()
def convert(
    kind: Annotated[Kind, typer.Argument(help="Which set it is.")],
    data: Annotated[Path, typer.Argument(help="The set's folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")],
    event: Annotated[
        list[str] | None,
        typer.Option(help="This event, call, ticker, symbol or account only; several times for several."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many events, calls, companies, lines, accounts.", show_default="all"),
    ] = None,
    texts_from: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="Leave out news and transcripts before this day (UTC): prices warm up a replay for months, texts would"
            " only take time.",
            show_default="all",
        ),
    ] = None,
) -> None:
    """Write a recording of a public data set, and say what was cleaned on the way.

    Example: `tocsin convert pump_trades data/pump_trades --out pumps --limit 5`, then `tocsin replay pumps`
    """
    from rich.console import Console
    from rich.progress import Progress

    from monitor.commands.tables import contents
    from monitor.converters import conversion
    from monitor.recordings import Recording

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"converting {kind.value}", total=1.0)
        report = conversion.convert(
            kind.value, data, out, events=event or (), limit=limit,
            texts_from=texts_from.date() if texts_from else None,
            progress=lambda share: bar.update(task, completed=share),
        )  # fmt: skip
    console = Console()
    console.print(f"{report.read:,} rows read, {report.kept:,} rows written")
    for counter, word in ((report.aside, "set aside"), (report.remarks, "noted")):
        for reason, count in sorted(counter.items()):
            if count:
                console.print(f"  {word}: {count:,} {reason}")
    for note in report.notes:
        console.print(f"  {note}")
    console.print()
    contents(console, Recording.open(out, verify=False))
