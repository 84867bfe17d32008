"""Signals by hand: what a period says, what is foretold of the next, and what is being said."""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import signals
from engines.signals import Moves, Opinion, Period, SignalConfig, SignalState

S = 1_000_000_000
HOUR, DAY = 3_600 * S, 86_400 * S
T0 = 1_700_000_000 * S - 1_700_000_000 * S % DAY
MINUTE = SignalConfig(horizon_ns=60 * S, least=10)
#: The log range of which Parkinson makes a volatility of 1.
RANGE = math.sqrt(4.0 * math.log(2.0))


def period(moves: Moves, number: int, volatility: float, close: float = 1.0, config: SignalConfig = MINUTE) -> Period:
    """Feed one bar that fills a period around a price of 1, with this volatility."""
    start = T0 + number * config.horizon_ns
    half = math.exp(0.5 * volatility * RANGE)
    found = signals.bar(config, moves, start, start + config.horizon_ns, half, 1.0 / half, close)
    assert found is not None
    return found


def floats(values: list[float]) -> bytes:
    return np.array(values, "<f4").tobytes()


# Periods.


def test_a_period_is_complete_with_the_bar_that_ends_it_or_the_first_beyond() -> None:
    """The bars of 20 s and their periods of a minute.

    ```
    | a   b   c | d       | e
    0  20  40  60         120
    ```
    """
    moves = Moves()

    def bar(at: int, high: float, low: float) -> Period | None:
        return signals.bar(MINUTE, moves, T0 + at * S, T0 + (at + 20) * S, high, low, low)

    assert bar(0, 1.0, 1.0) is None
    assert bar(20, math.exp(0.03 * RANGE), 1.0) is None
    assert bar(40, 1.0, math.exp(-0.02 * RANGE)) == Period(T0, T0 + 60 * S, pytest.approx(0.05))
    assert moves.made_at == T0 + 60 * S
    assert bar(60, 1.0, 1.0) is None
    # From the close before, 0.02 below, there is a range of 0.02, though all of its own trades were at one price.
    assert bar(120, 1.0, 1.0) == Period(T0 + 60 * S, T0 + 120 * S, pytest.approx(0.02))
    assert moves.made_at == T0 + 140 * S
    assert bar(80, 1.0, 0.5) is None  # of a period that is closed
    assert moves.low == 1.0


def test_what_never_varies_is_foretold_as_it_was() -> None:
    moves = Moves()
    for number in range(30):
        period(moves, number, 0.01)
    found = signals.forecast(MINUTE, moves)
    assert found is not None
    assert (found.volatility, found.low, found.high) == pytest.approx((0.01, 0.01, 0.01))
    assert (found.p_up, found.made_at, found.horizon_ns) == (0.5, T0 + 30 * 60 * S, 60 * S)
    assert found.adverse_move == pytest.approx(-0.02)
    # 29 returns of 0 and none below: half of one that is added.
    assert found.p_adverse == pytest.approx(0.5 / 30)


def test_a_wild_period_raises_the_next_forecast_and_calm_lowers_it_again() -> None:
    moves = Moves()
    said = []
    for number in range(90):
        period(moves, number, 0.05 if number == 60 else 0.01)
        said.append(moves.forecast)
    assert said[59] == pytest.approx(0.01)
    assert said[60] > 0.015
    assert all(earlier > later for earlier, later in pairwise(said[60:]))


def test_nothing_is_foretold_before_enough_forecasts_were_tried() -> None:
    moves = Moves()
    told = []
    for number in range(14):
        period(moves, number, 0.01)
        told.append(signals.forecast(MINUTE, moves) is not None)
    # The first period has no forecast before it: ten have been tried after the eleventh.
    assert told == [False] * 10 + [True] * 4


def test_the_interval_leaves_a_tenth_of_the_past_errors_on_either_side() -> None:
    moves = Moves(forecast=0.5, square=0.01, errors=floats([n / 100 for n in range(99, 0, -1)]))
    moves.returns = floats([0.0] * 99)
    found = signals.forecast(SignalConfig(), moves)
    assert found is not None
    assert math.log(found.low / 0.5) == pytest.approx(0.10, abs=1e-6)
    assert math.log(found.high / 0.5) == pytest.approx(0.90, abs=1e-6)


