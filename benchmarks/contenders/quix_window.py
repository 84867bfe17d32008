"""Quix Streams: one-minute windows of single JSON ticks, state in RocksDB.

    python -m benchmarks.contenders.quix_window BOOTSTRAP TOPIC GROUP TICKS FOLDER

Prints the CPU of the process, all threads, from the first tick to the last, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from quixstreams import Application

Bar = dict[str, float]


def _first(tick: Any) -> Bar:
    return {"open": tick["price"], "close": tick["price"], "volume": tick["size"], "trades": 1}


def _next(bar: Bar, tick: Any) -> Bar:
    bar["close"] = tick["price"]
    bar["volume"] += tick["size"]
    bar["trades"] += 1
    return bar


def main() -> None:
    """Run until all ticks are in."""
    servers, topic, group, ticks, folder = sys.argv[1:]
    app = Application(
        broker_address=servers,
        consumer_group=group,
        auto_offset_reset="earliest",
        state_dir=folder,
        loglevel="ERROR",
        auto_create_topics=True,
    )
    source = app.topic(topic, timestamp_extractor=lambda value, *_: value["ts_event"] // 1_000_000)
    seen, began = 0, (0.0, 0.0)

    def count(tick: Any) -> Any:
        nonlocal seen, began
        if not seen:
            began = time.process_time(), time.monotonic()
        seen += 1
        if seen == int(ticks):
            app.stop()
        return tick

    frame = app.dataframe(source).apply(count)
    frame.tumbling_window(duration_ms=60_000).reduce(_next, _first).final()
    app.run()
    cpu_s, wall_s = time.process_time() - began[0], time.monotonic() - began[1]
    print(json.dumps({"cpu_s": cpu_s, "wall_s": wall_s}))


if __name__ == "__main__":
    main()
