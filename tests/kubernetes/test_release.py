"""What is done to workers on a cluster must not be seen in what they write: the account of `tests.integration.daemon`.

How long messages waited is measured, told and held against the aims on docs/reliability.md, and fails nothing here: on
a machine that others use it says little.
"""

from __future__ import annotations

import json
import re
import shlex
from datetime import datetime
from typing import Any

import pytest

from monitor.app import EXIT_FAUST
from tests.integration.daemon import until
from tests.kubernetes.cluster import RELEASE, Release, first_alert_s
from tests.kubernetes.course import Course, through
from tests.kubernetes.page import Tell

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]


def rolled(course: Course) -> tuple[str, bool]:
    """Return what is told where workers were replaced in order, and whether it is within the aims."""
    found = f"done after {course.done_after_s:.0f} s; waited {course.waits}"
    return found, course.waits.p99_s <= 2.0 and course.waits.max_s <= 5.0


@pytest.mark.row("cold install to first alert")
def test_an_install_alerts_soon(installed: Release, tell: Tell) -> None:
    installed.helm("test", RELEASE)
    course = through(installed, lambda *_: None)
    alert_s = first_alert_s(installed.settings, course.began_s)
    tell(
        f"{installed.ready_after_s + alert_s:.1f} s: ready after {installed.ready_after_s:.1f} s, the first alert "
        f"{alert_s:.1f} s after the first message; waited {course.waits}",
        installed.ready_after_s + alert_s <= 15.0,
    )


@pytest.mark.row("rolling restart")
def test_a_rolling_restart_leaves_no_trace(installed: Release, tell: Tell) -> None:
    tell(*rolled(through(installed, lambda *_: installed.restart())))


@pytest.mark.row("kill -9 of a worker")
def test_a_killed_worker_leaves_no_trace(installed: Release, tell: Tell) -> None:
    course = through(installed, lambda *_: installed.kill(0))
    tell(f"ready again after {course.done_after_s:.0f} s; waited {course.waits}", course.waits.max_s <= 8.0)


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


@pytest.mark.row("first assignment fails, in both workers")
def test_a_failed_assignment_leaves_no_zombie(installed: Release, tell: Tell) -> None:
    ends: list[tuple[int, float]] = []

    def fail(*_: object) -> None:
        installed.upgrade(*installed.injected(_FAILS_ONCE))
        for worker in installed.workers():
            (status,) = worker["status"]["containerStatuses"]
            assert status["restartCount"] == 1
            ended, again = status["lastState"]["terminated"], status["state"]["running"]
            took = datetime.fromisoformat(again["startedAt"]) - datetime.fromisoformat(ended["finishedAt"])
            ends.append((ended["exitCode"], took.total_seconds()))

    course = through(installed, fail, days=2)
    assert [code for code, _ in ends] == [EXIT_FAUST] * 2
    again_s = max(took_s for _, took_s in ends)
    found = f"the process ends by itself, another begins {again_s:.0f} s later; both done after"
    tell(f"{found} {course.done_after_s:.0f} s; waited {course.waits}", again_s <= 60.0)


@pytest.mark.long
@pytest.mark.row("evictions of both workers, one by one")
def test_evictions_go_one_by_one_and_leave_no_trace(installed: Release, tell: Tell) -> None:
    def both(*_: object) -> None:
        assert installed.evict(0)
        assert not installed.evict(1), "the budget lets both go at once"
        until(lambda: installed.evict(1), 120, "the second worker may go")
        installed.ready()

    tell(*rolled(through(installed, both)))


@pytest.mark.long
@pytest.mark.row("`helm upgrade`, then `helm rollback`")
def test_an_upgrade_and_its_rollback_leave_no_trace(installed: Release, tell: Tell) -> None:
    def there_and_back(*_: object) -> None:
        installed.upgrade("--set", "config.session_timeout_ms=7000")
        installed.rollback()

    tell(*rolled(through(installed, there_and_back, days=2)))


@pytest.mark.long
@pytest.mark.row("both pods lost with their volumes")
def test_pods_that_are_lost_with_their_volumes_leave_no_trace(installed: Release, tell: Tell) -> None:
    course = through(installed, lambda *_: installed.lose())
    tell(f"ready again after {course.done_after_s:.0f} s; waited {course.waits}", True)


#: What each worker's Python begins with: TOCSIN_BUNDLE's link is there.
_LINKED = """
import pathlib

link = pathlib.Path("/tmp/bundle")
if not link.is_symlink():
    import importlib.util

    link.symlink_to(pathlib.Path(importlib.util.find_spec("engines").origin).with_name("bundles") / "default")
"""
#: Another temperature, and digests made anew: a whole bundle, which nobody has signed.
_RESEAL = """
import hashlib, json, pathlib

part, manifest = pathlib.Path("wrong/text.json"), pathlib.Path("wrong/manifest.json")
part.write_bytes(part.read_bytes().replace(b"1.9585", b"2.5"))
told = json.loads(manifest.read_text())
told["files"]["text.json"] = {"sha256": hashlib.sha256(part.read_bytes()).hexdigest(), "size": part.stat().st_size}
manifest.write_text(json.dumps(told))
"""
#: What makes the bundle in the folder `wrong` a wrong one.
_WRONG = {
    "unsigned": f"python3 -c {shlex.quote(_RESEAL)}",
    "truncated": "truncate --size=-1 wrong/encoder.onnx",
    "of another digest": "printf x | dd of=wrong/encoder.onnx bs=1 seek=1000 conv=notrunc status=none",
    "without its manifest": "rm wrong/manifest.json",
    "without a model": "rm wrong/fusion.onnx",
}


@pytest.mark.long
@pytest.mark.row("wrong bundles on a hot swap")
def test_wrong_bundles_are_refused_and_the_old_one_serves(installed: Release, tell: Tell) -> None:
    def about(worker: int) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(installed.get(worker, "/readyz"))
        return told

    def refused(worker: int) -> int:
        found = re.search(r'tocsin_bundle_swaps_total\{result="refused"\} (\S+)', installed.get(worker, "/metrics"))
        return int(float(found[1])) if found else 0

    def shell(worker: int, script: str) -> str:
        return installed.kubectl("exec", f"{RELEASE}-worker-{worker}", "--", "sh", "-c", f"cd /tmp && {script}")

    def give(worker: int, damage: str, times: int) -> None:
        shell(worker, f"rm -rf wrong && cp -rL bundle wrong && chmod -R u+w wrong && {damage}")
        shell(worker, "ln -sfn wrong bundle && kill -HUP 1")
        until(lambda: refused(worker) == times, 60, f"{damage}: refused by worker {worker}")
        assert about(worker)["bundle"] == serves[worker]
        shell(worker, f"ln -sfn {links[worker]} bundle")

    def swap(*_: object) -> None:
        for times, damage in enumerate(_WRONG.values(), 1):
            for worker in range(2):
                give(worker, damage, times)

    installed.upgrade(*installed.injected(_LINKED, bundle="/tmp/bundle"))
    serves = [about(worker)["bundle"] for worker in range(2)]
    links = [shell(worker, "readlink bundle").strip() for worker in range(2)]
    course = through(installed, swap, days=2)
    tell(
        f'{", ".join(_WRONG)}: each refused by both, `tocsin_bundle_swaps_total{{result="refused"}}` rises, by which '
        f"`TocsinSwapRefused` rings; waited {course.waits}",
        True,
    )
