"""`tocsin feed`: play a recording into Kafka."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from monitor.commands.options import Bootstrap, Prefix, RecordingPlace, WhereDamaged, pace_of

app = typer.Typer()


@app.command()
def feed(
    recording: RecordingPlace,
    speed: Annotated[str, typer.Option(help="Multiple of the recording's own pace, or `max`.")] = "1",
    raw: Annotated[
        bool, typer.Option("--raw", help="Send single ticks and documents, for the gateway, not frames and news.")
    ] = False,
    restamp: Annotated[
        bool,
        typer.Option(
            "--restamp",
            help="Move all times to now, gaps kept. Without it times stay those of the recording: run the daemon with "
            "TOCSIN_CLOCK=data.",
        ),
    ] = False,
    topic: Annotated[
        list[str] | None, typer.Option(help="Send this topic only; several times for several.", show_default="inputs")
    ] = None,
    start: Annotated[int, typer.Option("--from", min=0, help="Leave out so many messages: resume a feed.")] = 0,
    damaged: WhereDamaged = "refuse",
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Play a recording into Kafka at its own pace, faster, or flat out. Ctrl-C says where it stopped.

    Example: `tocsin feed day --speed 60 --restamp`: an hour a minute, as if it happened now
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from monitor.commands.tables import damage
    from monitor.errors import StartupError
    from monitor.feed import Played, play, stopping, topics_of
    from monitor.recordings import Recording
    from monitor.render import clock
    from monitor.settings import load

    pace = pace_of(speed)
    opened = Recording.open(recording, damaged=damaged)
    damage(Console(stderr=True), opened)
    known = topics_of(opened, raw)
    if topic and (unknown := sorted(set(topic) - set(known))):
        raise StartupError(f"{recording} has no {', '.join(unknown)} to feed; it has {', '.join(known)}.")
    settings = load(bootstrap=bootstrap, prefix=prefix)
    bar = Progress(
        TextColumn("{task.fields[at]}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]:>9,.0f} messages/s"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("", total=None, at="starting", rate=0.0)
    begun_s = time.monotonic()

    def show(played: Played) -> None:
        rate = played.sent / max(1e-9, time.monotonic() - begun_s)
        bar.update(task, total=played.total, completed=played.position, at=clock(played.at_ns), rate=rate)

    async def run() -> Played:
        return await play(
            opened,
            settings,
            speed=pace,
            topics=topic,
            start=start,
            raw=raw,
            restamp=restamp,
            stop=stopping(),
            on_progress=show,
        )

    with bar:
        played = asyncio.run(run())
    took_s = time.monotonic() - begun_s
    if played.stopped:
        typer.echo(
            f"Stopped after {played.position:,} of {played.total:,} messages, at {clock(played.at_ns)} UTC; "
            f"all of them are delivered. Go on with: --from {played.position}"
        )
        raise typer.Exit(130)
    typer.echo(
        f"{played.sent:,} messages delivered in {took_s:.1f} s ({played.sent / took_s:,.0f}/s), "
        f"recording {clock(opened.first_ns)} to {clock(opened.last_ns)} UTC"
    )
