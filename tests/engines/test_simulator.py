"""The simulator: the same seed gives the same day, and a day has what its labels say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date

import numpy as np
import numpy.typing as npt
import pytest

from engines.instruments import SymbolMaster
from engines.labels import Label
from engines.simulator.day import Config, Day, simulate
from engines.simulator.events import BENIGN, PLAN
from engines.simulator.words import Company
from schemas import frames, media
from schemas.frames import Frame, Kind

COMPANIES = [Company(x.instrument, x.symbol, x.name) for x in SymbolMaster.load().listings.values()]
SECOND_NS = 10**9
SHORT = Config(hours=1.0, ticks_a_second=8.0)


def day_of(config: Config, companies: list[Company] = COMPANIES) -> Day:
    return next(simulate(config, companies))


@pytest.fixture(scope="module")
def day() -> Day:
    return day_of(Config())


def ticks_of(day: Day, instrument: str) -> Frame:
    return next(frame for frame in day.ticks if frame.instrument == instrument)


def labels_of(day: Day, typology: str) -> list[Label]:
    found = [label for label in day.labels if label.typology == typology]
    assert len(found) == PLAN[typology]
    return found


def trades_between(frame: Frame, start_ns: int, end_ns: int) -> Frame:
    return frame[(frame.kind == Kind.TRADE) & (frame.ts_event >= start_ns) & (frame.ts_event < end_ns)]


def minute_returns(frame: Frame) -> npt.NDArray[np.float64]:
    trades = frame[frame.kind == Kind.TRADE]
    edges = np.arange(trades.ts_available[0], trades.ts_available[-1], 60 * SECOND_NS)
    last = np.searchsorted(trades.ts_available, edges[1:]) - 1
    return np.diff(np.log(trades.price[np.maximum(last, 0)]))


def test_same_seed_same_day() -> None:
    first, second = day_of(SHORT), day_of(SHORT)
    assert [frames.encode(f[:5_000]) for f in first.ticks] == [frames.encode(f[:5_000]) for f in second.ticks]
    for name in ("transcripts", "audio", "charts", "orders", "transfers", "labels"):
        assert getattr(first, name) == getattr(second, name)
    assert [a.news() for a in first.articles] == [a.news() for a in second.articles]


def test_another_seed_another_day() -> None:
    first, second = day_of(SHORT), day_of(replace(SHORT, seed=8))
    assert frames.encode(first.ticks[0][:500]) != frames.encode(second.ticks[0][:500])
    assert [label.onset_ns for label in first.labels] != [label.onset_ns for label in second.labels]


def test_weekends_are_skipped_and_days_follow_on() -> None:
    friday, monday = simulate(replace(SHORT, start=date(2025, 3, 7), days=2, typologies=()), COMPANIES)
    assert (friday.date, monday.date) == (date(2025, 3, 7), date(2025, 3, 10))
    for before, after in zip(friday.ticks, monday.ticks, strict=True):
        close = before.price[before.kind == Kind.TRADE][-1]
        assert after.price[after.kind == Kind.TRADE][0] == pytest.approx(close, rel=0.01)


def test_an_event_changes_the_ticks_of_its_instrument_alone() -> None:
    quiet = day_of(replace(SHORT, typologies=()))
    pumped = day_of(replace(SHORT, typologies=("pump_and_dump",)))
    touched = {label.instruments[0] for label in pumped.labels}
    assert len(touched) == 2
    for before, after in zip(quiet.ticks, pumped.ticks, strict=True):
        same = len(before) == len(after) and np.array_equal(before.price, after.price, equal_nan=True)
        assert same == (before.instrument not in touched)


def test_labels_lie_within_the_day_and_name_their_instruments(day: Day) -> None:
    assert Counter(label.typology for label in day.labels) == PLAN
    opening_ns = min(int(frame.ts_event.min()) for frame in day.ticks) - 60 * SECOND_NS
    closing_ns = max(int(frame.ts_event.max()) for frame in day.ticks) + 60 * SECOND_NS
    for label in day.labels:
        assert opening_ns <= label.start_ns <= label.onset_ns < label.end_ns <= closing_ns
        assert label.public_ns == 0 or opening_ns <= label.public_ns <= label.end_ns
        assert label.benign == (label.typology in BENIGN)
        assert bool(label.accounts) == (label.typology == "pump_and_dump")
    assert len({label.instruments[0] for label in day.labels}) == len(day.labels)


def test_with_fewer_instruments_than_events_those_of_one_do_not_overlap() -> None:
    for seed in range(5):
        made = day_of(replace(SHORT, seed=seed), COMPANIES[:3])
        for company in COMPANIES[:3]:
            onsets = sorted(x.onset_ns for x in made.labels if x.instruments == [company.instrument])
            assert len(onsets) == 4
            assert min(np.diff(onsets)) > 60 * SECOND_NS


def test_a_pump_rises_on_bought_volume_and_falls_back(day: Day) -> None:
    for label in labels_of(day, "pump_and_dump"):
        frame = ticks_of(day, label.instruments[0])
        before = trades_between(frame, label.onset_ns - 600 * SECOND_NS, label.onset_ns)
        burst = trades_between(frame, label.onset_ns, label.onset_ns + 90 * SECOND_NS)
        after = trades_between(frame, label.end_ns, label.end_ns + 600 * SECOND_NS)
        peak = trades_between(frame, label.onset_ns, label.end_ns).price.max()
        assert peak > 1.1 * before.price[-1]
        assert after.price.mean() < 1.03 * before.price[-1]
        assert (burst.side > 0).mean() > 0.8
        assert len(burst) / 90 > 8 * len(before) / 600


def test_the_posts_of_a_pump_come_before_and_during_it(day: Day) -> None:
    for label in labels_of(day, "pump_and_dump"):
        calls = [
            article
            for article in day.articles
            if article.instruments == tuple(label.instruments) and "buy" in article.headline.lower()
        ]
        near = [a for a in calls if label.public_ns <= a.ts_event <= label.end_ns]
        assert len(near) >= 3


def test_an_anomaly_jumps_and_comes_back(day: Day) -> None:
    for label in labels_of(day, "market_anomaly"):
        frame = ticks_of(day, label.instruments[0])
        before = trades_between(frame, label.onset_ns - 300 * SECOND_NS, label.onset_ns).price[-1]
        within = trades_between(frame, label.onset_ns, label.onset_ns + 12 * SECOND_NS).price
        after = trades_between(frame, label.end_ns, label.end_ns + 300 * SECOND_NS).price.mean()
        assert np.abs(within / before - 1).max() > 0.04
        assert after == pytest.approx(before, rel=0.02)


def test_a_fall_of_the_whole_market_is_everywhere_within_seconds_and_half_of_it_comes_back(day: Day) -> None:
    (label,) = labels_of(day, "market_wide")
    assert label.instruments == ["market", *(company.instrument for company in COMPANIES)]
    assert label.onset_ns > max(other.onset_ns for other in day.labels if other is not label)
    (article,) = (a for a in day.articles if a.ts_event == label.public_ns)
    assert article.instruments == ()
    falls, left = [], []
    for frame in day.ticks:
        before = trades_between(frame, label.onset_ns - 600 * SECOND_NS, label.onset_ns).price[-1]
        falls.append(trades_between(frame, label.onset_ns, label.onset_ns + 30 * SECOND_NS).price.min() / before - 1)
        left.append(
            trades_between(frame, label.end_ns - 60 * SECOND_NS, label.end_ns + 300 * SECOND_NS).price.mean() / before
            - 1
        )
    assert max(falls) < -0.025
    assert np.mean(left) == pytest.approx(np.mean(falls) / 2, abs=0.01)


def test_bad_news_comes_before_the_fall(day: Day) -> None:
    for label in labels_of(day, "news_shock"):
        frame = ticks_of(day, label.instruments[0])
        first = next(
            a for a in day.articles if a.ts_event == label.public_ns and set(label.instruments) <= set(a.instruments)
        )
        assert first.channel == "news"
        before = trades_between(frame, label.onset_ns - 300 * SECOND_NS, label.onset_ns).price[-1]
        known = trades_between(frame, label.onset_ns, label.onset_ns + 15 * SECOND_NS).price
        after = trades_between(frame, label.end_ns - 120 * SECOND_NS, label.end_ns).price.mean()
        assert after < 0.98 * before
        assert len(known) == 0 or known.mean() > 0.99 * before


def test_nothing_trades_in_a_halt(day: Day) -> None:
    (label,) = labels_of(day, "trading_halt")
    frame = ticks_of(day, label.instruments[0])
    halt, resume = (frame.ts_event[frame.kind == kind] for kind in (Kind.HALT, Kind.RESUME))
    assert (int(halt[0]), int(resume[0])) == (label.onset_ns, label.end_ns)
    inside = (frame.ts_available > halt[0] + SECOND_NS) & (frame.ts_available < resume[0])
    assert not np.isin(frame.kind[inside], [Kind.TRADE, Kind.QUOTE, Kind.BOOK]).any()


def test_a_block_is_many_times_the_usual_trade(day: Day) -> None:
    for label in labels_of(day, "block_trade"):
        frame = ticks_of(day, label.instruments[0])
        block = trades_between(frame, label.onset_ns, label.onset_ns + 2 * SECOND_NS).size.max()
        assert block > 20 * np.median(frame.size[frame.kind == Kind.TRADE])


def test_ticks_stand_in_order_of_arrival_and_pass_the_codec(day: Day) -> None:
    for frame in day.ticks:
        assert (np.diff(frame.ts_available) >= 0).all()
        assert (frame.ts_available > frame.ts_event).all()
        quotes = frame[frame.kind == Kind.QUOTE]
        assert (quotes.bid < quotes.ask).all()
        for start in range(0, len(frame), 10_000):
            frames.decode(frames.encode(frame[start : start + 10_000]), frame.instrument.encode())
    lags = np.concatenate([f.ts_available - f.ts_event for f in day.ticks])
    kinds = np.concatenate([f.kind for f in day.ticks])
    late = (lags > SECOND_NS) & (kinds == Kind.TRADE)
    assert 2 <= late.sum() < 0.001 * len(lags)
    assert (kinds == Kind.CANCEL).any()
    assert (kinds == Kind.CORRECTION).any()


def test_returns_are_fat_tailed_clustered_and_the_day_is_u_shaped() -> None:
    quiet = day_of(Config(typologies=(), ticks_a_second=40.0))
    kurtosis, memory = [], []
    for frame in quiet.ticks:
        returns = minute_returns(frame)
        size = np.abs(returns)
        kurtosis.append(np.mean((returns - returns.mean()) ** 4) / np.var(returns) ** 2)
        memory.append(np.corrcoef(size[:-1], size[1:])[0, 1])
    assert np.mean(kurtosis) > 3.3  # a normal distribution has 3
    assert np.mean(memory) > 0.05
    opening_ns = min(int(frame.ts_event.min()) for frame in quiet.ticks)
    hour = np.concatenate([(f.ts_event - opening_ns) // (3_600 * SECOND_NS) for f in quiet.ticks])
    counts = np.bincount(hour[hour >= 0])
    assert counts[0] > 1.2 * counts[3]
    assert counts[5] > 1.1 * counts[3]


def test_texts_name_what_the_symbol_master_finds_in_them(day: Day) -> None:
    master = SymbolMaster.load()
    for article in day.articles:
        found = master.mentions(f"{article.headline}\n{article.body}")
        assert sorted(found) == sorted(article.instruments), article.headline
    counts = {len(article.instruments) for article in day.articles}
    assert counts >= {0, 1, 2, 3}


def test_news_that_names_nobody_goes_to_the_market(day: Day) -> None:
    article = next(a for a in day.articles if not a.instruments)
    assert [news.instrument for news in article.news()] == ["market"]
    three = next(a for a in day.articles if len(a.instruments) == 3)
    assert [news.instrument for news in three.news()] == list(three.instruments)
    assert {news.document_id for news in three.news()} == {three.document_id}


def test_the_ring_of_a_pump_buys_before_and_sells_after_the_peak(day: Day) -> None:
    for label in labels_of(day, "pump_and_dump"):
        mine = [o for o in day.orders if o.account in label.accounts]
        assert {o.instrument for o in mine} == set(label.instruments)
        early = [o.side for o in mine if o.ts_event < label.onset_ns + 60 * SECOND_NS]
        late = [o.side for o in mine if o.ts_event > label.onset_ns + 240 * SECOND_NS]
        assert set(early) == {"buy"}
        assert set(late) == {"sell"}
        paid = [t for t in day.transfers if t.counterparty in label.accounts]
        assert paid
        assert all(t.ts_event < label.start_ns for t in paid)


def test_charts_are_pictures_of_what_was_known(day: Day) -> None:
    for chart in day.charts[:40]:
        media.check_chart(chart)
        assert chart.ts_available > chart.ts_event
    assert len(day.charts) == 12 * len(COMPANIES)


def test_impossible_days_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"Unknown typology spoof; known are pump_and_dump, "):
        day_of(replace(SHORT, typologies=("spoof",)))
    with pytest.raises(ValueError, match="at least one instrument"):
        day_of(SHORT, [])
