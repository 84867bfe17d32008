"""The tick engine: frames in, closed bars and tracks of scores out, one state an instrument.

What stands for a tick is fixed at the start of its bar's ticks (scales, reference, sums of the window so far), and
what varies from tick to tick is carried in tick order; so scores are vectorised over a frame, and every framing of the
same ticks gives the same bits.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from engines import anomaly, features, halfspace
from engines.anomaly import AnomalyConfig
from engines.clean import CleanConfig, Sieve, clean
from engines.features import Scales
from engines.halfspace import ForestConfig
from engines.instruments import EQUITY
from engines.state import MINUTE_NS, TickState
from engines.tracks import ClosedBars, TickUpdate, Track
from engines.typologies import pump_and_dump
from engines.typologies.pump_and_dump import Evidence, PumpConfig
from engines.windows import (
    BUY,
    NOTIONAL,
    ORDERS,
    QUOTES,
    RING,
    SELL,
    SPREAD,
    TRADES,
    VOLUME,
    BarSpec,
    OpenBar,
    Windows,
    extremes,
    is_full,
    segments,
    summands,
)
from schemas.alerts import Explanation
from schemas.frames import Frame, Kind

#: As plain numbers: looking a member of an enum up takes longer than the comparison.
TRADE, CORRECTION, CANCEL = int(Kind.TRADE), int(Kind.CORRECTION), int(Kind.CANCEL)
RESTATED = (CORRECTION, CANCEL)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)


class TickConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All that can change a decision on ticks.

    ``pump_equity`` has the thresholds of shares, ``pump`` those of all others, and the times of both.
    ``baseline_half_life_ns`` (ns) is of trailing rates; ``memory_bars`` is how many bars a trailing scale remembers,
    `of_bars` what follows from a width of bars.
    """

    bars: BarSpec = BarSpec()
    clean: CleanConfig = CleanConfig()
    anomaly: AnomalyConfig = AnomalyConfig()
    pump: PumpConfig = PumpConfig()
    pump_equity: PumpConfig = pump_and_dump.OF_CLASS[EQUITY]
    forest: ForestConfig = ForestConfig()
    baseline_half_life_ns: int = 43_200_000_000_000
    memory_bars: int = 256

    def __post_init__(self) -> None:
        if self.bars.kind == "time" and self.pump.window_ns > RING * self.bars.width_ns:
            raise ValueError(
                f"pump.window_ns: expected at most {RING} bars of {self.bars.width_ns} ns, found {self.pump.window_ns}"
            )

    @classmethod
    def of_bars(cls, bars: BarSpec, pump: PumpConfig) -> TickConfig:
        """Return the configuration for bars of a width: rates remember at least as many bars as scales do.

        Twelve hours of bars of days would be no memory at all: the tail of jumps would be fitted to the last bar.
        """
        usual = cls(bars=bars, pump=pump)
        half_life_ns = max(usual.baseline_half_life_ns, usual.memory_bars * bars.width_ns)
        return msgspec.structs.replace(usual, baseline_half_life_ns=half_life_ns)

    def digest(self) -> str:
        """Return 16 hex digits that stand for this configuration."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:16]


class _Jump(NamedTuple):
    """Ticks of one bar in one run, one of them at least beyond the tail."""

    first: int  # row among the frame's trades
    statistic: Floats
    trading: Floats | None  # 0 while halted, else 1; None where nothing is halted
    tail: anomaly.Tail
    bars_before: int


class _Rush(NamedTuple):
    """Ticks of one bar in one run, one of them at least above the high of the hours before."""

    first: int
    evidence: Evidence
    trading: Floats | None


@dataclass(slots=True)
class _Work:
    """What the pass over a frame's runs leaves for scoring: a part for each run, a number for each bar of a run.

    Most bars have no tick that can score more than 0; ``jumps`` and ``rushes`` are those that have.
    """

    ts: list[Ints] = field(default_factory=list)
    available: list[Ints] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    bar_starts: list[int] = field(default_factory=list)
    trades: int = 0
    jumps: list[_Jump] = field(default_factory=list)
    rushes: list[_Rush] = field(default_factory=list)
    closed: list[tuple[OpenBar, int]] = field(default_factory=list)
    features: list[list[float]] = field(default_factory=list)


class TickEngine:
    """Applies frames and the passing of time to the state of an instrument.

    Example
    -------
    >>> from schemas.frames import frame_of
    >>> engine = TickEngine(TickConfig())
    >>> state = engine.new_state()
    >>> frame = frame_of("ACME.XNYS", {"ts_event": [0, 11 * 10**9], "price": [10.0, 11.0], "size": [1.0, 2.0]})
    >>> update = engine.apply(state, frame)
    >>> [track.head for track in update.tracks], update.bars.end.tolist()
    (['anomaly', 'pump_and_dump'], [5000000000])
    """

    def __init__(self, config: TickConfig, asset_class: Callable[[str], str] = lambda _: "") -> None:
        self.config = config
        self._asset_class = asset_class
        self.forest = halfspace.grow(config.forest, len(features.NAMES))

    def new_state(self) -> TickState:
        """Return the state of an instrument that has seen nothing."""
        return TickState(
            Sieve(),
            Windows(),
            Scales(),
            halfspace.new_masses(self.forest),
            anomaly.Ranks(),
        )

    def apply(self, state: TickState, frame: Frame) -> TickUpdate:
        """Apply a frame to ``state``, in place, and return what it changed.

        Both tracks have a row for each trade that counts and is on time, in the frame's order.
        """
        if not len(frame):
            return TickUpdate()
        cleaned = clean(self.config.clean, state.sieve, frame)
        counts, halted = cleaned.counts, cleaned.halted
        if cleaned.keep is not None:
            kept = cleaned.keep.nonzero()[0]
            frame, halted = frame[kept], None if halted is None else halted[kept]
        work = _Work()
        for start, stop in _runs(frame):
            if frame.kind.item(start) in RESTATED:
                _adjust(state, frame, start, counts)
                continue
            whole = start == 0 and stop == len(frame)
            part = frame if whole else frame[start:stop]
            self._run(state, part, None if halted is None else halted[start:stop], work, counts)
        ((bars, ranks),) = self._bars([(state, work)])
        update = TickUpdate(bars, self._tracks(work, ranks, self._asset_class(frame.instrument)), counts)
        self._mark(state)
        return update

    def advance(self, state: TickState, now_ns: int) -> TickUpdate:
        """Close the bars that the clock ``now_ns`` (int64 ns) makes due, and return them."""
        return self.advance_all([state], now_ns)[0]

    def advance_all(self, states: Sequence[TickState], now_ns: int) -> list[TickUpdate]:
        """Do what `advance` does for each of several instruments, at a fraction of the cost."""
        spec = self.config.bars
        closings = []
        for state in states:
            work = _Work()
            for bar in state.windows.due(spec, now_ns - spec.grace_ns - spec.idle_grace_ns):
                # Known from that moment on, however coarse the clock that tells it.
                self._close(state, bar, bar.end + spec.grace_ns + spec.idle_grace_ns, work)
                state.windows.closed_until = max(state.windows.closed_until, bar.end)
            closings.append((state, work))
            self._mark(state)
        return [TickUpdate(bars) for bars, _ in self._bars(closings)]

    def _mark(self, state: TickState) -> None:
        spec, windows = self.config.bars, state.windows
        state.watermark_ns = windows.newest - spec.grace_ns
        waiting = spec.kind == "time" and windows.open
        state.deadline_ns = windows.open[0].end + spec.grace_ns + spec.idle_grace_ns if waiting else 0

    def _run(self, state: TickState, frame: Frame, halted: Mask | None, work: _Work, counts: dict[str, int]) -> None:
        """Take ticks in order of ts_event into their bars."""
        spec, windows = self.config.bars, state.windows
        bound = windows.closed_until if spec.kind == "time" else windows.newest - spec.grace_ns
        if frame.ts_event.item(0) < bound:
            late = int(frame.ts_event.searchsorted(bound))
            state.late += late
            counts["late"] = counts.get("late", 0) + late
            if spec.kind != "time":  # only there can an open bar span the time of a late trade
                state.sieve.late.extend(number for number in frame.trade_id[:late].tolist() if number)
            frame, halted = frame[late:], None if halted is None else halted[late:]
            if not len(frame):
                return
        trade = frame.kind == TRADE if np.count_nonzero(frame.kind) else None
        ts, available, price = frame.ts_event, frame.ts_available, frame.price
        sums = summands(frame, trade, state.last_price, state.last_ts)  # (sums, n)
        bounds = segments(spec, windows, ts, sums[VOLUME], sums[TRADES])
        high, low = extremes(price, trade, bounds)
        calm_high, calm_low, trading = high, low, None
        if halted is not None and halted.any():
            calm = ~halted if trade is None else trade & ~halted
            calm_high, calm_low = extremes(price, calm, bounds)
            trading = (~halted).astype(np.float64)
        for i, (s, e) in enumerate(itertools.pairwise(bounds)):
            first, last = ts.item(s), ts.item(e - 1)
            windows.newest = max(windows.newest, first)
            self._close_due(state, available.item(s), work)
            bar = windows.bar_at(spec, first)
            part, ticks, mask = sums[:, s:e], price[s:e], None
            if bar.sums[TRADES] or bar.sums[QUOTES]:
                part[:, 0] += bar.sums[: len(part)]
            np.add.accumulate(part, axis=1, out=part)
            bar.sums[: len(part)] = part[:, -1].tolist()
            if trade is not None:
                mask = trade[s:e]
                ticks = ticks[mask]
            if high[i] > 0.0:
                bar.open = bar.open if bar.open == bar.open else ticks.item(0)
                bar.close = ticks.item(-1)
                bar.high, bar.low = max(bar.high, high[i]), min(bar.low, low[i])
            if calm_high[i] > 0.0:
                calm_part = None if trading is None else _picked(trading[s:e], mask)
                self._note(state, bar, calm_high[i], calm_low[i], ticks, part, calm_part, mask, work)
            windows.newest = max(windows.newest, last)
            work.bar_starts.append(bar.start)
            work.lengths.append(len(ticks))
            work.trades += len(ticks)
            if spec.kind != "time":
                bar.end = max(bar.end, last + 1)
                if is_full(spec, bar):
                    windows.open.remove(bar)
                    self._close(state, bar, available.item(e - 1), work)
        if trade is not None:
            ts, available, price = ts[trade], available[trade], price[trade]
        work.ts.append(ts)
        work.available.append(available)
        if len(ts):
            state.last_price, state.last_ts = price.item(-1), ts.item(-1)

    def _note(
        self,
        state: TickState,
        bar: OpenBar,
        high: float,
        low: float,
        ticks: Floats,
        sums: Floats,
        trading: Floats | None,
        trade: Mask | None,
        work: _Work,
    ) -> None:
        """Keep a bar's new ``ticks``, priced from ``low`` to ``high``, for scoring where one of them can score.

        The statistics grow with the distance of the price, so that the extremes tell.
        """
        config, scales = self.config, state.scales
        if scales.bars >= config.anomaly.warm_up_bars:
            reference = scales.last_close
            root = math.sqrt(features.gap(config.bars, scales, bar.end))
            per_move = 1.0 / (max(scales.move, features.FLOOR) * root)
            most = max(abs(high / reference - 1.0), abs(low / reference - 1.0)) * per_move
            bar.jump = max(bar.jump, most)
            if most > config.anomaly.tail:
                statistic = np.abs(ticks / reference - 1.0) * per_move
                tail = anomaly.fit(config.anomaly, scales)
                work.jumps.append(_Jump(work.trades, statistic, trading, tail, len(work.closed)))
        pump = config.pump
        if scales.span_ns < pump.warm_up_ns or state.minutes[0] + MINUTE_NS > bar.start - pump.reference_lag_ns:
            return
        # A block and the one after it stay out, so that the first seconds of a pump are no high to be broken.
        top = state.high_before(bar.start - pump.high_ns, bar.start - 2 * pump.reference_lag_ns)
        if high > top:
            before = state.price_before(bar.start - pump.reference_ns, bar.start - pump.reference_lag_ns)
            bought, orders = state.windows.before(bar, pump.window_ns)
            share = pump.window_ns / scales.span_ns
            evidence = Evidence(
                ticks,
                before,
                top or before,
                _picked(sums[BUY], trade) + bought,
                _picked(sums[ORDERS], trade) + orders,
                scales.money * share,
                scales.orders * share,
            )
            work.rushes.append(_Rush(work.trades, evidence, trading))

    def _close_due(self, state: TickState, available: int, work: _Work) -> None:
        spec, windows = self.config.bars, state.windows
        if spec.kind != "time":
            return
        watermark = windows.newest - spec.grace_ns
        for bar in windows.due(spec, watermark):
            self._close(state, bar, available, work)
        windows.closed_until = max(windows.closed_until, watermark - watermark % spec.width_ns)

    def _close(self, state: TickState, bar: OpenBar, available: int, work: _Work) -> None:
        if not bar.sums[TRADES] > 0:
            return
        config, scales = self.config, state.scales
        work.closed.append((bar, available))
        work.features.append(features.of_bar(config.bars, scales, bar))
        features.learn(config.bars, scales, bar, config.memory_bars, config.baseline_half_life_ns, config.anomaly.tail)
        state.windows.keep(bar)
        block_ns = config.pump.reference_lag_ns
        state.note(bar, block_ns, config.pump.high_ns // block_ns + 2)

    def _bars(self, closings: Sequence[tuple[TickState, _Work]]) -> list[tuple[ClosedBars | None, list[float]]]:
        """Judge the bars that each instrument closed by the half-space trees.

        Return the bars, None where there are none, and the ranks of the bar before them and of each.
        """
        said: list[tuple[ClosedBars | None, list[float]]] = []
        if values := [row for _, work in closings for row in work.features]:
            rows = np.minimum(np.maximum(np.array(values), -features.CLIP), features.CLIP)  # (n, features)
            found = halfspace.leaves(self.forest, 0.5 + rows / (4.0 + 2.0 * np.abs(rows)))
            kept = rows.astype(np.float32)
            times = np.array(
                [(bar.start, bar.end, available) for _, work in closings for bar, available in work.closed], np.int64
            ).T
            # Of prices and of what was traded, (5, n).
            traded = np.array(
                [
                    (
                        bar.high,
                        bar.low,
                        bar.close,
                        bar.sums[NOTIONAL],
                        bar.sums[SPREAD] / (bar.sums[QUOTES] or math.nan),
                    )
                    for _, work in closings
                    for bar, _ in work.closed
                ]
            ).T
        end = 0
        for state, work in closings:
            ranks = [state.bar_anomaly]
            if not work.closed:
                said.append((None, ranks))
                continue
            own = slice(end, end := end + len(work.closed))
            scores = halfspace.score_and_learn(self.forest, state.masses, found[own])
            ranks += [anomaly.rank(state.ranks, score) for score in scores.tolist()]
            state.bar_anomaly = ranks[-1]
            starts, ends, available = times[:, own]
            prices, sums = traded[:3, own], traded[3:, own]
            said.append((ClosedBars(starts, ends, available, kept[own], np.array(ranks[1:]), prices, sums), ranks))
        return said

    def _tracks(self, work: _Work, ranks: list[float], asset_class: str) -> tuple[Track, ...]:
        """Score the ticks of a frame: the arrays that follow have shape (n,), trades in order of arrival."""
        if not work.trades:
            return ()
        config = self.config
        pump = config.pump_equity if asset_class == EQUITY else config.pump
        ts, available = _joined(work.ts), _joined(work.available)
        surprise, pumped = np.zeros(work.trades), np.zeros(work.trades)
        jumps = [(jump, anomaly.rarity(config.anomaly, ranks[jump.bars_before])) for jump in work.jumps]
        for jump, rarity in jumps:
            found = anomaly.score(config.anomaly, jump.statistic, *jump.tail, rarity)
            surprise[jump.first : jump.first + len(found)] = found if jump.trading is None else found * jump.trading
        for rush in work.rushes:
            found = pump_and_dump.score(pump, rush.evidence)
            pumped[rush.first : rush.first + len(found)] = found if rush.trading is None else found * rush.trading
        starts = np.array(work.bar_starts, dtype=np.int64).repeat(work.lengths)

        def explain_jump(i: int) -> Explanation:
            for jump, rarity in jumps:
                if 0 <= i - jump.first < len(jump.statistic):
                    statistic = float(jump.statistic[i - jump.first])
                    return anomaly.explain(config.anomaly, statistic, *jump.tail, 1.0 - 0.5 * rarity)
            return Explanation()

        def explain_rush(i: int) -> Explanation:
            for rush in work.rushes:
                if 0 <= i - rush.first < len(rush.evidence.price):
                    return pump_and_dump.explain(pump, rush.evidence, i - rush.first)
            return Explanation()

        return (
            Track("anomaly", ts, available, surprise, starts, explain_jump, _stands_on_ticks, silent=not jumps),
            Track(
                "pump_and_dump",
                ts,
                available,
                pumped,
                starts - config.pump.window_ns,
                explain_rush,
                _stands_on_ticks,
                silent=not work.rushes,
            ),
        )


def _stands_on_ticks(_: int) -> Mapping[str, float]:
    return {"ticks": 1.0}


def _runs(frame: Frame) -> Iterator[tuple[int, int]]:
    """Yield row ranges in which ts_event does not step back; a correction or cancel stands alone."""
    ts, n = frame.ts_event, len(frame)
    cut = ts[1:] < ts[:-1]
    if np.count_nonzero(frame.kind):
        restated = (frame.kind == CORRECTION) | (frame.kind == CANCEL)
        cut |= restated[1:] | restated[:-1]
    at = 0
    if np.count_nonzero(cut):
        for row in (np.flatnonzero(cut) + 1).tolist():
            yield at, row
            at = row
    if at < n:
        yield at, n


def _adjust(state: TickState, frame: Frame, row: int, counts: dict[str, int]) -> None:
    """Restate or take back a trade in its bar's sums while the bar is open; prices already seen stay seen."""
    ts, price, size = int(frame.ts_event[row]), float(frame.price[row]), float(frame.size[row])
    cancel, number = frame.kind[row] == CANCEL, int(frame.trade_id[row])
    old_price, old_size = (price, size) if cancel else (float(frame.bid[row]), float(frame.bid_size[row]))
    bar = next((bar for bar in state.windows.open if bar.start <= ts < bar.end and bar.sums[TRADES] > 0), None)
    if bar is None:
        counts["late_correction"] = counts.get("late_correction", 0) + 1
        return
    # Without a number, a print that was set aside is known by its price: the bar has seen none such.
    if number in state.sieve.late if number else not bar.low <= old_price <= bar.high:
        counts["restated_set_aside"] = counts.get("restated_set_aside", 0) + 1
        return
    sums = bar.sums
    if cancel:
        volume, notional = -size, -price * size
        sums[TRADES] -= 1.0
        reason = "cancel"
    else:
        volume, notional = size - old_size, price * size - old_price * old_size
        reason = "correction"
    share = max(0.0, 1.0 + notional / sums[NOTIONAL]) if sums[NOTIONAL] > 0 else 0.0
    sums[VOLUME] = max(0.0, sums[VOLUME] + volume)
    sums[NOTIONAL] = max(0.0, sums[NOTIONAL] + notional)
    sums[BUY] *= share
    sums[SELL] *= share
    counts[reason] = counts.get(reason, 0) + 1


def _joined(parts: list[npt.NDArray[Scalar]]) -> npt.NDArray[Scalar]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _picked(rows: Floats, mask: Mask | None) -> Floats:
    return rows if mask is None else rows[mask]
