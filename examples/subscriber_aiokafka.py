"""Follow Tocsin's alerts in a consumer group of your own, and act on each of them at least once.

    python examples/subscriber_aiokafka.py [--bootstrap 127.0.0.1:9092] [--prefix tocsin.] [--group desk] [--limit N]

An alert is a CloudEvent in JSON. Its `id` never changes, so what a crash delivers again is told by it; all alerts of an
episode stand in one partition, in order of their revisions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from aiokafka import AIOKafkaConsumer


def act(event: dict[str, Any]) -> None:
    """Stand in for a pager, a case system, a risk limit."""
    alert = event["data"]
    finding = alert["finding"]
    print(
        event["time"], alert["activity"], finding["severity"], event["subject"], finding["typology"],
        f"score={finding['score']:.2f}", f"episode={alert['episode_id']}", f"revision={alert['revision']}",
        flush=True,
    )  # fmt: skip


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--prefix", default="tocsin.")
    parser.add_argument("--group", default="desk")
    parser.add_argument("--limit", type=int, help="end after so many alerts")
    arguments = parser.parse_args()

    consumer = AIOKafkaConsumer(
        f"{arguments.prefix}alerts",
        bootstrap_servers=arguments.bootstrap,
        group_id=arguments.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    seen = 0
    async with consumer:
        async for message in consumer:
            act(json.loads(message.value))
            # Committed after acting: a crash in between repeats the alert, it loses none.
            await consumer.commit()
            seen += 1
            if seen == arguments.limit:
                return


if __name__ == "__main__":
    asyncio.run(main())
