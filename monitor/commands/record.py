"""`tocsin record`: capture topics from Kafka as a recording."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands.options import Bootstrap, Prefix

if TYPE_CHECKING:
    from monitor.capture import Begin, Captured, Until

app = typer.Typer()


@app.command()
def record(
    out: Annotated[str, typer.Option(help="Folder or URL (s3://bucket/day); what was captured there before goes on.")],
    topic: Annotated[
        list[str] | None,
        typer.Option(help="Capture this topic; several times for several.", show_default="all but checkpoints"),
    ] = None,
    begin: Annotated[
        str,
        typer.Option(
            "--from",
            help="Where partitions begin that are not captured yet: `earliest`, `latest`, an age (15m, 1h, 7d), or a"
            " time in ISO 8601.",
        ),
    ] = "earliest",
    until: Annotated[
        str | None,
        typer.Option(help="`now`: what is there; or a time in ISO 8601, or an age.", show_default="Ctrl-C or SIGTERM"),
    ] = None,
    accept_gaps: Annotated[
        bool,
        typer.Option(
            "--accept-gaps", help="Go on where retention deleted what comes next; the recording then says what."
        ),
    ] = False,
    commit_s: Annotated[float, typer.Option(min=0.1, help="Commit what came so often, s.")] = 60.0,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Capture topics from Kafka as a recording: inputs, journals, scores, alerts, whatever they hold.

    Each day of a topic becomes a Parquet file. What was captured is committed every minute, and the same command goes
    on where it stopped, after Ctrl-C or a crash. The broker does not notice: no group is joined, no offset committed.
    Times of `--from` and `--until` are Kafka's timestamps.

    Example: `tocsin record --out day --until now`, then `tocsin replay day`
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from monitor.capture import capture
    from monitor.commands.tables import contents, damage
    from monitor.folders import Folder
    from monitor.recordings import Recording
    from monitor.render import clock
    from monitor.settings import load

    settings = load(bootstrap=bootstrap, prefix=prefix)
    first, last = _begin(begin), _until(until)
    bar = Progress(
        TextColumn("{task.fields[doing]}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} messages, {task.fields[mb]:,.1f} MB, {task.fields[rate]:,.0f}/s"),
        TextColumn("{task.fields[lag]:,} behind"),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("", total=None, doing="connecting", mb=0.0, rate=0.0, lag=0)
    begun_s = time.monotonic()

    def show(captured: Captured) -> None:
        doing = "putting days together" if captured.sealing else clock(captured.at_ns) if captured.at_ns else "waiting"
        bar.update(
            task,
            completed=captured.messages,
            total=captured.messages + captured.lag,
            doing=doing,
            mb=captured.bytes / 1e6,
            rate=captured.messages / max(1e-9, time.monotonic() - begun_s),
            lag=captured.lag,
        )

    async def run(stop: asyncio.Event) -> Captured:
        loop = asyncio.get_running_loop()

        def asked() -> None:
            stop.set()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)  # a second one ends it at once

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked)
        return await capture(
            settings,
            Folder(out),
            topics=topic,
            begin=first,
            until=last,
            accept_gaps=accept_gaps,
            commit_s=commit_s,
            stop=stop,
            on_progress=show,
        )

    stop = asyncio.Event()
    with bar:
        captured = asyncio.run(run(stop))
    recording = Recording.open(out, verify=False, damaged="skip")
    contents(Console(), recording)
    damage(Console(), recording)
    took_s = time.monotonic() - begun_s
    typer.echo(
        f"{captured.messages:,} messages, {captured.bytes / 1e6:,.1f} MB captured {'more ' if captured.resumed else ''}"
        f"in {took_s:.1f} s; the same command goes on from here"
    )
    if stop.is_set() and last is not None:
        raise typer.Exit(130)


def _begin(text: str) -> Begin:
    from monitor.when import since_ns

    if text == "latest":
        return "latest"
    return since_ns("beginning" if text == "earliest" else text, option="--from")


def _until(text: str | None) -> Until:
    from monitor.when import since_ns

    if text is None or text == "now":
        return "now" if text else None
    return since_ns(text, option="--until")
