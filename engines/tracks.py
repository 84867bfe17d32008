"""What engines say: tracks of scores of one instrument, and embeddings that are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.alerts import Explanation
from schemas.records import Half


class Seen(NamedTuple):
    """An input as evidence names it."""

    topic: str
    partition: int
    offset: int
    ts_available: int
    sha256: bytes


class Track(msgspec.Struct, frozen=True, eq=False):
    """Scores of one head for one instrument, or for one ``account`` that trades in it, at consecutive moments.

    Arrays have shape (n,): ``ts_event`` and ``ts_available`` (int64 ns) of the tick, bar's end or text that completed
    the score, ``score`` (float64, calibrated, in [0, 1]), ``window_start`` (int64 ns) of the window it speaks of.
    ``explain(i)`` tells why moment i scored more than 0; where ``silent``, none did. ``weights(i)`` tells which
    modalities the score stands on, shares that add up to 1; ``inputs(i)`` are those that it stands on beside the one
    that completed it, where they are known. ``p_value`` (float64) is there where the score was made of one.
    """

    head: str
    ts_event: npt.NDArray[np.int64]
    ts_available: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    window_start: npt.NDArray[np.int64]
    explain: Callable[[int], Explanation]
    weights: Callable[[int], Mapping[str, float]] = lambda _: {}
    inputs: Callable[[int], Sequence[Seen]] = lambda _: ()
    silent: bool = False
    p_value: npt.NDArray[np.float64] | None = None
    account: str = ""


class ClosedBars(msgspec.Struct, frozen=True, eq=False):
    """Bars that closed, oldest first: ``end`` and ``ts_available`` int64 ns of shape (n,), ``start`` likewise.

    ``features`` has shape (n, F), float32, scale-free (in units of the instrument's own trailing spread), as
    `engines.features.NAMES` lists them; ``anomaly`` has shape (n,), float64 in [0, 1]; ``prices`` has shape (3, n),
    float64: high, low, close; ``traded`` has shape (2, n), float64: notional, and the mean relative spread, NaN without
    quotes.
    """

    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    ts_available: npt.NDArray[np.int64]
    features: npt.NDArray[np.float32]
    anomaly: npt.NDArray[np.float64]
    prices: npt.NDArray[np.float64]
    traded: npt.NDArray[np.float64]


class TickUpdate(msgspec.Struct, frozen=True, eq=False):
    """What a frame or the passing of time changed: bars closed, tracks scored, rows set aside in cleaning."""

    bars: ClosedBars | None = None
    tracks: tuple[Track, ...] = ()
    counts: dict[str, int] = {}


class OrderUpdate(msgspec.Struct, frozen=True, eq=False):
    """What an order frame, ticks or the passing of time changed: tracks scored, rows that could not be used.

    ``halves`` are for the market's scope, each with when it could first be known (ns).
    """

    tracks: tuple[Track, ...] = ()
    counts: dict[str, int] = {}
    halves: tuple[tuple[int, Half], ...] = ()


class Embedding(msgspec.Struct, frozen=True):
    """A kept embedding: ``vector`` is float32, little-endian; ``score`` calibrated in [0, 1].

    ``spans`` are the places of the input that the score rests on: (start, end, weight in log odds), in characters of a
    text, columns of pixels of a chart, milliseconds of sound. ``tone`` is P(bullish) - P(bearish). ``bundle`` is whose
    encoder made it.
    """

    ts_event: int
    ts_available: int
    vector: bytes
    score: float
    logits: list[float]
    spans: list[tuple[int, int, float]] = []
    tone: float = 0.0  # 0.1.0 did not write it
    bundle: str = ""  # nor this
