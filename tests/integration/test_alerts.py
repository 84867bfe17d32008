from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from monitor import kafka
from monitor.cli import app
from monitor.settings import Settings
from monitor.worker import LaneBroker
from schemas.alerts import Activity, AlertEvent, Severity
from tests.golden.examples import EXAMPLES


def event(
    number: int,
    age_s: float,
    instrument: str = "ACME.XTOC",
    severity: Severity = "warning",
    activity: Activity = "create",
) -> AlertEvent:
    (sample,) = (example.record for example in EXAMPLES if isinstance(example.record, AlertEvent))
    replace = msgspec.structs.replace
    data = replace(
        sample.data,
        alert_id=f"{number:032x}",
        episode_id=f"{0xE0 + number // 10:032x}",
        revision=number % 10,
        activity=activity,
        times=replace(sample.data.times, available_at=time.time_ns() - int(age_s * 1e9)),
        subject=replace(sample.data.subject, instrument=instrument),
        finding=replace(sample.data.finding, severity=severity),
    )
    return replace(sample, id=data.alert_id, subject=instrument, data=data)


async def send(settings: Settings, events: list[AlertEvent], partition: int | None = None) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
        for one in events:
            await producer.send_and_wait(
                kafka.full_name(settings.prefix, "alerts"),
                msgspec.json.encode(one),
                partition=partition,
                key=one.data.episode_id.encode(),
                timestamp_ms=one.data.times.available_at // 1_000_000,
            )


def environment(settings: Settings) -> dict[str, str]:
    return {"TOCSIN_BOOTSTRAP": settings.bootstrap, "TOCSIN_PREFIX": settings.prefix, "COLUMNS": "200"}


def run(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner(env=environment(settings)).invoke(app, ["alerts", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.integration)])
def filled(request: pytest.FixtureRequest, settings_of: Callable[..., Settings]) -> Settings:
    settings = settings_of(request.getfixturevalue(request.param))
    events = [
        event(1, 7_200.0),
        event(12, 600.0, "BOREAL.XTOC", "critical"),
        event(13, 60.0, "BOREAL.XTOC", "critical", "close"),
        event(21, 300.0, severity="info"),
        event(21, 300.0, severity="info"),
    ]
    asyncio.run(send(settings, events))
    return settings


def ids(output: str) -> list[int]:
    return [int(json.loads(line)["id"], 16) for line in output.splitlines()]


def test_history_comes_in_order_of_time_and_nothing_is_hidden(filled: Settings) -> None:
    _, output, _ = run(filled, "--since", "beginning", "--no-follow", "--json")
    assert ids(output) == [1, 12, 21, 21, 13]

    code, output, _ = run(filled, "--no-follow")
    assert code == 0
    lines = output.splitlines()
    assert len(lines) == 4, "the oldest is older than the default of one hour"
    assert "BOREAL.XTOC" in lines[0]
    assert "closed" in lines[3]


def test_filters_narrow(filled: Settings) -> None:
    _, output, _ = run(filled, "--no-follow", "--json", "--instrument", "ACME.XTOC")
    assert ids(output) == [21, 21]
    _, output, _ = run(filled, "--no-follow", "--json", "--severity", "warning", "--since", "beginning")
    assert ids(output) == [1, 12, 13]
    _, output, _ = run(filled, "--json", "--limit", "2", "--since", "beginning")
    assert ids(output) == [1, 12]
    code, _, error = run(filled, "--severity", "loud")
    assert code == 2
    assert "info, warning, critical" in error


def test_an_episode_is_shown_by_its_last_revision(filled: Settings) -> None:
    episode = f"{0xE1:032x}"
    code, output, _ = run(filled, "--show", episode)
    assert code == 0
    assert "revision 3, close" in output
    assert "ab" * 32 in output
    code, output, _ = run(filled, "--show", f"{12:032x}")
    assert (code, "revision 2, create" in output) == (0, True), "an alert that is named is shown, and no later one"
    code, _, error = run(filled, "--show", "f" * 8)
    assert code == 2
    assert "No alert or episode begins with 'ffffffff'" in error
    code, output, error = run(filled, "--show", "0" * 8)
    assert (code, output) == (2, "")
    assert "'00000000' begins 4 ids in the topic" in error


@pytest.mark.parametrize(("stage", "own"), [("instrument", {1, 2}), ("market", {3})])
def test_recovery_knows_a_stages_own_alerts_and_those_of_before_stages_were_named(
    embedded: str, settings_of: Callable[..., Settings], stage: str, own: set[int]
) -> None:
    settings = settings_of(embedded)
    name = settings.prefix.rstrip(".")
    sources = ["3", "instrument/3", "market/3", "2", "instrument/2"]
    sent = [msgspec.structs.replace(event(n, 0.0), source=f"/{name}/{s}") for n, s in enumerate(sources, 1)]
    asyncio.run(send(settings, sent, partition=3))
    made = SimpleNamespace(name=stage, topics=(), journal="journal", checkpoints="checkpoints")
    broker = LaneBroker(settings, cast(Any, None), cast(Any, made), 3)

    async def ids() -> tuple[set[str], int]:
        async with broker.reading():
            return await broker.read_alert_ids(0)

    found, end = asyncio.run(ids())
    assert ({int(alert_id, 16) for alert_id in found}, end) == (own, 5)


def test_what_comes_later_is_followed_until_the_limit(filled: Settings) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "monitor.cli", "alerts", "--since", "200s", "--json", "--limit", "3"],
        env=os.environ | environment(filled),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        # What was there is told first, and all else is news from then on.
        assert ids(process.stdout.readline()) == [13]
        # The second speaks of a time long ago, as a stream played from the past does.
        asyncio.run(send(filled, [event(31, 0.0), event(32, 10**8)]))
        assert ids(process.stdout.read()) == [31, 32]
    assert process.returncode == 0
