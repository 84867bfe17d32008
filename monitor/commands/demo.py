"""`tocsin demo`: a market day through the daemon, on a broker that lives in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            help="A recording, or a folder of real data that `tocsin convert` knows (pump_trades, stocknet, maec, …); "
            "default: a simulated market day",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which simulated day.")] = 7,
    seconds: Annotated[
        float, typer.Option(min=1.0, help="How long the playing shall take, if the machine keeps up.")
    ] = 60,
    most: Annotated[
        float, typer.Option(min=0.0, help="Stop playing after so many seconds and judge what was played; 0: never.")
    ] = 90,
    work: Annotated[
        Path, typer.Option(help="Where recordings and the daemon's log are kept; removing it is safe.")
    ] = Path(".tocsin/demo"),
    limit: Annotated[
        int | None, typer.Option(help="Convert at most so many events or instruments of real data.", show_default=False)
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write the terminal's picture to this SVG file at the end.", show_default=False)
    ] = None,
) -> None:
    """Play a market day through the daemon and show alerts as they ring.

    Starts an embedded broker (librdkafka's in-memory one), `tocsin run` as a child process, and a feed that plays the
    day faster than it happened. Nothing is installed, nothing outside the working folder is touched, no other Kafka is
    asked. At the end: what was caught, missed and false by the day's labels, the latency from message to alert, and
    whether any alert came twice. Ctrl-C stops everything. The exit code is 1 if the daemon died.

    Example: `tocsin demo --seed 8 --seconds 30`
    """
    from monitor.demo import run

    raise typer.Exit(run(data=data, seed=seed, seconds=seconds, most_s=most, limit=limit, work=work, picture=picture))
