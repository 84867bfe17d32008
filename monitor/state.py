"""The mapping of state that a lane hands to its agents: it remembers which keys changed since the last checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Protocol, TypeVar


class State(Protocol):
    """What a lane keeps for a key."""

    def pack(self) -> bytes: ...


S = TypeVar("S", bound=State)


class StateTable(MutableMapping[str, S]):
    """A mapping that knows its dirty keys: an agent that changes a value assigns it again, as to a Faust table.

    A checkpoint is of one moment, but thousands of states are not packed in one: `freeze` marks them, `packed` returns
    their bytes as they were then, and a marked state that an agent asks for in between is packed before it gets it. So
    an agent asks for a state each time it has something new to apply, and keeps none across items.
    """

    def __init__(self, states: dict[str, S] | None = None) -> None:
        self._states = states or {}
        self._frozen: dict[str, S] = {}
        self._packed: dict[str, bytes] = {}
        self.dirty: set[str] = set()

    def __getitem__(self, key: str) -> S:
        state = self._states[key]
        if key in self._frozen:
            self._packed[key] = self._frozen.pop(key).pack()
        return state

    def __setitem__(self, key: str, state: S) -> None:
        self._states[key] = state
        self.dirty.add(key)

    def __delitem__(self, key: str) -> None:
        del self._states[key]
        self.dirty.add(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def freeze(self, *, everything: bool) -> list[str]:
        """Keep what is dirty, or ``everything``, as it is now for `packed`; nothing is dirty then."""
        keys = self.dirty | self._states.keys() if everything else self.dirty
        self._frozen = {key: self._states[key] for key in keys & self._states.keys()}
        self._packed = dict.fromkeys(keys - self._states.keys(), b"")
        self.dirty = set()
        return sorted(keys)

    def packed(self, key: str) -> bytes:
        """Return a frozen state's bytes, once; none for one that was deleted."""
        frozen = self._frozen.pop(key, None)
        return self._packed.pop(key) if frozen is None else frozen.pack()
