"""What every agent owes, whatever it makes of its items.

Each is run where it stands, behind the agents before it, because they share the state. ``given`` is what reached it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from agents.account_state import AccountState
from agents.accounts import SPECS, statements, transfers
from agents.drift import drift
from agents.flow import Arrival
from agents.fusion import fusion
from agents.instrument import instrument, openings
from agents.instrument_state import InstrumentState
from agents.market import crowds
from agents.market_drift import CROWD, moving
from agents.market_sentiment import SPOKEN, sentiment
from agents.market_state import MarketState
from agents.orders import orders
from agents.signals import signals
from agents.text import text
from agents.ticks import ticks
from agents.triage import triage
from engines.order_findings import OrderConfig
from engines.order_state import OrderState
from engines.orders import OrderEngine
from engines.statements import StatementEngine
from engines.tracks import OrderUpdate, Track
from engines.transfers import TransferConfig, TransferEngine
from engines.typologies import market_wide
from engines.typologies.counterparty_default import CounterpartyConfig
from engines.typologies.market_wide import CrowdConfig
from monitor.state import StateTable
from schemas.alerts import Alert, Explanation
from schemas.journal import Clock, Ladder
from schemas.order_frames import OrderFrame, of_events
from schemas.records import OrderEvent, Score
from tests.agents import streams
from tests.agents.streams import BEGIN, KEY, S
from tests.agents.test_accounts import arrivals
from tests.agents.test_market import T0, opening
from tests.agents.test_market_drift import drifted
from tests.agents.test_market_sentiment import text as spoken
from tests.payments import background, names, pattern
from tests.statements import OWES, PAYS, model, statement

State = MutableMapping[str, Any]
Agent = Callable[[AsyncIterator[Any], State], AsyncIterator[Any]]
MADE = streams.engines()


class Case(NamedTuple):
    """An agent, and those whose output it is fed; the day that it sees, and how its states are unpacked."""

    agent: Agent
    others: tuple[Agent, ...]
    day: Callable[[], tuple[Any, ...]]
    unpack: Callable[[bytes], Any]


def chained(
    stage: dict[str, Agent], day: Callable[[], tuple[Any, ...]], unpack: Callable[[bytes], Any]
) -> dict[str, Case]:
    agents = tuple(stage.values())
    return {name: Case(agent, agents[:place], day, unpack) for place, (name, agent) in enumerate(stage.items())}


class Finding(OrderEngine):
    """An order engine that finds something at each order event, and again a minute and a half later."""

    def apply(self, state: OrderState, frame: OrderFrame, *, asking: bool = True) -> OrderUpdate:
        update = super().apply(state, frame, asking=asking)
        state.deadline_ns = frame.ts_event.item(-1) + 90 * S
        return msgspec.structs.replace(update, tracks=(self._found(frame.ts_event.item(-1)),))

    def advance(self, state: OrderState, now_ns: int, *, asking: bool = True) -> OrderUpdate:
        due_ns, state.deadline_ns = state.deadline_ns, 0
        return OrderUpdate((self._found(due_ns),))

    @staticmethod
    def _found(ts: int) -> Track:
        at = np.array([ts], np.int64)
        return Track("spoofing", at, at, np.array([0.8]), at, lambda _: Explanation(), account="a1")


INSTRUMENT: dict[str, Agent] = {
    "ticks": lambda items, state: ticks(items, state, engine=MADE.ticks, count=MADE.count),
    "orders": lambda items, state: orders(items, state, engine=Finding(OrderConfig()), count=MADE.count),
    "text": lambda items, state: text(
        items, state, adverse=MADE.specs["adverse_text"].open, skipped=MADE.skipped, lexicon=MADE.words
    ),
    "fusion": lambda items, state: fusion(items, state, model=MADE.fusion, bundle="b"),
    "signals": lambda items, state: signals(items, state, config=MADE.signals, sector=MADE.sector, bundle="b"),
    "drift": lambda items, state: drift(
        items, state, config=MADE.drift, count=MADE.count, listing=MADE.listing, bundle="b", decides="c"
    ),
    "triage": lambda items, state: triage(
        items, state, specs=MADE.specs, subject=MADE.subject, provenance=MADE.provenance
    ),
    "openings": lambda items, _: openings(items),
}
MARKET: dict[str, Agent] = {
    "crowds": lambda items, state: crowds(items, state, config=CrowdConfig()),
    "moving": lambda items, state: moving(items, state, config=CROWD, decides="c"),
    "sentiment": lambda items, state: sentiment(items, state, config=SPOKEN),
    "triage of the market": lambda items, state: triage(
        items, state, specs={"market_wide": market_wide.SPEC}, subject=MADE.subject, provenance=MADE.provenance
    ),
}
PAYMENTS = TransferEngine(TransferConfig(), names())
RATED = StatementEngine(CounterpartyConfig(), model())
ACCOUNTS: dict[str, Agent] = {
    "transfers": lambda items, state: transfers(items, state, engine=PAYMENTS, count=lambda _: None),
    "statements": lambda items, state: statements(items, state, engine=RATED, new=PAYMENTS.new, count=lambda _: None),
    "triage of accounts": lambda items, state: triage(
        items, state, specs=SPECS, subject=MADE.subject, provenance=MADE.provenance
    ),
}


class Foreign:
    """What no agent knows."""


#: And a score that another stage might send by.
FOREIGN: tuple[Any, ...] = (
    Foreign(),
    Score(ts_event=BEGIN, ts_available=BEGIN, instrument=KEY, window_start=0, window_end=BEGIN, scores={"other": 0.5}),
)


@cache
def market_day() -> tuple[Any, ...]:
    """Return a crowd of openings and their leaving, one told twice, a crowd of drifts, texts, and what not all know."""
    openings = [opening(10 * number, f"I{number}.XTOC", number) for number in range(12)]
    clocks = [Clock(T0 + second * S) for second in range(150, 1_350, 50)]
    return (
        Ladder(0, "as it was"),
        *openings[:3],
        FOREIGN[0],
        Ladder(1, "slow"),
        FOREIGN[1],
        Ladder(0, "well"),
        openings[2],
        *openings[3:],
        *clocks,
        *(drifted(1_400 + number, f"I{number}.XTOC", 12 + number) for number in range(20)),
        *(spoken(1_500 + number, f"I{number}.XTOC", f"text {number // 2}") for number in range(6)),
    )


@cache
def account_day() -> tuple[Any, ...]:
    """Return a quiet day, patterns weeks later, the days in which they close, and what not every agent knows."""
    moved = [*background(1), *(one for name in ("structuring", "round_trip") for one in pattern(name))]
    paid = arrivals([*moved, statement(0, PAYS), statement(1, OWES), statement(1, OWES, account="P5")])
    last_ns = max(item.now_ns for item in paid if isinstance(item, Clock))
    clocks = [Clock(last_ns + hours * 3_600 * S) for hours in range(1, 40, 5)]
    return (
        Ladder(0, "as it was"),
        *paid[:5],
        FOREIGN[0],
        Ladder(1, "slow"),
        FOREIGN[1],
        Ladder(0, "well"),
        paid[1],
        *paid[5:],
        *clocks,
    )


@cache
def instrument_day() -> tuple[Any, ...]:
    """Return two quiet hours and a pump, words before and during it, and what not every agent knows in between."""
    pump = streams.pump()
    items: list[Any] = streams.arrivals(
        (pump[at : at + 10] for at in range(0, len(pump), 10)),
        [
            (streams.news(600), 0.2),
            (streams.news(3_000, "d2", "OTHER.XTOC"), 0.99),
            (streams.news(7_190, "d3"), 0.97),
            (streams.news(7_230, "d4"), 0.9999),
            (streams.news(7_300, "d5"), 0.1),
        ],
    )
    at = BEGIN + 3_600 * S
    order = OrderEvent(
        ts_event=at, ts_available=at, instrument=KEY, order_id="o", action="new", side="buy", price=10.0, size=1.0
    )
    middle = next(n for n, item in enumerate(items) if isinstance(item, Clock) and item.now_ns > at)
    items[middle:middle] = [
        FOREIGN[0],
        Ladder(1, "slow"),
        Arrival("orders", 0, len(items), KEY, at, len(items), of_events([order]), bytes(32)),
        FOREIGN[1],
        Ladder(0, "well"),
    ]
    # The day's end: hours without a tick, in which all that is open closes.
    return (Ladder(0, "as it was"), *items, Clock(BEGIN + 9_000 * S), Clock(BEGIN + 14_400 * S))


CASES = {
    **chained(INSTRUMENT, instrument_day, InstrumentState.unpack),
    "instrument": Case(lambda items, state: instrument(items, state, MADE), (), instrument_day, InstrumentState.unpack),
    **chained(MARKET, market_day, MarketState.unpack),
    **chained(ACCOUNTS, account_day, AccountState.unpack),
}
pytestmark = pytest.mark.parametrize("name", CASES)


class Run(NamedTuple):
    given: list[Any]
    told: list[Any]
    #: The items given, as they were before the agent had them.
    before: list[object]


def run(name: str, items: Iterable[Any], state: State, between: Callable[[State], None] = lambda _: None) -> Run:
    case = CASES[name]
    given: list[Any] = []
    before: list[object] = []

    async def source() -> AsyncIterator[Any]:
        for item in items:
            yield item
            between(state)

    async def tapped(stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for item in stream:
            given.append(item)
            before.append(plain(item))
            yield item

    async def collect() -> list[Any]:
        stream: AsyncIterator[Any] = source()
        for other in case.others:
            stream = other(stream, state)
        return [item async for item in case.agent(tapped(stream), state)]

    told = asyncio.run(collect())
    return Run(given, told, before)


def plain(value: Any) -> object:
    """Return a value that compares by content."""
    if isinstance(value, Track):
        arrays = (value.ts_event, value.ts_available, value.score, value.window_start)
        why = plain(value.explain(int(np.argmax(value.score)))) if len(value.score) else None
        return value.head, [plain(array) for array in arrays], why
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, msgspec.Struct):
        return type(value).__name__, [plain(getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Foreign):
        return id(value)
    assert isinstance(value, dict | str | bytes | int | float | None), f"compare {type(value)} by its content"
    return value


def packed(state: State) -> dict[str, bytes]:
    return {key: kept.pack() for key, kept in state.items()}


def repack(name: str, state: State) -> None:
    for key in list(state):
        state[key] = CASES[name].unpack(state[key].pack())


@cache
def whole(name: str) -> tuple[Run, dict[str, bytes]]:
    state: dict[str, Any] = {}
    return run(name, CASES[name].day(), state), packed(state)


def test_the_day_gives_every_agent_something_to_do(name: str) -> None:
    found, _ = whole(name)
    assert len(found.told) > len(found.given)
    told = {(item.finding.typology, item.activity) for item in found.told if isinstance(item, Alert)}
    assert len(told) >= {
        "triage": 5,
        "openings": 5,
        "instrument": 5,
        "triage of the market": 2,
        "triage of accounts": 2,
    }.get(name, 0)


def test_whatever_goes_in_comes_out_once_and_in_order(name: str) -> None:
    found, _ = whole(name)
    known = {id(item) for item in found.given}
    # A clock may be told in smaller steps: there the moment counts, not the object.
    moments = {item.now_ns for item in found.given if isinstance(item, Clock)}

    def same(item: Any) -> int:
        return item.now_ns if isinstance(item, Clock) else id(item)

    passed = [item for item in found.told if id(item) in known or (isinstance(item, Clock) and item.now_ns in moments)]
    assert [same(item) for item in passed] == [same(item) for item in found.given]
    clocks = [item.now_ns for item in found.told if isinstance(item, Clock)]
    assert clocks == sorted(set(clocks))


def test_what_it_does_not_know_changes_nothing(name: str) -> None:
    state: dict[str, Any] = {}
    without = run(name, [item for item in CASES[name].day() if item not in FOREIGN], state)
    found, end = whole(name)
    assert [plain(item) for item in found.told if item not in FOREIGN] == [plain(item) for item in without.told]
    assert packed(state) == end


def test_the_same_items_give_the_same_again(name: str) -> None:
    state: dict[str, Any] = {}
    again = run(name, CASES[name].day(), state)
    found, end = whole(name)
    assert [plain(item) for item in again.told] == [plain(item) for item in found.told]
    assert packed(state) == end


def test_what_it_is_given_stays_as_it_was(name: str) -> None:
    found, _ = whole(name)
    assert [plain(item) for item in found.given] == found.before


def test_it_goes_on_from_packed_states_as_if_nothing_had_been(name: str) -> None:
    """Once with every state packed and unpacked after every item, once begun anew a dozen times."""
    found, end = whole(name)
    expected = [plain(item) for item in found.told]

    state: dict[str, Any] = {}
    assert [plain(item) for item in run(name, CASES[name].day(), state, between=partial(repack, name)).told] == expected
    assert packed(state) == end

    state, told = {}, []
    clocks = [at for at, item in enumerate(CASES[name].day()) if isinstance(item, Clock)]
    places = [0, *clocks[:: len(clocks) // 12], len(CASES[name].day())]
    for start, stop in pairwise(places):
        told += run(name, CASES[name].day()[start:stop], state).told
        repack(name, state)
    assert [plain(item) for item in told] == expected
    assert packed(state) == end


def test_a_state_that_changed_is_marked_for_the_next_checkpoint(name: str) -> None:
    table: StateTable[Any] = StateTable()
    known: dict[str, bytes] = {}
    unmarked: list[str] = []

    def look(state: State) -> None:
        now = packed(state)
        unmarked.extend(key for key in now if now[key] != known.get(key) and key not in table.dirty)
        known.update(now)
        table.dirty.clear()

    run(name, CASES[name].day(), table, between=look)
    assert known
    assert not unmarked