def test_odds_are_ranks_among_past_returns() -> None:
    """Of 64 returns over their forecasts 16 were down, 4 of them by more than the forecast."""
    moves = Moves(forecast=0.02, square=0.0001, errors=floats([0.0] * 64))
    moves.returns = floats([-3.0] * 4 + [-0.5] * 12 + [1.0] * 48)
    found = signals.forecast(SignalConfig(), moves)
    assert found is not None
    assert found.adverse_move == pytest.approx(-0.02)
    assert found.p_adverse == pytest.approx(4.5 / 65)
    assert found.p_up == pytest.approx((48 + 128) / (64 + 256))


def test_a_return_over_a_night_counts_for_nothing() -> None:
    moves = Moves()
    numbers = [0, 1, 2, 8, 15]  # five whole periods without a trade, then six
    tried = []
    for number in numbers:
        period(moves, number, 0.01)
        tried.append(len(moves.returns) // 4)
    assert tried == [0, 1, 2, 3, 3]


def test_a_price_that_stands_still_has_a_forecast_all_the_same() -> None:
    moves = Moves()
    for number in range(40):
        period(moves, number, 0.0)
    assert (moves.forecast, signals.forecast(MINUTE, moves)) == (0.0, None)
    for number in range(40, 80):
        period(moves, number, 0.01 if number % 2 else 0.0)
    found = signals.forecast(MINUTE, moves)
    assert found is not None
    assert found.low == 0.0 < found.volatility < found.high < 0.1


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(1e-15, 1e15), st.floats(1e-15, 1e15)), max_size=60))
def test_whatever_is_traded_what_is_told_is_finite_and_goes_over_the_wire(
    bars: list[tuple[int, float, float]],
) -> None:
    state, again, at = SignalState(), SignalState(), T0
    for step, one, other in bars:
        at += step * 30 * S
        high, low = max(one, other), min(one, other)
        signals.bar(MINUTE, state.moves, at, at + 30 * S, high, low, one)
        signals.bar(MINUTE, again.moves, at, at + 30 * S, high, low, one)
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(again), type=SignalState)
    assert again == state
    found = signals.forecast(MINUTE, state.moves)
    if found is not None:
        assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
        assert found.low <= found.high < math.inf


def test_eight_in_ten_fall_into_the_interval_and_adverse_moves_are_as_frequent_as_foretold() -> None:
    """A volatility that wanders, 200 trades a period: neither normal nor independent."""
    draw = np.random.default_rng(3)
    moves, log, price = Moves(), 0.0, 100.0
    inside, odds, fell = [], [], []
    for number in range(3_000):
        log = 0.95 * log + 0.2 * draw.normal()
        path = price * np.exp(np.cumsum(draw.normal(0.0, 0.002 * math.exp(log) / math.sqrt(200), 200)))
        before, told = price, signals.forecast(MINUTE, moves)
        start, price = T0 + number * 60 * S, float(path[-1])
        end = start + 60 * S
        found = signals.bar(MINUTE, moves, start, end, float(path.max()), float(path.min()), price)
        assert found is not None
        if told is not None:
            inside.append(told.low <= found.volatility <= told.high)
            odds.append(told.p_adverse)
            fell.append(math.log(price / before) < told.adverse_move)
    assert np.mean(inside) == pytest.approx(0.8, abs=0.03)
    assert np.mean(fell) == pytest.approx(float(np.mean(odds)), abs=0.01)
    wild = np.array(odds) > np.median(odds)
    assert np.mean(np.array(fell)[wild]) > 2.0 * np.mean(np.array(fell)[~wild])


def test_an_interval_that_no_number_of_errors_can_give_is_refused() -> None:
    with pytest.raises(ValueError, match="least from 10 to kept"):
        SignalConfig(least=9)


# Texts.


def said(opinion: Opinion, at: int, tone: float = 0.0, vector: list[float] | None = None) -> float | None:
    return signals.hear(SignalConfig(), opinion, at, tone, signals.small(floats(vector or [1.0, 0.0])))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_index_halves_a_texts_weight_with_every_half_life(order: tuple[int, ...]) -> None:
    opinion = Opinion()
    texts = [(T0, 1.0), (T0 + DAY, -1.0), (T0 + 2 * DAY, 0.5)]
    for n in order:
        said(opinion, *texts[n])
    found = signals.sentiment(SignalConfig(), opinion, T0 + 2 * DAY)
    assert found is not None
    assert found.index == pytest.approx((0.25 * 1.0 - 0.5 * 1.0 + 0.5) / 1.75)
    assert (found.weight, found.newest) == (pytest.approx(1.75), T0 + 2 * DAY)
    later = signals.sentiment(SignalConfig(), opinion, T0 + 3 * DAY)
    assert later is not None
    assert (later.index, later.weight) == (pytest.approx(found.index), pytest.approx(0.875))


