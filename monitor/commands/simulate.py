"""`tocsin simulate`: a seeded market day as a recording, into Kafka, or both."""

from __future__ import annotations

import enum
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.commands.options import SHIPPED, Bootstrap, Prefix, pace_of

app = typer.Typer()


class Model(enum.Enum):
    """What draws the tape."""

    flow = "flow"
    agents = "agents"
    queues = "queues"


@app.command()
def simulate(
    out: Annotated[
        Path | None, typer.Option(help="Folder to write a recording to; it must not exist.", show_default=False)
    ] = None,
    to_kafka: Annotated[
        bool,
        typer.Option(
            "--to-kafka",
            help="Send each day to Kafka as it is made, beside --out or instead. Times are the simulated ones: run the "
            "daemon with TOCSIN_CLOCK=data.",
        ),
    ] = False,
    speed: Annotated[
        str | None, typer.Option(help="Of --to-kafka: multiple of the market's own pace, or `max`.", show_default="1")
    ] = None,
    model: Annotated[
        Model,
        typer.Option(help="flow draws prices first; agents and queues are books in which orders meet and make them."),
    ] = Model.flow,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 7,
    days: Annotated[int, typer.Option(min=1, help="Market days; weekends are skipped.")] = 1,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day.")] = datetime(2025, 3, 3),
    hours: Annotated[float, typer.Option(min=0.17, max=9.0, help="Length of the session from 14:30 UTC.")] = 6.5,
    ticks_a_second: Annotated[float, typer.Option(min=0.1, help="Of all instruments together, on average.")] = 13.0,
    instruments: Annotated[
        int | None, typer.Option(min=1, help="How many of the symbol master's.", show_default="all")
    ] = None,
    typology: Annotated[
        list[str] | None,
        typer.Option(
            help="Events to inject, several times, as docs/simulator.md lists them; `none` for a quiet day.",
            show_default="all that the model has",
        ),
    ] = None,
    strength: Annotated[float, typer.Option(min=0.0, help="Of the events; 1 is full.")] = 1.0,
    disguise: Annotated[float, typer.Option(min=0.0, max=1.0, help="How much of the events is hidden.")] = 0.0,
    single: Annotated[
        bool, typer.Option("--single", help="Single ticks and documents, for the gateway, instead of frames and news.")
    ] = False,
    symbols: Annotated[Path | None, typer.Option(help="Symbol master [TOCSIN_SYMBOLS]", show_default=SHIPPED)] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Make a market day: trades, quotes, book updates, news, posts, calls, charts, orders, transfers, and labels.

    Ctrl-C says what was sent; a recording that is not whole is removed.

    Examples:

    `tocsin simulate --out day`, then `tocsin replay day`: a day of 6.5 hours with an event of each typology

    `tocsin simulate --to-kafka --speed 60 --model agents`: into Kafka, an hour a minute
    """
    from rich.console import Console
    from rich.progress import Progress

    from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
    from engines.simulator import money, talk
    from engines.simulator.day import Config, chosen, known
    from monitor.commands.tables import contents
    from monitor.errors import StartupError
    from monitor.feed import Played
    from monitor.recordings import Recording
    from monitor.render import clock
    from monitor.settings import load
    from monitor.simulation import companies_of, days_of, send_all, write_all

    if out is None and not to_kafka:
        raise StartupError("Nothing of it would be kept: name a folder (--out DIR), or --to-kafka, or both.")
    if speed is not None and not to_kafka:
        raise StartupError("--speed belongs to --to-kafka: a recording is written as fast as it is made.")
    market, beside = known(model.value), (*talk.PLAN, *money.PLAN)
    asked = (*chosen(Config(model=model.value)), *beside) if typology is None else tuple(typology)
    if unknown := [name for name in asked if name not in (*market, *beside, "none")]:
        names = ", ".join([*market, *beside, "none"])
        raise StartupError(f"Unknown typology {', '.join(unknown)}; with --model {model.value} there are {names}.")
    if typology and (early := [name for name in asked if money.STRANGE_FROM.get(name, 0) >= days]):
        least = max(money.STRANGE_FROM[name] for name in early) + 1
        raise StartupError(
            f"{', '.join(early)} can be told from --days {least} on: before, all accounts are strangers."
        )
    config = Config(
        model=model.value,
        seed=seed,
        days=days,
        start=start.date(),
        hours=hours,
        ticks_a_second=ticks_a_second,
        typologies=tuple(name for name in asked if name in market),
        strength=strength,
        disguise=disguise,
    )
    settings = load(bootstrap=bootstrap, prefix=prefix, symbols=symbols)
    played, begun_s = Played(), time.monotonic()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("simulating", total=1.0)

        def sent(so_far: Played) -> None:
            rate = so_far.sent / max(1e-9, time.monotonic() - begun_s)
            bar.update(task, description=f"{clock(so_far.at_ns)} {rate:,.0f} messages/s")

        try:
            made = days_of(
                config,
                companies_of(SymbolMaster.load(settings.symbols or DEFAULT_SYMBOLS), instruments),
                path=out,
                single=single,
                payments=[name for name in money.PLAN if name in asked],
                talk=[talk.CLIENT_CALL, *(name for name in talk.PLAN if name in asked)],
                progress=lambda share: bar.update(task, completed=share),
            )
            if to_kafka:
                played = send_all(made, settings, single=single, speed=pace_of(speed or "1"), on_progress=sent)
            else:
                write_all(made)
        except (ValueError, OSError) as error:
            raise StartupError(str(error)) from error
    if played.sent:
        took_s = time.monotonic() - begun_s
        how = f"Stopped{', and nothing written' if out else ''}: " if played.stopped else ""
        typer.echo(f"{how}{played.sent:,} messages delivered in {took_s:.1f} s, up to {clock(played.at_ns)} UTC")
    if played.stopped:
        raise typer.Exit(130)
    if out is not None:
        contents(Console(), Recording.open(out, verify=False))
