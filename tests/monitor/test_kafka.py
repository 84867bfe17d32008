from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import InvalidSessionTimeoutError, KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from monitor import kafka


class Closed:
    """A stream whose transport uvloop has closed."""

    def write(self, _: bytes) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def close(self) -> None: ...


async def test_writing_to_a_connection_that_was_just_closed_is_an_error_that_clients_expect() -> None:
    connection: Any = AIOKafkaConnection("127.0.0.1", 9092, client_id="c", request_timeout_ms=1_000)
    connection._writer, connection._reader = Closed(), SimpleNamespace()
    connection._read_task = asyncio.create_task(asyncio.sleep(60))
    connection._versions = {3: (0, 5)}  # the broker speaks this much of metadata requests
    with pytest.raises(KafkaConnectionError, match=r"127.0.0.1:9092 broken: .* handler is closed"):
        await connection.send(MetadataRequest([]))
    assert not connection.connected()


async def test_a_clients_task_that_failed_is_told() -> None:
    async def fail() -> None:
        raise ValueError("gone")

    tasks = [asyncio.create_task(asyncio.sleep(60)), asyncio.create_task(fail())]
    assert kafka.failure([None, *tasks]) is None
    await asyncio.sleep(0)
    assert repr(kafka.failure([None, *tasks])) == "ValueError('gone')"
    tasks[0].cancel()


def test_a_session_timeout_that_the_broker_refuses_is_told_with_its_setting() -> None:
    assert "TOCSIN_SESSION_TIMEOUT_MS is outside" in kafka.told(InvalidSessionTimeoutError())
    assert kafka.told(ValueError("x")) == "x"
