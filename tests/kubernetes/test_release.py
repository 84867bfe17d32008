"""What is done to workers on a cluster must not be seen in what they write: the account of `tests.integration.daemon`.

Two workers, 200 messages a second. How long messages waited is measured and told, and held against nothing here: on a
machine that others use it says little (docs/kubernetes.md has what was found, and where).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from monitor.app import EXIT_FAUST
from tests.integration.daemon import Feed, Watch, account, day, until
from tests.kubernetes.cluster import Release, first_alert_s, waits

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]

Record = Callable[[str, object], None]
RATE = 200.0


def through(installed: Release, disturb: Callable[[], None], record: Record) -> None:
    """Feed a day, do something to the release on the way, drain it, and account for every message and alert."""
    settings, stream = installed.settings, day()
    watch = Watch(settings)
    with Feed(settings, stream, rate=RATE) as feed:
        until(lambda: watch.end("scores") > 0, 60, "a first score")
        began_s = time.monotonic()
        disturb()
        record("done_after_s", round(time.monotonic() - began_s, 1))
        record("of_it_fed", f"{feed.sent} of {len(stream)}")
        sent = feed.finish()
    until(lambda: watch.acknowledged() == sent, 240, f"{sent} messages acknowledged")
    watch.close()
    installed.drain()
    waited, found = waits(settings), account(settings)
    record("waited", waited)
    record("alerts", len(found.alerts))
    assert (waited.lost, waited.doubled) == (0, 0)
    found.check(messages=len(stream))


def test_an_install_alerts_soon(installed: Release, record_property: Record) -> None:
    record_property("ready_after_s", round(installed.ready_after_s, 1))
    installed.helm("test", "tocsin")
    began_s = time.time()
    through(installed, lambda: None, record_property)
    record_property("first_alert_after_s", round(first_alert_s(installed.settings, began_s), 1))


def test_a_rolling_restart_leaves_no_trace(installed: Release, record_property: Record) -> None:
    through(installed, installed.restart, record_property)


def test_a_killed_worker_leaves_no_trace(installed: Release, record_property: Record) -> None:
    through(installed, lambda: installed.kill(0), record_property)


#: What each worker's Python begins with: its first assignment fails, as one by a defect would.
_FAILS_ONCE = """
import pathlib

failed = pathlib.Path("/tmp/failed")
if not failed.exists():
    from monitor.worker import Worker

    assigned = Worker.assigned

    async def fails(self, partitions):
        if partitions:
            failed.touch()
            raise RuntimeError("injected")
        await assigned(self, partitions)

    Worker.assigned = fails
"""


def test_a_failed_assignment_leaves_no_zombie(installed: Release, record_property: Record, tmp_path: Path) -> None:
    pod = {
        "extraEnv": [{"name": "PYTHONPATH", "value": "/injected"}],
        "extraVolumes": [{"name": "injected", "configMap": {"name": "injected"}}],
        "extraVolumeMounts": [{"name": "injected", "mountPath": "/injected"}],
    }
    values, injected = tmp_path / "injected.yaml", tmp_path / "sitecustomize.py"
    values.write_text(yaml.safe_dump({"workers": {"pod": pod}}))
    injected.write_text(_FAILS_ONCE)
    installed.kubectl("create", "configmap", "injected", f"--from-file={injected}")
    ends: list[tuple[int, float]] = []

    def fail() -> None:
        installed.upgrade("--values", str(values))
        for worker in installed.workers():
            (status,) = worker["status"]["containerStatuses"]
            assert status["restartCount"] == 1
            ended, again = status["lastState"]["terminated"], status["state"]["running"]
            took = datetime.fromisoformat(again["startedAt"]) - datetime.fromisoformat(ended["finishedAt"])
            ends.append((ended["exitCode"], took.total_seconds()))

    through(installed, fail, record_property)
    record_property("process_again_after_s", [took_s for _, took_s in ends])
    assert [code for code, _ in ends] == [EXIT_FAUST] * 2


@pytest.mark.long
def test_evictions_go_one_by_one_and_leave_no_trace(installed: Release, record_property: Record) -> None:
    def both() -> None:
        assert installed.evict(0)
        assert not installed.evict(1), "the budget lets both go at once"
        until(lambda: installed.evict(1), 120, "the second worker may go")
        installed.ready()

    through(installed, both, record_property)


@pytest.mark.long
def test_an_upgrade_and_its_rollback_leave_no_trace(installed: Release, record_property: Record) -> None:
    def there_and_back() -> None:
        installed.upgrade("--set", "config.session_timeout_ms=7000")
        installed.rollback()

    through(installed, there_and_back, record_property)
