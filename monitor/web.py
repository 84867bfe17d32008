"""The worker's HTTP side: /livez, /readyz and /metrics.

Liveness is progress, not breath: a lane that has messages waiting and applies none, checkpoints that stopped, or an
event loop that stalls, fail the probe.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from monitor.errors import StartupError
from monitor.metrics import Metrics
from monitor.settings import Settings

if TYPE_CHECKING:
    from monitor.lane import Lane
    from monitor.worker import Worker

#: A lane with messages waiting that has applied none for this long is stuck, in seconds.
STUCK_S = 30.0


class Web:
    """Serves the probes; ``address`` is set once started."""

    def __init__(self, settings: Settings, workers: Sequence[Worker], metrics: Metrics, about: dict[str, Any]) -> None:
        self._settings = settings
        self._workers = workers
        self._metrics = metrics
        self._about = about
        self._started_s = time.monotonic()
        self.address = ""
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics_page)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Listen on the configured address.

        Raises
        ------
        StartupError
            It cannot be had.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.http_host, self._settings.http_port)
        try:
            await site.start()
        except OSError as error:
            raise StartupError(
                f"Nothing can listen on {self._settings.http_host}:{self._settings.http_port} ({error.strerror}): free"
                " it, or set TOCSIN_HTTP_HOST and TOCSIN_HTTP_PORT (0: any)."
            ) from error
        host, port = self._runner.addresses[0][:2]
        self.address = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    def stuck(self) -> list[str]:
        """Return what keeps this worker from being called alive, a sentence each."""
        now_s = time.monotonic()
        interval_s = self._settings.checkpoint_interval_s
        reasons = []
        given_back_s = max(self._started_s, *(worker.given_back_s for worker in self._workers))
        if not any(worker.lanes for worker in self._workers) and now_s - given_back_s > 4 * STUCK_S:
            reasons.append("no partition is assigned: membership is lost, or there are more workers than partitions")
        for where, lane in self._lanes():
            waiting = sum(map(len, lane.sequencer.buffers.values()))
            if not lane.status.recovered and now_s - lane.status.progress_s > 4 * STUCK_S:
                reasons.append(f"{where}: recovery has not got on for {4 * STUCK_S:.0f} s")
            if waiting and now_s - lane.status.progress_s > STUCK_S:
                reasons.append(f"{where}: {waiting} messages wait, none applied for {STUCK_S:.0f} s")
            if lane.behind and now_s - lane.status.committed_s > STUCK_S + 4 * interval_s:
                silent_s = now_s - lane.status.committed_s
                reasons.append(f"{where}: nothing acknowledged for {silent_s:.0f} s")
        return reasons

    async def _livez(self, _: web.Request) -> web.Response:
        return _answer(self.stuck(), {})

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = [f"{where}: recovering" for where, lane in self._lanes() if not lane.status.recovered]
        owned = {worker.stage.name: sorted(worker.lanes) for worker in self._workers}
        if not any(owned.values()):
            reasons.append("no partition assigned yet")
        return _answer(reasons, self._about | {"partitions": owned})

    def _lanes(self) -> Iterator[tuple[str, Lane]]:
        for worker in self._workers:
            for partition, lane in worker.lanes.items():
                yield f"{worker.stage.name} stage, partition {partition}", lane

    async def _metrics_page(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.expose(), headers={"Content-Type": "text/plain; version=0.0.4"})


def _answer(reasons: list[str], about: dict[str, Any]) -> web.Response:
    body = {"ok": not reasons, "reasons": reasons} | about
    return web.Response(status=503 if reasons else 200, body=msgspec.json.encode(body), content_type="application/json")
