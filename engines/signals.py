"""Signals of one instrument: how far it may move next, which way, and what is being said of it.

Three things are forecast at the close of each period of `SignalConfig.horizon_ns`, for the next period in which there
is a trade: the volatility, by trailing means of log ranges over one, a few, some and many periods (Corsi 2009, over
Parkinson's 1980 estimator); its interval, from the order statistics of the forecast's own past errors (split conformal,
Vovk 2005); the odds of a rise and of an adverse move, from the ranks of past standardised returns. None is told before
`SignalConfig.least` errors are known. Of texts there are an index of tone, the surprise of their number and the novelty
of each.

Everything is fed bar by bar and text by text, so that no framing of the same ticks changes a bit.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from engines.tracks import ClosedBars
from schemas.records import Forecast, Sentiment

LN2 = math.log(2.0)
#: E[range²] of a Brownian motion of unit variance (Parkinson 1980).
PARKINSON = 4.0 * LN2
#: Weight of the newest log range in each trailing mean: the last one, means over about 5, 22 and 256 periods.
RATES = (1.0, 2.0 / 6.0, 2.0 / 23.0, 2.0 / 257.0)
#: What each of them has to say. Weights learnt as it goes, by least squares, were no better on daily prices.
WEIGHTS = (0.15, 0.35, 0.35, 0.15)
#: A coin's throws, half of them up, that stand beside past returns: of directions little is to be learnt.
THROWS = 256
#: A log range further than this from the trailing mean is taken for one so far: a price that stands still has none.
WINSOR = math.log(10.0)
#: One past error in so many lies below the interval told, and one in as many above.
EITHER_SIDE = 10
#: A smaller p-value has no meaning: it is a difference of sums near 1.
LEAST_P = 1e-12

Floats = npt.NDArray[np.float64]


class SignalConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What signals are made by; times in ns.

    A return over more than ``max_gap`` whole periods without a trade (a night) counts for nothing. ``kept`` past errors
    and standardised returns are kept, ``least`` are needed. An adverse move is ``adverse`` trailing volatilities down.
    ``warm_up_ns`` is how long texts are counted before their number can surprise.
    """

    horizon_ns: int = 300_000_000_000
    max_gap: int = 5
    kept: int = 256
    least: int = 64
    adverse: float = 2.0
    tone_half_life_ns: int = 86_400_000_000_000
    window_ns: int = 3_600_000_000_000
    rate_half_life_ns: int = 604_800_000_000_000
    warm_up_ns: int = 86_400_000_000_000
    texts_kept: int = 64
    vectors_kept: int = 16

    def __post_init__(self) -> None:
        if self.horizon_ns < 1 or not EITHER_SIDE <= self.least <= self.kept:
            raise ValueError(
                f"expected horizon_ns of at least 1, least from {EITHER_SIDE} to kept, found {self.horizon_ns},"
                f" {self.least} and {self.kept}: an interval needs errors on both sides"
            )


class Moves(msgspec.Struct, array_like=True):
    """What is kept of an instrument's bars.

    ``start`` (ns, -1 for none), ``high``, ``low`` and ``close`` are of the period that is open, ``before`` is the close
    before it (0: none, or too long ago). ``means`` are those of `RATES`, ``square`` is the slowest of squared
    volatilities, ``bias`` that of the squared ratio of what came to what the logs foretold. ``forecast`` is of the open
    period, made at ``made_at`` (ns). ``errors`` (log of realised over forecast, -inf where nothing moved) and
    ``returns`` (over forecast) are float32, little-endian, oldest first.
    """

    start: int = -1
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    before: float = 0.0
    count: int = 0
    means: list[float] = []
    square: float = 0.0
    bias: float = 1.0
    forecast: float = 0.0
    made_at: int = 0
    errors: bytes = b""
    returns: bytes = b""


class Opinion(msgspec.Struct, array_like=True):
    """What is kept of an instrument's texts.

    ``tones`` and ``weight`` are sums that decay from ``at`` (ns, the newest text's time) on; ``recent`` are times (ns)
    of the latest texts, ascending; ``texts`` and ``span_ns`` are decaying sums up to ``counted_ns``, whose ratio is the
    trailing rate, and ``since_ns`` is where they began. ``vectors`` (int8, each its own scale) are of the last texts.
    """

    at: int = 0
    tones: float = 0.0
    weight: float = 0.0
    recent: list[int] = []
    texts: float = 0.0
    span_ns: float = 0.0
    counted_ns: int = 0
    since_ns: int = 0
    vectors: list[bytes] = []


class SignalState(msgspec.Struct, array_like=True):
    """What is kept of one instrument: about 3 kB, and 6 kB more where texts speak of it."""

    moves: Moves = msgspec.field(default_factory=Moves)
    opinion: Opinion = msgspec.field(default_factory=Opinion)


class Period(NamedTuple):
    """A period that closed: ``[start, end)`` in ns, and its volatility in log return units."""

    start: int
    end: int
    volatility: float


# How far it may move.


