"""What is watched of one instrument: numbers of its bars, one a period, and of its texts, one a text.

A value a period, not a bar: `short_ranks` takes about 5 µs a value, and a minute's values hang together less than those
of five seconds. Values are kept in single precision, so that what goes on from a checkpoint goes on with the same bits.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec
import numpy as np

from engines.drift import feed
from engines.drift.budget import detector, shared
from engines.drift.changes import Watch
from engines.drift.embeddings import directions
from engines.drift.feed import Feed, FeedConfig
from engines.tracks import ClosedBars
from schemas.alerts import Drifting, DriftKind

#: Of bars: high over low, notional and mean relative spread of a period, its mean risk.
BEHAVES = ("volatility", "volume", "spread")
NUMBERS = (*BEHAVES, "risk")
#: Of texts: their tone, and of their embeddings the distance from the mean of those before, and projections.
TONE, WORDS = "tone", "words"
PROJECTED = 3
EMBEDDED = tuple(f"{WORDS}.{number}" for number in range(1 + PROJECTED))
TEXTS = (TONE, *EMBEDDED)
#: Whose values are those of a bundle's models: another bundle's are another stream.
MODELLED = ("risk", *TEXTS)
FAMILY = "short_ranks"
KEPT = 128  # values that a change is told by
CONSTANT = 96  # equal values in a row, after which no more of them are watched
MEMORY = 1024  # texts over which their mean fades
ACTIVE = 16  # drifts that alerts can name
SECOND_NS = 1_000_000_000
_SINGLE = struct.Struct("<f")
LARGEST = float(np.finfo(np.float32).max)  # what prices and sizes at their bounds add up to may be beyond it
_HEADER = struct.Struct("<f2I")


class DriftConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What decides on drift.

    ``run_time`` is the expected number of periods (and of texts) between two false signals of one instrument, shared by
    its streams; a period has ``period_ns``. Alerts name a drift for ``held_ns`` after it was detected.
    """

    run_time: float = 20_000.0
    period_ns: int = 60 * SECOND_NS
    held_ns: int = 14_400 * SECOND_NS
    feed: FeedConfig = FeedConfig()


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A drift of one instrument; see `schemas.records.Drift` for the fields."""

    kind: DriftKind
    stream: str
    since: int
    ts_event: int
    ts_available: int
    moved: Literal["", "level", "spread"] = ""
    before: float | None = None
    after: float | None = None
    above: float | None = None
    times: list[int] = []
    values: list[float] = []
    run_time: float | None = None


class Stream:
    """One stream under watch, and when each of its last values was.

    ``equal`` counts the values in a row that are the last one: of a constant there is nothing to learn.
    """

    __slots__ = ("_bytes", "_seconds", "_watch", "equal", "last", "run_time")

    def __init__(self, run_time: float) -> None:
        self.run_time = run_time
        self._watch = Watch(detector(FAMILY, run_time), KEPT)
        self._seconds = array("I")
        self._bytes = b""
        self.last, self.equal = math.nan, 0

    def take(self, name: str, begin_ns: int, ts: int, available: int, value: float) -> Found | None:
        """Take a value, at most `LARGEST`, of a time that began at ``begin_ns``; return the market drift it completes.

        ``ts`` and ``available`` (ns) are when it was whole and known.
        """
        value = _SINGLE.unpack(_SINGLE.pack(value))[0]
        self.equal = self.equal + 1 if value == self.last else 0
        self.last, self._bytes = value, b""
        if self.equal >= CONSTANT:
            return None
        self._seconds.append(begin_ns // SECOND_NS)
        del self._seconds[:-KEPT]
        values = self._watch.values  # where it rings another array begins, and this one has what it rang for
        if (change := self._watch.update(value)) is None:
            return None
        times = [second * SECOND_NS for second in self._seconds]
        del self._seconds[: -change.since]
        return Found(
            kind="market",
            stream=name,
            since=times[-change.since],
            ts_event=ts,
            ts_available=available,
            moved=change.moved,
            before=change.before,
            after=change.after,
            above=change.above,
            times=times,
            values=values.tolist(),
            run_time=self.run_time,
        )

    def pack(self) -> bytes:
        """Return the state as bytes, at most 4.3 kB; nothing is done where no value came since."""
        if not self._bytes:
            header = _HEADER.pack(self.last, self.equal, len(self._seconds))
            self._bytes = header + self._seconds.tobytes() + self._watch.pack()
        return self._bytes

    def restore(self, data: bytes) -> None:
        """Take the state that `pack` wrote."""
        self.last, self.equal, count = _HEADER.unpack_from(data)
        at = _HEADER.size
        self._seconds = array("I", data[at : at + 4 * count])
        self._watch.restore(data[at + 4 * count :])


class Open(msgspec.Struct, array_like=True):
    """The period of bars that is open; ``start`` -1: none."""

    start: int = -1
    high: float = 0.0
    low: float = 0.0
    notional: float = 0.0
    spread: float = 0.0
    spreads: int = 0


class Mean(msgspec.Struct, array_like=True):
    """The period of scores that is open; ``start`` -1: none."""

    start: int = -1
    total: float = 0.0
    count: int = 0


class DriftState:
    """What is kept of one instrument to tell drift by: bounded, whatever its history.

    ``first_ns`` is when it was first heard of, 0 before that. ``active`` are the last drifts, each with until when
    alerts name it (ns). Packed streams are unpacked when their next value comes: a state that only passes through a
    checkpoint costs nothing.
    """

    __slots__ = ("active", "bars", "bundle", "feed", "first_ns", "mean", "packed", "risk", "streams", "texts")

    def __init__(self) -> None:
        self.first_ns = 0
        self.bundle = ""
        self.feed = Feed()
        self.bars = Open()
        self.risk = Mean()
        self.texts = 0
        self.mean = b""  # of embeddings, float32, little-endian
        self.streams: dict[str, Stream] = {}
        self.packed: dict[str, bytes] = {}
        self.active: list[tuple[Drifting, int]] = []

    def drifting(self, now_ns: int) -> list[Drifting]:
        """Return the drifts that an alert of ``now_ns`` (available time) names: what came with it is not known yet."""
        return [one for one, until in self.active if one.detected < now_ns < until]

    def moves(self, now_ns: int) -> bool:
        """Say whether what the instrument does was detected shortly before, or now, to be other than it was."""
        return any(one.stream in BEHAVES and one.detected <= now_ns < until for one, until in self.active)

    def keep(self, config: DriftConfig, found: Found) -> None:
        """Have alerts name a drift from now on; an instrument's being new is none, and stands on the topic alone."""
        if found.kind == "new_instrument":
            return
        told = Drifting(kind=found.kind, stream=found.stream, since=found.since, detected=found.ts_available)
        self.active = [*self.active, (told, found.ts_available + config.held_ns)][-ACTIVE:]

    def of_bundle(self, bundle: str) -> None:
        """Begin anew what models say, where it is another bundle's."""
        if bundle == self.bundle:
            return
        self.bundle, self.texts, self.mean, self.risk = bundle, 0, b"", Mean()
        self.forget(*MODELLED)

    def forget(self, *names: str) -> None:
        """Begin streams anew."""
        for name in names:
            self.streams.pop(name, None)
            self.packed.pop(name, None)

    def pack(self) -> bytes:
        """Return the state as bytes: 17 kB of bars, another 23 kB where there are texts, 1 kB beside them."""
        streams = dict(sorted((self.packed | {name: one.pack() for name, one in self.streams.items()}).items()))
        return _encode(
            _Packed(
                self.first_ns, self.bundle, self.feed, self.bars, self.risk, self.texts, self.mean, streams, self.active
            )
        )

    @staticmethod
    def unpack(data: bytes) -> DriftState:
        """Return the state that `pack` wrote."""
        packed, state = _decode(data), DriftState()
        state.first_ns, state.bundle, state.feed, state.bars = packed.first_ns, packed.bundle, packed.feed, packed.bars
        state.risk, state.texts, state.mean = packed.risk, packed.texts, packed.mean
        state.packed, state.active = packed.streams, packed.active
        return state


