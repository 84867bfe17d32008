"""The quality of one instrument's feed, told apart from its market: silent, frozen, or in another unit.

Each is told where chance explains it less often than once in `FeedConfig.run_time` bars, by what is usual for the
instrument itself. Times of day and days of the week at which it was never seen to trade are no silence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from schemas.alerts import DriftKind

SLOT_NS = 1_800_000_000_000  # trading hours begin and end on half hours
DAY_NS = 48 * SLOT_NS
FARTHEST_SLOTS = 8 * 48  # beyond which no silence is foreseen: a week, and a day
#: 1970-01-01 was a Thursday; which day is which does not matter, only that they come again.
WEEK = 7
#: What a price is multiplied by, or divided by, where a unit changes or a share is split.
RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 8.0, 10.0, 20.0, 25.0, 50.0, 100.0, 1000.0)
_LOGS = tuple(math.log(ratio) for ratio in RATIOS)


class FeedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What decides on the quality of feeds.

    ``run_time`` is the expected number of bars between two false signals of a kind. ``warm_up`` bars are looked at
    before anything is said; trailing means forget over ``memory`` bars. ``least_silence_ns`` and ``least_still`` (bars)
    are what is never called stale or frozen. A new price level is within ``tolerance`` of a ratio, in its logarithm,
    holds for ``confirm`` bars, and spread and range, relative to the price, stay within ``alike`` times what they were.
    """

    run_time: float = 1_000_000.0
    warm_up: int = 96
    memory: int = 1024
    least_silence_ns: int = 60_000_000_000
    least_still: int = 24
    tolerance: float = 0.05
    confirm: int = 12
    alike: float = 3.0


class Level(msgspec.Struct, array_like=True):
    """A price level that may be another unit: since when (ns), from and to which price, how it went on."""

    since_ns: int
    before: float
    after: float
    ratio: float
    bars: int = 0
    range: float = 0.0
    spread: float = 0.0
    spreads: int = 0


class Feed(msgspec.Struct, array_like=True):
    """What is kept of a feed: its last bar, what is usual, how long it has been still, and a level under suspicion.

    ``slots`` and ``days`` are sets of bits: half hours of the day, days of the week at which there were bars. Gaps are
    between bars' ends, in ns of time at which there might have been one: their mean, their mean square, the longest of
    late. ``deadline_ns`` is when to look whether silence is stale (`silent`), 0: never. ``stays`` of ``stills`` bars
    that moved nothing were followed by another; ``rarity`` is -log of that share when the run began.
    """

    bars: int = 0
    close: float = 0.0
    end_ns: int = 0
    slots: int = 0
    days: int = 0
    gap_ns: float = 0.0
    square_ns2: float = 0.0
    longest_ns: float = 0.0
    deadline_ns: int = 0
    range: float = 0.0
    spread: float = 0.0
    still: int = 0
    still_since_ns: int = 0
    stills: float = 0.0
    stays: float = 0.0
    rarity: float = 0.0
    level: Level | None = None


class Flaw(NamedTuple):
    """What is wrong with a feed since when (ns), and how it was and is: prices, or ns of silence."""

    kind: DriftKind
    stream: str
    since_ns: int
    before: float
    after: float


def take(
    config: FeedConfig, feed: Feed, start: int, end: int, high: float, low: float, close: float, spread: float
) -> list[Flaw]:
    """Take a closed bar ``[start, end)`` (ns; prices; relative spread, NaN where not known); return its flaws."""
    range_, flaws = high / low - 1.0, []
    if feed.close > 0.0:
        if feed.bars >= config.warm_up and (flaw := _level(config, feed, start, close, range_, spread)):
            flaws.append(flaw)
        if (feed.still or high == low) and (flaw := _stillness(config, feed, start, high, low)):
            flaws.append(flaw)
        _gap(config, feed, start, end)
    slot = start // SLOT_NS
    feed.slots |= 1 << slot % 48
    feed.days |= 1 << slot // 48 % WEEK
    if feed.level is None:  # what is usual is that of before
        share = 1.0 / (feed.bars + 1 if feed.bars < config.memory else config.memory)  # min() takes longer
        feed.range += share * (range_ - feed.range)
        if spread == spread:
            feed.spread += (share if feed.spread else 1.0) * (spread - feed.spread)
    feed.bars, feed.close, feed.end_ns = feed.bars + 1, close, end if end > feed.end_ns else feed.end_ns
    # The least: when silence is stale takes as long to say as all else here, and most bars are followed by another.
    feed.deadline_ns = feed.end_ns + config.least_silence_ns if feed.bars >= config.warm_up else 0
    return flaws


