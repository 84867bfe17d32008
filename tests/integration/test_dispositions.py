"""`tocsin disposition` with a broker: alerts and reviews are found on their topics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import msgspec
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from monitor import kafka
from monitor.cli import app
from monitor.settings import Settings
from tests.golden.examples import EXAMPLES


async def send(settings: Settings, names: set[str]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
        for one in EXAMPLES:
            if one.name in names:
                topic = kafka.full_name(settings.prefix, one.topic)
                await producer.send_and_wait(topic, one.encoded(), key=one.key)


async def spoil(settings: Settings) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
        for value in (b"welcome", None):
            await producer.send_and_wait(kafka.full_name(settings.prefix, "dispositions"), value, key=b"x", partition=0)


def test_alerts_and_reviews_are_found_on_their_topics(embedded: str, settings_of: Callable[..., Settings]) -> None:
    settings = settings_of(embedded)
    asyncio.run(kafka.create_topics(settings, ("alerts", "dispositions")))
    asyncio.run(send(settings, {"alert"}))

    def run(*arguments: str) -> tuple[int, str, str]:
        environment = {"TOCSIN_BOOTSTRAP": settings.bootstrap, "TOCSIN_PREFIX": settings.prefix}
        result = CliRunner(env=environment).invoke(app, ["disposition", *arguments])
        return result.exit_code, result.stdout, result.stderr

    code, _, error = run("3333", "duplicate", "--since", "beginning")
    assert (code, "No alert, episode or review begins with '3333' in" in error) == (2, True)
    asyncio.run(send(settings, {"review"}))
    assert run("3333", "confirmed_risk", "--since", "beginning")[0] == 0
    assert run("1111", "false_positive", "--since", "beginning")[0] == 0
    # Anybody may write there, and what is there stays.
    asyncio.run(spoil(settings))
    code, output, error = run("list", "--json")
    assert (code, error.count("a message is passed over")) == (0, 2)
    assert "dispositions/0 offset 3" in error
    assert [(one["value"], one.get("propensity", 1.0)) for one in map(json.loads, output.splitlines())] == [
        ("confirmed_risk", 0.0625),
        ("false_positive", 1.0),
    ]
    assert msgspec.json.decode(run("stats", "--json")[1].splitlines()[0])["typology"] == "pump_and_dump"
