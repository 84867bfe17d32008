"""Drift on lists and dicts: what is told when, on what alerts stand, and that no framing or clock changes a word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest

from agents.flow import Item
from agents.instrument import instrument
from agents.instrument_state import InstrumentState
from schemas.alerts import Alert
from schemas.frames import Frame, frame_of
from schemas.journal import Clock
from schemas.records import Drift
from tests.agents.streams import BEGIN, KEY, S, arrivals, cut, engines, news, outputs

HOUR = 3_600 * S
State = dict[str, InstrumentState]


def said(items: Iterable[Item], state: State | None = None, forget_ns: int = 0) -> list[Drift | Alert]:
    kept: State = {} if state is None else state
    made = replace(engines(), forget_ns=forget_ns)
    return outputs(lambda feed: instrument(feed, kept, made), items, Drift, Alert)


def drifts(items: Iterable[Item], state: State | None = None, forget_ns: int = 0) -> list[Drift]:
    return [one for one in said(items, state, forget_ns) if isinstance(one, Drift)]


@cache
def ticks(hours: float = 5.0, wild_at: float = 3.0, unit_at: float = 4.5) -> Frame:
    """Return a trade in every five seconds, wilder from an hour on, and later in another unit."""
    draw = np.random.default_rng(1)
    n = int(hours * 720)
    ts = BEGIN - BEGIN % HOUR + np.arange(n) * 5 * S + draw.integers(0, 4 * S, n)
    spread = np.where(np.arange(n) < wild_at * 720, 2e-4, 6e-4)
    price = 10.0 * np.exp(np.cumsum(draw.normal(0.0, 1.0, n) * spread))
    price[int(unit_at * 720) :] /= 10
    return frame_of(
        KEY,
        {
            "ts_event": ts,
            "ts_available": ts + 1_000_000,
            "price": price,
            "size": draw.exponential(10.0, n) + 1,
            "source_offset": np.arange(n),
        },
    )


@cache
def day(size: int = 50) -> tuple[Drift | Alert, ...]:
    texts = [(news(3_600), 0.9), (news(int(3.5 * 3_600), "d2"), 0.9)]
    return tuple(said([*arrivals(cut(ticks(), [size]), texts), Clock(int(ticks().ts_available[-1]) + 300 * S)]))


def bare(items: Iterable[Drift | Alert]) -> list[Drift]:
    """Return the drift signals without what depends on the cutting of frames: the message that completed them."""
    return [msgspec.structs.replace(one, evidence=[]) for one in items if isinstance(one, Drift)]


def test_what_moved_is_told_with_its_kind_and_when_it_began() -> None:
    told = bare(day())
    assert [(one.kind, one.stream) for one in told[:3]] == [
        ("new_instrument", "frames"),
        ("market", "volatility"),
        ("unit_change", "price"),
    ]
    began = BEGIN - BEGIN % HOUR
    for one, hours in zip(told[1:3], (3.0, 4.5), strict=True):
        assert one.since == pytest.approx(began + hours * HOUR, abs=300 * S)
        assert one.since < one.ts_event < one.ts_available
        assert (one.subject, one.scope, one.instruments) == (KEY, "instrument", [KEY])
    assert len({one.drift_id for one in told}) == len(told)


def test_the_evidence_is_the_message_that_completed_it() -> None:
    for one in day():
        if isinstance(one, Drift):
            assert [seen.topic for seen in one.evidence] == ["frames"]


@pytest.mark.parametrize("size", [1, 7, 500])
def test_no_cutting_of_frames_changes_a_word(size: int) -> None:
    assert bare(day(size)) == bare(day())
    alerts = [[(a.alert_id, a.quality.drift) for a in day(n) if isinstance(a, Alert)] for n in (size, 50)]
    assert alerts[0] == alerts[1]


def test_alerts_carry_what_drifted_before_them() -> None:
    found = {
        alert.times.available_at: [(one.kind, one.stream) for one in alert.quality.drift]
        for alert in day()
        if isinstance(alert, Alert)
    }
    moved = next(one.ts_available for one in day() if isinstance(one, Drift) and one.stream == "volatility")
    assert found
    assert all((("market", "volatility") in drift) == (at > moved) for at, drift in found.items())


def test_a_checkpoint_in_between_changes_nothing() -> None:
    items = list(arrivals(cut(ticks(), [50])))
    for at in (len(items) // 3, 2 * len(items) // 3):
        state: State = {}
        first = drifts(items[:at], state)
        again = {key: InstrumentState.unpack(kept.pack()) for key, kept in state.items()}
        assert bare([*first, *drifts(items[at:], again)]) == bare(drifts(items))


def silence() -> tuple[list[Item], int]:
    """Return twenty minutes of ticks, and when they end."""
    frame = ticks(hours=1 / 3)
    return list(arrivals(cut(frame, [50]))), int(frame.ts_available[-1])


def test_a_silent_feed_is_stale_by_the_clock_however_far_it_leaps() -> None:
    items, end = silence()
    leap = drifts([*items, Clock(end - end % S + 400 * S)])
    steps = drifts([*items, *(Clock(end - end % S + n * S) for n in range(1, 401))])
    assert leap == steps
    (stale,) = [one for one in leap if one.kind == "stale_feed"]
    assert stale.since == end - 1_000_000
    assert 60 * S < stale.ts_event - end < 130 * S
    assert 0 < stale.ts_available - stale.ts_event - 2 * S <= S


def test_the_message_that_ends_a_silence_tells_of_it_as_a_clock_would_have() -> None:
    items, end = silence()
    items.append(Clock(end - end % S + 30 * S))  # which closes the last bars
    row = {"ts_event": [end + 300 * S], "ts_available": [end + 301 * S], "price": [10.0], "size": [1.0]}
    late = frame_of(KEY, row | {"source_offset": [10**6]})
    by_clock = [one for one in drifts([*items, Clock(end - end % S + 300 * S)]) if one.kind == "stale_feed"]
    by_message = [one for one in drifts([*items, arrivals([late])[-1]]) if one.kind == "stale_feed"]
    assert by_clock == by_message != []


def test_an_instrument_that_was_forgotten_before_its_silence_was_stale_comes_back_as_a_new_one() -> None:
    items, end = silence()
    items += [Clock(end - end % S + n * S) for n in (40, 50)]
    row = {"ts_event": [end + 300 * S], "ts_available": [end + 301 * S], "price": [10.0], "size": [1.0]}
    back = arrivals([frame_of(KEY, row | {"source_offset": [10**6]})])[-1]
    state: State = {}
    assert [one.kind for one in drifts([*items, back], forget_ns=45 * S)] == ["new_instrument", "new_instrument"]
    drifts(items, state, forget_ns=45 * S)
    assert not state


def test_a_new_instrument_warms_up_in_peace() -> None:
    told = drifts(arrivals(cut(ticks(wild_at=0.5), [50])))
    assert [one.kind for one in told if one.ts_event < BEGIN + 1.5 * HOUR] == ["new_instrument"]


def test_what_concerns_no_instrument_is_none() -> None:
    assert drifts(arrivals([], [(news(10, instrument="market"), 0.5)])) == []
    assert [one.kind for one in drifts(arrivals([], [(news(10), 0.5)]))] == ["new_instrument"]
