"""What the drift agent costs: µs of CPU a bar and bytes of state an instrument.

`python -m benchmarks.drift_cost`. Bars and scores as fusion gives them, and then texts, go through the watcher alone,
for many instruments in turn, so that states are not all in the caches; then states are packed as checkpoints do. Last,
frames of 500 ticks, five bars, go through the instruments' stage, and what reached its drift agent through that agent
alone: the best of `TRIES`. The tick path beside it, from Kafka to checkpoint, takes 156 µs a bar (docs/benchmarks.md).
"""

from __future__ import annotations

import argparse
import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterable, MutableMapping
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np

from agents.drift import drift
from agents.flow import Item
from agents.instrument import instrument
from agents.instrument_state import InstrumentState
from benchmarks.ticks import FRAME_NS, walks
from engines.drift.streams import DriftConfig, DriftState, Stream, Watcher
from engines.tracks import ClosedBars
from tests.agents.streams import arrivals, engines

S = 1_000_000_000
TRIES = 5
BEGIN = 1_741_012_200 * S
BAR_NS = 5 * S
DIM = 384


def bar(number: int, price: float, size: float, spread: float) -> ClosedBars:
    """Return one closed bar, the ``number``-th."""
    end = np.array([BEGIN + (number + 1) * BAR_NS])
    return ClosedBars(
        end - BAR_NS,
        end,
        end + S,
        np.zeros((1, 14), np.float32),
        np.zeros(1),
        np.array([[price * (1 + spread)], [price], [price]]),
        np.array([[size], [spread]]),
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instruments", type=int, default=50)
    parser.add_argument("--bars", type=int, default=6_000)
    parser.add_argument("--texts", type=int, default=400)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    count = options.instruments
    watcher = Watcher(DriftConfig(), lambda _: None)
    states = [DriftState() for _ in range(count)]
    found, bars_s = 0, 0.0
    for number in range(options.bars):
        drawn = rng.lognormal(size=(count, 4)).tolist()
        made = [bar(number, 100 + price, size, 1e-4 * spread) for price, size, spread, _ in drawn]
        began_s = time.process_time()
        for state, closed, (_, _, _, risk) in zip(states, made, drawn, strict=True):
            end = BEGIN + (number + 1) * BAR_NS
            found += sum(1 for _ in watcher.bars(state, closed))
            found += sum(1 for _ in watcher.score(state, "b", end, end + S, risk / (1 + risk)))
        bars_s += time.process_time() - began_s
    packed = [state.pack() for state in states]
    vectors = rng.standard_normal((options.texts, DIM)).astype(np.float32)
    began_s = time.process_time()
    for number, vector in enumerate(vectors):
        at, tone = BEGIN + number * S, float(vector[0])
        found += sum(1 for _ in watcher.text(states[0], "b", at, at, tone, vector.tobytes()))
    texts_s = time.process_time() - began_s
    tracemalloc.start()
    again = [woken(data) for data in packed]
    held = tracemalloc.get_traced_memory()[0] / count
    tracemalloc.stop()
    began_s = time.process_time()
    for state in again:
        state.pack()
    packed_s = time.process_time() - began_s
    print(f"{bars_s / options.bars / count * 1e6:.1f} µs a bar, {texts_s / options.texts * 1e6:.0f} µs a text")
    print(f"{packed_s / count * 1e6:.0f} µs to pack the streams of bars of an instrument anew, once a period")
    texts = len(states[0].pack())
    print(f"{max(map(len, packed)):,} bytes packed of bars, {texts:,} with texts; {held:,.0f} in memory of bars")
    print(f"{found} signals in {options.bars * count:,} bars in which nothing changes")
    stage_us, agent_us = in_its_stage()
    print(f"{agent_us:.1f} µs a bar in its stage, which takes {stage_us:.0f} in all")


def in_its_stage(instruments: int = 10, rounds: int = 400) -> tuple[float, float]:
    """Return what the instruments' stage takes of CPU, and its drift agent alone, both in µs a bar."""
    frames = (frame for _, frame in walks(instruments, rounds))
    items = arrivals(msgspec.structs.replace(frame, ts_available=frame.ts_event + S // 1000) for frame in frames)
    reached: list[Item] = []
    given: dict[str, Any] = {}
    state: dict[str, InstrumentState] = {}

    def overheard(
        coming: AsyncIterator[Item], state: MutableMapping[str, InstrumentState], **others: Any
    ) -> AsyncIterator[Item]:
        given.update(others)
        return drift(kept(coming, reached), state, **others)

    with patch("agents.instrument.drift", overheard):
        stage_s = cpu_s(instrument(streamed(items), state, engines()))

    def alone_s() -> float:
        for one in state.values():
            one.drift = DriftState()
        return cpu_s(drift(streamed(reached), state, **given)) - cpu_s(streamed(reached))

    bars = instruments * rounds * FRAME_NS / BAR_NS
    return stage_s / bars * 1e6, min(alone_s() for _ in range(TRIES)) / bars * 1e6


async def streamed(items: Iterable[Item]) -> AsyncIterator[Item]:
    """Yield the items."""
    for item in items:
        yield item


async def kept(items: AsyncIterator[Item], into: list[Item]) -> AsyncIterator[Item]:
    """Yield the items, and keep them."""
    async for item in items:
        into.append(item)
        yield item


def cpu_s(items: AsyncIterator[object]) -> float:
    """Take all items, and return the CPU that they took, in s."""

    async def taken() -> None:
        async for _ in items:
            pass

    began_s = time.process_time()
    asyncio.run(taken())
    return time.process_time() - began_s


def woken(data: bytes) -> DriftState:
    """Return a state whose streams are unpacked and have to be packed anew."""
    state = DriftState.unpack(data)
    for name, kept in state.packed.items():
        stream = state.streams[name] = Stream(20_000.0)
        stream.restore(kept)
    state.packed = {}
    return state


if __name__ == "__main__":
    main()