def bars(config: SignalConfig, moves: Moves, closed: ClosedBars) -> Iterator[tuple[Period, int, int]]:
    """Take closed bars as `bar` takes one; yield each period once it is complete, and before the next bar is taken.

    With it come the end (ns) of the bar that completed it and when that was available.
    """
    highs, lows, closes = closed.prices.tolist()
    if moves.high and moves.start <= closed.start.item(0) and closed.end.item(-1) < moves.start + config.horizon_ns:
        # Nearly always all of them are of the open period.
        moves.high, moves.low, moves.close = max(moves.high, *highs), min(moves.low, *lows), closes[-1]
        return
    times = zip(closed.start.tolist(), closed.end.tolist(), closed.ts_available.tolist(), strict=True)
    for (start, end, available), *prices in zip(times, highs, lows, closes, strict=True):
        if period := bar(config, moves, start, end, *prices):
            yield period, end, available


def bar(
    config: SignalConfig, moves: Moves, start: int, end: int, high: float, low: float, close: float
) -> Period | None:
    """Take a closed bar ``[start, end)`` (ns; prices in quote currency); return the last period that it completed.

    A period is complete with the bar that ends it, or with the first one beyond it. A bar belongs to the period in
    which it begins; one of an earlier period than the open one is left out.
    """
    completed = None
    width = config.horizon_ns
    own = start - start % width
    if own < moves.start:
        return None
    if 0 <= moves.start < own:
        if moves.high:
            completed = _complete(config, moves, end)
        elapsed = (own - moves.start) // width - 1
        moves.before = moves.close if elapsed <= config.max_gap else 0.0
        moves.high = 0.0
    elif not moves.high and moves.start == own:
        return None  # the period was completed by a bar that reached its end: what is left of it is late
    moves.start, moves.close = own, close
    moves.high, moves.low = (max(moves.high, high), min(moves.low, low)) if moves.high else (high, low)
    if end >= own + width:
        completed = _complete(config, moves, end)
        moves.high = 0.0
    return completed


def _complete(config: SignalConfig, moves: Moves, now_ns: int) -> Period:
    high, low = max(moves.high, moves.before), min(moves.low, moves.before or moves.low)
    volatility = math.log(high / low) / math.sqrt(PARKINSON)
    if moves.forecast:
        if moves.before:
            moves.returns = _kept(config, moves.returns, math.log(moves.close / moves.before) / moves.forecast)
        # Where more than a tenth of periods stand still, the interval begins at 0.
        moves.errors = _kept(config, moves.errors, math.log(volatility / moves.forecast) if volatility else -math.inf)
    if moves.means:
        foretold, slow = _foretold(moves), moves.means[-1]
        log = min(max(math.log(volatility) if volatility else -math.inf, slow - WINSOR), slow + WINSOR)
        moves.bias += _rate(moves.count, RATES[-1]) * (min((volatility / foretold) ** 2, 100.0) - moves.bias)
        moves.means = [mean + _rate(moves.count, r) * (log - mean) for mean, r in zip(moves.means, RATES, strict=True)]
        moves.square += _rate(moves.count, RATES[-1]) * (volatility * volatility - moves.square)
    elif volatility:
        moves.means, moves.square = [math.log(volatility)] * len(RATES), volatility * volatility
    if moves.means:
        moves.count += 1
        moves.forecast = _foretold(moves) * math.sqrt(moves.bias)
    moves.made_at = now_ns
    return Period(moves.start, moves.start + config.horizon_ns, volatility)


def _foretold(moves: Moves) -> float:
    return math.exp(sum(map(float.__mul__, moves.means, WEIGHTS)))


def _rate(count: int, least: float) -> float:
    return max(1.0 / (count + 1), least)


def _kept(config: SignalConfig, ring: bytes, value: float) -> bytes:
    return (ring + np.float32(value).tobytes())[-4 * config.kept :]


def forecast(config: SignalConfig, moves: Moves) -> Forecast | None:
    """Return what is foretold of the next period with a trade; None while too few forecasts have been tried."""
    if min(len(moves.errors), len(moves.returns)) < 4 * config.least:
        return None
    errors = np.sort(np.frombuffer(moves.errors, "<f4").astype(np.float64))  # (n,)
    returns = np.frombuffer(moves.returns, "<f4").astype(np.float64)  # (m,)
    # Among n + 1 exchangeable errors the next is as likely to have any rank.
    tail = (len(errors) + 1) // EITHER_SIDE
    low, high = errors[tail - 1], errors[-tail]
    fall = -config.adverse * math.sqrt(moves.square)
    return Forecast(
        made_at=moves.made_at,
        horizon_ns=config.horizon_ns,
        volatility=moves.forecast,
        low=moves.forecast * math.exp(low),
        high=moves.forecast * math.exp(high),
        p_up=1.0 - _below(returns, 0.0, THROWS),
        p_adverse=_below(returns, fall / moves.forecast, 1),
        adverse_move=fall,
    )


def _below(values: Floats, level: float, throws: int) -> float:
    """Return how probable a value below ``level`` is by those that were; ties and ``throws`` more go half and half."""
    count = np.count_nonzero(values < level) + 0.5 * np.count_nonzero(values == level)
    return float((count + 0.5 * throws) / (len(values) + throws))


