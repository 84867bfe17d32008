"""`tocsin run`: the daemon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from monitor.settings import Settings

app = typer.Typer()


@app.command()
def run() -> None:
    """Run the daemon: read the input topics, score every instrument, publish alerts.

    Settings come from the environment (`TOCSIN_BOOTSTRAP`, `TOCSIN_PREFIX`, `TOCSIN_BUNDLE`, …); `tocsin check-config`
    lists them all. Several workers with the same `TOCSIN_GROUP` share the partitions. SIGTERM drains: turns are
    finished, checkpoints written and messages acknowledged. SIGHUP loads `TOCSIN_BUNDLE` (and `TOCSIN_LABELS`) anew
    and swaps it while messages are served; one that does not pass its checks is refused, and the old one goes on. With
    `TOCSIN_REGISTRY` it serves the model that is promoted there, and swaps when another is (`tocsin models`).

    Example: `TOCSIN_BOOTSTRAP=kafka:9092 tocsin run`, after `tocsin topics create`
    """
    from monitor.settings import load

    until_stopped(load())


def until_stopped(settings: Settings) -> None:
    """Run the daemon by these settings until it is stopped."""
    from monitor.memory import share_heaps

    share_heaps()
    import uvloop

    from monitor import logs
    from monitor.app import serve

    logs.configure(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
