"""What a release carries: a million keys that are read back, and half an hour at 70 % of what it can do."""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import time

import pytest
from confluent_kafka import Producer

from monitor import checkpoints, kafka
from monitor.checkpoints import CLOSING_KEY, Loaded, encode_closing, seal
from monitor.settings import Settings
from monitor.worker import checkpoint_records
from tests.integration.daemon import Feed, Watch, account, day, until
from tests.kubernetes.cluster import Release, waits
from tests.kubernetes.node import Process
from tests.kubernetes.page import Tell
from tests.payments import payments

pytestmark = [pytest.mark.kubernetes, pytest.mark.long]

KEYS = 1_000_000
#: Transfers among 32 accounts: each has four, two of either direction.
WEEK = 64


async def _loaded(settings: Settings) -> Loaded:
    async with kafka.reader(settings) as consumer:
        name = kafka.full_name(settings.prefix, "accounts.checkpoints")
        end = (await kafka.end_offsets(consumer, name, [0]))[0]
        return await checkpoints.load(checkpoint_records(consumer, name, 0), end)


def grow(settings: Settings) -> None:
    """Write the accounts' checkpoint again, with so many keys that it has `KEYS`: states of those that are there."""
    loaded = asyncio.run(_loaded(settings))
    assert loaded.closing is not None
    topic, epoch, start = settings.prefix + "accounts.checkpoints", loaded.closing.epoch, loaded.end
    producer = Producer({"bootstrap.servers": settings.bootstrap, "enable.idempotence": True, "linger.ms": 50})
    sealed = {key: seal(epoch, start, state) for key, state in loaded.states.items()}
    others = (f"another {number}" for number in range(KEYS - len(sealed)))
    for key, value in itertools.chain(sealed.items(), zip(others, itertools.cycle(sealed.values()), strict=False)):
        while True:
            try:
                producer.produce(topic, value, key, partition=0)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    producer.produce(topic, seal(epoch, start, encode_closing(loaded.closing)), CLOSING_KEY, partition=0)
    producer.flush()


@pytest.mark.timeout(1800)
@pytest.mark.row("a million keys from checkpoints")
def test_a_million_accounts_are_read_back(installed: Release, tell: Tell) -> None:
    settings, stream = installed.settings, payments()[:WEEK]
    large = {"resources": {"limits": {"memory": "8Gi"}}}
    installed.upgrade(*installed.given({"workers": {"pod": large}}))
    watch, half = Watch(settings), len(stream) // 2
    with Feed(settings, stream[:half]) as feed:
        feed.finish()
    until(lambda: watch.acknowledged() == half, 120, f"{half} transfers acknowledged")
    installed.scale(0)
    grow(settings)
    began_s = time.monotonic()
    installed.scale(2)
    installed.ready()
    ready_s = time.monotonic() - began_s
    owner = max(installed.processes(), key=lambda process: process.resident_mb)
    with Feed(settings, stream[half:]) as feed:
        feed.finish()
    until(lambda: watch.acknowledged() == len(stream), 240, f"{len(stream)} transfers acknowledged")
    assert installed.restarts() == [0, 0]
    installed.scale(0)
    loaded = asyncio.run(_loaded(settings))
    assert len(loaded.states) >= KEYS
    watch.close()
    tell(
        f"{KEYS:,} accounts of four transfers each: ready {ready_s:.0f} s after the pods were asked for; "
        f"{owner.resident_mb:.0f} MB",
        ready_s <= 120.0,
    )


#: What each worker may take of a core: so a capacity is the release's, whatever else the machine does.
CORES = 0.2
SHARE = 0.7
WARM_UP = 15_000
LASTS_S = 1800.0
SAMPLE_S = 20.0
#: From when on memory may no longer grow, and over how long it is compared.
SETTLED_S, STRETCH_S = 600.0, 300.0


def _growth(samples: list[tuple[float, Process]]) -> float:
    """Return by which share the resident memory of the last stretch exceeds that of the first settled one."""

    def median(from_s: float) -> float:
        return statistics.median(
            one.resident_mb for at_s, one in samples if from_s <= at_s < from_s + STRETCH_S + SAMPLE_S
        )

    return median(LASTS_S - STRETCH_S) / median(SETTLED_S) - 1


@pytest.mark.timeout(7200)
@pytest.mark.row("30 minutes at 70 % of capacity")
def test_half_an_hour_at_seventy_percent_leaks_nothing(installed: Release, tell: Tell) -> None:
    # Of the whole service: without the ladder, which would leave models out to keep up.
    limits = {"resources": {"limits": {"cpu": f"{CORES * 1000:.0f}m", "memory": "2Gi"}}}
    installed.upgrade(*installed.given({"config": {"ladder_down_s": 0.0}, "workers": {"pod": limits}}))
    settings, watch = installed.settings, Watch(installed.settings)
    with Feed(settings, day(2)[:WARM_UP]) as feed:
        feed.finish()
    until(lambda: watch.acknowledged() > WARM_UP / 5, 600, "the first fifth")
    from_s, fifth = time.monotonic(), watch.acknowledged()
    until(lambda: watch.acknowledged() == WARM_UP, 600, "all")
    capacity = (WARM_UP - fifth) / (time.monotonic() - from_s)
    rate = SHARE * capacity
    stream = day(2 + math.ceil(rate * LASTS_S / 8_000))[WARM_UP:][: int(rate * LASTS_S)]
    samples: list[tuple[float, list[Process]]] = []
    began_s = time.monotonic()
    with Feed(settings, stream, rate=rate) as feed:
        while not feed.done:
            samples.append((time.monotonic() - began_s, installed.processes()))
            time.sleep(SAMPLE_S)
        sent = WARM_UP + feed.finish()
    drained_s = until(lambda: watch.acknowledged() == sent, 300, f"{sent} messages acknowledged")
    assert installed.restarts() == [0, 0]
    installed.scale(0)
    waited, found = waits(settings), account(settings)
    assert (waited.lost, waited.doubled) == (0, 0)
    found.check(messages=sent)
    growth = [_growth([(at_s, processes[worker]) for at_s, processes in samples]) for worker in range(2)]
    files = [one.open_files for at_s, processes in samples if at_s >= SETTLED_S for one in processes]
    watch.close()
    tell(
        f"{rate:.0f} of {capacity:.0f} messages a second at {CORES} of a core each; from minute 10 to the end memory "
        f"{growth[0]:+.1%} and {growth[1]:+.1%} ({samples[-1][1][0].resident_mb:.0f} MB), open files {min(files)} to "
        f"{max(files)}; lag 0 {drained_s:.0f} s after the last message; waited {waited}",
        max(growth) <= 0.02 and max(files) - min(files) <= 4,
    )
