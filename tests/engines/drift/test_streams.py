"""The streams of an instrument: a value a period or a text, what is passed over; a checkpoint changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from msgspec import structs

from engines.drift.streams import CONSTANT, KEPT, TEXTS, DriftConfig, DriftState, Found, Watcher
from engines.tracks import ClosedBars

S = 1_000_000_000
BEGIN = 1_741_003_200 * S
BAR = 5 * S
CONFIG = DriftConfig(run_time=5_000.0)
COUNTS: dict[str, int] = {}


def watcher() -> Watcher:
    COUNTS.clear()

    def count(found: dict[str, int]) -> None:
        for reason, n in found.items():
            COUNTS[reason] = COUNTS.get(reason, 0) + n

    return Watcher(CONFIG, count)


def bars(count: int, *, seed: int = 1, changes_at: int = 10**9, first: int = 0) -> Iterator[ClosedBars]:
    """Yield bars one by one, whose notional is five times as large from one of them on."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        end = np.array([BEGIN + (first + number + 1) * BAR])
        price = 100.0 + rng.random()
        size = rng.lognormal() * (5 if number >= changes_at else 1)
        yield ClosedBars(
            end - BAR,
            end,
            end + S,
            np.zeros((1, 14), np.float32),
            np.zeros(1),
            np.array([[price + 0.1], [price], [price]]),
            np.array([[size], [np.nan]]),
        )


def texts(count: int, *, seed: int = 1, shift: float = 0.0) -> list[bytes]:
    drawn = np.random.default_rng(seed).standard_normal((count, 32)) + shift
    return [vector.astype("<f4").tobytes() for vector in drawn]


def read(watch: Watcher, state: DriftState, vectors: list[bytes], *, first: int = 0) -> list[Found]:
    told = []
    for number, vector in enumerate(vectors):
        at, tone = BEGIN + (first + number) * S, float(np.frombuffer(vector, "<f4")[0]) / 10
        for found in watch.text(state, "b", at, at, tone, vector):
            state.keep(CONFIG, found)
            told.append(found)
    return told


def test_a_period_is_one_value_and_a_change_is_told_with_when_it_began() -> None:
    watch, state = watcher(), DriftState()
    told = [found for bar in bars(300 * 12, changes_at=200 * 12) for found in watch.bars(state, bar)]
    (found,) = [one for one in told if one.stream == "volume"]
    assert found.kind == "market"
    assert found.since == pytest.approx(BEGIN + 200 * 60 * S, abs=10 * 60 * S)
    assert 200 * 60 * S < found.ts_event - BEGIN < 210 * 60 * S
    assert found.ts_available == found.ts_event + S
    assert found.before is not None
    assert found.after is not None
    assert found.after > 1.2 * found.before  # soon after, so that values of before are among the eight at least
    assert found.run_time == 4 * CONFIG.run_time
    assert len(found.times) == len(found.values) == KEPT
    assert found.times[-1] == found.ts_event - 60 * S
    now = found.times.index(found.since)
    assert (np.median(found.values[:now]), np.median(found.values[now:])) == (found.before, found.after)


def test_a_state_that_was_packed_goes_on_as_if_it_had_never_been() -> None:
    through, packed = DriftState(), DriftState()
    watch = watcher()
    for number, bar in enumerate(bars(300 * 12, changes_at=200 * 12)):
        told = list(watch.bars(through, bar))
        assert list(watch.bars(packed, bar)) == told
        if number % 700 == 0:
            packed = DriftState.unpack(packed.pack())
    vectors = texts(150)
    read(watch, through, vectors)
    packed = DriftState.unpack(packed.pack())
    read(watch, packed, vectors[:70])
    packed = DriftState.unpack(packed.pack())
    read(watch, packed, vectors[70:], first=70)
    assert DriftState.unpack(packed.pack()).pack() == packed.pack() == through.pack()


def test_other_words_without_another_market_are_a_vocabulary_and_with_one_they_are_the_market() -> None:
    for moved, kind in ((False, "vocabulary"), (True, "market")):
        watch, state = watcher(), DriftState()
        assert read(watch, state, texts(150)) == []
        if moved:
            at = BEGIN + 140 * S
            state.keep(
                CONFIG, Found(kind="market", stream="volatility", since=at, ts_event=at, ts_available=at, moved="level")
            )
        told = read(watch, state, texts(100, seed=2, shift=0.7), first=150)
        words = [found for found in told if found.stream == "words"]
        assert [found.kind for found in words] == [kind]
        assert words[0].since == pytest.approx(BEGIN + 150 * S, abs=10 * S)


def test_what_is_no_number_or_constant_is_counted_and_passed_over() -> None:
    watch, state = watcher(), DriftState()
    read(watch, state, texts(10))
    burst = np.full(32, np.nan, "<f4").tobytes()
    assert read(watch, state, [burst] * 5) == []
    assert COUNTS == {"drift_not_finite: words": 5}
    for number in range(CONSTANT + 20):
        end = BEGIN + (number + 1) * 60 * S
        assert list(watch.score(state, "b", end, end, 0.5)) == []
    assert COUNTS["drift_constant: risk"] == 20
    assert list(watch.score(state, "b", end + 60 * S, end, float("nan"))) == []
    assert COUNTS["drift_not_finite: risk"] == 1
    one, end = next(bars(1)), np.array([BEGIN + 12 * BAR])
    huge = structs.replace(one, start=end - BAR, end=end, traded=np.array([[1e39], [np.nan]]))
    assert list(watch.bars(state, huge)) == []
    assert COUNTS["drift_not_finite: volume"] == 1


def test_what_another_bundle_says_is_another_stream() -> None:
    watch, state = watcher(), DriftState()
    read(watch, state, texts(20))
    assert set(state.streams) == set(TEXTS)
    end = BEGIN + 60 * S
    list(watch.score(state, "other", end, end, 0.5))
    assert set(state.streams) == {"risk"}
    assert (state.texts, state.mean, state.bundle) == (0, b"", "other")


def test_alerts_name_a_drift_from_after_its_moment_until_it_is_old() -> None:
    state, at = DriftState(), BEGIN
    state.keep(CONFIG, Found(kind="frozen_price", stream="price", since=at - 60 * S, ts_event=at, ts_available=at))
    state.keep(CONFIG, Found(kind="new_instrument", stream="frames", since=at, ts_event=at, ts_available=at))
    assert state.drifting(at) == []  # what came with it is judged beside it or before it, by the cutting of frames
    assert [(one.kind, one.since, one.detected) for one in state.drifting(at + 1)] == [
        ("frozen_price", at - 60 * S, at)
    ]
    assert state.drifting(at + CONFIG.held_ns) == []


def test_state_is_bounded() -> None:
    watch, state = watcher(), DriftState()
    for bar in bars(500 * 12):
        list(watch.bars(state, bar))
    read(watch, state, texts(500))
    for number in range(100):
        state.keep(CONFIG, Found(kind="market", stream="risk", since=number, ts_event=number, ts_available=number))
    assert len(state.pack()) < 40_000
