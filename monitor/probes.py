"""/livez, /readyz and /metrics, for processes that have no web server of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from monitor.errors import StartupError

Check = Callable[[], str | None]


@asynccontextmanager
async def serve(host: str, port: int, *, live: Check, ready: Check, expose: Callable[[], bytes]) -> AsyncIterator[int]:
    """Serve the probes while the block runs; yield the port (where 0 was asked for, the one that was free).

    ``live`` and ``ready`` return None if all is well, else the reason, which is answered with status 503.

    Raises
    ------
    StartupError: the port is taken.
    """

    def answer(check: Check) -> Callable[[web.Request], object]:
        async def handle(_: web.Request) -> web.Response:
            reason = check()
            return web.Response(text=(reason or "ok") + "\n", status=503 if reason else 200)

        return handle

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=expose(), content_type="text/plain", charset="utf-8")

    site = web.Application()
    site.add_routes(
        [web.get("/livez", answer(live)), web.get("/readyz", answer(ready)), web.get("/metrics", metrics)]  # type: ignore[arg-type]
    )
    runner = web.AppRunner(site, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise StartupError(
                f"The probes cannot be served on {host}:{port} ({error.strerror}): set TOCSIN_HTTP_PORT to a free port,"
                " or 0 for any."
            ) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
