"""bytewax: one-minute windows of single JSON ticks, state in memory.

    python -m benchmarks.contenders.bytewax_window BOOTSTRAP TOPIC TICKS

Prints the CPU of the process, all threads, from the first tick to the last, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as windows
import msgspec
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, cluster_main

Bar = tuple[float, float, float, int]  # open, close, volume, trades


class _Trade(msgspec.Struct):
    ts_event: int
    instrument: str
    price: float
    size: float


def _next(bar: Bar, tick: _Trade) -> Bar:
    first, _, volume, trades = bar
    return (tick.price if first != first else first, tick.price, volume + tick.size, trades + 1)


def _join(one: Bar, other: Bar) -> Bar:
    return (one[0], other[1], one[2] + other[2], one[3] + other[3])


def main() -> None:
    """Run until all ticks are in."""
    servers, topic, ticks = sys.argv[1:]
    decode = msgspec.json.Decoder(_Trade).decode
    began: list[float] = []

    def values(batch: list[Any]) -> list[_Trade]:
        if not began:
            began.extend((time.process_time(), time.monotonic()))
        return [decode(message.value) for message in batch]

    flow = Dataflow("windows")
    source = KafkaSource(servers.split(","), [topic], tail=False, batch_size=1_000)
    messages = op.input("ticks", flow, source)
    keyed = op.key_on("key", op.flat_map_batch("decode", messages, values), lambda tick: tick.instrument)
    clock = windows.EventClock(
        lambda tick: datetime.fromtimestamp(tick.ts_event / 1e9, UTC), wait_for_system_duration=timedelta(seconds=10)
    )
    minute = windows.TumblingWindower(length=timedelta(minutes=1), align_to=datetime(2020, 1, 1, tzinfo=UTC))
    bars = windows.fold_window(
        "minute", keyed, clock, minute, lambda: (float("nan"), float("nan"), 0.0, 0), _next, _join
    )
    closed: list[Any] = []
    op.output("bars", bars.down, TestingSink(closed))
    cluster_main(flow, [], 0)
    counted = sum(bar[3] for _, (_, bar) in closed)
    if counted != int(ticks):
        raise SystemExit(f"expected {ticks} ticks in the windows, found {counted}")
    print(json.dumps({"cpu_s": time.process_time() - began[0], "wall_s": time.monotonic() - began[1]}))


if __name__ == "__main__":
    main()
