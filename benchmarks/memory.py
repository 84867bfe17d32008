"""Resident memory of `tocsin run` while messages of all kinds go through it.

    python -m benchmarks.memory [--days 10] [--every 10000]

Simulated days of five hours (frames, order events, news, calls, charts and sound, some 8,700 messages each) go to one
worker that owns all partitions and serves all models. After so many messages each, once all are acknowledged, its
memory and CPU are read. Its growth is what the greatest figure from `SETTLED` messages on exceeds the first of them by.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import Usage
from tests.integration.daemon import Feed, Watch, Worker, day, until

#: From when on memory is to be flat.
SETTLED = 50_000
TIMEOUT_S = 600.0


def _reached(watch: Watch, messages: int) -> bool:
    return watch.acknowledged() == messages


def measured(servers: str, days: int, every: int, folder: Path) -> list[tuple[int, Usage]]:
    """Return what a worker used once so many messages were acknowledged."""
    stream, settings = day(days), harness.fresh_settings(servers, ladder_down_s=0.0)
    watch, found = Watch(settings), []
    with Worker(settings, folder) as worker:
        until(lambda: worker.partitions, TIMEOUT_S, "ready", [worker])
        for begin in range(0, len(stream), every):
            with Feed(settings, stream[begin : begin + every]) as feed:
                feed.finish()
            sent = min(begin + every, len(stream))
            until(partial(_reached, watch, sent), TIMEOUT_S, f"{sent} messages acknowledged", [worker])
            found.append((sent, Usage.of(worker.pid)))
        worker.drain()
    watch.close()
    return found


def main() -> None:
    """Run it, print the table and the closing JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--every", type=int, default=10_000, help="messages between two looks")
    arguments = parser.parse_args()
    with harness.broker() as servers, tempfile.TemporaryDirectory() as folder:
        found = measured(servers, arguments.days, arguments.every, Path(folder))
    rows = [(f"{sent:,}", round(used.rss_mb), round(used.cpu_s, 1)) for sent, used in found]
    harness.table("tocsin run, all models", ("messages", "RSS MB", "CPU s"), rows)
    settled = [used.rss_mb for sent, used in found if sent >= SETTLED] or [found[-1][1].rss_mb]
    harness.close(
        benchmark="memory",
        rss_mb=round(max(used.rss_mb for _, used in found)),
        growth=round(max(settled) / settled[0] - 1, 4),
    )


if __name__ == "__main__":
    main()
