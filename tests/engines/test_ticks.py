"""The tick engine: the same ticks give the same bits, however they are framed, packed or shifted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.anomaly import AnomalyConfig
from engines.state import TickState
from engines.ticks import TickConfig, TickEngine
from engines.tracks import TickUpdate
from engines.typologies.pump_and_dump import PumpConfig
from engines.windows import TRADES, BarSpec
from schemas.frames import DTYPES, Frame, Kind, frame_of

S = 1_000_000_000
#: Warms up within the few minutes that a generated stream lasts, so that scores are not all 0.
QUICK = TickConfig(
    anomaly=AnomalyConfig(tail=2.0, warm_up_bars=5),
    pump=PumpConfig(
        warm_up_ns=20 * S, reference_ns=600 * S, reference_lag_ns=5 * S, rise=1e-3, breakout=1e-4,
        buying=0.5, orders=5.0, order_rate=0.5,
    ),
)  # fmt: skip


def stream(seed: int, n: int, rough: float = 0.0) -> Frame:
    """Return n ticks of a random walk; a share ``rough`` is late, doubled, a quote, a bad print, a cancel or a halt."""
    draw = np.random.default_rng(seed)
    ts = 1_700_000_000 * S + np.cumsum(draw.choice([0, S // 10, S, 7 * S], n, p=[0.3, 0.4, 0.28, 0.02]))
    columns: dict[str, Any] = {
        "ts_event": ts.copy(),
        "ts_available": ts,
        "price": 50.0 * np.exp(np.cumsum(draw.normal(0, 1e-3, n))),
        "size": draw.exponential(3.0, n),
        "side": draw.choice([-1, 0, 1], n),
        "trade_id": np.arange(1, n + 1),
        "source_offset": np.arange(n),
        **{name: np.full(n, np.nan) for name in ("bid", "ask", "bid_size", "ask_size")},
        "kind": np.zeros(n, dtype=np.uint8),
    }
    fates = np.where(draw.random(n) < rough, draw.integers(1, 9, n), 0)
    for i in np.flatnonzero(fates).tolist():
        price = columns["price"][i]
        match fates[i]:
            case 1 | 2:
                columns["ts_event"][i] -= int(draw.integers(1, 12)) * S
            case 3:
                columns["trade_id"][i] = max(1, i - 3)
            case 4:
                columns["price"][i] = price * 5
            case 5 | 6:
                columns["kind"][i], columns["trade_id"][i] = Kind.QUOTE, 0
                columns["bid"][i], columns["ask"][i] = price * 0.999, price * (1.001 if fates[i] == 5 else 0.99)
                columns["bid_size"][i], columns["ask_size"][i] = 5.0, 3.0
                columns["price"][i] = columns["size"][i] = np.nan
            case 7:
                columns["kind"][i] = Kind.CANCEL if i % 2 else Kind.CORRECTION
                # Of a trade shortly before, set aside or not, or once more what was said of it.
                back = max(0, i - int(draw.integers(0, 6)))
                if columns["price"][back] == columns["price"][back]:
                    for name in ("ts_event", "trade_id", "price", "size"):
                        columns[name][i] = columns[name][back]
                columns["bid"][i], columns["bid_size"][i] = columns["price"][i], columns["size"][i] * 2
            case _:
                columns["kind"][i] = Kind.HALT if i % 2 else Kind.RESUME
    return frame_of("ACME.XNYS", columns)


def outcome(updates: list[TickUpdate]) -> dict[str, npt.NDArray[Any] | dict[str, int]]:
    """Return all that a run said, concatenated."""
    said: dict[str, Any] = {}
    for head in ("anomaly", "pump_and_dump"):
        tracks = [track for update in updates for track in update.tracks if track.head == head]
        for name in ("ts_event", "ts_available", "score", "window_start"):
            said[f"{head}.{name}"] = np.concatenate([getattr(track, name) for track in tracks] or [np.zeros(0)])
    bars = [update.bars for update in updates if update.bars is not None]
    for name in ("start", "end", "ts_available", "features", "anomaly"):
        said[name] = np.concatenate([getattr(bar, name) for bar in bars] or [np.zeros(0)])
    said["counts"] = {
        reason: sum(update.counts.get(reason, 0) for update in updates)
        for reason in {reason for update in updates for reason in update.counts}
    }
    return said


def run(config: TickConfig, frame: Frame, cuts: list[int], repack: bool = False) -> tuple[Any, bytes]:
    engine = TickEngine(config)
    state, updates = engine.new_state(), []
    for start, stop in zip([0, *cuts], [*cuts, len(frame)], strict=True):
        updates.append(engine.apply(state, frame[start:stop]))
        if repack:
            state = TickState.unpack(state.pack())
    return outcome(updates), state.pack()


def assert_same(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, dict):
            assert value == other[name]
        else:
            assert value.tobytes() == other[name].tobytes(), name


@pytest.mark.parametrize("rough", [0.0, 0.15], ids=["plain", "rough"])
@pytest.mark.parametrize(
    "bars", [BarSpec(), BarSpec(kind="ticks", ticks=37), BarSpec(kind="volume", volume=60.0)], ids=lambda b: b.kind
)
@pytest.mark.parametrize("rows", [1, 7, 500])
def test_any_framing_gives_the_same_bits(bars: BarSpec, rows: int, rough: float) -> None:
    config = TickConfig(bars=bars, anomaly=QUICK.anomaly, pump=QUICK.pump)
    ticks = stream(3, 1200, rough)
    whole, state = run(config, ticks, [])
    cut, cut_state = run(config, ticks, list(range(rows, len(ticks), rows)))
    assert_same(whole, cut)
    assert state == cut_state
    for head in ("anomaly", "pump_and_dump"):
        assert len(np.unique(whole[f"{head}.score"])) > 10, "a test of scores that are all 0 shows nothing"


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(1, 399), max_size=30, unique=True), rough=st.booleans())
def test_random_framing_with_a_restart_at_every_cut_changes_nothing(seed: int, cuts: list[int], rough: bool) -> None:
    ticks = stream(seed, 400, 0.2 if rough else 0.0)
    whole, state = run(QUICK, ticks, [])
    cut, cut_state = run(QUICK, ticks, sorted(cuts), repack=True)
    assert_same(whole, cut)
    assert state == cut_state


def test_real_trades_one_by_one_give_the_same_as_in_frames(data_dir: Path) -> None:
    from benchmarks.pump import load

    ticks = load(data_dir / "pump_trades" / "trades" / "BNT_20200424T1559.parquet")[:3000]
    whole, state = run(TickConfig(), ticks, list(range(500, 3000, 500)))
    single, single_state = run(TickConfig(), ticks, list(range(1, 3000)))
    assert_same(whole, single)
    assert state == single_state


def test_scores_do_not_depend_on_the_price_level() -> None:
    ticks = stream(5, 1500)
    # A power of two changes no bit of a ratio, so equality is exact.
    scaled = Frame(ticks.instrument, *(getattr(ticks, n) * (8.0 if n == "price" else 1) for n in DTYPES))
    one, other = run(QUICK, ticks, [])[0], run(QUICK, scaled, [])[0]
    for name in ("anomaly.score", "pump_and_dump.score", "features", "anomaly"):
        np.testing.assert_array_equal(one[name], other[name])


def test_a_shift_in_time_shifts_times_alone() -> None:
    ticks, day = stream(6, 1500), 86_400 * S
    shifted = frame_of(ticks.instrument, {n: getattr(ticks, n) + (day if n.startswith("ts_") else 0) for n in DTYPES})
    one, other = run(QUICK, ticks, [])[0], run(QUICK, shifted, [])[0]
    for name in ("anomaly.score", "pump_and_dump.score", "features", "anomaly"):
        np.testing.assert_array_equal(one[name], other[name])
    np.testing.assert_array_equal(one["end"] + day, other["end"])


def trades(*rows: tuple[float, float, float]) -> Frame:
    """Return trades of (second, price, size), available at the same time."""
    ts = [int(second * S) for second, _, _ in rows]
    return frame_of(
        "ACME.XNYS",
        {"ts_event": ts, "ts_available": ts, "price": [r[1] for r in rows], "size": [r[2] for r in rows]},
    )


def test_late_trade_is_counted_not_scored() -> None:
    # bars of 5 s, grace 5 s
    # 0         5        10        15
    # |  a      |     b   |         |c     c closes [0, 5) and [5, 10)
    #    late                              then comes a trade of second 3
    engine = TickEngine(TickConfig())
    state = engine.new_state()
    engine.apply(state, trades((2, 10, 1), (8, 10, 1), (15, 10, 1)))
    before = state.windows.open[0].sums.copy()
    update = engine.apply(state, trades((3, 99, 7)))
    assert update.tracks == ()
    assert update.bars is None
    assert update.counts == {"bad_print": 1}, "cleaning comes first: 99 after 10 is a bad print"
    update = engine.apply(state, trades((3, 11, 7)))
    assert update.counts == {"late": 1}
    assert state.late == 1
    assert state.windows.open[0].sums == before


def test_a_trade_within_grace_still_enters_its_bar() -> None:
    # 0         5        10        15
    # |   a     | b       |                a=3 s, b=8 s, then a trade of 4 s: its bar closes at watermark 5, so at 10 s
    engine = TickEngine(TickConfig())
    state = engine.new_state()
    engine.apply(state, trades((3, 10, 1), (8, 10, 1)))
    update = engine.apply(state, trades((4, 10.1, 2)))
    assert state.late == 0
    assert len(update.tracks[0].score) == 1
    closing = engine.apply(state, trades((10, 10, 1)))
    assert closing.bars is not None
    assert closing.bars.end.tolist() == [5 * S]
    assert closing.bars.ts_available.tolist() == [10 * S]


def test_the_clock_closes_what_the_watermark_left_open() -> None:
    engine = TickEngine(TickConfig())
    state = engine.new_state()
    assert state.deadline_ns == 0
    engine.apply(state, trades((3, 10, 1)))
    assert state.watermark_ns == -2 * S
    assert state.deadline_ns == 15 * S
    assert engine.advance(state, 15 * S - 1).bars is None
    bars = engine.advance(state, 15 * S).bars
    assert bars is not None
    assert bars.end.tolist() == [5 * S]
    assert bars.ts_available.tolist() == [15 * S]
    assert state.deadline_ns == 0
    assert engine.apply(state, trades((4, 10, 1))).counts == {"late": 1}


def test_nothing_is_scored_between_halt_and_resumption() -> None:
    ticks = stream(9, 900)
    kind, price = ticks.kind.copy(), ticks.price.copy()
    kind[700], kind[800] = Kind.HALT, Kind.RESUME
    price[701:800] *= 1.5
    halted = frame_of("A", {n: {"kind": kind, "price": price}.get(n, getattr(ticks, n)) for n in DTYPES})
    said, _ = run(QUICK, halted, [])
    assert len(said["anomaly.score"]) == 898
    assert not said["anomaly.score"][700:799].any()
    assert not said["pump_and_dump.score"][700:799].any()
    assert run(QUICK, frame_of("A", {n: {"price": price}.get(n, getattr(ticks, n)) for n in DTYPES}), [])[0][
        "anomaly.score"
    ][701:800].any()


def test_a_cancel_leaves_the_open_bar_and_comes_too_late_for_a_closed_one() -> None:
    engine = TickEngine(TickConfig())
    state = engine.new_state()
    engine.apply(state, trades((1, 10, 4), (2, 10, 6)))
    cancel = {"ts_event": [1 * S], "ts_available": [3 * S], "kind": [Kind.CANCEL], "price": [10.0], "size": [4.0]}
    assert engine.apply(state, frame_of("A", cancel)).counts == {"cancel": 1}
    assert state.windows.open[0].sums[:2] == [6.0, 60.0]  # volume, notional
    restated = {**cancel, "kind": [Kind.CORRECTION], "ts_event": [2 * S], "price": [11.0], "size": [5.0]}
    correction = frame_of("A", {**restated, "bid": [10.0], "bid_size": [6.0]})
    assert engine.apply(state, correction).counts == {"correction": 1}
    assert state.windows.open[0].sums[:2] == [5.0, 55.0]
    engine.apply(state, trades((20, 10, 1)))
    assert engine.apply(state, frame_of("A", cancel)).counts == {"late_correction": 1}


def restated(kind: Kind, second: float, price: float, size: float, *old: float, trade_id: int = 0) -> Frame:
    columns: dict[str, Any] = {"ts_event": [int(second * S)], "ts_available": [9 * S], "kind": [kind]}
    columns |= {"price": [price], "size": [size], "trade_id": [trade_id]}
    return frame_of("A", columns | ({"bid": [old[0]], "bid_size": [old[1]]} if old else {}))


def bought(*rows: tuple[float, float, float, int]) -> Frame:
    """Return purchases of (second, price, size, trade id)."""
    frame = trades(*(row[:3] for row in rows))
    columns = {name: getattr(frame, name) for name in DTYPES}
    return frame_of("A", columns | {"trade_id": [row[3] for row in rows], "side": [1] * len(rows)})


@pytest.mark.parametrize("numbered", [True, False], ids=["with trade ids", "without"])
@pytest.mark.parametrize("kind", [Kind.CANCEL, Kind.CORRECTION])
def test_what_is_said_of_a_print_set_aside_leaves_the_bar_alone(kind: Kind, numbered: bool) -> None:
    engine = TickEngine(TickConfig())
    state = engine.new_state()
    # Bought 4 and 6 at 10; 5 at 1000 is a fat finger's, and then taken back, or corrected to 10.
    rows = [(1.0, 10.0, 4.0, 1), (2.0, 10.0, 6.0, 2), (2.5, 1000.0, 5.0, 3)]
    frame = bought(*(row if numbered else (*row[:3], 0) for row in rows))
    assert engine.apply(state, frame).counts == {"bad_print": 1}
    said = (1000.0, 5.0) if kind == Kind.CANCEL else (10.0, 5.0, 1000.0, 5.0)
    state = TickState.unpack(state.pack())
    restatement = restated(kind, 2.5, *said, trade_id=3 if numbered else 0)
    assert engine.apply(state, restatement).counts == {"restated_set_aside": 1}
    assert state.windows.open[0].sums[:4] == [10.0, 100.0, 100.0, 0.0]  # volume, notional, bought, sold
    engine.apply(state, bought((3.0, 10.0, 2.0, 4)))
    assert state.windows.open[0].sums[:4] == [12.0, 120.0, 120.0, 0.0]


def test_what_is_said_twice_of_a_trade_is_applied_once() -> None:
    engine = TickEngine(TickConfig())
    state = engine.new_state()
    engine.apply(state, bought((1.0, 10.0, 4.0, 1), (2.0, 10.0, 6.0, 2)))
    correction = restated(Kind.CORRECTION, 2, 10.0, 5.0, 10.0, 6.0, trade_id=2)
    for expected in ({"correction": 1}, {"duplicate": 1}):
        assert engine.apply(state, correction).counts == expected
        state = TickState.unpack(state.pack())
        assert state.windows.open[0].sums[:2] == [9.0, 90.0]
    cancel = restated(Kind.CANCEL, 1, 10.0, 4.0, trade_id=1)
    for expected in ({"cancel": 1}, {"duplicate": 1}):
        assert engine.apply(state, cancel).counts == expected
        state = TickState.unpack(state.pack())
        assert state.windows.open[0].sums[:2] == [5.0, 50.0]


def test_the_cancel_of_a_trade_that_came_too_late_leaves_a_tick_bar_alone() -> None:
    # 0         5        10        15        20
    # |   a         b                    c  |      a, b, c in one bar of 100 ticks; a trade of 7 s comes after c
    engine = TickEngine(TickConfig(bars=BarSpec(kind="ticks", ticks=100)))
    state = engine.new_state()
    engine.apply(state, bought((2, 10, 1, 1), (7, 10, 1, 2), (18, 10, 1, 3)))
    assert engine.apply(state, bought((7, 10, 5, 4))).counts == {"late": 1}
    state = TickState.unpack(state.pack())
    assert engine.apply(state, restated(Kind.CANCEL, 7, 10, 5, trade_id=4)).counts == {"restated_set_aside": 1}
    assert engine.apply(state, restated(Kind.CANCEL, 7, 10, 1, trade_id=2)).counts == {"cancel": 1}
    assert state.windows.open[0].sums[:2] == [2.0, 20.0]


def test_cancels_of_more_than_was_there_leave_nothing_below_0() -> None:
    engine = TickEngine(TickConfig())
    state = engine.new_state()
    engine.apply(state, bought((1.0, 10.0, 4.0, 0), (2.0, 10.0, 6.0, 0)))
    cancel = restated(Kind.CANCEL, 1, 10.0, 8.0)
    assert [engine.apply(state, cancel).counts for _ in range(3)] == [{"cancel": 1}] * 2 + [{"late_correction": 1}]
    assert state.windows.open[0].sums[:4] == [0.0, 0.0, 0.0, 0.0]
    assert state.windows.open[0].sums[TRADES] == 0.0


def test_a_jump_out_of_a_calm_market_scores_with_its_own_tick() -> None:
    draw = np.random.default_rng(1)
    calm = 100 * np.exp(np.cumsum(draw.normal(0, 1e-4, 20_000)))
    ts = 1_700_000_000 * S + np.arange(20_001) * S
    frame = frame_of(
        "A", {"ts_event": ts, "ts_available": ts, "price": [*calm, calm[-1] * 1.03], "size": np.ones(20_001)}
    )
    engine = TickEngine(TickConfig())
    track = engine.apply(engine.new_state(), frame).tracks[0]
    assert track.score[-1] > 0.98
    assert np.mean(track.score[5000:-1] > 0.98) < 1e-3
    why = track.explain(20_000)
    assert why.rules[0].name == "jump"
    assert why.rules[0].value > why.rules[0].threshold


def test_state_is_bounded_and_does_not_grow_with_history() -> None:
    engine = TickEngine(TickConfig())
    state = engine.new_state()
    ticks = stream(2, 30_000, 0.02)
    sizes = []
    for at in range(0, len(ticks), 500):
        engine.apply(state, ticks[at : at + 500])
        sizes.append(len(state.pack()))
    assert max(sizes) <= 20_000
    # Rings are full after the first half; only bars within grace come and go after that.
    assert max(sizes[30:]) - min(sizes[30:]) <= 1_000
    assert len(state.windows.open) <= 3


def test_bytes_of_another_version_or_cut_short_are_refused() -> None:
    packed = TickEngine(TickConfig()).new_state().pack()
    with pytest.raises(ValueError, match="begin with"):
        TickState.unpack(b"????" + packed[4:])
    with pytest.raises(ValueError, match="expected version"):
        TickState.unpack(packed[:4] + b"\xff\x00" + packed[6:])
    with pytest.raises(ValueError, match="cut"):
        TickState.unpack(packed[:-8])


def test_the_digest_names_the_configuration() -> None:
    assert TickConfig().digest() == TickConfig().digest()
    assert TickConfig(memory_bars=99).digest() != TickConfig().digest()
    with pytest.raises(ValueError, match=r"pump\.window_ns"):
        TickConfig(bars=BarSpec(width_ns=S // 10, grace_ns=0))


def test_bars_of_five_seconds_are_decided_on_as_ever() -> None:
    assert TickConfig.of_bars(BarSpec(), PumpConfig()) == TickConfig()


def test_days_have_a_tail_fitted_to_many_of_them() -> None:
    day = 86_400 * S
    config = TickConfig.of_bars(BarSpec(width_ns=day, grace_ns=0), PumpConfig())
    assert config.baseline_half_life_ns == 256 * day
    engine, draw = TickEngine(config), np.random.default_rng(1)
    state, price, said = engine.new_state(), 100.0, []
    for number in range(200):
        price *= 1.12 if number == 199 else 1.0 + 0.01 * float(draw.choice([-1, 1]))
        ticks = frame_of("A.X", {"ts_event": [number * day + 70_000 * S], "price": [price], "size": [1.0]})
        (found,) = [track for track in engine.apply(state, ticks).tracks if track.head == "anomaly"]
        said.append(float(found.score[0]))
    assert max(said[:-1]) == 0.0
    # A move of twelve, where not one of 198 days had more than six: with a memory of half a day it would be 0.67.
    assert said[-1] > 0.99


def test_shares_are_judged_by_thresholds_of_their_own() -> None:
    shares = msgspec.structs.replace(QUICK.pump, rise=2e-3, buying=0.1)
    config, ticks = msgspec.structs.replace(QUICK, pump_equity=shares), stream(7, 3_000)

    def pumped(config: TickConfig, asset_class: str) -> list[float]:
        engine = TickEngine(config, {ticks.instrument: asset_class}.__getitem__)
        _, track = engine.apply(engine.new_state(), ticks).tracks
        return list(track.score)

    assert pumped(config, "crypto") == pumped(QUICK, "")
    assert pumped(config, "equity") == pumped(msgspec.structs.replace(QUICK, pump=shares), "")
    assert pumped(config, "equity") != pumped(config, "crypto")
