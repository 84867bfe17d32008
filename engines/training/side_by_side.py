"""Jobs in processes of their own, a thread each: two networks on two cores do not wait for each other's halves."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing.queues import Queue
from typing import Any, TypeVar

import torch
from rich.progress import Progress, TaskID

T = TypeVar("T")
Job = Callable[[Progress], T]
#: What is told of a bar: the job, the method of `Progress`, and its arguments. None: no more is told.
_Told = tuple[int, str, tuple[Any, ...], dict[str, Any]] | None

CORES = 2
CLOSE_S = 5.0


def side_by_side(jobs: Sequence[Job[T]], progress: Progress) -> list[T]:
    """Return what each job returns, in order; up to `CORES` of them run at a time, and their bars are in ``progress``.

    Jobs and what they return are pickled (module-level functions, `functools.partial` of them). What one raises is
    raised here, once those that run have ended; none begins after it. Where this process ends, the others do.
    """
    workers = min(CORES, len(jobs), os.cpu_count() or 1)
    context = multiprocessing.get_context("spawn")  # a forked torch would wait for threads that it has not
    told: Queue[_Told] = context.Queue()
    bars = threading.Thread(target=_show, args=(told, progress), daemon=True)
    bars.start()
    try:
        with ProcessPoolExecutor(workers, context, _begin, (told,)) as pool:
            asked = [pool.submit(_do, number, job) for number, job in enumerate(jobs)]
            try:
                for one in as_completed(asked):
                    one.result()
                return [one.result() for one in asked]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        told.put(None)
        bars.join(CLOSE_S)  # one that died as it told of something holds the queue for good


def _show(told: Queue[_Told], progress: Progress) -> None:
    ids: dict[tuple[int, int], TaskID] = {}
    while (one := told.get()) is not None:
        job, method, (key, *given), named = one
        if method == "print":
            progress.print(key, *given, **named)
        elif method == "add_task":
            ids[job, key] = progress.add_task(*given, **named)
        else:
            getattr(progress, method)(ids[job, key], *given, **named)


_told: Queue[_Told]


def _begin(told: Queue[_Told]) -> None:
    global _told
    _told = told
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # nobody is left who would take a result; what another run goes on from is renamed into place


def _do(number: int, job: Job[T]) -> T:
    return job(_Far(number))


class _Far(Progress):
    """A progress bar that stands in another process."""

    def __init__(self, job: int) -> None:
        super().__init__(disable=True)
        self._job, self._bars = job, 0
        self.print = partial(self._tell, "print")  # the library sets it here, too

    def _tell(self, method: str, *given: Any, **named: Any) -> None:
        _told.put((self._job, method, given, named))

    def add_task(self, description: str, *given: Any, **named: Any) -> TaskID:
        self._bars += 1
        self._tell("add_task", self._bars, description, *given, **named)
        return TaskID(self._bars)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        self._tell("advance", task_id, advance)

    def update(self, task_id: TaskID, **named: Any) -> None:
        self._tell("update", task_id, **named)
