"""What is kept of one instrument's ticks, and its bytes: typed arrays behind a versioned header."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from engines.anomaly import RANKS, Ranks
from engines.clean import Sieve
from engines.features import Scales
from engines.halfspace import Masses
from engines.windows import SUMS, OpenBar, Windows

_MAGIC = b"TCKS"
VERSION = 2
MINUTE_NS = 60_000_000_000
MINUTES = 48
# magic, version, open bars, suspects, set aside, late, restated, minutes, blocks, closed bars, trees, nodes, ints,
# floats
_HEADER = struct.Struct("<4s13H")
_SCALE_INTS = ("bars", "last_end")
_SCALE_FLOATS = tuple(name for name in Scales.__struct_fields__ if name not in _SCALE_INTS)


@dataclass(slots=True, eq=False)
class TickState:
    """What is kept of one instrument: bounded, whatever its history.

    ``minutes`` holds the start (int64 ns) of the last minutes with trades, oldest first, ``minute_close`` their last
    price; ``blocks`` and ``block_high`` do the same for longer stretches and their highest price. ``late`` counts
    ticks that came after their bar had closed. ``deadline_ns`` is the earliest clock at which `TickEngine.advance`
    would do something, 0 if nothing is open.
    """

    sieve: Sieve
    windows: Windows
    scales: Scales
    masses: Masses
    ranks: Ranks
    minutes: list[int] = field(default_factory=list)
    minute_close: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    block_high: list[float] = field(default_factory=list)
    last_price: float = 0.0
    last_ts: int = 0
    bar_anomaly: float = 0.0
    late: int = 0
    watermark_ns: int = 0
    deadline_ns: int = 0

    def note(self, bar: OpenBar, block_ns: int, blocks: int) -> None:
        """Remember a closed bar's last price for its minute, and its high for its block of ``block_ns``."""
        minute, block = bar.start - bar.start % MINUTE_NS, bar.start - bar.start % block_ns
        if self.minutes and self.minutes[-1] >= minute:
            self.minute_close[-1] = bar.close
        else:
            _append(self.minutes, self.minute_close, minute, bar.close, MINUTES)
        if self.blocks and self.blocks[-1] >= block:
            self.block_high[-1] = max(self.block_high[-1], bar.high)
        else:
            _append(self.blocks, self.block_high, block, bar.high, blocks)

    def high_before(self, since: int, until: int) -> float:
        """Return the highest price of the blocks that start in ``[since, until]`` (ns), 0 if none."""
        blocks = self.blocks
        return max(self.block_high[bisect_left(blocks, since) : bisect_right(blocks, until)], default=0.0)

    def price_before(self, since: int, until: int) -> float:
        """Return the median of the minute closes in ``[since, until]`` (ns), else the newest one before."""
        minutes = self.minutes
        last = bisect_right(minutes, until - MINUTE_NS)
        first = bisect_left(minutes, since, 0, last)
        if first < last:
            return sorted(self.minute_close[first:last])[(last - first) // 2]
        return self.minute_close[max(last, 1) - 1]

    def pack(self) -> bytes:
        """Return the state as bytes: about 10 kB with the default configuration, never more than 20 kB."""
        sieve, windows, masses = self.sieve, self.windows, self.masses
        opened = windows.open
        bars, last_close, last_end, *scales = msgspec.structs.astuple(self.scales)  # `_SCALE_INTS` and the others
        sums = list(chain.from_iterable(windows.closed))  # end, notional, orders of each bar
        ends = sums[::3]
        del sums[::3]
        ints = [
            sieve.last_offset, sieve.cursor, sieve.largest, int(sieve.halted),
            windows.closed_until, windows.newest, masses.count, int(masses.warm), self.ranks.total,
            self.last_ts, self.late, self.watermark_ns, self.deadline_ns,
            bars, last_end, *self.minutes, *self.blocks, *ends, *sieve.aside, *sieve.late, *sieve.restated,
        ]  # fmt: skip
        floats = [
            sieve.last_good, self.last_price, self.bar_anomaly,
            last_close, *scales, *sieve.suspects, *self.minute_close, *self.block_high, *sums,
        ]  # fmt: skip
        for bar in opened:
            ints += (bar.start, bar.end)
            floats += (bar.open, bar.high, bar.low, bar.close, bar.jump, *bar.sums)
        header = _HEADER.pack(
            _MAGIC, VERSION, len(opened), len(sieve.suspects), len(sieve.aside), len(sieve.late), len(sieve.restated),
            len(self.minutes), len(self.blocks), len(windows.closed), *masses.latest.shape, len(ints), len(floats),
        )  # fmt: skip
        arrays = (sieve.recent, masses.latest, masses.reference, np.array(self.ranks.counts, dtype="<u2"))
        return b"".join(
            (
                header,
                struct.pack(f"<{len(ints)}q{len(floats)}d", *ints, *floats),
                *(array.tobytes() for array in arrays),
            )
        )

    @staticmethod
    def unpack(data: bytes) -> TickState:
        """Return the state that `pack` wrote.

        Raises
        ------
        ValueError
            If the bytes are not such a state, or of another version.
        """
        if data[:4] != _MAGIC or len(data) < _HEADER.size:
            raise ValueError(f"tick state: expected bytes that begin with {_MAGIC!r}, found {data[:4]!r}")
        version, *counts = _HEADER.unpack_from(data)[1:]
        if version != VERSION:
            raise ValueError(
                f"tick state: expected version {VERSION}, found {version}; replay from the recording, or run the "
                "release that wrote the checkpoint"
            )
        opened, suspects, aside, late, restated, minutes, blocks, rows, trees, nodes, n_ints, n_floats = counts
        reader = _Reader(data, _HEADER.size)
        ints = iter(reader.take("<i8", n_ints).tolist())
        floats = iter(reader.take("<f8", n_floats).tolist())
        sieve = Sieve(next(ints), reader.take("<i8", len(Sieve().recent)))
        sieve.cursor, sieve.largest, sieve.halted = next(ints), next(ints), bool(next(ints))
        windows = Windows()
        windows.closed_until, windows.newest = next(ints), next(ints)
        latest, reference = (reader.take("u1", trees * nodes).reshape(trees, nodes) for _ in range(2))
        masses = Masses(latest, reference, next(ints), bool(next(ints)))
        ranks = Ranks(reader.take("<u2", RANKS).tolist(), next(ints))
        if reader.at != len(data):
            raise ValueError(f"tick state: expected {reader.at} bytes, found {len(data)}; it was cut or padded")
        state = TickState(sieve, windows, Scales(), masses, ranks)
        state.last_ts, state.late, state.watermark_ns, state.deadline_ns = (next(ints) for _ in range(4))
        sieve.last_good, state.last_price, state.bar_anomaly = (next(floats) for _ in range(3))
        for name in _SCALE_INTS:
            setattr(state.scales, name, next(ints))
        for name in _SCALE_FLOATS:
            setattr(state.scales, name, next(floats))
        state.minutes = [next(ints) for _ in range(minutes)]
        state.blocks = [next(ints) for _ in range(blocks)]
        ends = [next(ints) for _ in range(rows)]
        for ring, count in ((sieve.aside, aside), (sieve.late, late), (sieve.restated, restated)):
            ring.extend(next(ints) for _ in range(count))
        sieve.suspects = [next(floats) for _ in range(suspects)]
        state.minute_close = [next(floats) for _ in range(minutes)]
        state.block_high = [next(floats) for _ in range(blocks)]
        windows.closed.extend((end, next(floats), next(floats)) for end in ends)
        for _ in range(opened):
            first, high, low, close, jump = (next(floats) for _ in range(5))
            sums = [next(floats) for _ in SUMS]
            windows.open.append(OpenBar(next(ints), next(ints), first, high, low, close, jump, sums))
        return state


def _append(starts: list[int], values: list[float], start: int, value: float, most: int) -> None:
    starts.append(start)
    values.append(value)
    if len(starts) > most:
        del starts[0], values[0]


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, dtype: str, count: int) -> npt.NDArray[Any]:
        kind = np.dtype(dtype)
        if self.at + count * kind.itemsize > len(self.data):
            raise ValueError(f"tick state: expected more than {len(self.data)} bytes; it was cut")
        array = np.frombuffer(self.data, dtype=kind, count=count, offset=self.at).astype(kind.newbyteorder("="))
        self.at += count * kind.itemsize
        return array