# What is said of it.


def hear(config: SignalConfig, opinion: Opinion, ts: int, tone: float, vector: npt.NDArray[np.int8]) -> float | None:
    """Take a text of time ``ts`` (ns) and return its novelty, None for the first.

    ``tone`` is P(bullish) - P(bearish), ``vector`` (dim,) its embedding as `small` gives it.
    """
    opinion.since_ns = opinion.since_ns or ts
    opinion.counted_ns = opinion.counted_ns or ts
    if ts > opinion.at:
        keep = 2.0 ** ((opinion.at - ts) / config.tone_half_life_ns)
        opinion.tones, opinion.weight, opinion.at = opinion.tones * keep, opinion.weight * keep, ts
    weight = 2.0 ** ((ts - opinion.at) / config.tone_half_life_ns)
    opinion.tones += weight * tone
    opinion.weight += weight
    insort(opinion.recent, ts)
    beyond = opinion.recent[-config.texts_kept - 1] if len(opinion.recent) > config.texts_kept else 0
    until = max(opinion.at - config.window_ns, beyond)
    opinion.texts, opinion.span_ns, gone = _counted(config, opinion, until)
    opinion.counted_ns = max(opinion.counted_ns, until)
    opinion.recent = opinion.recent[gone:]
    return _novelty(config, opinion, vector)


def _counted(config: SignalConfig, opinion: Opinion, until_ns: int) -> tuple[float, float, int]:
    """Return the decayed number of texts and the decayed time (ns) up to ``until_ns``, and how many of the recent."""
    half_life_ns = config.rate_half_life_ns
    clock_ns = max(until_ns, opinion.counted_ns)
    keep = 2.0 ** ((opinion.counted_ns - clock_ns) / half_life_ns)
    gone = bisect_right(opinion.recent, until_ns)
    joined = sum(2.0 ** ((ts - clock_ns) / half_life_ns) for ts in opinion.recent[:gone])
    span_ns = opinion.span_ns * keep + (1.0 - keep) * half_life_ns / LN2
    return opinion.texts * keep + joined, span_ns, gone


def small(vector: bytes) -> npt.NDArray[np.int8]:
    """Return an embedding (float32, little-endian) in eight bits, (dim,): its largest component is 127 or -127."""
    wide = np.frombuffer(vector, "<f4")
    most = float(np.abs(wide).max(initial=0.0))
    return np.rint(wide * (127.0 / most)).astype(np.int8) if most else np.zeros(len(wide), np.int8)


def _novelty(config: SignalConfig, opinion: Opinion, vector: npt.NDArray[np.int8]) -> float | None:
    # Of another length where another bundle has spoken since: nothing to be held against.
    known = [held for held in opinion.vectors if len(held) == len(vector)]
    opinion.vectors = [*known, vector.tobytes()][-config.vectors_kept :]
    if not known:
        return None
    wide = vector.astype(np.int64)
    others = np.frombuffer(b"".join(known), np.int8).reshape(len(known), -1).astype(np.int64)  # (kept, dim)
    lengths = np.sqrt((others * others).sum(1) * float(wide @ wide))
    cosine = (others @ wide) / np.maximum(lengths, 1.0)
    return 1.0 - min(max(float(cosine.max()), 0.0), 1.0)


def sentiment(config: SignalConfig, opinion: Opinion, now_ns: int, novelty: float | None = None) -> Sentiment | None:
    """Return what is said of it at ``now_ns`` (ns); None where nothing ever was.

    Parameters
    ----------
    novelty
        That of a text which is being told of. A text comes when it comes: its own is left out of the number of texts
        that surprises, where ``now_ns`` is its time.
    """
    if not opinion.weight:
        return None
    now_ns = max(now_ns, opinion.at)
    texts, span_ns, gone = _counted(config, opinion, now_ns - config.window_ns)
    count = len(opinion.recent) - gone
    rate = (texts + 0.5) / span_ns if now_ns - opinion.since_ns >= config.warm_up_ns and span_ns else 0.0
    others = count - (count > 0 and opinion.recent[-1] == now_ns)
    return Sentiment(
        newest=opinion.at,
        half_life_ns=config.tone_half_life_ns,
        index=min(max(opinion.tones / opinion.weight, -1.0), 1.0),
        weight=opinion.weight * 2.0 ** ((opinion.at - now_ns) / config.tone_half_life_ns),
        window_ns=config.window_ns,
        texts=count,
        expected=rate * config.window_ns if rate else None,
        burst=at_least(others, texts + 0.5, config.window_ns / (span_ns + config.window_ns)) if rate else None,
        novelty=novelty,
    )


def at_least(count: int, shape: float, share: float) -> float:
    """Return the probability of ``count`` texts or more in a window, their rate known by those before only.

    With Jeffreys' prior the rate is a gamma variable of ``shape`` (texts before + 1/2), and the number a negative
    binomial one; ``share`` is the window's part of all the time.
    """
    mass = (1.0 - share) ** shape
    below = 0.0
    for n in range(count):
        below += mass
        mass *= (shape + n) / (n + 1) * share
    return max(1.0 - below, LEAST_P)
