"""What the gateway has sent: how much is on its way, when all of it has arrived, and what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer

from monitor.packing import Ledger

#: Sendings under way before there is no more room; there is again at half of it.
MAX_UNDER_WAY = 4_000


class DeliveryError(Exception):
    """The broker did not take a message; one sentence."""


class Delivery:
    """Sends, and keeps the ledgers of what was sent.

    ``failed`` is done, with a `DeliveryError`, from the first message on that the broker did not take.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._under_way = 0
        self._room = asyncio.Event()
        self._settled = asyncio.Event()
        self._room.set()
        self._settled.set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(
        self,
        ledger: Ledger,
        offset: int,
        topic: str,
        key: str,
        value: bytes,
        *,
        partition: int | None,
        headers: list[tuple[str, bytes]],
        on_delivered: Callable[[], None] | None = None,
    ) -> None:
        """Send a message that rests on ``offset`` of the ledger's partition."""
        ticket = ledger.sent(offset)
        self._under_way += 1
        self._settled.clear()
        if self._under_way >= MAX_UNDER_WAY:
            self._room.clear()
        future = await self._producer.send(topic, value, key=key.encode(), partition=partition, headers=headers)
        future.add_done_callback(partial(self._done, ledger, ticket, topic, on_delivered))

    def _done(
        self,
        ledger: Ledger,
        ticket: int,
        topic: str,
        on_delivered: Callable[[], None] | None,
        future: asyncio.Future[Any],
    ) -> None:
        self._under_way -= 1
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None:
            ledger.delivered(ticket)
            if on_delivered:
                on_delivered()
        elif not self.failed.done():
            self.failed.set_exception(
                DeliveryError(
                    f"A message for {topic} was not delivered ({error!r}): restart the gateway, it goes on from its"
                    " last commit and sends it again."
                )
            )
        if self._under_way < MAX_UNDER_WAY // 2:
            self._room.set()
        if not self._under_way:
            self._settled.set()

    async def room(self) -> None:
        """Wait while too much is on its way."""
        await self._room.wait()

    async def settled(self) -> None:
        """Wait until nothing is on its way.

        Raises
        ------
        DeliveryError
            Something was not delivered.
        """
        await self._settled.wait()
        if self.failed.done():
            self.failed.result()
