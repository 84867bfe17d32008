from __future__ import annotations

from dataclasses import dataclass

import pytest

from monitor.state import StateTable


@dataclass
class Count:
    n: int

    def pack(self) -> bytes:
        return b"%d" % self.n


def table(**states: int) -> StateTable[Count]:
    return StateTable({key: Count(n) for key, n in states.items()})


def add(states: StateTable[Count], key: str) -> None:
    state = states.get(key) or Count(0)
    state.n += 1
    states[key] = state


def test_what_was_assigned_is_dirty_until_it_is_frozen() -> None:
    states = table(a=1, b=1)
    add(states, "b")
    add(states, "c")
    assert states.freeze(everything=False) == ["b", "c"]
    assert states.dirty == set()


def test_a_frozen_state_is_packed_as_it_was_whatever_becomes_of_it() -> None:
    states = table(a=1, b=1, c=1, d=1)
    keys = states.freeze(everything=True)
    assert keys == ["a", "b", "c", "d"]
    assert states.packed("a") == b"1"
    for key in ("a", "b", "b"):
        add(states, key)
    states["c"] = Count(7)
    del states["d"]
    for state in states.values():
        state.n += 10
    assert [states.packed(key) for key in keys[1:]] == [b"1", b"1", b"1"]
    assert {key: state.n for key, state in states.items()} == {"a": 12, "b": 13, "c": 17}
    assert states.dirty == {"a", "b", "c", "d"}


def test_a_frozen_state_is_handed_out_once() -> None:
    states = table(a=1)
    states.freeze(everything=True)
    assert states.packed("a") == b"1"
    with pytest.raises(KeyError):
        states.packed("a")


def test_a_state_that_was_deleted_is_dirty_and_has_no_bytes() -> None:
    states = table(a=1, b=1, c=1)
    del states["b"]
    assert states.freeze(everything=False) == ["b"]
    assert states.packed("b") == b""
    del states["c"]
    assert states.freeze(everything=True) == ["a", "c"]
    assert [states.packed("a"), states.packed("c")] == [b"1", b""]
    assert states.freeze(everything=True) == ["a"]
