"""What is done to workers and brokers here must not be seen in what they write.

Every test ends with the account of `tests.integration.daemon`: no alert missing, none twice, none under two ids; the
alerts on the topic, and the state in the last checkpoint, are those of a replay of the journal.
"""

from __future__ import annotations

import random
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.fence import EXIT_FENCED
from monitor.liveness import AWAY_S, STUCK_S
from monitor.settings import Settings
from schemas.alerts import digest
from tests.integration.daemon import Feed, Watch, Worker, account, before_the_end, day, undisturbed, until
from tests.integration.kafka import Broker

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(300)]

Record = Callable[[str, object], None]
START_S = 60.0
#: After a worker's death, the session's timeout (6 s) included; after the broker's return.
AGAIN_S, RETURN_S = 15.0, 30.0


@pytest.fixture
def settings(topics: Settings) -> Settings:
    return topics.model_copy(update={"clock": "data", "checkpoint_interval_s": 1.0})


def finish(worker: Worker, watch: Watch, sent: int) -> None:
    """Wait until all is acknowledged, and end the worker in order."""
    until(lambda: watch.acknowledged() == sent, 120, f"{sent} messages acknowledged", [worker])
    assert worker.drain() == 0


def late() -> int:
    """Return how many late events the day has of itself."""
    return sum(state.ticks.late for state in undisturbed().table.values())  # type: ignore[attr-defined]


def check(settings: Settings, alerts: int = 10) -> None:
    found = account(settings)
    found.check(messages=len(day()), alerts=alerts)
    assert found.late == late(), f"{found.late} late events, {late()} of the day's own"


def kills(settings: Settings, folder: Path, seed: int, number: int, record: Record) -> None:
    """Feed the day, kill the worker at ``number`` random moments on the way, and account for it."""
    rng = random.Random(seed)
    watch = Watch(settings)
    pauses = []
    with Worker(settings, folder) as worker, Feed(settings, day(), rate=len(day()) / (15.0 * number + 10)) as feed:
        watch.output_after(worker, START_S)
        for _ in range(number):
            time.sleep(rng.uniform(0.0, 4.0))
            worker.kill()
            killed_s = time.monotonic()
            worker.start()
            watch.output_after(worker, START_S)
            pauses.append(round(time.monotonic() - killed_s, 1))
        finish(worker, watch, feed.finish())
    record("seed", seed)
    record("output_again_after_s", pauses)
    check(settings)
    # The middle one: a machine with other work on it may take ten seconds to start a process.
    assert statistics.median(pauses) < AGAIN_S


def test_five_kills_leave_no_trace(settings: Settings, tmp_path: Path, record_property: Record) -> None:
    kills(settings, tmp_path, seed=1, number=5, record=record_property)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2, 3])
def test_ten_kills_leave_no_trace(settings: Settings, tmp_path: Path, record_property: Record, seed: int) -> None:
    kills(settings, tmp_path, seed=seed, number=10, record=record_property)


@pytest.mark.long
@pytest.mark.parametrize(
    "point",
    [
        "journal-sent:1",
        "journal-sent:6",
        "effects-sent:5",
        "effects-sent:12",
        "states-written:4",
        "states-written:11",
        "closing-written:3",
        "closing-written:9",
        "committed:6",
    ],
)
def test_death_between_two_steps_leaves_no_trace(settings: Settings, tmp_path: Path, point: str) -> None:
    watch = Watch(settings)
    with Worker(settings, tmp_path, TOCSIN_CRASH_AT=point) as worker, Feed(settings, day(), rate=450) as feed:
        until(lambda: bool(worker.exits), 60, f"death at {point}", [worker])
        assert worker.exits == [-signal.SIGKILL]
        finish(worker, watch, feed.finish())
    check(settings)


def test_a_frozen_worker_sends_nothing_when_it_wakes(
    settings: Settings, tmp_path: Path, record_property: Record
) -> None:
    watch = Watch(settings)
    with (
        Worker(settings, tmp_path, "one") as one,
        Worker(settings, tmp_path, "two") as two,
        Feed(settings, day(), rate=len(day()) / 35) as feed,
    ):
        until(lambda: one.partitions and two.partitions, START_S, "both have partitions", [one, two])
        watch.output_after(one, START_S)
        one.signal(signal.SIGSTOP)
        frozen_s = time.monotonic()
        until(lambda: len(two.partitions) == settings.partitions, START_S, "the other takes over")
        record_property("taken_over_after_s", round(time.monotonic() - frozen_s, 1))
        watch.output_after(two, START_S)
        one.signal(signal.SIGCONT)
        assert one.wait(10) == EXIT_FENCED
        assert one.events_like("frozen for")
        finish(two, watch, feed.finish())
    check(settings)


