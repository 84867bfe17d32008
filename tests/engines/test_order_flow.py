"""The order-flow model beside the rules: neither hides the other, and nothing depends on how events were packed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from engines.bundle import DEFAULT, Bundle, BundleError
from engines.order_findings import SPECS, OrderConfig, Pass
from engines.order_flow import BLOCK, FEATURES, MODEL, SPEC, OrderFlowModel, OrderFlowSpec, of, score, seen
from engines.order_state import OrderState
from engines.order_tail import EVENT, EVENTS, Ask
from engines.orders import OrderEngine
from schemas.alerts import Explanation
from schemas.frames import Frame
from schemas.order_frames import OrderFrame
from tests.engines.bundles import alter_bundle, write_bundle
from tests.misconduct import ACTS, market
from tests.order_flow import Market

DAY_NS = 86_400_000_000_000
NAMES = tuple(msgspec.json.decode(Bundle.load(DEFAULT).read(SPEC), type=OrderFlowSpec).typologies)


class Found(NamedTuple):
    """A moment that scored, and why."""

    head: str
    account: str
    ts_event: int
    score: float
    why: Explanation


class Kept:
    """A weigher that keeps what it was asked."""

    def __init__(self) -> None:
        self.asks: list[Ask] = []

    def weigh(self, run: Pass) -> None:
        self.asks += run.asks


def altered(folder: Path, weights: Mapping[str, float], intercept: float | None = None) -> OrderFlowModel:
    """Return the shipped model with other weights and, if given, the same log odds of everything."""
    content = Bundle.load(DEFAULT).read(SPEC)
    spec = msgspec.json.decode(content, type=OrderFlowSpec)
    weighed = [weights.get(name, 0.0) for name in spec.typologies]
    changed = msgspec.structs.replace(spec, weights=weighed)
    if intercept is not None:
        n = len(spec.typologies)
        changed = msgspec.structs.replace(changed, slopes=[0.0] * n, intercepts=[intercept] * n)
    return OrderFlowModel(Bundle.load(alter_bundle(folder, SPEC, content, msgspec.json.encode(changed))))


def judge(
    orders: OrderFrame, ticks: Frame, model: OrderFlowModel | None, rows: int = 500, asking: bool = True
) -> tuple[list[Found], bytes]:
    """Apply order frames of ``rows``, each after the ticks of its time; return what was found, and the state."""
    engine = OrderEngine(OrderConfig(), model)
    state = engine.new_state()
    found = []
    before = 0
    for first, last in pairwise([*range(0, len(orders), rows), len(orders)]):
        until = int(ticks.ts_event.searchsorted(orders.ts_event[last - 1], side="right"))
        engine.observe(state, ticks[before:until])
        for track in engine.apply(state, orders[first:last], asking=asking).tracks:
            assert (np.diff(track.ts_event) >= 0).all()
            for i, (ts, value) in enumerate(zip(track.ts_event.tolist(), track.score.tolist(), strict=True)):
                why = track.explain(i) if value >= SPECS[track.head].open else Explanation()
                found.append(Found(track.head, track.account, ts, value, why))
        before = until
    return sorted(found, key=lambda one: one[:4]), state.pack()


def of_case(made: Market, model: OrderFlowModel | None, rows: int = 500, asking: bool = True) -> list[Found]:
    return judge(made.orders(), made.ticks(), model, rows, asking)[0]


@pytest.fixture(scope="module")
def shipped() -> OrderFlowModel:
    model = of(Bundle.load(DEFAULT))
    assert model is not None
    return model


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> OrderFlowModel:
    """Return a model that is sure of everything, and counts for spoofing and layering only."""
    return altered(tmp_path_factory.mktemp("sure") / "bundle", {"spoofing": 0.8, "layering": 0.5}, 20.0)


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> OrderFlowModel:
    """Return the shipped model, every typology at full weight."""
    return altered(tmp_path_factory.mktemp("heavy") / "bundle", dict.fromkeys(NAMES, 1.0))


@pytest.fixture(scope="module")
def asks() -> list[Ask]:
    kept, made = Kept(), market("layering")
    engine = OrderEngine(OrderConfig(), kept)
    state = engine.new_state()
    engine.observe(state, made.ticks())
    engine.apply(state, made.orders())
    return kept.asks


def test_what_ships_tells_typologies_of_orders_and_what_each_weighs(shipped: OrderFlowModel) -> None:
    assert set(shipped.spec.typologies) <= SPECS.keys()
    assert any(shipped.spec.weights)


def test_a_rows_bits_are_its_own(shipped: OrderFlowModel, asks: list[Ask]) -> None:
    assert len(asks) > 2 * BLOCK
    together = shipped.probabilities(asks)
    alone = np.concatenate([shipped.probabilities([one]) for one in asks])
    assert together.tobytes() == alone.tobytes()
    assert ((together >= 0.0) & (together <= 1.0)).all()


def test_the_network_sees_the_newest_events_last_and_nothing_where_there_were_none(asks: list[Ask]) -> None:
    events, beside = seen(asks)
    assert events.shape == (len(asks), EVENTS, len(FEATURES))
    assert np.isfinite(events).all()
    assert np.isfinite(beside).all()
    for row, ask in zip(events, asks, strict=True):
        there = len(ask.events) // EVENT.itemsize
        assert row[:, FEATURES.index("there")].sum() == there
        assert not row[: EVENTS - there].any()
        assert row[-1, FEATURES.index("side")] == 1.0  # the newest event's side is what sides are told by
        assert (row[-there:, :4].sum(1) == 1.0).all()


@pytest.mark.parametrize("name", ["spoofing", "momentum_ignition"])
def test_framing_time_prices_and_names_change_nothing(heavy: OrderFlowModel, name: str) -> None:
    made = market(name)
    orders, ticks = made.orders(), made.ticks()
    whole = judge(orders, ticks, heavy)
    for rows in (1, 7):
        assert judge(orders, ticks, heavy, rows) == whole
    found = [one[:4] for one in whole[0]]
    shifted = {"ts_event": orders.ts_event + 3 * DAY_NS, "ts_available": orders.ts_available + 3 * DAY_NS}
    moved = msgspec.structs.replace(ticks, ts_event=ticks.ts_event + 3 * DAY_NS)
    later = judge(msgspec.structs.replace(orders, **shifted), moved, heavy)[0]
    assert [(one.head, one.account, one.ts_event - 3 * DAY_NS, one.score) for one in later] == found
    dearer = msgspec.structs.replace(orders, price=orders.price * 8)
    quoted = msgspec.structs.replace(ticks, bid=ticks.bid * 8, ask=ticks.ask * 8)
    assert [one[:4] for one in judge(dearer, quoted, heavy)[0]] == found
    names = tuple(f"name {len(orders.accounts) - k}" for k in range(len(orders.accounts)))
    called = dict(zip(orders.accounts, names, strict=True))
    renamed = judge(msgspec.structs.replace(orders, accounts=names), ticks, heavy)[0]
    assert [one[:4] for one in renamed] == sorted((h, called[account], ts, s) for h, account, ts, s in found)


@pytest.mark.parametrize("name", ACTS)
def test_a_rule_rings_as_without_the_model_and_not_at_all_less_with_it(shipped: OrderFlowModel, name: str) -> None:
    made = market(name)
    rules = of_case(made, None)
    assert of_case(made, shipped, asking=False) == rules
    weighed = {one[:3]: one.score for one in of_case(made, shipped)}
    assert all(weighed[one[:3]] >= one.score for one in rules)


def test_an_explanation_shows_the_rules_conditions_and_the_models_part(sure: OrderFlowModel) -> None:
    rules = {one[:3]: one for one in of_case(market("spoofing"), None) if one.head == "spoofing"}
    both = {one[:3]: one for one in of_case(market("spoofing"), sure) if one[:3] in rules}
    assert both.keys() == rules.keys()
    for at, rule in rules.items():
        assert both[at].score == pytest.approx(score(rule.score, 1.0, 0.8))
        if rule.score < SPECS["spoofing"].open:
            continue
        told = both[at].why.rules
        assert told[: len(rule.why.rules)] == rule.why.rules
        of_rule, of_model = told[len(rule.why.rules) :]
        assert (of_rule.name, of_rule.value, of_rule.threshold) == ("rule of spoofing", rule.score, 0.5)
        assert (of_model.name, of_model.weight) == ("order-flow model", 0.8)
        assert of_model.value == pytest.approx(1.0)
        assert both[at].why.clears


def test_what_the_model_alone_rings_for_says_that_the_rule_does_not(sure: OrderFlowModel) -> None:
    alone = [one for one in of_case(market("fat_finger"), sure) if one.head == "spoofing"]
    assert alone
    for one in alone:
        assert one.score == pytest.approx(0.8)
        rule, model = one.why.rules
        assert (rule.name, rule.value, rule.threshold) == ("rule of spoofing", 0.0, 0.5)
        assert model.value == pytest.approx(1.0)
        assert model.threshold == pytest.approx(0.5 / 0.8)
        assert one.why.clears.startswith("order-flow model below 0.625")


def test_an_explanation_names_the_events_that_moved_the_model(heavy: OrderFlowModel) -> None:
    found = [one for one in of_case(market("spoofing"), heavy) if one.account == "spoofer" and one.score >= 0.5]
    assert found
    for one in found:
        assert one.why.attributions
        weights = [abs(place.weight) for place in one.why.attributions]
        assert weights == sorted(weights, reverse=True)
        first, _, last = one.why.attributions[0].locator.removeprefix("ns ").partition(":")
        assert int(first) <= int(last) <= one.ts_event
        assert "to buy" in one.why.attributions[0].excerpt


def test_what_is_kept_of_an_account_is_bounded_and_outlives_its_bytes(shipped: OrderFlowModel) -> None:
    made = market("excessive_messages")
    state = judge(made.orders(), made.ticks(), shipped)[1]
    accounts = OrderState.unpack(state).accounts.values()
    assert max(account.told for account in accounts) > 2 * EVENTS
    assert all(len(account.tail) <= 1.5 * EVENTS * EVENT.itemsize for account in accounts)
    assert OrderState.unpack(state).pack() == state


def test_a_bundle_without_the_model_has_none_and_half_a_model_is_refused(tmp_path: Path) -> None:
    assert of(Bundle.load(write_bundle(tmp_path / "none"))) is None
    half = alter_bundle(tmp_path / "half", SPEC, b"{", b"{")
    manifest = msgspec.json.decode((half / "manifest.json").read_bytes())
    del manifest["files"][MODEL]
    (half / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    (half / MODEL).unlink()
    with pytest.raises(BundleError, match=r"order_flow\.json alone: expected order_flow\.onnx and order_flow\.json"):
        of(Bundle.load(half))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"weights": [2.0]}, "weight in"),
        ({"typologies": ["gossip"]}, "expected typologies out of"),
        ({"slopes": [], "intercepts": [], "weights": [], "typologies": []}, "expected a graph that makes"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, list[object]], found: str) -> None:
    content = Bundle.load(DEFAULT).read(SPEC)
    told = msgspec.json.decode(content)
    for name, values in changes.items():
        told[name] = [*values, *told[name][len(values) :]] if values else []
    with pytest.raises(BundleError, match=found):
        of(Bundle.load(alter_bundle(tmp_path / "bundle", SPEC, content, msgspec.json.encode(told))))
