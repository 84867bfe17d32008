"""The least that could do it: a plain aiokafka loop that reads single JSON ticks and answers marked ones.

    python -m benchmarks.contenders.plain_loop BOOTSTRAP TICKS ALERTS

Every tick is decoded; one whose trade id begins with ``cause-`` is answered at once on the topic of alerts.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from schemas.records import Tick, Trade


async def loop(servers: str, ticks: str, alerts: str) -> None:
    """Read and answer until the process is ended."""
    decode = msgspec.json.Decoder(Tick).decode
    consumer = AIOKafkaConsumer(ticks, bootstrap_servers=servers, group_id=f"{alerts}-group")
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await consumer.start()
    await producer.start()
    async for record in consumer:
        tick = decode(record.value)
        if isinstance(tick, Trade) and tick.trade_id.startswith("cause-"):
            await producer.send(alerts, msgspec.json.encode({"time": tick.ts_event, "instrument": tick.instrument}))


if __name__ == "__main__":
    asyncio.run(loop(*sys.argv[1:]))
