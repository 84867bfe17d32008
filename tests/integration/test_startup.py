"""What keeps a worker from starting is one sentence on stderr and code 2, at once and without a stack trace."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka.admin import NewTopic

from engines.bundle import DEFAULT
from monitor import kafka as clients
from monitor.app import EXIT_FAUST
from monitor.settings import Settings
from tests.integration.daemon import ROOT, Worker
from tests.integration.kafka import free_port


def start(**variables: object) -> tuple[int, str, float]:
    """Run a worker that cannot start; return its code, what it said last, and how long that took."""
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "monitor.cli", "run"],
        cwd=ROOT,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")}, "TOCSIN_HTTP_PORT": "0"}
        | {f"TOCSIN_{name.upper()}": str(value) for name, value in variables.items()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("tocsin: ")]
    assert len(sentences) == 1, done.stderr
    return done.returncode, sentences[0], time.monotonic() - began_s


def at(settings: Settings) -> dict[str, object]:
    return {"bootstrap": settings.bootstrap, "prefix": settings.prefix, "group": settings.group}


def test_a_setting_that_cannot_be() -> None:
    code, sentence, _ = start(partitions="abc")
    assert code == 2
    assert "TOCSIN_PARTITIONS is 'abc'" in sentence


def test_no_broker() -> None:
    port = free_port()
    code, sentence, seconds = start(bootstrap=f"127.0.0.1:{port}")
    assert code == 2
    assert f"No Kafka broker answers at 127.0.0.1:{port}" in sentence
    assert "TOCSIN_BOOTSTRAP" in sentence
    assert seconds < 60  # it gives up by itself: a bound on hanging, not on speed


@pytest.mark.integration
def test_topics_that_are_missing(kafka: str) -> None:
    code, sentence, _ = start(bootstrap=kafka, prefix="nobody-made-these.")
    assert code == 2
    assert "nobody-made-these.frames" in sentence
    assert "tocsin topics create" in sentence


@pytest.mark.integration
def test_topics_with_unequal_partitions(kafka: str, prefix: str, settings_of: Callable[..., Settings]) -> None:
    async def make_news() -> None:
        async with clients.admin(Settings(bootstrap=kafka)) as admin:
            await admin.create_topics([NewTopic(f"{prefix}news", 3, 1)])

    asyncio.run(make_news())
    settings = settings_of(kafka)
    code, sentence, _ = start(**at(settings))
    assert code == 2
    assert f"{prefix}news has 3, others 4" in sentence


@pytest.mark.integration
def test_a_session_timeout_that_the_broker_does_not_allow(
    kafka: str, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_of(kafka).model_copy(update={"session_timeout_ms": 2_000_000})  # Kafka allows 30 minutes
    with Worker(settings, tmp_path) as worker:
        assert worker.wait(60) == EXIT_FAUST
    assert "TOCSIN_SESSION_TIMEOUT_MS is outside what the broker allows" in worker.log


def test_a_bundle_that_was_changed(embedded: str, settings_of: Callable[..., Settings], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(DEFAULT, bundle)
    known = (bundle / "text.json").read_bytes()
    (bundle / "text.json").write_bytes(known[:-1] + b" ")
    code, sentence, _ = start(**at(settings_of(embedded)), bundle=bundle)
    assert code == 2
    assert "text.json has SHA-256" in sentence


def test_a_symbol_master_that_is_broken(embedded: str, settings_of: Callable[..., Settings], tmp_path: Path) -> None:
    symbols = tmp_path / "symbols.csv"
    symbols.write_text("what,is,this\n1,2,3\n")
    code, sentence, _ = start(**at(settings_of(embedded)), symbols=symbols)
    assert code == 2
    assert "symbols.csv" in sentence


def test_a_port_that_is_taken(embedded: str, settings_of: Callable[..., Settings]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, sentence, _ = start(**at(settings_of(embedded)), http_port=port)
    assert code == 2
    assert str(port) in sentence
    assert "TOCSIN_HTTP_PORT" in sentence
