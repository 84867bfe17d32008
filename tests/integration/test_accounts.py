"""The account stage beside the others: transfers of all accounts in one partition, a killed worker, and the proof."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.proof import by_log
from monitor.replay import broker, by_history
from monitor.replay_run import Loaded
from monitor.settings import Settings
from schemas.alerts import digest
from tests.integration.daemon import Feed, Watch, Worker, account, stages, until
from tests.payments import payments

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_accounts_ring_and_a_killed_worker_goes_on(
    embedded: str, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_of(embedded, clock="data", checkpoint_interval_s=1.0, ladder_down_s=0.0)
    sent = payments()
    middle = len(sent) - 20
    watch = Watch(settings)
    with Worker(settings, tmp_path) as worker:
        with Feed(settings, sent[:middle]) as feed:
            feed.finish()
        until(lambda: watch.acknowledged() == middle, 90, "the quiet is read", [worker])
        with Feed(settings, sent[middle:], rate=20) as feed:
            until(lambda: feed.sent > 8, 30, "some of the patterns", [worker])
            worker.kill()
            worker.start()
            feed.finish()
        until(lambda: watch.acknowledged() == len(sent), 90, "all is read", [worker])
        assert worker.drain() == 0
        assert worker.exits == [-signal.SIGKILL, 0]
    found = account(settings)
    found.check(messages=0, alerts=6)
    assert {alert.subject.instrument for alert in found.alerts} == {"accounts"}
    opened = {(a.finding.typology, a.subject.account) for a in found.alerts if a.activity == "create"}
    assert opened >= {
        ("structuring@1", "P1"),
        ("fan_out@1", "P3"),
        ("rapid_movement@1", "P4"),
        ("round_trip@1", "P5"),
    }
    # In canonical order nothing else is said: they came in that order.
    replayed = asyncio.run(by_history(sent, stages()))
    assert digest(replayed.alerts) == digest(found.alerts)
    assert replayed.by_topic == {"transfers": len(sent)}
    for alert in found.alerts[:3]:
        proof = asyncio.run(by_log(broker(settings), Loaded(stages()), alert))
        assert proof.difference is None
        assert proof.inputs == len(alert.evidence.inputs)