def test_nothing_is_said_where_nothing_was_heard() -> None:
    assert signals.sentiment(SignalConfig(), Opinion(), T0) is None


def test_so_many_texts_or_more_by_the_geometric_law() -> None:
    """With one text before (Jeffreys' half left out) a negative binomial is geometric: P(N >= k) = share^k."""
    assert [signals.at_least(k, 1.0, 0.25) for k in range(4)] == pytest.approx([1.0, 0.25, 0.0625, 0.015625])


def test_five_texts_within_the_hour_are_a_burst_for_who_has_one_a_day() -> None:
    opinion, config = Opinion(), SignalConfig()
    found = None
    for day in range(21):
        said(opinion, T0 + day * DAY)
        found = signals.sentiment(config, opinion, T0 + day * DAY, 0.0)
        assert found is not None
        assert (found.burst, found.texts) == (None if day == 0 else 1.0, 1)
    assert found is not None
    assert found.expected == pytest.approx(1 / 24, rel=0.15)
    bursts = []
    for minute in range(1, 5):
        at = T0 + 20 * DAY + minute * 60 * S
        said(opinion, at)
        found = signals.sentiment(config, opinion, at, 0.0)
        assert found is not None
        bursts.append(found.burst or 0.0)
    # One more than expected of 1/24 is some 4 %; four more, about (1/24)^4 / 4!.
    assert bursts[0] == pytest.approx(1 / 24, rel=0.2)
    assert bursts[3] < 1e-6
    assert sorted(bursts, reverse=True) == bursts
    later = signals.sentiment(config, opinion, T0 + 21 * DAY)
    assert later is not None
    assert (later.texts, later.burst) == (0, 1.0)


def test_texts_by_chance_are_seldom_a_burst() -> None:
    """Poisson arrivals, three a day for two years: p-values at or below 0.05 come in at most one of twenty."""
    draw = np.random.default_rng(1)
    opinion, config, at, ps = Opinion(), SignalConfig(), T0, []
    for wait in draw.exponential(DAY / 3, 2_000):
        at += int(wait)
        said(opinion, at)
        found = signals.sentiment(config, opinion, at, 0.0)
        assert found is not None
        if found.burst is not None:
            ps.append(found.burst)
    assert 0.0 < np.mean(np.array(ps) <= 0.15) <= 0.15
    assert np.mean(np.array(ps) <= 0.05) <= 0.05


def test_memory_of_texts_is_bounded_and_what_leaves_is_counted() -> None:
    opinion, config = Opinion(), SignalConfig()
    for n in range(500):
        said(opinion, T0 + n * S)
    assert (len(opinion.recent), len(opinion.vectors)) == (config.texts_kept, config.vectors_kept)
    assert opinion.texts == pytest.approx(500 - config.texts_kept, rel=1e-3)


def test_novelty_is_the_angle_to_the_nearest_text_before() -> None:
    opinion = Opinion()
    assert said(opinion, T0, vector=[1.0, 0.0]) is None
    assert said(opinion, T0, vector=[0.5, 0.0]) == 0.0  # heard before, however loud
    assert said(opinion, T0, vector=[0.0, 1.0]) == 1.0
    assert said(opinion, T0, vector=[-1.0, 0.0]) == 1.0  # the opposite is as new as what is unrelated
    assert said(opinion, T0, vector=[1.0, 1.0]) == pytest.approx(1.0 - math.sqrt(0.5))
    assert said(opinion, T0, vector=[0.0, 0.0]) == 1.0
    assert said(opinion, T0, vector=[1.0, 0.0, 0.0]) is None  # of another encoder


def test_only_the_last_texts_are_known() -> None:
    opinion = Opinion()
    said(opinion, T0, vector=[1.0, 0.0])
    for _ in range(SignalConfig().vectors_kept - 1):
        said(opinion, T0, vector=[0.0, 1.0])
    assert said(opinion, T0, vector=[1.0, 0.0]) == 0.0
    for _ in range(SignalConfig().vectors_kept):
        said(opinion, T0, vector=[0.0, 1.0])
    assert said(opinion, T0, vector=[1.0, 0.0]) == 1.0


def test_a_small_vector_is_kept_to_a_thousandth() -> None:
    draw = np.random.default_rng(2)
    one, other = draw.normal(size=(2, 384))
    other += one
    cosine = float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    opinion = Opinion()
    said(opinion, T0, vector=one.tolist())
    assert said(opinion, T0, vector=other.tolist()) == pytest.approx(1.0 - cosine, abs=1e-3)