def silent(config: FeedConfig, feed: Feed, newest_ns: int) -> Flaw | None:
    """Return what is wrong at the feed's deadline, ``newest_ns`` being its newest tick, and forget or move it.

    Ask again at a deadline that was moved: quotes may have gone on.
    """
    stale_ns = _deadline(config, feed, max(newest_ns, feed.end_ns))
    if not 0 < stale_ns <= feed.deadline_ns:
        feed.deadline_ns = stale_ns
        return None
    feed.deadline_ns = 0
    return Flaw("stale_feed", "ticks", newest_ns, feed.gap_ns, _patience(config, feed))


def _level(config: FeedConfig, feed: Feed, start: int, close: float, range_: float, spread: float) -> Flaw | None:
    if (level := feed.level) is None:
        moved = math.log(close / feed.close)
        if abs(moved) < _LOGS[0] - config.tolerance:
            return None
        nearest = min(_LOGS, key=lambda ratio: abs(abs(moved) - ratio))
        if abs(abs(moved) - nearest) <= config.tolerance:
            feed.level = Level(start, feed.close, close, math.exp(math.copysign(nearest, moved)))
        return None
    if abs(math.log(close / (level.before * level.ratio))) > 2 * config.tolerance:
        feed.level = None
        return None
    level.bars, level.after, level.range = level.bars + 1, close, level.range + range_
    if spread == spread:
        level.spread, level.spreads = level.spread + spread, level.spreads + 1
    if level.bars < config.confirm:
        return None
    feed.level = None
    calm = level.range / level.bars <= config.alike * feed.range
    spread_ = level.spread / level.spreads if level.spreads else feed.spread
    if not calm or not feed.spread / config.alike <= spread_ <= config.alike * feed.spread:
        return None
    return Flaw("unit_change", "price", level.since_ns, level.before, close)


def _stillness(config: FeedConfig, feed: Feed, start: int, high: float, low: float) -> Flaw | None:
    stays = high == low == feed.close
    keep = 1.0 - 1.0 / config.memory
    if feed.still:
        feed.stills, feed.stays = feed.stills * keep + 1.0, feed.stays * keep + stays
    if not stays:
        feed.still = 0
        return None
    if not feed.still:
        feed.still_since_ns, feed.rarity = start, math.log((feed.stills + 2.0) / (feed.stays + 1.0))
    feed.still += 1
    needed = max(config.least_still, math.ceil(math.log(config.run_time) / max(feed.rarity, 1e-9)))
    if feed.still != needed or feed.bars < config.warm_up:
        return None
    return Flaw("frozen_price", "price", feed.still_since_ns, feed.close, feed.close)


def _gap(config: FeedConfig, feed: Feed, start: int, end: int) -> None:
    gap = float(end - feed.end_ns)
    if start // SLOT_NS != feed.end_ns // SLOT_NS:
        gap = float(sum(stop - begin for begin, stop in _open(feed, feed.end_ns, end)))
    share = 1.0 / (feed.bars if feed.bars < config.memory else config.memory)
    feed.gap_ns += share * (gap - feed.gap_ns)
    feed.square_ns2 += share * (gap * gap - feed.square_ns2)
    longest = feed.longest_ns * (1.0 - 1.0 / config.memory)
    feed.longest_ns = gap if gap > longest else longest


def _patience(config: FeedConfig, feed: Feed) -> float:
    """Return the silence that chance explains once in ``run_time`` bars, ns.

    Gaps beyond what was seen are taken to be exponential, and as long as what is left of a gap on the average, which is
    more than the mean where short ones and long ones come by turns.
    """
    left = max(feed.gap_ns, 0.5 * feed.square_ns2 / feed.gap_ns)
    return max(config.least_silence_ns, math.log(config.run_time) * left, 2.0 * feed.longest_ns)


def _deadline(config: FeedConfig, feed: Feed, from_ns: int) -> int:
    """Return when silence since ``from_ns`` is stale, ns; 0: not in the week to come."""
    left = math.ceil(_patience(config, feed))
    if from_ns % SLOT_NS + left < SLOT_NS and _trades(feed, from_ns // SLOT_NS):
        return from_ns + left
    for begin, stop in _open(feed, from_ns, from_ns + FARTHEST_SLOTS * SLOT_NS):
        if stop - begin >= left:
            return begin + left
        left -= stop - begin
    return 0


def _open(feed: Feed, from_ns: int, until_ns: int) -> Iterator[tuple[int, int]]:
    """Yield the stretches of time, ns, at which there might be bars, one a half hour."""
    slot = from_ns // SLOT_NS
    last = min(slot + FARTHEST_SLOTS, until_ns // SLOT_NS)
    while slot <= last:
        if not feed.days >> slot // 48 % WEEK & 1:
            slot += 48 - slot % 48
            continue
        if _trades(feed, slot):
            yield max(from_ns, slot * SLOT_NS), min(until_ns, (slot + 1) * SLOT_NS)
        slot += 1


def _trades(feed: Feed, slot: int) -> bool:
    return bool(feed.slots >> slot % 48 & 1 and feed.days >> slot // 48 % WEEK & 1)
