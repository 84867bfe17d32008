from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from monitor.delivery import MAX_UNDER_WAY, Delivery, DeliveryError
from monitor.packing import Ledger


class Producer:
    """Takes everything, and acknowledges when told to."""

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[Any]] = []

    async def send(self, *_: Any, **__: Any) -> asyncio.Future[Any]:
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]


async def sent(count: int) -> tuple[Delivery, Producer, Ledger]:
    producer, ledger = Producer(), Ledger()
    delivery = Delivery(cast(Any, producer))
    ledger.position = count
    for offset in range(count):
        await delivery.send(ledger, offset, "frames", "k", b"v", partition=0, headers=[])
    return delivery, producer, ledger


async def test_what_is_not_acknowledged_is_not_committable() -> None:
    delivery, producer, ledger = await sent(3)
    producer.futures[0].set_result(None)
    producer.futures[2].set_result(None)
    await asyncio.sleep(0)
    assert ledger.committable() == 1
    producer.futures[1].set_result(None)
    await asyncio.wait_for(delivery.settled(), 1.0)
    assert ledger.committable() == 3


async def test_there_is_no_room_from_the_limit_on_until_half_of_it_has_arrived() -> None:
    delivery, producer, _ = await sent(MAX_UNDER_WAY)
    for future in producer.futures[: MAX_UNDER_WAY // 2]:
        future.set_result(None)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(delivery.room(), 0.01)
    producer.futures[-1].set_result(None)
    await asyncio.wait_for(delivery.room(), 1.0)


async def test_a_message_that_was_not_delivered_ends_every_waiting() -> None:
    delivery, producer, ledger = await sent(2)
    producer.futures[1].set_result(None)
    producer.futures[0].set_exception(OSError("gone"))
    with pytest.raises(DeliveryError, match=r"for frames was not delivered \(OSError\('gone'\)\): restart"):
        await asyncio.wait_for(delivery.settled(), 1.0)
    assert ledger.committable() == 0
