"""Three instruments, now and then a news item or some ticks; what is quiet for an hour is forgotten."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import replace
from weakref import ref

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.flow import Arrival, Item
from agents.instrument import instrument
from agents.instrument_state import InstrumentState, _Packed
from agents.watched import INPUTS_KEPT
from engines.signals import SignalState
from monitor.state import StateTable
from schemas.alerts import Alert
from schemas.frames import frame_of
from schemas.journal import Clock
from tests.agents.streams import BEGIN, S, engines, heard, news, run

HOUR_S = 3_600
FORGETFUL = replace(engines(), forget_ns=HOUR_S * S)
State = dict[str, InstrumentState]


def text(at_s: float, key: str = "A", score: float = 0.1, age_s: int = 0) -> Arrival:
    item = news(at_s - age_s, f"d{at_s}", key)
    return Arrival("news", 0, int(at_s), key, item.ts_available, int(at_s), item, bytes(32), heard(item, score))


def ticks(at_s: float, key: str = "A", age_s: int = 0) -> Arrival:
    ts = [BEGIN + int((at_s - age_s) * S) + i * 1_000_000 for i in range(3)]
    frame = frame_of(
        key,
        {
            "ts_event": ts, "ts_available": ts, "price": [10.0, 10.1, 10.0], "size": [1.0] * 3, "side": [1, 1, -1],
            "source_offset": [int(at_s) * 10 + i for i in range(3)],
        },
    )  # fmt: skip
    return Arrival("frames", 0, int(at_s), key, ts[-1], int(at_s), frame, bytes(32), None)


def clock(at_s: int) -> Clock:
    return Clock(BEGIN + at_s * S)


def after(items: list[Item]) -> State:
    state: State = {}
    run(items, state, FORGETFUL)
    return state


def packed(state: State) -> dict[str, bytes]:
    return {key: kept.pack() for key, kept in state.items()}


def test_what_is_quiet_for_long_is_forgotten_to_the_second() -> None:
    items: list[Item] = [ticks(0, "A"), text(10, "B")]
    assert set(after([*items, clock(HOUR_S)])) == {"A", "B"}
    assert set(after([*items, clock(HOUR_S + 1)])) == {"B"}
    assert set(after([*items, text(20, "A"), clock(HOUR_S + 10)])) == {"A"}
    assert after([*items, clock(3 * HOUR_S)]) == {}


def test_a_document_out_of_an_archive_does_not_make_an_instrument_old() -> None:
    items: list[Item] = [ticks(10), text(20, age_s=9 * HOUR_S)]
    state = after([*items, clock(60)])
    assert set(state) == {"A"}
    assert set(after([*items, clock(HOUR_S + 10)])) == {"A"}
    assert after([*items, clock(HOUR_S + 11)]) == {}
    # Nor do so many that no input is left that is new, and another worker takes over.
    run([text(60 + i, age_s=9 * HOUR_S) for i in range(INPUTS_KEPT)], state, FORGETFUL)
    then = {key: InstrumentState.unpack(kept.pack()) for key, kept in state.items()}
    run([clock(HOUR_S + 10)], then, FORGETFUL)
    assert set(then) == {"A"}
    run([clock(HOUR_S + 11)], then, FORGETFUL)
    assert then == {}


def test_a_state_of_before_newest_time_and_signals_were_kept_goes_by_its_inputs() -> None:
    kept = after([ticks(10), text(20, age_s=9 * HOUR_S)])["A"]
    packed, then = msgspec.msgpack.decode(kept.pack()), _Packed.__struct_fields__.index("latest_ns")
    fields, newest_ns = packed[:then], packed[then]
    assert newest_ns == kept.latest_ns == ticks(10).ts_available
    old = InstrumentState.unpack(msgspec.msgpack.encode(fields))
    assert old.latest_ns == newest_ns
    assert (old.signals, kept.signals.opinion.weight) == (SignalState(), 1.0)
    assert (old.orders, old.episodes) == (None, kept.episodes)
    assert old.sources == {}
    assert old.drift.first_ns == old.latest_ns  # watched from now on, and not called new
    old.signals, old.sources, old.drift = kept.signals, kept.sources, kept.drift
    assert old.pack() == kept.pack()


def test_nothing_is_forgotten_where_that_is_off() -> None:
    state: State = {}
    run([ticks(0), clock(10 * HOUR_S)], state, engines())
    assert set(state) == {"A"}


def test_who_comes_back_begins_as_one_never_seen() -> None:
    back: list[Item] = [ticks(2 * HOUR_S), clock(2 * HOUR_S + 60)]
    assert packed(after([ticks(0), text(5), clock(2 * HOUR_S), *back])) == packed(after(back))
    assert packed(after([ticks(0), text(5), clock(HOUR_S // 2), *back])) != packed(after(back))


def test_an_open_episode_keeps_its_instrument() -> None:
    # Forgotten a second after it was heard of, were it not for the alert that must still be closed.
    state: State = {}
    hasty = replace(engines(), forget_ns=S)
    opened = run([text(0, score=0.99), clock(5), text(6), clock(60)], state, hasty)
    assert [alert.activity for alert in opened if alert.finding.typology.startswith("adverse")] == ["create"]
    assert set(state) == {"A"}
    closed = run([clock(48 * HOUR_S)], state, hasty)
    assert {alert.episode_id for alert in closed if alert.activity == "close"} == {a.episode_id for a in opened}
    assert state == {}


class Key(str):
    """A key that tells whether anybody still holds it."""


def test_no_agent_keeps_anything_of_who_is_forgotten() -> None:
    held: list[bool] = []

    async def items() -> AsyncIterator[Item]:
        key = Key("A")
        still = ref(key)
        for item in [ticks(0, key), text(10, key, 0.99), text(20, key)]:
            yield item
        del item, key
        # What they have in hand is another's then.
        for item in [ticks(30, "B"), text(40, "B", 0.99), text(50, "B")]:
            yield item
        held.append(still() is not None)
        yield clock(HOUR_S + 20)
        yield clock(HOUR_S + 50)
        gc.collect()
        held.append(still() is not None)

    async def activities() -> list[str]:
        found = instrument(items(), {}, FORGETFUL)
        return [item.activity async for item in found if isinstance(item, Alert) and item.subject.instrument == "A"]

    assert asyncio.run(activities()) == ["create", "close"]
    assert held == [True, False]


def test_what_is_forgotten_is_dirty() -> None:
    table: StateTable[InstrumentState] = StateTable()
    run([ticks(0)], table, FORGETFUL)
    table.dirty.clear()
    run([clock(2 * HOUR_S)], table, FORGETFUL)
    assert table.dirty == {"A"}
    assert len(table) == 0


def told(alerts: list[Alert]) -> list[bytes]:
    return sorted(msgspec.json.encode(alert) for alert in alerts)


def alive(items: list[Item]) -> set[str]:
    """Return the instruments that were heard of within the hour before the last clock."""
    newest: dict[str, int] = {}
    now_ns = 0
    for item in items:
        if isinstance(item, Arrival):
            newest[item.key] = max(newest.get(item.key, 0), item.ts_available)
        elif isinstance(item, Clock):
            now_ns = item.now_ns
    return {key for key, at in newest.items() if at + HOUR_S * S > now_ns}


ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from("ABC"),
        st.sampled_from([1, 40, 900, 2_500, 3_599, 3_600, 3_601, 9_000]),
        st.booleans(),
        st.sampled_from([0, 0, 0, 30, 2_600, 3_600, 90_000]),
    ),
    max_size=12,
)


@settings(max_examples=40)
@example(arrivals=[("A", 1, False, 0), ("A", 60, False, 3_600), ("B", 1, False, 0)], step_s=60, cut=5)
@given(arrivals=ARRIVALS, step_s=st.sampled_from([7, 60, 1_000]), cut=st.integers(0, 30))
def test_clocks_that_leap_and_workers_that_change_forget_the_same(
    arrivals: list[tuple[str, int, bool, int]], step_s: int, cut: int
) -> None:
    leaping: list[Item] = []
    ticking: list[Item] = []
    at_s = 0
    for key, gap_s, is_text, age_s in [*arrivals, ("A", 5_000, True, 0)]:
        ticking += [clock(passed_s) for passed_s in range(at_s + step_s, at_s + gap_s, step_s)]
        at_s += gap_s
        arrival = text(at_s, key, 0.99, age_s) if is_text else ticks(at_s, key, age_s)
        leaping += [clock(at_s), arrival]
        ticking += [clock(at_s), arrival]
    whole: State = {}
    alerts = run(leaping, whole, FORGETFUL)

    state: State = {}
    assert told(run(ticking, state, FORGETFUL)) == told(alerts)
    assert packed(state) == packed(whole)

    before: State = {}
    first = run(leaping[:cut], before, FORGETFUL)
    assert alive(leaping[:cut]) <= set(before)
    then = {key: InstrumentState.unpack(kept.pack()) for key, kept in sorted(before.items())}
    assert told(first + run(leaping[cut:], then, FORGETFUL)) == told(alerts)
    assert packed(then) == packed(whole)
