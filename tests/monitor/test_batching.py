"""Rows that wait for a turn run together with those of their shape; nothing waits for company, nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from engines.inference import Inputs
from monitor.batching import Batcher, Once


def row(number: int, length: int = 4) -> Inputs:
    return {"ids": np.full((1, length), number)}


class Runs:
    """Answers each row with its number and keeps what ran together; row 13 cannot be answered."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []

    def __call__(self, rows: Sequence[Inputs]) -> list[int]:
        assert len({one["ids"].shape for one in rows}) == 1
        numbers = [int(one["ids"][0, 0]) for one in rows]
        self.together.append(numbers)
        if 13 in numbers:
            raise RuntimeError("row 13")
        return numbers


def piled_up(batcher: Batcher[int], rows: Sequence[Inputs], turns: threading.Semaphore) -> list[Future[int]]:
    """Ask for rows one after the other while all turns are taken, then give the turns free; return the answers."""
    with ThreadPoolExecutor(len(rows)) as pool:
        turns.acquire()
        asked = []
        for number, one in enumerate(rows, 1):
            asked.append(pool.submit(batcher, one))
            while len(batcher._waiting) < number:
                time.sleep(0.001)
        turns.release()
    return asked


def test_a_row_that_finds_a_turn_runs_at_once_and_alone() -> None:
    runs = Runs()
    batcher = Batcher(runs, lambda: 8, threading.Semaphore(2))
    assert [batcher(row(number)) for number in range(3)] == [0, 1, 2]
    assert runs.together == [[0], [1], [2]]


def test_rows_of_one_shape_that_have_piled_up_run_together_and_each_gets_its_own() -> None:
    runs, turns = Runs(), threading.Semaphore(1)
    rows = [row(1), row(2, length=8), row(3), row(4), row(5, length=8)]
    asked = piled_up(Batcher(runs, lambda: 8, turns), rows, turns)
    assert [one.result(10) for one in asked] == [1, 2, 3, 4, 5]
    assert sorted(sorted(numbers) for numbers in runs.together) == [[1, 3, 4], [2, 5]]


def test_no_more_run_together_than_the_back_end_may() -> None:
    runs, turns = Runs(), threading.Semaphore(1)
    asked = piled_up(Batcher(runs, lambda: 2, turns), [row(number) for number in range(5)], turns)
    assert [one.result(10) for one in asked] == [0, 1, 2, 3, 4]
    assert sorted(map(len, runs.together)) == [1, 2, 2]


def test_what_a_run_raises_is_raised_to_all_that_were_in_it_and_the_next_one_goes_on() -> None:
    runs, turns = Runs(), threading.Semaphore(1)
    batcher = Batcher(runs, lambda: 8, turns)
    for one in piled_up(batcher, [row(12), row(13)], turns):
        with pytest.raises(RuntimeError, match="row 13"):
            one.result(10)
    assert batcher(row(14)) == 14


def test_two_turns_run_at_a_time() -> None:
    both = threading.Barrier(2)

    def run(rows: Sequence[Inputs]) -> list[int]:
        both.wait(10)
        return [0] * len(rows)

    batcher = Batcher(run, lambda: 1, threading.Semaphore(2))
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(batcher, [row(1), row(2)])) == [0, 0]


def test_what_is_asked_by_several_at_once_is_made_once() -> None:
    asked: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def make(text: str) -> str:
        asked.append(text)
        begun.set()
        assert go.wait(10)
        return text.upper()

    once = Once(make, 2)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(once, "a")
        assert begun.wait(10)
        others = [pool.submit(once, "a") for _ in range(2)]
        go.set()
        assert [one.result(10) for one in (first, *others)] == ["A"] * 3
    assert [once(text) for text in ("a", "b", "a", "c", "a", "b")] == ["A", "B", "A", "C", "A", "B"]
    assert asked == ["a", "b", "c", "b"], "of two, the one that was asked for longest ago is forgotten"


def test_an_error_is_told_and_not_remembered() -> None:
    answers = iter([ValueError("torn"), "whole"])

    def make(_: str) -> str:
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    once = Once(make, 4)
    with pytest.raises(ValueError, match="torn"):
        once("a")
    assert once("a") == "whole"
