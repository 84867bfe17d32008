"""A day in order books: the same seed gives the same bytes, frames are sound, and tape and orders agree."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from engines.instruments import SymbolMaster
from engines.simulator.day import Config, Day, simulate
from engines.simulator.flow import background
from engines.simulator.lob import session
from engines.simulator.words import Company
from monitor.converters.messages import frame_messages
from schemas import codec
from schemas.frames import Kind
from schemas.order_frames import Action, OrderFrame

COMPANIES = [Company(x.instrument, x.symbol, x.name) for x in SymbolMaster.load().listings.values()][:6]
SHORT = Config(model="agents", hours=0.5, typologies=("spoofing", "wash_trading", "cross_product", "trading_halt"))
MODELS = [SHORT, replace(SHORT, model="queues")]


def day_of(config: Config) -> Day:
    return next(simulate(config, COMPANIES))


def bytes_of(day: Day) -> list[bytes]:
    return [message.value for frame in (*day.ticks, *day.order_frames) for message in frame_messages(frame)]


@pytest.mark.parametrize("config", MODELS, ids=["agents", "queues"])
def test_same_seed_same_bytes_and_another_seed_others(config: Config) -> None:
    first, second, other = day_of(config), day_of(config), day_of(replace(config, seed=8))
    assert bytes_of(first) == bytes_of(second) != bytes_of(other)
    assert first.labels == second.labels != other.labels


@pytest.mark.parametrize("config", MODELS, ids=["agents", "queues"])
def test_frames_pass_the_codec_and_stand_in_order_of_arrival(config: Config) -> None:
    day = day_of(config)
    for frame in (*day.ticks, *day.order_frames):
        assert (np.diff(frame.ts_available) >= 0).all()
        assert (frame.ts_available > frame.ts_event).all()
        rows = 0
        for message in frame_messages(frame):
            part = codec.decode(message.topic, message.key, message.value, message.timestamp_ms)
            rows += len(part)  # type: ignore[arg-type]
            if isinstance(part, OrderFrame):
                whole = frame[rows - len(part) : rows]
                assert [part.accounts[k] for k in part.account] == [frame.accounts[k] for k in whole.account]  # type: ignore[union-attr]
        assert rows == len(frame)


@pytest.mark.parametrize("config", MODELS, ids=["agents", "queues"])
def test_trades_of_the_tape_are_the_fills_of_two_orders(config: Config) -> None:
    day = day_of(config)
    for ticks, orders in zip(day.ticks, day.order_frames, strict=True):
        assert ticks.instrument == orders.instrument
        trades, fills = ticks[ticks.kind == Kind.TRADE], orders[orders.action == Action.FILL]
        assert np.array_equal(np.sort(trades.trade_id), np.unique(fills.trade))
        assert (np.unique(fills.trade, return_counts=True)[1] == 2).all()
        assert trades.size.sum() * 2 == fills.size.sum()
        quotes = ticks[ticks.kind == Kind.QUOTE]
        assert (quotes.bid < quotes.ask).all()


def test_a_quiet_day_and_one_with_an_event_differ_in_its_instruments_alone() -> None:
    quiet, spoofed = day_of(replace(SHORT, typologies=())), day_of(replace(SHORT, typologies=("spoofing",)))
    touched = {name for label in spoofed.labels for name in label.instruments}
    for before, after in zip(quiet.order_frames, spoofed.order_frames, strict=True):
        same = len(before) == len(after) and np.array_equal(before.price, after.price)
        assert same or before.instrument.split(".")[0] in {name.split(".")[0] for name in touched}


def test_nothing_happens_in_a_halt() -> None:
    day = day_of(SHORT)
    (label,) = (label for label in day.labels if label.typology == "trading_halt")
    orders = next(frame for frame in day.order_frames if frame.instrument == label.instruments[0])
    assert not ((orders.ts_event >= label.onset_ns) & (orders.ts_event < label.end_ns)).any()


def test_order_numbers_are_unique_over_days_and_prices_follow_on() -> None:
    friday, monday = simulate(replace(SHORT, start=date(2025, 3, 7), days=2, typologies=()), COMPANIES)
    numbers = [set(frame.order.tolist()) for day in (friday, monday) for frame in day.order_frames]
    assert len(set.union(*numbers)) == sum(len(some) for some in numbers)
    for before, after in zip(friday.ticks[:6], monday.ticks[:6], strict=True):
        close = before.price[before.kind == Kind.TRADE][-1]
        assert after.price[after.kind == Kind.TRADE][0] == pytest.approx(close, rel=0.01)


def test_news_moves_the_price_and_the_book_follows() -> None:
    day = day_of(replace(SHORT, hours=2.0, typologies=("news_shock",)))
    label = day.labels[0]
    ticks = next(frame for frame in day.ticks if frame.instrument == label.instruments[0])
    trades = ticks[ticks.kind == Kind.TRADE]
    before = trades.price[trades.ts_event < label.onset_ns][-1]
    after = trades.price[trades.ts_event > label.end_ns][0]
    assert after < 0.98 * before


@pytest.mark.parametrize(("channel", "least", "most"), [("post", 0.0002, 0.001), ("call", 0.0003, 0.0012)])
def test_posts_and_adverse_calls_move_the_price_a_little(channel: str, least: float, most: float) -> None:
    """By what docs/simulator.md says, each; twenty of them stand out of what the market does by itself."""
    base = background(np.random.default_rng(3), np.array([40.0]), np.ones(1), 1_800, 3.0)
    words = [session.Heard(300 + 30 * k, 0, "bearish", channel) for k in range(20)]  # type: ignore[arg-type]
    last = []
    for heard in ([], words):
        seeds = np.random.SeedSequence(5)
        played = session.play(
            "agents", seeds, base, COMPANIES[:1], np.ones(1), heard, (),
            strength=1.0, disguise=0.0, open_ns=0, number=0, first_order=0,
        )  # fmt: skip
        quotes = played.ticks[0][played.ticks[0].kind == Kind.QUOTE]
        last.append(float(np.log(quotes.bid[-1])))
    assert -20 * most - 0.003 < last[1] - last[0] < -20 * least + 0.003


def test_typologies_of_a_book_are_known_to_books_alone() -> None:
    with pytest.raises(ValueError, match="Unknown typology spoofing; known are pump_and_dump, "):
        day_of(Config(typologies=("spoofing",)))
