"""/livez, /readyz and /metrics, for every process that runs for long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from monitor.errors import StartupError

#: Returns what keeps a process from being called alive, or ready: a sentence each.
Check = Callable[[], list[str]]


@asynccontextmanager
async def serve(
    host: str,
    port: int,
    *,
    live: Check,
    ready: Check,
    expose: Callable[[], bytes],
    about: Callable[[], dict[str, Any]] = dict,
) -> AsyncIterator[str]:
    """Serve the probes while the block runs, and yield their address.

    A probe answers 200, or 503 with the reasons, in JSON; /readyz tells ``about`` the process as well.

    Parameters
    ----------
    port
        0 takes a free one.
    expose
        The metrics in Prometheus' text format.

    Raises
    ------
    StartupError
        The address cannot be had.
    """

    async def livez(_: web.Request) -> web.Response:
        return _answer(live(), {})

    async def readyz(_: web.Request) -> web.Response:
        return _answer(ready(), about())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=expose(), headers={"Content-Type": "text/plain; version=0.0.4"})

    site = web.Application()
    handlers: dict[str, Handler] = {"/livez": livez, "/readyz": readyz, "/metrics": metrics}
    for path, handler in handlers.items():
        site.router.add_get(path, handler)
    runner = web.AppRunner(site, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise StartupError(
                f"Nothing can listen on {host}:{port} ({error.strerror}): free it, or set TOCSIN_HTTP_HOST and"
                " TOCSIN_HTTP_PORT (0: any)."
            ) from error
        bound_host, bound_port = runner.addresses[0][:2]
        yield f"http://{bound_host}:{bound_port}"
    finally:
        await runner.cleanup()


def _answer(reasons: list[str], about: dict[str, Any]) -> web.Response:
    body = {"ok": not reasons, "reasons": reasons} | about
    return web.Response(status=503 if reasons else 200, body=msgspec.json.encode(body), content_type="application/json")
