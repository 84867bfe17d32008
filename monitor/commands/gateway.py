"""`tocsin gateway`: pack single ticks into frames, and send each document to the instruments that it names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

import typer

from monitor.commands.options import Bootstrap, Prefix
from monitor.settings import Settings, load

app = typer.Typer()
EXIT_FAILED = 70
#: Where the gateway's probes are unless the setting says otherwise: a daemon beside it has the setting's default.
HTTP_PORT = 8322


@app.command()
def gateway(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    frame_ticks: Annotated[
        int | None, typer.Option(help="Ticks that close a frame [TOCSIN_FRAME_TICKS]", show_default="500")
    ] = None,
    frame_ms: Annotated[
        float | None, typer.Option(help="Age that closes a frame, ms [TOCSIN_FRAME_MS]", show_default="20.0")
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(help="Port of /livez, /readyz and /metrics [TOCSIN_HTTP_PORT]", show_default=str(HTTP_PORT)),
    ] = None,
) -> None:
    """Pack single ticks into frames, and send each document to the instruments that it names.

    Reads the topics `ticks` and `documents`, writes `frames`, `news` and `deadletters`. Any number of gateways share
    the work. SIGTERM delivers and commits what was read, then ends with code 0.

    Example: `tocsin gateway --bootstrap kafka:9092`
    """
    import os

    import structlog

    from engines.instruments import SymbolMaster
    from monitor import logs
    from monitor.errors import StartupError
    from monitor.gateway import GatewayError, serve

    settings = settings_of(
        bootstrap=bootstrap, prefix=prefix, frame_ticks=frame_ticks, frame_ms=frame_ms, http_port=http_port
    )
    logs.configure(settings)
    try:
        master = SymbolMaster.load(settings.symbols) if settings.symbols else SymbolMaster.load()
    except (OSError, ValueError) as error:
        raise StartupError(f"The symbol master cannot be read ({error}): correct it, or set TOCSIN_SYMBOLS.") from error
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(settings, master))
    except GatewayError as error:
        structlog.get_logger("monitor.gateway").critical(str(error))
        # Clients of a broker that is gone may hold the interpreter's exit up; nothing is left to be saved.
        os._exit(EXIT_FAILED)


def settings_of(**overrides: object) -> Settings:
    """Return the settings of a gateway (see `monitor.settings.load`)."""
    settings = load(**overrides)
    return (
        settings if "http_port" in settings.model_fields_set else settings.model_copy(update={"http_port": HTTP_PORT})
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop
