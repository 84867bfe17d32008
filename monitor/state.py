"""The mapping of state that a lane hands to its agents: it remembers which keys changed since the last checkpoint."""

from __future__ import annotations

from typing import TypeVar

S = TypeVar("S")


class StateTable(dict[str, S]):
    """A dict that knows its dirty keys: an agent that changes a value assigns it again, as to a Faust table."""

    def __init__(self, states: dict[str, S] | None = None) -> None:
        super().__init__(states or {})
        self.dirty: set[str] = set()

    def __setitem__(self, key: str, state: S) -> None:
        super().__setitem__(key, state)
        self.dirty.add(key)
