"""`tocsin run`: the daemon."""

from __future__ import annotations

import asyncio

import typer

app = typer.Typer()


@app.command()
def run() -> None:
    """Run the daemon: read the input topics, score every instrument, publish alerts.

    Settings come from the environment (`TOCSIN_BOOTSTRAP`, `TOCSIN_PREFIX`, `TOCSIN_BUNDLE`, …); `tocsin check-config`
    lists them all. Several workers with the same `TOCSIN_GROUP` share the partitions. SIGTERM drains: turns are
    finished, checkpoints written and messages acknowledged. SIGHUP loads `TOCSIN_BUNDLE` (and `TOCSIN_LABELS`) anew
    and swaps it while messages are served; one that does not pass its checks is refused, and the old one goes on.
    """
    import uvloop

    from monitor import logs
    from monitor.app import serve
    from monitor.settings import load

    settings = load()
    logs.configure(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
