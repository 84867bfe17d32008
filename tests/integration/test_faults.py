"""What is done to workers and brokers here must not be seen in what they write.

Every test ends with the account of `tests.integration.daemon`: no alert missing, none twice, none under two ids; the
alerts on the topic, and the state in the last checkpoint, are those of a replay of the journal.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.settings import Settings
from tests.integration.daemon import Feed, Watch, Worker, account, day, undisturbed, until

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(300)]

#: After a worker's death, the session's timeout (6 s) included.
AGAIN_S = 15.0


@pytest.fixture
def settings(topics: Settings) -> Settings:
    return topics.model_copy(update={"clock": "data", "checkpoint_interval_s": 1.0})


def finish(worker: Worker, watch: Watch, sent: int) -> None:
    """Wait until all is acknowledged, and end the worker in order."""
    until(lambda: watch.acknowledged() == sent, 60, f"{sent} messages acknowledged", [worker])
    assert worker.drain() == 0


def kills(settings: Settings, folder: Path, seed: int, number: int, record: Callable[[str, object], None]) -> None:
    """Feed the day, kill the worker at ``number`` random moments on the way, and account for it."""
    rng = random.Random(seed)
    watch = Watch(settings)
    pauses = []
    with Worker(settings, folder) as worker, Feed(settings, day(), rate=len(day()) / (13.0 * number + 10)) as feed:
        watch.output_after(worker, 30)
        for _ in range(number):
            time.sleep(rng.uniform(0.0, 4.0))
            worker.kill()
            killed_s = time.monotonic()
            worker.start()
            watch.output_after(worker, AGAIN_S)
            pauses.append(round(time.monotonic() - killed_s, 2))
        finish(worker, watch, feed.finish())
    record("seed", seed)
    record("output again after s", pauses)
    found = account(settings)
    found.check(messages=len(day()))
    assert found.late == undisturbed_late()


def undisturbed_late() -> int:
    return sum(state.ticks.late for state in undisturbed().table.values())  # type: ignore[attr-defined]


def test_five_kills_leave_no_trace(
    settings: Settings, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    kills(settings, tmp_path, seed=1, number=5, record=record_property)
