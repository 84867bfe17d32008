"""The account stage beside the others: transfers of all accounts in one partition, a killed worker, and the proof."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.outbox import rfc3339
from monitor.proof import by_log
from monitor.replay_history import by_history
from monitor.replay_logs import broker
from monitor.replay_output import Replay
from monitor.replay_run import Loaded
from monitor.settings import Settings
from schemas.alerts import digest
from tests.integration.daemon import Feed, Watch, Worker, account, stages, until
from tests.payments import payments

pytestmark = pytest.mark.slow


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


def test_payments_on_a_broker_are_replayed_by_history(
    embedded: str, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    """No daemon was there: `tocsin replay --history` reads what feeds sent, and says what a recording of it would."""
    settings, sent = settings_of(embedded), payments()
    with Feed(settings, sent) as feed:
        feed.finish()
    where = ["--bootstrap", settings.bootstrap, "--prefix", settings.prefix]
    result = CliRunner().invoke(app, ["replay", "--history", *where, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    replay, expected = Replay.open(tmp_path / "out"), asyncio.run(by_history(sent, stages())).alerts
    assert replay.manifest.counts.messages == {"transfers": len(sent)}
    assert replay.manifest.digest == digest(expected)
    assert {alert.finding.typology for alert in replay.alerts()} >= {"structuring@1", "fan_out@1", "round_trip@1"}
    # A stretch of it, to before its last alerts.
    end_ns = max(alert.times.available_at for alert in expected) // 10**6 * 10**6
    told = CliRunner().invoke(app, ["replay", "--history", *where, "--to", rfc3339(end_ns)])
    assert told.exit_code == 0, told.output
    before = digest([alert for alert in expected if alert.times.available_at < end_ns])
    assert told.stdout.splitlines()[-1] == f"digest {before}"
