from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from engines.instruments import SymbolMaster
from monitor import kafka
from monitor.gateway import Gateway
from monitor.settings import Settings
from schemas import codec
from schemas.frames import Frame
from schemas.records import News
from tests.golden.examples import EXAMPLES
from tests.integration.kafka import KafkaUnavailableError, libs, messages_of

ROOT = Path(__file__).resolve().parents[2]
ALERT = next(example for example in EXAMPLES if example.topic == "alerts")
pytestmark = pytest.mark.integration


def run(settings: Settings, name: str, *arguments: str) -> tuple[int, str]:
    where = ["--bootstrap", settings.bootstrap, "--prefix", settings.prefix]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *where, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


async def send_alerts(settings: Settings, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
        for value in values:
            await producer.send_and_wait(kafka.full_name(settings.prefix, "alerts"), value, key=ALERT.key)


def alert(revision: int) -> bytes:
    event = json.loads(codec.encode(ALERT.record))
    event["data"]["revision"] = revision
    return json.dumps(event).encode()


async def read(settings: Settings, topic: str) -> list[codec.Value]:
    records = await messages_of(settings, topic)
    return [codec.decode(topic, record.key, record.value, record.timestamp) for record in records]


async def test_what_the_producer_sends_passes_the_gateway_whole(topics: Settings) -> None:
    code, output = await asyncio.to_thread(run, topics, "produce_ticks.py", "--ticks", "200")
    assert (code, output) == (0, "sent 200 ticks and 1 document\n")

    gateway = Gateway(topics, SymbolMaster.load())
    running = asyncio.create_task(gateway.run())
    async with asyncio.timeout(90):
        while sum(len(frame) for frame in await read(topics, "frames") if isinstance(frame, Frame)) < 200:
            await asyncio.sleep(0.1)
        while len(await read(topics, "news")) < 2:
            await asyncio.sleep(0.1)
    gateway.stop()
    await running

    news = [item for item in await read(topics, "news") if isinstance(item, News)]
    assert {item.instrument for item in news} == {"ACME.XTOC", "BOREAL.XTOC"}
    assert await read(topics, "deadletters") == []


def test_the_subscriber_prints_alerts_and_goes_on_where_it_ended(topics: Settings) -> None:
    asyncio.run(send_alerts(topics, alert(1), alert(2), alert(3)))

    arguments = ("--group", topics.prefix + "desk", "--limit")
    code, output = run(topics, "subscriber_aiokafka.py", *arguments, "2")
    assert code == 0
    assert [line.rsplit("=", 1)[1] for line in output.splitlines()] == ["1", "2"]
    assert "update critical ACME.XTOC pump_and_dump@1 score=0.97" in output

    _, output = run(topics, "subscriber_aiokafka.py", *arguments, "1")
    assert output.strip().endswith("revision=3")


def test_the_published_schema_takes_alerts_and_refuses_what_is_none(topics: Settings) -> None:
    asyncio.run(send_alerts(topics, alert(1), alert(2)))
    assert run(topics, "validate_alert.py") == (0, "2 alerts checked, 0 misfits\n")

    wrong = json.loads(alert(3))
    wrong["data"]["finding"]["severity"] = "apocalyptic"
    asyncio.run(send_alerts(topics, msgspec.json.encode(wrong)))
    code, output = run(topics, "validate_alert.py")
    assert code == 1
    assert "'apocalyptic' is not one of" in output


def test_kafkas_console_consumer_prints_alerts(topics: Settings) -> None:
    environment = os.environ | {"KAFKA": topics.bootstrap, "PREFIX": topics.prefix}
    if shutil.which("kafka-console-consumer.sh") is None and "KAFKA_HOME" not in environment:
        try:
            environment["KAFKA_LIBS"] = str(libs())
        except KafkaUnavailableError as error:
            pytest.skip(f"needs Kafka's tools: {error}")
    asyncio.run(send_alerts(topics, alert(1), alert(2)))

    done = subprocess.run(
        [str(ROOT / "examples" / "console_consumer.sh"), "--max-messages", "2", "--timeout-ms", "30000"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t", 1) for line in done.stdout.splitlines()]
    assert [key for key, _ in lines] == ["1" * 32] * 2
    assert [json.loads(value)["data"]["revision"] for _, value in lines] == [1, 2]
