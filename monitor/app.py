"""The daemon: topics bound to agents.

frames, orders, news, transcripts, audio, charts ─► instrument stage ─► alerts, scores, signals, drift, dead letters
                                                            └─► market ─► market stage ─► alerts
transfers, statements ─► account stage ─► alerts, dead letters
                        (one lane a stage and partition, see `monitor.lane`)
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faust
import structlog
from aiokafka import AIOKafkaProducer
from faust.types import TP

from monitor import credentials, kafka, probes
from monitor.champion import Champion
from monitor.control import Follower, Promoted, promotions
from monitor.fence import Fence, end_process, vital
from monitor.intake import Intake, faust_app
from monitor.liveness import MachineClock, Pulse, stuck, unready
from monitor.memory import give_back
from monitor.metrics import Metrics
from monitor.pseudonyms import LOOK_S, Pseudonyms
from monitor.set_aside import once
from monitor.settings import Settings
from monitor.shadow import prepared
from monitor.stage import Stages, load_stages
from monitor.swap import Swaps
from monitor.tracing import tracer
from monitor.worker import Worker
from schemas.journal import Decides, Fallback, Rules
from schemas.topics import ACCOUNT_INPUTS, INSTRUMENT_INPUTS, MARKET_INPUTS

log = structlog.get_logger(__name__)
EXIT_DRAIN = 72
EXIT_FAUST = 73
#: Threads that have something to encode, of which `monitor.encoding.TURNS` compute: the others' texts are the next
#: batch. And by how much they stand behind what else wants a core (nice): a text takes one for ms, the event loop for
#: µs and at once. Not by more: where one holds the interpreter and has no core, the loop waits too.
ENCODERS, ENCODERS_NICE = 10, 5
TOPICS = (
    *(*INSTRUMENT_INPUTS, "journal", "checkpoints"),
    *(*ACCOUNT_INPUTS, "accounts.journal", "accounts.checkpoints"),
    *(*MARKET_INPUTS, "market.journal", "market.checkpoints"),
    *("scores", "signals", "drift", "alerts", "reviews", "deadletters", "control"),
)


async def serve(settings: Settings) -> None:
    """Run the daemon until SIGTERM or SIGINT, then drain: finish turns, write checkpoints, acknowledge.

    SIGHUP loads the bundle anew (see `monitor.swap`), as does a promotion where a registry is named.

    Raises
    ------
    StartupError
        What keeps it from starting: no broker, a topic missing, partitions unequal, a bundle that fails its digests,
        an exporter of traces that is not installed.
    """
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    trace = tracer()
    odd = ""
    if settings.shadow:
        settings = await prepared(settings, TOPICS)
    elif odd := kafka.unlike(settings, await kafka.require_topics(settings, TOPICS)):
        log.warning(odd)
    metrics, names = Metrics(), Pseudonyms.of(settings)
    workers: list[Worker] = []
    champion = Champion(settings, lambda: metrics.swapped("refused"))
    for one in await promotions(settings) if settings.registry else ():
        champion.take(one)

    def load(before: Stages | None = None) -> Stages:
        # Not the stages: they hold what tells of a fallback, and could not be let go at once.
        decides: list[Decides] = []

        def fell(fallback: Fallback) -> None:
            metrics.fell_back(fallback)
            # A bundle that is being loaded, or was swapped away, decides nothing.
            if decides == [swaps.serving.instrument.decides]:
                for worker in workers:
                    loop.call_soon_threadsafe(worker.note, fallback)

        def make(of: Settings) -> Stages:
            return load_stages(of, once(metrics.set_aside), skipped=metrics.shed, fell=fell, before=before)

        made = champion.load(make, before)
        decides.append(made.instrument.decides)
        return made

    swaps = Swaps(load(), load, workers=workers, metrics=metrics, thread=ThreadPoolExecutor(1, "bundle", _step_back))
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
    await kafka.start(producer, settings)
    app = faust_app(settings)
    pool, source = ThreadPoolExecutor(ENCODERS, "encode", _step_back), Intake(app)
    name = settings.worker_name or f"{socket.gethostname()}-{os.getpid()}"
    workers += [
        Worker(
            settings,
            name=name,
            stage=stage,
            source=source,
            producer=producer,
            pool=pool,
            metrics=metrics,
            trace=trace,
            rulebook=swaps.serving.rulebook,
            names=names,
        )
        for stage in swaps.serving
    ]

    def check(rules: Rules) -> None:
        for stage in swaps.serving:
            stage.under(rules)

    def changed() -> None:
        for worker in workers:
            worker.wake()

    def promoted(found: Promoted) -> None:
        if champion.take(found):
            asked.set()

    rules_read = asyncio.Event()
    follower = Follower(settings, swaps.serving.rulebook, check, changed, promoted)
    background = [vital("following the control topic", follower.keep(rules_read))]
    bind(app, workers)
    pulse, clock = Pulse(producer.client.force_metadata_update), MachineClock()
    secrets = credentials.Mounted(settings)

    def noted() -> dict[str, str]:
        found = {"clock": clock.told, "secrets": secrets.told, "topics": odd}
        return {name: told for name, told in found.items() if told}

    try:
        # What was published is known before the first message is judged.
        await rules_read.wait()
        async with probes.serve(
            settings.http_host,
            settings.http_port,
            live=lambda: stuck(workers, pulse, interval_s=settings.checkpoint_interval_s),
            ready=lambda: unready(workers, pulse),
            expose=metrics.expose,
            about=lambda: (
                swaps.serving.about
                | ({"shadow": settings.shadow} if settings.shadow else {})
                | champion.about()
                | noted()
                | {"partitions": {w.stage.name: sorted(w.lanes) for w in workers}}
                | {"rules": {w.stage.name: w.rules() for w in workers}}
            ),
        ) as address:
            background.append(vital("watching the clients", _watch(source, producer)))
            background.append(vital("the broker's pulse", pulse.keep()))
            background.append(vital("swapping bundles", swaps.keep(asked)))
            if names is not None:
                background.append(vital("watching the keys of pseudonyms", _keys(names, asked)))
            looks = (clock.jumped, secrets.look)
            background.append(vital("sampling for metrics", _sample(metrics, workers, fence, looks)))
            # What stands for good is not walked again, and a state's objects are many and rarely garbage: full
            # collections with every few thousand objects cost 7 % of the CPU, and pauses that an alert would wait
            # for.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            give_back()  # what reading models has left behind
            # The threads that fetch and encode would wait 5 ms for the interpreter while the event loop is busy.
            sys.setswitchinterval(0.0005)
            told = {"bootstrap": settings.bootstrap, "prefix": settings.own_prefix, "http": address}
            log.info("serving", **told, **swaps.serving.about)
            fence.renew()  # from here on it may own partitions
            background.append(vital("the fence", fence.keep()))
            await _until_stopped(app, settings.drain_timeout_s)
            log.info("draining")
            await asyncio.gather(*(worker.drain() for worker in workers))
            await app.stop()
    finally:
        for task in background:
            task.cancel()
        await producer.stop()
    log.info("stopped")


def bind(app: faust.App, workers: Sequence[Worker]) -> None:
    """Bind the stages' topics to their workers' lanes, and lanes to the partitions that the group assigns."""
    owners = {topic: worker for worker in workers for topic in worker.topics}
    inputs = app.topic(*owners, key_serializer="raw", value_serializer="raw")

    @app.agent(inputs, name="stages")
    async def stages(batches: Any) -> None:
        async for event in batches.noack().events():
            for message in event.message.value:
                owners[message.topic].push(message)

    def of(worker: Worker, tps: set[TP]) -> set[int]:
        return {tp.partition for tp in tps if owners[tp.topic] is worker}

    @app.on_partitions_assigned.connect
    async def assigned(_: faust.App, assigned: set[TP], **__: Any) -> None:
        for worker in workers:
            await worker.assigned(of(worker, assigned))

    @app.on_partitions_revoked.connect
    async def revoked(_: faust.App, revoked: set[TP], **__: Any) -> None:
        await asyncio.gather(*(worker.revoked(of(worker, revoked)) for worker in workers))

    # Faust holds the functions weakly; they live as long as the application.
    app.tocsin_bound = (stages, assigned, revoked)


def _step_back() -> None:
    if sys.platform == "linux":  # where it is the thread's own; elsewhere it is the process's
        os.nice(ENCODERS_NICE)


async def _sample(
    metrics: Metrics, workers: Sequence[Worker], fence: Fence, looks: Sequence[Callable[[], str]]
) -> None:
    """Keep the gauges current, and log what is found where one looks, until cancelled."""
    while True:
        for look in looks:
            if told := look():
                log.warning(told)
        for worker in workers:
            metrics.sample(worker.stage.name, worker.lanes, worker.lag)
        metrics.event_loop(fence)
        await asyncio.sleep(1.0)


async def _keys(names: Pseudonyms, asked: asyncio.Event) -> None:
    """Look for other keys until cancelled; whose names are known by them is then loaded anew."""
    while True:
        await asyncio.sleep(LOOK_S)
        if names.look():
            asked.set()


async def _watch(source: Intake, producer: AIOKafkaProducer) -> None:
    """End the process where a client has failed for good; run until cancelled."""
    while True:
        error = source.failure() or kafka.failure([producer.client._sync_task])
        if error is not None:
            end_process(f"Kafka failed the worker ({kafka.told(error)}): it ends", EXIT_FAUST)
        await asyncio.sleep(1.0)


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
