"""Check every alert that the topic holds against the JSON Schema that Tocsin publishes (docs/schemas/alerts.json).

    python examples/validate_alert.py [--bootstrap 127.0.0.1:9092] [--prefix tocsin.] [--schema FILE]

Exit code 1 if one does not fit; each misfit is printed with its place.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from jsonschema import Draft202012Validator


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--prefix", default="tocsin.")
    parser.add_argument("--schema", type=Path, default=Path("docs/schemas/alerts.json"))
    arguments = parser.parse_args()
    validator = Draft202012Validator(json.loads(arguments.schema.read_text()))

    checked = wrong = 0
    topic = f"{arguments.prefix}alerts"
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=arguments.bootstrap, auto_offset_reset="earliest"
    ) as consumer:  # without a group it reads all partitions, and commits nothing
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for messages in (await consumer.getmany(timeout_ms=500)).values():
                for message in messages:
                    checked += 1
                    for error in validator.iter_errors(json.loads(message.value)):
                        wrong += 1
                        print(f"{message.partition}/{message.offset} {error.json_path}: {error.message}")
    print(f"{checked} alerts checked, {wrong} misfits")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
