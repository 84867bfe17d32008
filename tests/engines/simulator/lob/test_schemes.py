"""Injected events come to what docs/simulator.md says, in units of the same day without them, on both models."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import numpy as np
import pytest

from engines.instruments import SymbolMaster
from engines.simulator.day import Config, Day, simulate
from engines.simulator.flow import TICK
from engines.simulator.lob import plan
from engines.simulator.lob.units import Units, measure
from engines.simulator.words import Company
from schemas.frames import Kind
from schemas.order_frames import Action
from tests.engines.simulator.lob.measured import MEASURES, SECOND_NS, Scene

COMPANIES = [Company(x.instrument, x.symbol, x.name) for x in SymbolMaster.load().listings.values()][:10]
MODELS = ("agents", "queues")
SECONDS = 23_400
OPEN_NS = 1_741_012_200 * SECOND_NS  # 2025-03-03 14:30
#: Typologies whose strength is a move of the price, in whole ticks and halves, which the market moves too.
MOVES = {"momentum_ignition", "marking_the_close", "influencing_the_open", "pump_and_dump"}


@cache
def day_of(model: str, strength: float, disguise: float, seed: int = 7, quiet: bool = False) -> Day:
    return next(
        simulate(
            Config(
                model=model,  # type: ignore[arg-type]
                seed=seed,
                strength=strength,
                disguise=disguise,
                typologies=() if quiet else None,
                calls=0,
            ),
            COMPANIES,
        )
    )


@cache
def units_of(model: str, seed: int) -> dict[str, Units]:
    quiet = day_of(model, 1.0, 0.0, seed, quiet=True)
    return {
        ticks.instrument: measure(ticks, orders, OPEN_NS, SECONDS)
        for ticks, orders in zip(quiet.ticks, quiet.order_frames, strict=True)
    }


def scenes(model: str, strength: float = 1.0, disguise: float = 0.0, seed: int = 7) -> dict[str, list[Scene]]:
    day = day_of(model, strength, disguise, seed)
    place = {frame.instrument: k for k, frame in enumerate(day.ticks)}
    found: dict[str, list[Scene]] = defaultdict(list)
    for label in day.labels:
        k = place[label.instruments[0]]
        units = units_of(model, seed)[label.instruments[0]]
        found[label.typology].append(Scene(label, day.ticks[k], day.order_frames[k], units))
    return found


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("strength", "disguise", "seed"), [(1.0, 0.0, 7), (0.5, 0.0, 7), (1.0, 1.0, 7), (1.0, 0.0, 8), (1.0, 0.0, 9)]
)
def test_each_event_comes_to_its_strength(model: str, strength: float, disguise: float, seed: int) -> None:
    found = scenes(model, strength, disguise, seed)
    assert set(MEASURES) <= set(found)
    for typology, (measured, (least, most)) in MEASURES.items():
        for scene in found[typology]:
            value = measured(scene)
            if typology in MOVES:
                ticks = 1.5 * TICK / float(np.exp(scene.units.mids[0])) / per_unit(scene)
                low, high = 0.85 * strength * least - ticks, 1.15 * strength * most + ticks
                assert low <= value <= high, (typology, scene.label.instruments, value)
            else:
                low, high = (0.8, 1.3) if disguise else (0.9, 1.1)
                assert low * strength * least <= value <= high * strength * most, (typology, value)


def per_unit(scene: Scene) -> float:
    """Log change of the mid that a unit of the typology's measure is."""
    horizon_s = {"momentum_ignition": 60, "marking_the_close": 240, "influencing_the_open": 180}
    typology = scene.label.typology
    return scene.units.sigma(horizon_s[typology]) if typology in horizon_s else 1.0


@pytest.mark.parametrize("model", MODELS)
def test_what_is_shown_is_not_meant_and_what_is_meant_trades(model: str) -> None:
    for typology in ("spoofing", "layering"):
        for scene in scenes(model)[typology]:
            placed, filled = scene.mine(Action.NEW), scene.mine(Action.FILL)
            shown = 1 if placed.size[placed.side == 1].max() > placed.size[placed.side == -1].max() else -1
            assert filled.size[filled.side == shown].sum() <= 0.02 * placed.size[placed.side == shown].sum()
            assert filled.size[filled.side == -shown].sum() >= 3 * scene.units.depth  # of six cycles of one depth


@pytest.mark.parametrize("model", MODELS)
def test_a_ring_ends_with_what_it_had(model: str) -> None:
    for scene in scenes(model)["circular_trading"]:
        fills = scene.mine(Action.FILL)
        turnover = fills.size.sum()
        for k, name in enumerate(fills.accounts):
            mine = fills.account == k
            if name in scene.label.accounts:
                assert abs((fills.side * fills.size)[mine].sum()) < 0.1 * turnover / 4


@pytest.mark.parametrize("model", MODELS)
def test_who_ran_ahead_of_a_client_has_the_clients_trader(model: str) -> None:
    for scene in scenes(model)["front_running"]:
        own, client = scene.label.accounts
        traders = {
            scene.orders.accounts[a]: scene.orders.traders[t]
            for a, t in zip(scene.orders.account.tolist(), scene.orders.trader.tolist(), strict=True)
        }
        assert traders[own] == traders[client]


@pytest.mark.parametrize("model", MODELS)
def test_an_order_of_a_fat_finger_goes_through_levels_and_the_price_comes_back(model: str) -> None:
    for scene in scenes(model)["fat_finger"]:
        onset = scene.label.onset_ns
        trades = scene.ticks[(scene.ticks.kind == Kind.TRADE) & (scene.ticks.ts_event == onset)]
        jump = abs(float(np.log(trades.price[-1] / trades.price[0])))
        assert scene.mine(Action.NEW).size[0] == pytest.approx(40 * scene.units.depth, rel=0.02)
        assert abs(scene.mine(Action.NEW).price[0] / trades.price[0] - 1) == pytest.approx(0.02, rel=0.05)
        all_there = scene.mine(Action.FILL).size.sum() < scene.mine(Action.NEW).size[0]  # of a side with few levels
        assert len(np.unique(trades.price)) >= 3 or all_there
        assert abs(scene.move(onset, onset + 300 * SECOND_NS)) < 0.6 * jump


@pytest.mark.parametrize("model", MODELS)
def test_what_waits_on_one_venue_is_filled_once_the_other_has_moved(model: str) -> None:
    for scene in scenes(model)["cross_product"]:
        assert len(scene.label.instruments) == 2
        assert scene.mine(Action.FILL).size.sum() > 0


@pytest.mark.parametrize("model", MODELS)
def test_benign_events_are_there_and_named_so(model: str) -> None:
    benign = {label.typology for label in day_of(model, 1.0, 0.0).labels if label.benign}
    assert benign == plan.BENIGN
    block = scenes(model)["block_trade"][0]
    trades = block.ticks[block.ticks.kind == Kind.TRADE]
    assert trades.size.max() >= 29 * block.units.depth


def test_disguised_events_use_the_accounts_of_others() -> None:
    for disguise, own in ((0.0, True), (1.0, False)):
        for scene in scenes("agents", 1.0, disguise)["spoofing"]:
            outside = scene.orders.ts_event < scene.label.start_ns - 3_600 * SECOND_NS
            names = np.array(scene.orders.accounts)[scene.orders.account[outside]]
            assert own == (scene.label.accounts[0] not in names) or not own
