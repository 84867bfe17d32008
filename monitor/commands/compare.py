"""`tocsin compare`: two replays side by side, with what only one of them raised."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

app = typer.Typer()


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="The folder of a replay.")],
    b: Annotated[Path, typer.Argument(help="Another: of another configuration, bundle or version.")],
    severity: Annotated[
        Literal["info", "warning", "critical"], typer.Option(help="Look at episodes that reached at least this.")
    ] = "info",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables, with every episode.")] = False,
) -> None:
    """Show which episodes two replays have in common, and which only one of them raised.

    Episodes are the same where typology and instrument are and their times overlap; ids differ wherever
    configurations do. Two replays of one recording differ by what decides alone; of others, the first lines say so.
    Where the same decides (another back end, processor or release), alerts are held against each other field by field.

    Examples:

    `tocsin replay day --out before`, `tocsin replay day --bundle candidate --out after`, then
    `tocsin compare before after`

    `tocsin compare before after --severity warning --json > difference.json`
    """
    from rich.text import Text

    from engines.backtest.comparison import compare as sides
    from monitor.agreement import TOLERANCE, alike
    from monitor.backtest_view import paper, show_comparison
    from monitor.replay_output import Replay

    replays = [Replay.open(path) for path in (a, b)]
    left, right = replays
    found = sides(left.alerts(), right.alerts(), severity)
    if as_json:
        typer.echo(msgspec.json.encode(found))
        return
    console = paper()
    for name, one in zip("AB", replays, strict=True):
        told = one.manifest
        console.print(
            f"{name}  {one.path}: bundle {told.bundle[:12]}, configuration {told.config[:12]}, "
            f"code {told.code_version}",
            soft_wrap=True,
        )
    first, second = left.manifest, right.manifest
    of_one, at_once = (
        first.recording.digest == second.recording.digest,
        (first.from_ns, first.to_ns) == (second.from_ns, second.to_ns),
    )
    if not of_one:
        console.print(Text("They are of different recordings.", style="yellow"))
    if not at_once:
        console.print(Text("They are of different ranges of time.", style="yellow"))
    if of_one and at_once and first.config == second.config:
        difference = alike(right.alerts(), left.alerts())
        held = f"differ, first {difference[0]}: {difference[1]}" if difference else f"agree within {TOLERANCE:g}"
        console.print(f"The same decides: alerts {held}.", soft_wrap=True, markup=False)
    show_comparison(console, found)
