"""The daemon: topics bound to agents.

frames, orders, news, transcripts, audio, charts ─► instrument agent ─► alerts, scores, dead letters
                                   (one lane a partition, see `monitor.lane`)
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faust
import structlog
from aiokafka import AIOKafkaProducer
from faust.types import TP

from monitor import kafka
from monitor.fence import Fence, end_process
from monitor.intake import Intake, faust_app
from monitor.metrics import Metrics
from monitor.settings import Settings
from monitor.stage import load_stage
from monitor.web import Web
from monitor.worker import Worker
from schemas.topics import INSTRUMENT_INPUTS

log = structlog.get_logger(__name__)
EXIT_DRAIN = 72
EXIT_FAUST = 73
TOPICS = (*INSTRUMENT_INPUTS, "journal", "checkpoints", "scores", "alerts", "deadletters")


async def serve(settings: Settings) -> None:
    """Run the daemon until SIGTERM or SIGINT, then drain: finish turns, write checkpoints, acknowledge.

    Raises
    ------
    StartupError
        What keeps it from starting: no broker, a topic missing, partitions unequal, a bundle that fails its digests.
    """
    await kafka.require_topics(settings, TOPICS)
    metrics = Metrics()
    stage = load_stage(settings, metrics.set_aside)
    fence = Fence(settings.session_timeout_ms / 2000)
    producer = fence.guard(
        AIOKafkaProducer(
            **kafka.client_options(settings),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=512 * 1024,
            max_request_size=kafka.MAX_MESSAGE_BYTES,
        )
    )
    background = [asyncio.create_task(fence.keep())]
    await kafka.start(producer, settings.bootstrap)
    with tempfile.TemporaryDirectory(prefix="tocsin-") as datadir:
        app = faust_app(settings, datadir)
        worker = Worker(
            settings,
            name=settings.worker_name or f"{socket.gethostname()}-{os.getpid()}",
            stage=stage,
            source=Intake(app),
            producer=producer,
            fence=fence,
            pool=ThreadPoolExecutor(max_workers=2, thread_name_prefix="encode"),
            metrics=metrics,
        )
        bind(app, worker, settings)
        web = Web(settings, worker, metrics, stage.about)
        try:
            await web.start()
            background.append(asyncio.create_task(worker.sample()))
            # What stands for good is not walked again, and a state's objects are many and rarely garbage: full
            # collections with every few thousand objects cost 7 % of the CPU, and pauses that an alert would wait for.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            log.info("serving", bootstrap=settings.bootstrap, prefix=settings.prefix, http=web.address, **stage.about)
            await _until_stopped(app, settings.drain_timeout_s)
            log.info("draining")
            await worker.drain()
            await app.stop()
        finally:
            for task in background:
                task.cancel()
            await producer.stop()
            await web.stop()
    log.info("stopped")


def bind(app: faust.App, worker: Worker, settings: Settings) -> None:
    """Bind the stage's topics to the worker's lanes, and lanes to the partitions that the group assigns."""
    inputs = app.topic(
        *(kafka.full_name(settings.prefix, topic) for topic in INSTRUMENT_INPUTS),
        key_serializer="raw",
        value_serializer="raw",
    )

    @app.agent(inputs, name="instrument")
    async def instrument(batches: Any) -> None:
        async for event in batches.noack().events():
            for message in event.message.value:
                worker.push(message)

    @app.on_partitions_assigned.connect
    async def assigned(_: faust.App, assigned: set[TP], **__: Any) -> None:
        await worker.assigned({tp.partition for tp in assigned})

    @app.on_partitions_revoked.connect
    async def revoked(_: faust.App, revoked: set[TP], **__: Any) -> None:
        await worker.revoked({tp.partition for tp in revoked})

    # Faust holds the functions weakly; they live as long as the application.
    app.tocsin_bound = (instrument, assigned, revoked)


async def _until_stopped(app: faust.App, drain_timeout_s: float) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        if not stop.is_set():
            stop.set()
            _arm(drain_timeout_s)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    await app.start()
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(app._crashed.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    if app.crashed:
        end_process(f"the Faust application crashed: {app.crash_reason!r}", EXIT_FAUST)


def _arm(timeout_s: float) -> None:
    """End the process if the drain takes too long: what is not acknowledged, the journal and the group give back."""
    timer = threading.Timer(timeout_s, end_process, (f"the drain took longer than {timeout_s:.0f} s", EXIT_DRAIN))
    timer.daemon = True
    timer.start()
