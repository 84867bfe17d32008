"""What our detectors of drift take of CPU and memory, over so many updates that whatever only grows would show.

    python -m benchmarks.drift --cost 10000000      # about ten minutes of CPU
    python -m benchmarks.drift --cost 10000000 --detector surprises

The values are independent, so a detector rings about once in ``ASKED`` and begins anew, as it does where it is used.
Vectors, which take ten times as long, get a tenth of the updates. Memory is the growth of this process since the first
tenth, and the most that a state packs into.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import islice
from typing import Any

from benchmarks.harness import Usage, close, table
from engines.drift.budget import detector, errors, normals, of_vectors, vectors
from engines.drift.families import Detector

ASKED = 10_000
PARTS = 10


def measured(watch: Detector[Any], values: Iterator[Any], updates: int) -> tuple[float, float, int, int]:
    """Return µs of CPU an update, growth since the first tenth in MB, the largest packed state in bytes, alarms."""
    start = first = Usage.of()
    alarms = largest = 0
    for part in range(PARTS):
        alarms += sum(map(watch.update, islice(values, updates // PARTS)))
        largest = max(largest, len(watch.pack()))
        if part == 0:
            first = Usage.of()
    last = Usage.of()
    return last.cpu_since(start) / updates * 1e6, last.rss_mb - first.rss_mb, largest, alarms


def cost(updates: int, names: Collection[str]) -> None:
    """Measure the detectors of these names, all if there are none, and print."""
    given: dict[str, tuple[Callable[[], Detector[Any]], Iterator[Any], int]] = {
        **{name: (partial(detector, name, ASKED), normals(1), updates) for name in ("short_ranks", "surprises")},
        "error_rates": (partial(detector, "error_rates", ASKED), errors(1), updates),
        "embeddings": (partial(of_vectors, ASKED), vectors(1), updates // 10),
    }
    found = {
        name: (count, *measured(make(), values, count))
        for name, (make, values, count) in given.items()
        if not names or name in names
    }
    table(
        "cost of detectors",
        ("detector", "updates", "µs CPU/update", "growth, MB", "packed, bytes", "alarms"),
        [(name, *row) for name, row in found.items()],
    )
    told = {f"us_per_update: {name}": round(row[1], 2) for name, row in found.items()}
    close(benchmark="drift cost", **told, growth_mb=round(max(row[2] for row in found.values()), 2))