@pytest.mark.long
@pytest.mark.parametrize("seed", [4])
def test_a_broker_that_dies_three_times_leaves_no_trace(
    broker: Broker, settings_of: Callable[..., Settings], tmp_path: Path, record_property: Record, seed: int
) -> None:
    settings = settings_of(broker.bootstrap, clock="data", checkpoint_interval_s=1.0)
    rng, watch, pauses = random.Random(seed), Watch(settings), []
    with Worker(settings, tmp_path) as worker, Feed(settings, day(), rate=len(day()) / 60) as feed:
        watch.output_after(worker, START_S)
        for _ in range(3):
            time.sleep(rng.uniform(1.0, 4.0))
            broker.kill()
            time.sleep(rng.uniform(0.0, 8.0))
            broker.start()
            pauses.append(round(watch.output_after(worker, 2 * START_S), 1))
        finish(worker, watch, feed.finish())
    record_property("seed", seed)
    record_property("output_again_after_s", pauses)
    record_property("exits", worker.exits)
    check(settings)
    assert statistics.median(pauses) < RETURN_S


@pytest.mark.long
def test_a_broker_that_is_away_fails_readiness_and_not_liveness(
    broker: Broker, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_of(broker.bootstrap, clock="data", checkpoint_interval_s=1.0)
    watch = Watch(settings)
    with Worker(settings, tmp_path) as worker, Feed(settings, day(), rate=len(day()) / 90) as feed:
        watch.output_after(worker, START_S)
        broker.kill()
        answers: list[tuple[str, str]] = []
        until_s = time.monotonic() + STUCK_S + AWAY_S
        while time.monotonic() < until_s:
            answers.append((worker.get("/livez")[1], worker.get("/readyz")[1]))
            time.sleep(1.0)
        assert {live for live, _ in answers} == {'{"ok":true,"reasons":[]}'}
        assert "the broker has not answered for" in answers[-1][1]
        broker.start()
        until(lambda: worker.partitions, 2 * START_S, "ready again")
        finish(worker, watch, feed.finish())
        assert worker.starts == 1
    check(settings)


@pytest.mark.long
def test_two_rebalances_leave_no_trace(settings: Settings, tmp_path: Path) -> None:
    watch = Watch(settings)
    with Worker(settings, tmp_path, "one") as one, Feed(settings, day(), rate=len(day()) / 40) as feed:
        watch.output_after(one, START_S)
        with Worker(settings, tmp_path, "two") as two:
            until(lambda: one.partitions and two.partitions, 30, "the second gets its share", [one, two])
            assert sorted(one.partitions + two.partitions) == list(range(settings.partitions))
            time.sleep(5)
            assert two.drain() == 0
        until(lambda: len(one.partitions) == settings.partitions, 30, "the first gets all back", [one])
        assert not one.exits
        finish(one, watch, feed.finish())
    check(settings)


def test_sigterm_under_load_drains_and_loses_nothing(
    settings: Settings, tmp_path: Path, record_property: Record
) -> None:
    watch = Watch(settings)
    with Worker(settings, tmp_path) as worker, Feed(settings, day()) as feed:
        watch.output_after(worker, START_S)
        began_s = time.monotonic()
        assert worker.drain(20) == 0
        record_property("drained_in_s", round(time.monotonic() - began_s, 1))
        assert account(settings).messages == watch.acknowledged()
        worker.start()
        finish(worker, watch, feed.finish())
    check(settings)


@pytest.mark.long
def test_what_piled_up_meanwhile_is_neither_late_nor_out_of_order(settings: Settings, tmp_path: Path) -> None:
    # Frames of hours stand before a handful of words, all of it sent while no worker was there.
    settings = settings.model_copy(update={"ladder_down_s": 0.0})
    watch, third = Watch(settings), len(day()) // 3
    with Worker(settings, tmp_path) as worker:
        with Feed(settings, day()[:third]) as feed:
            finish(worker, watch, feed.finish())
        with Feed(settings, day()[third:]) as feed:
            feed.finish()
        worker.start()
        finish(worker, watch, len(day()))
    check(settings)
    # As in one order over all partitions, but for what the end of the day has not closed everywhere.
    assert digest(before_the_end(account(settings).alerts)) == digest(before_the_end(undisturbed().alerts))


@pytest.mark.long
def test_a_worker_slower_than_its_input_steps_down_and_says_so(settings: Settings, tmp_path: Path) -> None:
    settings = settings.model_copy(update={"ladder_down_s": 0.5})
    watch = Watch(settings)
    with Worker(settings, tmp_path) as worker, Feed(settings, day()) as feed:
        finish(worker, watch, feed.finish())
    found = account(settings)
    found.check(messages=len(day()), alerts=1)
    assert any(alert.quality.ladder != "full" for alert in found.alerts)