class _Packed(msgspec.Struct, array_like=True):
    first_ns: int
    bundle: str
    feed: Feed
    bars: Open
    risk: Mean
    texts: int
    mean: bytes
    streams: dict[str, bytes]
    active: list[tuple[Drifting, int]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode

Count = Callable[[dict[str, int]], None]


class Watcher:
    """Brings states up to date by bars, scores and texts; ``count`` is told of values that are passed over."""

    def __init__(self, config: DriftConfig, count: Count) -> None:
        self.config = config
        self._count = count

    def bars(self, state: DriftState, closed: ClosedBars) -> list[Found]:
        """Take closed bars; what the period tells comes with the bar that ends it, or with the first one beyond it."""
        found: list[Found] = []
        width, period = self.config.period_ns, state.bars
        rows = zip(
            closed.start.tolist(),
            closed.end.tolist(),
            closed.ts_available.tolist(),
            closed.prices.T.tolist(),
            closed.traded.T.tolist(),
            strict=True,
        )
        for start, end, available, (high, low, close), (notional, spread) in rows:
            for flaw in feed.take(self.config.feed, state.feed, start, end, high, low, close, spread):
                if flaw.kind == "unit_change":  # volume is in the price's unit
                    state.forget("volume")
                found.append(self._flawed(flaw, end, available))
            own = start - start % width
            if own < period.start:
                continue
            if 0 <= period.start < own:
                found += self._period(state, end, available)
                period = state.bars
            if period.start < 0:
                period.start, period.high, period.low = own, high, low
            elif high > period.high or low < period.low:
                period.high, period.low = max(period.high, high), min(period.low, low)
            period.notional += notional
            if spread == spread:
                period.spread, period.spreads = period.spread + spread, period.spreads + 1
            if end >= own + width:
                found += self._period(state, end, available)
                period = state.bars
        return found

    def _period(self, state: DriftState, ts: int, available: int) -> Iterator[Found]:
        period, state.bars = state.bars, Open()
        begin = period.start
        yield from self._value(state, "volatility", begin, ts, available, period.high / period.low - 1.0)
        yield from self._value(state, "volume", begin, ts, available, period.notional)
        if period.spreads:
            yield from self._value(state, "spread", begin, ts, available, period.spread / period.spreads)

    def score(self, state: DriftState, bundle: str, end: int, available: int, risk: float) -> list[Found]:
        """Take the risk at a bar's close (``end``, ns) that a bundle found."""
        state.of_bundle(bundle)
        found: list[Found] = []
        width, mean = self.config.period_ns, state.risk
        own = (end - 1) - (end - 1) % width
        if own < mean.start:
            return found
        if 0 <= mean.start < own:
            found += self._mean(state, end, available)
            mean = state.risk
        mean.start, mean.total, mean.count = own, mean.total + risk, mean.count + 1
        if end >= own + width:
            found += self._mean(state, end, available)
        return found

    def _mean(self, state: DriftState, ts: int, available: int) -> Iterator[Found]:
        mean, state.risk = state.risk, Mean()
        yield from self._value(state, "risk", mean.start, ts, available, mean.total / mean.count)

    def text(
        self, state: DriftState, bundle: str, ts: int, available: int, tone: float, vector: bytes
    ) -> Iterator[Found]:
        """Take a text's tone and embedding (float32, little-endian), which a bundle's encoder made.

        Words that change while the market does not are other texts, not other news.
        """
        state.of_bundle(bundle)
        embedding = np.frombuffer(vector, "<f4")
        if not np.isfinite(embedding).all():
            self._count({f"drift_not_finite: {WORDS}": 1})
            return
        mean = np.frombuffer(state.mean, "<f4") if state.mean else embedding
        apart = embedding - mean
        state.texts += 1
        state.mean = (mean + apart / np.float32(min(state.texts, MEMORY))).astype("<f4").tobytes()
        # Not by BLAS: its order of summation, and so this state's last bits, are the processor's.
        projected = np.einsum("i,ij->j", embedding, directions(len(embedding))[:, :PROJECTED])
        values = (tone, float(np.sqrt(np.einsum("i,i", apart, apart))), *map(float, projected))
        words: Found | None = None
        for name, value in zip(TEXTS, values, strict=True):
            for found in self._value(state, name, ts, ts, available, value):
                if name == TONE:
                    yield found
                else:
                    words = words or found  # several projections tell of one change
        if words is not None:
            alone = not state.moves(available)
            yield msgspec.structs.replace(words, stream=WORDS, kind="vocabulary" if alone else "market")
            # Distances from a mean of before would shrink for long.
            state.texts, state.mean = 0, b""
            state.forget(*EMBEDDED)

    def silent(self, state: DriftState, newest_ns: int, available: int) -> Iterator[Found]:
        """Look at a feed whose deadline has passed; ``available`` (ns) is when that was known."""
        at = state.feed.deadline_ns
        if flaw := feed.silent(self.config.feed, state.feed, newest_ns):
            yield self._flawed(flaw, at, available)

    def _flawed(self, flaw: feed.Flaw, ts: int, available: int) -> Found:
        return Found(
            kind=flaw.kind,
            stream=flaw.stream,
            since=flaw.since_ns,
            ts_event=ts,
            ts_available=available,
            before=flaw.before,
            after=flaw.after,
            run_time=self.config.feed.run_time,
        )

    def _value(
        self, state: DriftState, name: str, begin: int, ts: int, available: int, value: float
    ) -> Iterator[Found]:
        if not abs(value) <= LARGEST:
            self._count({f"drift_not_finite: {name}": 1})
            return
        if (stream := state.streams.get(name)) is None:
            run_time = shared(self.config.run_time, len(TEXTS if name in TEXTS else NUMBERS))
            stream = state.streams[name] = Stream(run_time)
            if kept := state.packed.pop(name, None):
                stream.restore(kept)
        if found := stream.take(name, begin, ts, available, value):
            yield found
        elif stream.equal >= CONSTANT:
            self._count({f"drift_constant: {name}": 1})
