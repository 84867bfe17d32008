"""CPU of `TickEngine.apply` by itself: frames of 500 ticks (100 a bar) and single ticks, 50 and 5,000 instruments.

`python -m benchmarks.engine`: a table, then one line of JSON. Instruments take turns, so that 5,000 of them show what
cold caches cost.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.harness import Usage, close, table
from engines.state import TickState
from engines.ticks import TickConfig, TickEngine
from schemas.frames import Frame, frame_of

TICK_NS = 50_000_000  # 20 ticks a second: 100 a bar of 5 s


def ticks(n: int, seed: int) -> Frame:
    """Return n trades of a random walk, evenly spaced."""
    draw = np.random.default_rng(seed)
    ts = 1_700_000_000_000_000_000 + np.arange(n) * TICK_NS
    columns = {
        "ts_event": ts,
        "ts_available": ts,
        "price": 100.0 * np.exp(np.cumsum(draw.normal(0.0, 2e-4, n))),
        "size": draw.exponential(1.0, n),
        "side": draw.choice([-1, 1], n),
        "trade_id": np.arange(1, n + 1),
        "source_offset": np.arange(n),
    }
    return frame_of("ACME.XNYS", columns)


def measure(engine: TickEngine, instruments: int, rows: int, frames: int) -> tuple[float, float]:
    """Return µs of CPU a frame, and MB of resident memory that the states took."""
    before = Usage.of().rss_mb
    states: list[TickState] = [engine.new_state() for _ in range(instruments)]
    day = ticks(rows * frames, 1)
    cut = [day[at : at + rows] for at in range(0, len(day), rows)]
    start = time.process_time()
    for frame in cut:
        for state in states:
            engine.apply(state, frame)
    return (time.process_time() - start) / (frames * instruments) * 1e6, Usage.of().rss_mb - before


def main() -> None:
    """Run the benchmark."""
    engine = TickEngine(TickConfig())
    measure(engine, 10, 500, 5)
    rows: list[tuple[int, int, float, float, float]] = []
    for instruments, size, frames in ((50, 500, 40), (5000, 500, 4), (50, 1, 400), (5000, 1, 8)):
        spent, memory = measure(engine, instruments, size, frames)
        rows.append((instruments, size, spent, spent / size, memory))
    table("TickEngine.apply", ["instruments", "ticks a frame", "µs a frame", "µs a tick", "MB of states"], rows)
    state = engine.new_state()
    engine.apply(state, ticks(5000, 2))
    close(
        us_per_frame_500=round(max(row[2] for row in rows if row[1] == 500), 1),
        us_per_frame_1=round(max(row[2] for row in rows if row[1] == 1), 1),
        state_bytes=len(state.pack()),
    )


if __name__ == "__main__":
    main()
