"""The image that TOCSIN_TEST_IMAGE names: what it runs as, what it needs to write, and what is not in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence

import pytest

IMAGE = os.environ.get("TOCSIN_TEST_IMAGE", "")
pytestmark = [
    pytest.mark.skipif(not IMAGE, reason="no image is named: TOCSIN_TEST_IMAGE=tocsin:latest after `make image`"),
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker here"),
]
#: As the chart and compose.yaml run it.
CONFINED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


def run(*arguments: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run the image, confined, without a network."""
    command = ["docker", "run", "--rm", "--network", "none", *CONFINED, *options, IMAGE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def python(code: str) -> str:
    """Return what the image's Python prints."""
    done = run("-c", code, options=("--entrypoint", "python3"))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_runs_as_nobody_in_particular_and_writes_nothing_of_its_own() -> None:
    assert python("import os; print(os.getuid(), os.getgid())") == "10001 10001"
    assert "Read-only file system" in run("-c", "touch /opt/x", options=("--entrypoint", "sh")).stderr


def test_its_settings_and_its_bundle_are_in_order() -> None:
    done = run("check-config")
    assert done.returncode == 0, done.stdout
    assert "in order" in done.stdout


def test_without_a_broker_it_ends_with_one_sentence() -> None:
    done = run("run")
    assert done.returncode == 2
    assert "tocsin: No Kafka broker answers at 127.0.0.1:9092" in done.stderr


def test_it_holds_no_trainer_no_compiler_and_no_installer() -> None:
    modules, programs = ("torch", "transformers", "pip", "setuptools"), ("gcc", "cc", "make")
    assert python(f"from importlib.util import find_spec; print([n for n in {modules} if find_spec(n)])") == "[]"
    assert python(f"import shutil; print([n for n in {programs} if shutil.which(n)])") == "[]"


def test_it_tells_its_health() -> None:
    told = subprocess.run(["docker", "inspect", IMAGE], capture_output=True, text=True, check=True).stdout
    assert "/livez" in str(json.loads(told)[0]["Config"]["Healthcheck"])
