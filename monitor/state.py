"""The mapping of state that a lane hands to its agents: it remembers which keys changed since the last checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Generic, TypeVar

S = TypeVar("S")


class StateTable(MutableMapping[str, S], Generic[S]):
    """A dict that knows its dirty keys: an agent that changes a value assigns it again, as to a Faust table."""

    def __init__(self, states: dict[str, S] | None = None) -> None:
        self._states: dict[str, S] = states or {}
        self.dirty: set[str] = set()

    def __getitem__(self, key: str) -> S:
        return self._states[key]

    def __setitem__(self, key: str, state: S) -> None:
        self._states[key] = state
        self.dirty.add(key)

    def __delitem__(self, key: str) -> None:
        del self._states[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)
