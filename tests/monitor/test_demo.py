"""The demo as a person starts it: embedded broker, daemon, feed, account; and as a person stops it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow
TOCSIN = (sys.executable, "-m", "monitor.cli")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "day"
    command = [*TOCSIN, "simulate", "--out", str(path), "--hours", "1", "--instruments", "6", "--seed", "3"]
    subprocess.run(command, check=True, capture_output=True)
    return path


def start(day: Path, work: Path, *options: str) -> subprocess.Popen[str]:
    command = [*TOCSIN, "demo", "--data", str(day), "--work", str(work), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_demo_applies_all_and_doubles_nothing(day: Path, tmp_path: Path) -> None:
    demo = start(day, tmp_path, "--seconds", "8")
    shown, _ = demo.communicate(timeout=110)
    assert demo.returncode == 0, shown
    assert re.search(r"caught +\d+ of \d+ events", shown)
    assert re.search(r"doubled +0 of \d+ alerts", shown)
    assert f"tocsin replay {day}" in shown


def test_interrupt_stops_the_daemon_too(day: Path, tmp_path: Path) -> None:
    demo = start(day, tmp_path, "--seconds", "600")
    daemon = _child(demo)
    time.sleep(3.0)
    demo.send_signal(signal.SIGINT)
    shown, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, shown
    assert not daemon.is_running()


def test_dead_daemon_is_told_with_its_last_words(day: Path, tmp_path: Path) -> None:
    demo = start(day, tmp_path, "--seconds", "600")
    _child(demo).kill()
    shown, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "The daemon ended with exit code -9" in shown


def _child(demo: subprocess.Popen[str]) -> psutil.Process:
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        if found := [c for c in psutil.Process(demo.pid).children() if c.cmdline()[-1:] == ["run"]]:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("the demo started no daemon within 30 s")
