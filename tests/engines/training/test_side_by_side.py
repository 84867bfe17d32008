"""Jobs in processes of their own: results in order, bars that are told, errors that are raised."""

from __future__ import annotations

import os
from functools import partial
from io import StringIO

import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import torch
from rich.console import Console
from rich.progress import Progress

from engines.training.side_by_side import side_by_side


def job(number: int, progress: Progress) -> tuple[int, int, int]:
    bar = progress.add_task(f"job {number}", total=4)
    progress.advance(bar)
    progress.print(f"job {number} is half way")
    progress.update(bar, completed=4)
    return number, os.getpid(), torch.get_num_threads()


def failing(progress: Progress) -> None:
    raise ValueError("expected a text, found none")


def test_what_jobs_return_comes_in_their_order_from_processes_of_one_thread() -> None:
    console = Console(file=StringIO(), width=80)
    with Progress(console=console) as progress:
        found = side_by_side([partial(job, number) for number in range(3)], progress)
    assert [number for number, _, _ in found] == [0, 1, 2]
    assert os.getpid() not in {process for _, process, _ in found}
    assert {threads for _, _, threads in found} == {1}
    assert {(task.description, task.completed) for task in progress.tasks} == {(f"job {n}", 4) for n in range(3)}
    assert "job 2 is half way" in console.file.getvalue()


def test_what_a_job_raises_is_raised() -> None:
    with Progress(disable=True) as progress, pytest.raises(ValueError, match="expected a text, found none"):
        side_by_side([failing], progress)
