"""Micro-batches: rows that wait for a turn run with the row whose turn it is. None waits for company.

And what is asked again, or by several at once, is made once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from engines.inference import Inputs

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[T]):
    """A row that is asked for, its shape, and what becomes of it."""

    row: Inputs
    shape: tuple[int, ...]
    result: Future[T]


class Batcher(Generic[T]):
    """Runs rows in one of a few turns, and with each those of its shape that have none yet.

    A batch is what has piled up while all turns were taken: where there is no backlog a row runs at once and alone.

    Parameters
    ----------
    run
        Returns what comes of each of some rows of one shape.
    most
        Returns how many rows may run together at this moment.
    turns
        As many as may run at a time; others may share it.
    """

    def __init__(
        self, run: Callable[[Sequence[Inputs]], Sequence[T]], most: Callable[[], int], turns: threading.Semaphore
    ) -> None:
        self._run, self._most, self._turns = run, most, turns
        self._lock = threading.Lock()
        self._waiting: list[_Waiting[T]] = []

    def __call__(self, row: Inputs) -> T:
        """Return what comes of ``row``; raise what its run raises."""
        own: _Waiting[T] = _Waiting(row, next(iter(row.values())).shape, Future())
        with self._lock:
            self._waiting.append(own)
        with self._turns:
            if together := self._take(own):
                try:
                    found = self._run([one.row for one in together])
                    for one, result in zip(together, found, strict=True):
                        one.result.set_result(result)
                except Exception as error:
                    for one in together:
                        one.result.set_exception(error)
        return own.result.result()  # of this turn, or of the one that took it along

    def _take(self, own: _Waiting[T]) -> list[_Waiting[T]]:
        """Return ``own`` and those that run with it, the longest waiting first; none where it was taken along."""
        with self._lock:
            if own not in self._waiting:
                return []
            others = [one for one in self._waiting if one is not own and one.shape == own.shape]
            together = [own, *others[: self._most() - 1]]
            self._waiting = [one for one in self._waiting if one not in together]
            return together


class Once(Generic[K, T]):
    """Calls a function once for each of the last ``keep`` different arguments; threads may share one.

    Who asks while the answer is being made waits for it. An error is told to all who wait, and forgotten.
    """

    def __init__(self, call: Callable[[K], T], keep: int) -> None:
        self._call, self._keep = call, keep
        self._lock = threading.Lock()
        self._known: OrderedDict[K, Future[T]] = OrderedDict()

    def __call__(self, key: K) -> T:
        """Return what comes of ``key``; raise what its call raises."""
        with self._lock:
            known = self._known.get(key)
            answer = self._known[key] = known or Future()
            self._known.move_to_end(key)
            if len(self._known) > self._keep:
                self._known.popitem(last=False)
        if known is None:
            try:
                answer.set_result(self._call(key))
            except BaseException as error:
                with self._lock:
                    if self._known.get(key) is answer:
                        del self._known[key]
                answer.set_exception(error)
        return answer.result()
