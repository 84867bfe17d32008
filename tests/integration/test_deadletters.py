from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from monitor import kafka
from monitor.cli import app
from monitor.settings import Settings
from schemas.records import DeadLetter
from tests.integration.kafka import messages_of

T = 1_790_000_000_000_000_000


def letter(offset: int, **changes: object) -> DeadLetter:
    of = DeadLetter(
        ts_event=T, ts_available=T + offset * 10**9, topic="ticks", partition=1, offset=offset, reason="not_json",
        detail="expected one JSON object", key=b"ACME.XTOC", value=b"{", size=1, headers={"feed": "x"},
    )  # fmt: skip
    return msgspec.structs.replace(of, **changes)


LETTERS = [
    letter(7),
    letter(8, reason="wrong_key", key=b"", value=b"\xff\x00", size=2, headers={"resent": "1"}),
    letter(9, topic="news", partition=2),
    letter(10, reason="too_large", size=300_000),
    letter(7),  # the same message, refused again after a crash
]


async def send(settings: Settings, letters: list[DeadLetter]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
        for one in letters:
            await producer.send_and_wait(
                kafka.full_name(settings.prefix, "deadletters"), msgspec.json.encode(one), key=one.topic.encode()
            )


def run(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    environment = {"TOCSIN_BOOTSTRAP": settings.bootstrap, "TOCSIN_PREFIX": settings.prefix, "COLUMNS": "200"}
    result = CliRunner(env=environment).invoke(app, ["deadletters", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.integration)])
def filled(request: pytest.FixtureRequest, settings_of: Callable[..., Settings]) -> Settings:
    settings = settings_of(request.getfixturevalue(request.param))
    asyncio.run(send(settings, LETTERS))
    return settings


def test_letters_are_listed_once_each_and_filtered(filled: Settings) -> None:
    code, output, _ = run(filled, "list")
    assert code == 0
    lines = output.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["ticks/1/7", "ticks/1/8", "news/2/9", "ticks/1/10"]
    assert lines[5] == "4 dead letters"

    _, output, _ = run(filled, "list", "--topic", "ticks", "--reason", "wrong_key", "--json")
    (found,) = map(json.loads, output.splitlines())
    assert (found["topic"], found["offset"], found["value"]) == ("ticks", 8, "/wA=")

    _, output, _ = run(filled, "list", "--limit", "1")
    assert "4 dead letters, 3 older ones not shown (--limit)" in output

    _, output, _ = run(filled, "show", "ticks/1/8")
    assert "\\xff" in output
    assert "resent=1" in output


def test_a_reason_that_does_not_exist_is_refused_with_those_that_do(filled: Settings) -> None:
    code, _, error = run(filled, "list", "--reason", "bad_luck")
    assert code == 2
    assert "not_utf8, not_json" in error


def test_nothing_is_sent_without_a_yes(filled: Settings) -> None:
    code, output, error = run(filled, "resend", "--all")
    assert code == 1, "one of them was cut"
    assert "would send 2 to" in output
    assert "Nothing was sent; --yes sends." in output
    assert "ticks/1/10 cannot be sent again: of its 300000 bytes" in error
    assert asyncio.run(messages_of(filled, "ticks")) == []

    code, _, error = run(filled, "resend", "--yes")
    assert code == 2
    assert "Say what to send again" in error


def test_what_is_sent_again_is_what_was_refused(filled: Settings) -> None:
    code, output, _ = run(filled, "resend", "--id", "ticks/1/7", "--id", "ticks/1/8", "--yes")
    assert (code, output) == (0, "2 sent again\n")

    first, second = asyncio.run(messages_of(filled, "ticks"))
    assert (first.key, first.value, first.partition) == (b"ACME.XTOC", b"{", 1)
    assert dict(first.headers) == {"feed": b"x", "resent": b"1"}
    assert first.timestamp == (T + 7 * 10**9) // 1_000_000
    assert (second.key, second.value) == (None, b"\xff\x00")
    assert dict(second.headers) == {"resent": b"2"}
    assert asyncio.run(messages_of(filled, "news")) == []


def test_a_letter_that_is_not_there_is_named(filled: Settings) -> None:
    code, _, error = run(filled, "resend", "--id", "ticks/0/0")
    assert code == 2
    assert "No dead letter ticks/0/0" in error
