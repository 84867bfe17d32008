"""The demo as a person starts it: embedded broker, daemon, feed, account; and as a person stops it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from monitor.demo import made_of, prepare
from monitor.recordings import Recording

ROOT = Path(__file__).parents[2]
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


def test_a_recording_is_made_anew_when_its_data_change(tmp_path: Path) -> None:
    def made(*said: str) -> Path:
        calls = {"call_id": "20150225_X", "ticker": "X", "date": "2015-02-25", "text": "\n".join(said)}
        (tmp_path / "maec").mkdir(exist_ok=True)
        pq.write_table(pa.table({name: [value] for name, value in calls.items()}), tmp_path / "maec/calls_text.parquet")
        return prepare(Console(quiet=True), tmp_path / "maec", 7, tmp_path / "work", None)

    first = made("One.")
    stamp = first.stat().st_ino
    assert prepare(Console(quiet=True), tmp_path / "maec", 7, tmp_path / "work", None) == first
    assert first.stat().st_ino == stamp
    second = made("One.", "Two.", "Three.", "Four.", "Five.")
    assert Recording.open(second).rows() == 2
    assert list((tmp_path / "work").iterdir()) == [second]


def test_a_day_of_another_simulator_is_another_day(tmp_path: Path) -> None:
    for room in ("schemas", "engines", "monitor"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("*.onnx", "__pycache__"))
    command = ["simulate", "--seed", "7"]
    before = made_of(command, None, tmp_path)
    with (tmp_path / "monitor/lane.py").open("a") as file:
        file.write("# does not make days\n")
    assert made_of(command, None, tmp_path) == before
    with (tmp_path / "engines/simulator/flow.py").open("a") as file:
        file.write("# makes days\n")
    assert made_of(command, None, tmp_path) != before
    assert made_of(["simulate", "--seed", "8"], None, ROOT) != made_of(command, None, ROOT)


@pytest.mark.slow
def test_demo_applies_all_and_doubles_nothing(day: Path, tmp_path: Path) -> None:
    demo = start(day, tmp_path, "--seconds", "8")
    shown, _ = demo.communicate(timeout=300)
    assert demo.returncode == 0, shown
    assert re.search(r"caught +\d+ of \d+ events", shown)
    assert re.search(r"doubled +0 of \d+ alerts", shown)
    assert f"tocsin replay {day}" in shown


@pytest.mark.slow
def test_interrupt_stops_the_daemon_too(day: Path, tmp_path: Path) -> None:
    demo = start(day, tmp_path, "--seconds", "600")
    daemon = _child(demo)
    time.sleep(3.0)
    demo.send_signal(signal.SIGINT)
    shown, _ = demo.communicate(timeout=120)
    assert demo.returncode == 130, shown
    assert not daemon.is_running()


@pytest.mark.slow
def test_dead_daemon_is_told_with_its_last_words(day: Path, tmp_path: Path) -> None:
    demo = start(day, tmp_path, "--seconds", "600")
    _child(demo).kill()
    shown, _ = demo.communicate(timeout=120)
    assert demo.returncode == 1
    assert "The daemon ended with exit code -9" in shown


def _child(demo: subprocess.Popen[str]) -> psutil.Process:
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        if found := [c for c in psutil.Process(demo.pid).children() if c.cmdline()[-1:] == ["run"]]:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("the demo started no daemon within 60 s")
