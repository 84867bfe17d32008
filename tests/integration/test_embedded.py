"""The same daemon on librdkafka's in-memory broker: what runs where there is neither Java nor Docker."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.settings import Settings
from tests.integration.daemon import Feed, Watch, Worker, account, day, until

pytestmark = pytest.mark.slow


def test_a_slice_of_the_day_rings_and_a_killed_worker_goes_on(
    embedded: str, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_of(embedded, clock="data", checkpoint_interval_s=1.0, ladder_down_s=0.0)
    part = day()[:4_500]
    middle = len(part) // 2
    watch = Watch(settings)
    with Worker(settings, tmp_path) as worker:
        with Feed(settings, part[:middle]) as feed:
            feed.finish()
        until(lambda: watch.acknowledged() == middle, 90, "the first half is read", [worker])
        with Feed(settings, part[middle:], rate=600) as feed:
            until(lambda: watch.acknowledged() > middle + 200, 60, "some of the second", [worker])
            worker.kill()
            worker.start()
            feed.finish()
        until(lambda: watch.acknowledged() == len(part), 60, "all is read", [worker])
        recovered = worker.events("recovered")
        assert sum(event["messages"] for event in recovered) > middle
        assert sum(event["keys"] for event in recovered) > 0
        assert worker.drain() == 0
        assert worker.exits == [-signal.SIGKILL, 0]
    account(settings).check(messages=len(part), alerts=3)
