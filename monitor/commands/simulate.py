"""`tocsin simulate`: a seeded market day as a recording."""

from __future__ import annotations

import enum
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class Model(enum.Enum):
    """What draws the tape."""

    flow = "flow"
    agents = "agents"
    queues = "queues"


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")],
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
            show_default="the model's plan",
        ),
    ] = None,
    strength: Annotated[float, typer.Option(min=0.0, help="Of the events; 1 is full.")] = 1.0,
    disguise: Annotated[float, typer.Option(min=0.0, max=1.0, help="How much of the events is hidden.")] = 0.0,
    single: Annotated[
        bool, typer.Option("--single", help="Single ticks and documents, for the gateway, instead of frames and news.")
    ] = False,
    symbols: Annotated[
        Path | None, typer.Option(help="Symbol master [TOCSIN_SYMBOLS]", show_default="the one that ships")
    ] = None,
) -> None:
    """Write a market day: trades, quotes, book updates, news, posts, calls, charts, orders, transfers, and labels."""
    from rich.console import Console
    from rich.progress import Progress

    from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
    from engines.simulator import money
    from engines.simulator.day import Config, chosen
    from monitor.commands.tables import contents
    from monitor.errors import StartupError
    from monitor.recordings import Recording
    from monitor.settings import load
    from monitor.simulation import companies_of, write

    # What a quiet day has is neither the market's nor the payments'.
    asked = (*chosen(Config(model=model.value)), *money.PLAN) if typology is None else tuple(typology)
    names = tuple(name for name in asked if name not in money.PLAN and name != "none")
    config = Config(
        model=model.value,
        seed=seed,
        days=days,
        start=start.date(),
        hours=hours,
        ticks_a_second=ticks_a_second,
        typologies=names,
        strength=strength,
        disguise=disguise,
    )
    master_path = load(symbols=symbols).symbols or DEFAULT_SYMBOLS
    console = Console(stderr=True)
    try:
        companies = companies_of(SymbolMaster.load(master_path), instruments)
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("simulating", total=1.0)
            payments = [name for name in money.PLAN if name in asked]
            write(
                out,
                config,
                companies,
                single=single,
                payments=payments,
                progress=lambda share: bar.update(task, completed=share),
            )
    except (ValueError, OSError) as error:
        raise StartupError(str(error)) from error
    contents(Console(), Recording.open(out, verify=False))
