"""What is done to workers on a cluster must not be seen in what they write: the account of `tests.integration.daemon`.

Two workers, 200 messages a second. How long messages waited is measured and told, and held against nothing here: on a
machine that others use it says little (docs/kubernetes.md has what was found, and where).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

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
