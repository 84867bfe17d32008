"""Send single ticks and a document to Tocsin, in JSON.

    python examples/produce_ticks.py [--bootstrap 127.0.0.1:9092] [--prefix tocsin.] [--ticks 1000]

Times are int64 nanoseconds UTC: `ts_event` when it happened, `ts_available` when it could first be known (left out, it
is Kafka's timestamp of the message). The key is the instrument, SYMBOL.VENUE. The partitioner is Kafka's default,
murmur2: with confluent-kafka or another client of librdkafka, set `partitioner=murmur2_random`, so that all producers
put an instrument into the same partition. docs/schemas/ticks.json and documents.json say what else there is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time

from aiokafka import AIOKafkaProducer

INSTRUMENTS = ("ACME.XTOC", "BOREAL.XTOC", "CINDER.XTOC")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--prefix", default="tocsin.")
    parser.add_argument("--ticks", type=int, default=1_000)
    arguments = parser.parse_args()

    # Many sends are on their way at once; the idempotent producer keeps them in order, and single.
    async with AIOKafkaProducer(
        bootstrap_servers=arguments.bootstrap, acks="all", enable_idempotence=True, linger_ms=2
    ) as producer:
        deliveries = []
        for number in range(arguments.ticks):
            instrument = random.choice(INSTRUMENTS)
            now_ns = time.time_ns()
            price = round(100 + random.gauss(0, 0.05), 2)
            if number % 10:
                tick = {
                    "type": "trade", "instrument": instrument, "ts_event": now_ns, "price": price,
                    "size": random.randint(1, 500), "side": random.choice(("buy", "sell")), "trade_id": str(now_ns),
                }  # fmt: skip
            else:
                tick = {
                    "type": "quote", "instrument": instrument, "ts_event": now_ns,
                    "bid": price - 0.01, "ask": price + 0.01, "bid_size": 300, "ask_size": 200,
                }  # fmt: skip
            deliveries.append(
                await producer.send(f"{arguments.prefix}ticks", json.dumps(tick).encode(), key=instrument.encode())
            )

        # The gateway finds the instruments that a document names, and sends each of them its news.
        document = {
            "document_id": f"example-{time.time_ns()}",
            "ts_event": time.time_ns(),
            "headline": "Acme Robotics recalls its flagship arm, $BOREAL halts deliveries",
            "source": "example wire",
        }
        deliveries.append(await producer.send(f"{arguments.prefix}documents", json.dumps(document).encode()))
        await asyncio.gather(*deliveries)
    print(f"sent {arguments.ticks} ticks and 1 document")


if __name__ == "__main__":
    asyncio.run(main())
