"""Feeds: what is called silent, frozen or in another unit, and what is none of these."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from engines.drift.feed import SLOT_NS, Feed, FeedConfig, Flaw, silent, take

S = 1_000_000_000
BAR = 5 * S
MONDAY = 1_741_003_200 * S  # 2025-03-03, 12:00 UTC
CONFIG = FeedConfig()


def walk(count: int, *, seed: int = 1, move: float = 2e-4) -> list[float]:
    """Return prices that move in every bar."""
    steps = np.random.default_rng(seed).normal(0.0, move, count)
    return (100.0 * np.exp(np.cumsum(steps))).tolist()


def fed(prices: Iterable[float], feed: Feed, *, begin: int = MONDAY, spread: float = 1e-3) -> list[tuple[int, Flaw]]:
    """Feed a bar of each price, and return the flaws with the bar's number."""
    flaws = []
    for number, price in enumerate(prices):
        start = begin + number * BAR
        before = feed.close or price
        high, low = max(before, price), min(before, price)
        flaws += [(number, flaw) for flaw in take(CONFIG, feed, start, start + BAR, high, low, price, spread)]
    return flaws


def told(feed: Feed, newest_ns: int) -> tuple[int, Flaw | None]:
    """Look at each deadline, as the agent does, and return the one (ns) at which silence is told; 0: none."""
    while at := feed.deadline_ns:
        if flaw := silent(CONFIG, feed, newest_ns):
            return at, flaw
    return 0, None


def test_a_quiet_feed_has_no_flaw() -> None:
    assert fed(walk(20_000), Feed()) == []


@pytest.mark.parametrize("ratio", [10.0, 100.0, 2.0, 1.5, 0.1, 0.01, 0.25])
def test_a_price_in_another_unit_is_told_once_it_has_stayed(ratio: float) -> None:
    prices = walk(400)
    prices[300:] = [price * ratio for price in prices[300:]]
    ((number, flaw),) = fed(prices, Feed())
    assert number == 300 + CONFIG.confirm
    assert (flaw.kind, flaw.since_ns) == ("unit_change", MONDAY + 300 * BAR)
    assert flaw.after / flaw.before == pytest.approx(ratio, rel=0.01)


def test_a_jump_that_no_unit_makes_or_that_does_not_stay_is_none() -> None:
    jump, spike, pump = walk(400), walk(400), walk(400)
    jump[300:] = [price * 1.25 for price in jump[300:]]
    spike[300:305] = [price * 10 for price in spike[300:305]]
    pump[300:] = [price * 2 * math.exp(draw) for price, draw in zip(pump[300:], walk(100, move=1e-3), strict=True)]
    pump[300:] = [price * 2 * (1 + 0.01 * (n % 2)) for n, price in enumerate(walk(100))]  # moves as it never did
    assert fed(jump, Feed()) == fed(spike, Feed()) == fed(pump, Feed()) == []


def test_a_spread_that_is_not_scaled_alike_makes_it_no_unit() -> None:
    feed = Feed()
    fed(walk(300), feed)
    assert fed([price / 10 for price in walk(400)[300:]], feed, begin=MONDAY + 300 * BAR, spread=1e-2) == []


def test_a_price_that_stands_still_for_long_is_frozen() -> None:
    ((number, flaw),) = fed([*walk(300), *[walk(300)[-1]] * 200], Feed())
    assert (flaw.kind, flaw.since_ns) == ("frozen_price", MONDAY + 300 * BAR)
    assert number == 300 + CONFIG.least_still - 1


def test_who_often_stands_still_must_do_so_for_longer() -> None:
    draw = np.random.default_rng(1)
    prices = [100.0]
    for _ in range(5_000):  # nineteen bars in twenty move nothing
        prices.append(prices[-1] * (1 + 1e-3 * (draw.random() < 0.05)))
    feed = Feed()
    assert fed(prices, feed) == []
    ((number, _),) = fed([prices[-1]] * 400, feed, begin=MONDAY + len(prices) * BAR)
    # -log(1e6) / log(0.95) = 269 bars.
    assert 200 < number < 360


def test_silence_is_stale_after_what_chance_explains() -> None:
    feed = Feed()
    fed(walk(200), feed)
    end = MONDAY + 200 * BAR
    at, flaw = told(feed, end)
    assert at - end == pytest.approx(math.log(CONFIG.run_time) * BAR, rel=0.05)
    assert flaw is not None
    assert (flaw.kind, flaw.since_ns, feed.deadline_ns) == ("stale_feed", end, 0)  # said once


def test_quotes_keep_a_feed_alive() -> None:
    silenced, quoted = Feed(), Feed()
    fed(walk(200), silenced)
    fed(walk(200), quoted)
    at, _ = told(silenced, MONDAY + 200 * BAR)
    while quoted.deadline_ns < at:  # before quotes come
        assert silent(CONFIG, quoted, MONDAY + 200 * BAR) is None
    assert told(quoted, MONDAY + 210 * BAR)[0] == at + 10 * BAR


def test_an_hour_at_which_it_never_traded_is_no_silence() -> None:
    feed = Feed()
    fed(walk(SLOT_NS // BAR), feed)  # half an hour, to its end
    assert told(feed, feed.end_ns)[0] >= MONDAY + 7 * 48 * SLOT_NS  # the same half hour of the next Monday
    fed(walk(SLOT_NS // BAR), feed, begin=MONDAY + 48 * SLOT_NS)
    # Now Tuesdays are known too: in a week, on Monday.
    assert MONDAY + 7 * 48 * SLOT_NS < told(feed, feed.end_ns)[0] < MONDAY + 7 * 48 * SLOT_NS + SLOT_NS


def test_a_night_makes_no_gap() -> None:
    feed = Feed()
    fed(walk(SLOT_NS // BAR), feed)
    gap = feed.gap_ns
    fed(walk(2), feed, begin=MONDAY + 48 * SLOT_NS)
    assert feed.gap_ns == pytest.approx(gap, rel=0.01)


def test_nothing_is_said_in_the_warm_up() -> None:
    feed, prices = Feed(), walk(CONFIG.warm_up - 1)
    assert fed([*prices[:50], *(price * 10 for price in prices[50:])], feed) == []
    assert feed.deadline_ns == 0
