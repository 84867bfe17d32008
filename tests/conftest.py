"""What every test may use: real data where it lies, and a closing account of what was left out."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).resolve().parents[1]

#: Tests that start brokers, daemons or pools of processes: never two at a time, or each waits for the others' cores.
PROCESSES = (
    "tests/integration/",
    "tests/image/",
    "tests/kubernetes/",
    "tests/monitor/test_demo.py",
    "tests/monitor/test_shards.py",
)

settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data: `TOCSIN_DATA`, else `../shared/data` beside the repository; without it, skip."""
    path = Path(os.environ.get("TOCSIN_DATA") or ROOT.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip(f"no real data at {path}: set TOCSIN_DATA to the folder that has pump_trades, stocknet, …")
    return path


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Address of a server on this machine that speaks as S3 does."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty bucket of that server; the environment says how to reach it."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"tocsin-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what starts processes come last, alone: beside other tests brokers and daemons starve on two cores."""
    items.sort(key=lambda item: item.nodeid.startswith(PROCESSES))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Where workers share the tests (`-n 2`): what starts processes goes to one of them, all else file by file."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "processes" if nodeid.startswith(PROCESSES) else super()._split_scope(nodeid)

    config.option.loadscopereorder = False  # the order of collection says what begins first
    return Scheduling(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Close with what tests have measured, and one line a reason for what was skipped, however many tests it hit."""
    measured = [
        f"{report.nodeid.rpartition('::')[2]}: {', '.join(f'{name} {value}' for name, value in report.user_properties)}"
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.user_properties
    ]
    if measured:
        terminalreporter.section("measured")
        for line in measured:
            terminalreporter.line(line)
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple):
            reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1
    if reasons:
        terminalreporter.section("not run")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:4d}  {reason}")
