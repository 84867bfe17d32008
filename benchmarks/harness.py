"""What the benchmarks share: a broker's topics, the CPU of processes, tables, and the closing line of JSON."""

from __future__ import annotations

import asyncio
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from monitor.kafka import create_topics
from monitor.settings import Settings
from tests.integration.kafka import AS_SERVED, Broker, delete_topics

#: Prefixes of topics made by this run.
_made: list[str] = []


def bootstrap() -> str | None:
    """Return the broker to measure on: ``TOCSIN_BENCH_BOOTSTRAP``, else ``TOCSIN_TEST_BOOTSTRAP``, None without."""
    return os.environ.get("TOCSIN_BENCH_BOOTSTRAP") or os.environ.get("TOCSIN_TEST_BOOTSTRAP")


@contextmanager
def broker() -> Iterator[str]:
    """Yield the bootstrap server of a real Kafka: the one that `bootstrap` names, else one started on this Java.

    What `fresh_settings` created on the first is deleted at the end; the second goes with its data.
    """
    if servers := bootstrap():
        try:
            yield servers
        finally:
            while _made:
                delete_topics(servers, _made.pop())
        return
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        node = Broker(Path(folder), AS_SERVED)
        node.start()
        try:
            yield node.bootstrap
        finally:
            node.stop()


def fresh_settings(servers: str, **others: object) -> Settings:
    """Return settings with a prefix and group that nobody else has, all topics created."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    settings = Settings(bootstrap=servers, prefix=f"{name}.", group=name, http_port=0, **others)  # type: ignore[arg-type]
    asyncio.run(create_topics(settings))
    _made.append(settings.prefix)
    return settings


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a process that is to run with these settings."""
    given = {f"TOCSIN_{name.upper()}": str(value) for name, value in settings.model_dump(exclude_defaults=True).items()}
    return os.environ | given


def start(*arguments: str, settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    """Start `tocsin ARGUMENTS` as a process of its own; its stderr goes to ``log``."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "monitor.cli", *arguments], env=environment(settings), stdout=file, stderr=file
        )


def stop(process: subprocess.Popen[bytes], timeout_s: float = 25.0) -> int:
    """Ask a process to end (SIGTERM) and return its exit code; kill it if it takes longer."""
    process.terminate()
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@dataclass(frozen=True)
class Usage:
    """What a process has used so far: CPU of all its threads, user and system, in s; resident memory in MB."""

    cpu_s: float
    rss_mb: float
    at_s: float

    @classmethod
    def of(cls, pid: int | None = None) -> Usage:
        """Read it off a process; default: this one."""
        process = psutil.Process(pid)
        times = process.cpu_times()
        return cls(times.user + times.system, process.memory_info().rss / 1e6, time.monotonic())

    def cpu_since(self, before: Usage) -> float:
        """Return the CPU used since ``before``, in s."""
        return self.cpu_s - before.cpu_s


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; numbers are set right."""
    out = Table(*columns, title=title, box=None, pad_edge=False, title_justify="left")
    for index, column in enumerate(out.columns):
        if all(isinstance(row[index], int | float) for row in rows):
            column.justify = "right"
    for row in rows:
        out.add_row(
            *(
                f"{cell:,.4g}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)
                for cell in row
            )
        )
    Console(width=160 if not sys.stdout.isatty() else None).print(out)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which ``percent`` of the values lie, by the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def close(**figures: float | int | str | bool) -> None:
    """Print the closing line of JSON, with the machine that it was measured on."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps(figures | machine))
