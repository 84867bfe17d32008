"""What is done to workers and brokers here must not be seen in what they write.

Every test ends with the account of `tests.integration.daemon`: no alert missing, none twice, none under two ids; the
alerts on the topic, and the state in the last checkpoint, are those of a replay of the journal.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable, Sequence
from operator import sub
from pathlib import Path

import pytest

from monitor.fence import EXIT_FENCED
from monitor.liveness import AWAY_S, STUCK_S
from monitor.recordings import Message
from monitor.replay_history import Course, by_history
from monitor.replayed import Replayed
from monitor.settings import Settings
from schemas.alerts import digest
from tests.integration.daemon import (
    Account,
    Feed,
    Watch,
    Worker,
    account,
    before_the_end,
    day,
    stages,
    undisturbed,
    until,
)
from tests.integration.kafka import Broker

pytestmark = [pytest.mark.integration, pytest.mark.faults]

Record = Callable[[str, object], None]
START_S = 120.0
#: After a worker's death, the session's timeout (6 s) included; after the broker's return. What the worker spends
#: waiting for a core that the machine has given to others is told apart, and not held against it.
AGAIN_S, RETURN_S = 15.0, 30.0
SECOND_NS = 1_000_000_000
PILED_NS = 600 * SECOND_NS


@pytest.fixture
def settings(topics: Settings) -> Settings:
    return topics.model_copy(update={"clock": "data", "checkpoint_interval_s": 1.0})


def finish(worker: Worker, watch: Watch, sent: int) -> None:
    """Wait until all is acknowledged, and end the worker in order."""
    watch.until_acknowledged(sent, worker)
    assert worker.drain() == 0


def late(replayed: Replayed) -> int:
    """Return how many late events a stream has of itself."""
    return sum(state.late for state in replayed.table.values())  # type: ignore[attr-defined]


def part(share: float) -> Sequence[Message]:
    """Return the day's beginning, for tests that feed it live within half a minute or a whole one.

    A topic that was read empty counts as such until the next fetch, and the clock closes bars ten seconds behind it. On
    a busy machine a fetch may take 50 ms: fed more than 200 times as fast as it happened, the day itself would be late.
    """
    return day()[: int(len(day()) * share)]


def check(settings: Settings, stream: Sequence[Message], alerts: int = 10) -> Account:
    found = account(settings)
    found.check(messages=len(stream), alerts=alerts)
    own = late(undisturbed() if stream is day() else asyncio.run(by_history(stream, stages(), Course(sliced=False))))
    assert found.late == own, f"{found.late} late events, {own} of the stream's own"
    return found


def kills(settings: Settings, folder: Path, seed: int, number: int, record: Record) -> None:
    """Feed the day, kill the worker at ``number`` random moments on the way, and account for it."""
    rng = random.Random(seed)
    watch = Watch(settings)
    pauses, starved = [], []
    with Worker(settings, folder) as worker, Feed(settings, day(), rate=len(day()) / (15.0 * number + 10)) as feed:
        watch.output_after(worker, START_S)
        for _ in range(number):
            time.sleep(rng.uniform(0.0, 4.0))
            worker.kill()
            killed_s = time.monotonic()
            worker.start()
            watch.output_after(worker, START_S)
            pauses.append(round(time.monotonic() - killed_s, 1))
            starved.append(round(worker.starved_s, 1))
        finish(worker, watch, feed.finish())
    record("seed", seed)
    record("output_again_after_s", pauses)
    record("of_which_starved_s", starved)
    check(settings, day())
    assert max(map(sub, pauses, starved)) < AGAIN_S, f"{pauses} s, of which it waited {starved} s for a core"


def test_five_kills_leave_no_trace(settings: Settings, tmp_path: Path, record_property: Record) -> None:
    kills(settings, tmp_path, seed=1, number=5, record=record_property)


@pytest.mark.long
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
    watch, stream = Watch(settings), part(0.3)
    with (
        Worker(settings, tmp_path, TOCSIN_CRASH_AT=point) as worker,
        Feed(settings, stream, rate=len(stream) / 25) as feed,
    ):
        until(lambda: bool(worker.exits), 120, f"death at {point}", [worker])
        assert worker.exits == [-signal.SIGKILL]
        finish(worker, watch, feed.finish())
    check(settings, stream)


def test_a_frozen_worker_sends_nothing_when_it_wakes(
    settings: Settings, tmp_path: Path, record_property: Record
) -> None:
    # However little of a core there is: without models there are fewer alerts than the account asks for.
    settings = settings.model_copy(update={"ladder_down_s": 0.0})
    watch, stream = Watch(settings), part(0.4)
    with (
        Worker(settings, tmp_path, "one") as one,
        Worker(settings, tmp_path, "two") as two,
        Feed(settings, stream, rate=len(stream) / 35) as feed,
    ):
        until(lambda: one.partitions and two.partitions, START_S, "both have partitions", [one, two])
        watch.output_after(one, START_S)
        one.signal(signal.SIGSTOP)
        frozen_s, starved_s = time.monotonic(), two.starved_s
        until(lambda: len(two.partitions) == settings.partitions, START_S, "the other takes over")
        watch.output_after(two, START_S)
        pause_s, starved_s = time.monotonic() - frozen_s, two.starved_s - starved_s
        record_property("output_again_after_s", round(pause_s, 1))
        record_property("of_which_starved_s", round(starved_s, 1))
        one.signal(signal.SIGCONT)
        assert one.wait(10) == EXIT_FENCED
        assert one.events_like("frozen for")
        finish(two, watch, feed.finish())
    check(settings, stream)
    assert pause_s - starved_s < AGAIN_S


@pytest.mark.long
@pytest.mark.parametrize("seed", [4])
def test_a_broker_that_dies_three_times_leaves_no_trace(
    broker: Broker, settings_of: Callable[..., Settings], tmp_path: Path, record_property: Record, seed: int
) -> None:
    settings = settings_of(broker.bootstrap, clock="data", checkpoint_interval_s=1.0)
    rng, watch, stream = random.Random(seed), Watch(settings), part(0.5)
    pauses, starved = [], []
    with Worker(settings, tmp_path) as worker, Feed(settings, stream, rate=len(stream) / 60) as feed:
        watch.output_after(worker, START_S)
        for _ in range(3):
            time.sleep(rng.uniform(1.0, 4.0))
            broker.kill()
            time.sleep(rng.uniform(0.0, 8.0))
            broker.start()
            starts, starved_s = worker.starts, worker.starved_s
            pauses.append(round(watch.work_after(worker, 2 * START_S), 1))
            starved.append(round(worker.starved_s - (starved_s if worker.starts == starts else 0.0), 1))
        finish(worker, watch, feed.finish())
    record_property("seed", seed)
    record_property("output_again_after_s", pauses)
    record_property("of_which_starved_s", starved)
    record_property("exits", worker.exits)
    check(settings, stream)
    assert max(map(sub, pauses, starved)) < RETURN_S, f"{pauses} s, of which it waited {starved} s for a core"


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
    check(settings, day())


@pytest.mark.long
def test_two_rebalances_leave_no_trace(settings: Settings, tmp_path: Path) -> None:
    watch, stream = Watch(settings), part(0.4)
    with Worker(settings, tmp_path, "one") as one, Feed(settings, stream, rate=len(stream) / 40) as feed:
        watch.output_after(one, START_S)
        with Worker(settings, tmp_path, "two") as two:
            until(lambda: one.partitions and two.partitions, 30, "the second gets its share", [one, two])
            assert sorted(one.partitions + two.partitions) == list(range(settings.partitions))
            time.sleep(5)
            assert two.drain() == 0
        until(lambda: len(one.partitions) == settings.partitions, 30, "the first gets all back", [one])
        assert not one.exits
        finish(one, watch, feed.finish())
    check(settings, stream)


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
    check(settings, day())


def away() -> tuple[int, int]:
    """Return the ten minutes of the day around its first pump, as a half-open range of ``ts_available``."""
    found = (a.times.available_at for a in undisturbed().alerts if a.finding.typology.startswith("pump_and_dump"))
    start_ns = min(found) - PILED_NS // 2
    return start_ns, start_ns + PILED_NS


@pytest.mark.long
def test_a_topic_that_piled_up_while_the_worker_was_away_is_neither_late_nor_out_of_order(
    settings: Settings, tmp_path: Path, record_property: Record
) -> None:
    """Ten minutes of frames are sent, and nothing else, while no worker is there; when one comes, all topics flow.

    The ten minutes are of the messages' own time, which alone moves the clock of these workers: that they are sent
    within a second changes nothing, as long as no worker sees them before the last has been delivered.
    """
    settings = settings.model_copy(update={"ladder_down_s": 0.0})
    start_ns, end_ns = away()
    before = [message for message in day() if message.ts_available < start_ns]
    piled = [m for m in day() if start_ns <= m.ts_available < end_ns and m.topic == "frames"]
    after = [message for message in day() if end_ns <= message.ts_available < end_ns + 9 * PILED_NS]
    expected = asyncio.run(by_history([*before, *piled, *after], stages(), Course(sliced=False)))
    watch = Watch(settings)
    with Worker(settings, tmp_path) as worker:
        with Feed(settings, before) as feed:
            finish(worker, watch, feed.finish())
        with Feed(settings, piled) as feed:
            feed.finish()
        assert watch.acknowledged() == len(before)
        with Feed(settings, after, rate=len(after) / 30) as feed:
            # What is live is there before anything of the pile is read.
            until(lambda: len({after[number].topic for number in list(feed.places)}) > 2, 30, "all topics flow")
            worker.start()
            finish(worker, watch, len(before) + len(piled) + feed.finish())
    found = account(settings)
    found.check(messages=expected.messages, alerts=10)
    assert found.late == late(expected)
    # What was known before the worker's return is judged as if it had never been away.
    told, wanted = before_the_end(found.alerts, end_ns), before_the_end(expected.alerts, end_ns)
    record_property("piled", len(piled))
    record_property("alerts_of_the_pile", sum(a.times.available_at >= start_ns for a in wanted))
    assert any(a.times.available_at >= start_ns for a in wanted)
    assert digest(told) == digest(wanted)


@pytest.mark.long
def test_a_worker_slower_than_its_input_steps_down_and_says_so(settings: Settings, tmp_path: Path) -> None:
    settings = settings.model_copy(update={"ladder_down_s": 0.5})
    watch = Watch(settings)
    with Worker(settings, tmp_path) as worker, Feed(settings, day()) as feed:
        finish(worker, watch, feed.finish())
    found = check(settings, day(), alerts=1)
    assert any(alert.quality.ladder != "full" for alert in found.alerts)
