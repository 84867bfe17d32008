"""Graphs of a day's accounts: their nodes and edges, and that what is learnt of them is what was shown."""

from __future__ import annotations

import numpy as np
import pytest

from engines.accounts import DAY_NS, Account
from engines.training.accounts import DayGraph, by_itself, by_surprise, day_graph, with_neighbours
from engines.transfers import TransferConfig, TransferEngine
from tests.payments import T0, background, names, pattern


@pytest.fixture(scope="module")
def day() -> DayGraph:
    engine, states = TransferEngine(TransferConfig(), names()), dict[str, Account]()
    for one in [*background(), *pattern("fan_in")]:
        states.update(engine.apply(states.get, one).accounts)
    guilt = {one.account: "fan_in" for one in pattern("fan_in")} | {"P2": "fan_in"}
    return day_graph(states, T0 + 19 * DAY_NS, guilt, {"P2": 0.9})


def test_a_node_is_an_account_that_moved_and_an_edge_a_pair_that_paid_either_way(day: DayGraph) -> None:
    assert {f"X{k}" for k in range(16)} < set(day.names)
    assert not any(name.startswith("\x00") for name in day.names)
    assert day.guilty.sum() == 17
    assert day.rules.max() == 0.9
    half = len(day.edges.src) // 2
    assert day.edges.src[:half].tolist() == day.edges.dst[half:].tolist()
    into = [
        day.names[src]
        for src, dst in zip(day.edges.src[:half], day.edges.dst[:half], strict=True)
        if day.names[dst] == "P2"
    ]
    assert {f"X{k}" for k in range(16)} <= set(into)


def test_what_was_shown_is_told_again_and_what_was_not_heard_is_not(day: DayGraph) -> None:
    for scored in (by_itself([day], [day], rules=False), with_neighbours([day], [day], 0, rules=False)):
        assert scored[0][day.guilty].min() > scored[0][~day.guilty].max()
    (unheard,) = with_neighbours(
        [day, day._replace(guilt=np.where(np.arange(len(day.names)) == 0, "other", ""))],
        [day],
        0,
        rules=False,
        unheard="fan_in",
    )
    assert not unheard[day.guilty].min() > unheard[~day.guilty].max()


def test_surprise_is_a_number_for_every_node_and_the_same_again(day: DayGraph) -> None:
    (once,), (again,) = (by_surprise([day], [day], 3) for _ in range(2))
    assert once.shape == (len(day.names),)
    assert np.isfinite(once).all()
    np.testing.assert_array_equal(once, again)
