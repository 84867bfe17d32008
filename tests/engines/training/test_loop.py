"""Training that is stopped and goes on is training that was not stopped; nudges go where the loss is worse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional as F

from engines.training.adversary import Adversary, nudge_from
from engines.training.checkpoints import CheckpointError
from engines.training.loop import Epoch, Lesson, Schedule, ScheduleError, _optimizer, fit
from engines.training.search import search

ROWS = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32))  # (row, feature)
TARGETS = (ROWS[:, 0] + ROWS[:, 1] > 0).long()  # (row,)
QUICK = Schedule(epochs=6, patience=6, batch=16, rate=0.05, head_rate=0.05)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        said: Tensor = self.head(self.body(x))  # (batch, class)
        return said


def lesson(model: Small, name: str = "small", data: str = "rows", stop_after: int = 100) -> Lesson[Tensor]:
    asked = 0

    def batches(rng: np.random.Generator) -> Iterator[Tensor]:
        nonlocal asked
        if asked == stop_after:
            raise KeyboardInterrupt
        asked += 1
        for rows in np.split(rng.permutation(64), 4):
            yield torch.from_numpy(rows)

    def loss(rows: Tensor, nudge: Tensor | None) -> Tensor:
        seen, wanted = (some[rows].to(model.head.weight.device) for some in (ROWS, TARGETS))
        return F.cross_entropy(model(seen if nudge is None else seen + nudge), wanted)

    def score() -> float:
        with torch.inference_mode():
            return float((model(ROWS.to(model.head.weight.device)).argmax(1).cpu() == TARGETS).float().mean())

    return Lesson(name, data, 4, batches, loss, score, lambda rows: (len(rows), 4))


def train(
    model: Small, schedule: Schedule = QUICK, checkpoint: Path | None = None, device: str = "cpu", **how: int | str
) -> list[Epoch]:
    with Progress(disable=True) as progress:
        told = lesson(model, **how)  # type: ignore[arg-type]
        return fit(model, model.head, told, schedule, seed=3, progress=progress, checkpoint=checkpoint, device=device)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path: Path, optimizer: str) -> None:
    schedule = replace(QUICK, optimizer=optimizer, adversary=Adversary(0.1))
    whole, first, second = Small(), Small(), Small()
    curve = train(whole, schedule)
    with pytest.raises(KeyboardInterrupt):
        train(first, schedule, tmp_path / "run.pt", stop_after=3)
    assert train(second, schedule, tmp_path / "run.pt") == curve
    assert len(curve) == 6
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_a_checkpoint_whose_tensors_lay_on_a_gpu_goes_on_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, first, second = Small(), Small(), Small()
    curve = train(whole)
    with monkeypatch.context() as gpu:
        gpu.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")  # so a GPU's tensors are written
        with pytest.raises(KeyboardInterrupt):
            train(first, checkpoint=tmp_path / "run.pt", stop_after=3)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="deserialize object on a CUDA device"):
            torch.load(tmp_path / "run.pt", weights_only=True)
    assert train(second, checkpoint=tmp_path / "run.pt") == curve
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


@pytest.mark.gpu
@pytest.mark.parametrize(("begun", "ended"), [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
def test_what_one_device_began_another_ends(tmp_path: Path, begun: str, ended: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    schedule = replace(QUICK, adversary=Adversary(0.1, 3))
    whole, first, second = Small(), Small(), Small()
    curve = train(whole, schedule, device=ended)
    with pytest.raises(KeyboardInterrupt):
        train(first, schedule, tmp_path / "run.pt", begun, stop_after=3)
    told = train(second, schedule, tmp_path / "run.pt", ended)
    assert len(told) == len(curve)
    assert second.head.weight.device.type == "cpu"
    assert told[-1].loss == pytest.approx(curve[-1].loss, abs=0.1)  # the dropout of two devices is not the same
    assert told[-1].score > 0.8


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    train(Small(), checkpoint=tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match=r"run\.pt is of a run with rate 0\.05, this one has 0\.01"):
        train(Small(), replace(QUICK, rate=0.01), tmp_path / "run.pt")


def test_a_checkpoint_of_other_data_is_refused_and_so_is_a_name_that_freezes_nothing(tmp_path: Path) -> None:
    train(Small(), checkpoint=tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match="with data rows, this one has others"):
        train(Small(), checkpoint=tmp_path / "run.pt", data="others")
    with pytest.raises(ScheduleError, match="no parameter's name begins with bdy, to be frozen: there are body"):
        train(Small(), replace(QUICK, freeze=("bdy",)))


def test_it_learns_and_keeps_its_best_epoch() -> None:
    model = Small()
    curve = train(model, replace(QUICK, epochs=30))
    assert max(epoch.score for epoch in curve) > 0.95
    assert lesson(model).score() == max(epoch.score for epoch in curve)


def test_the_last_epoch_is_kept_where_that_is_asked_for() -> None:
    model = Small()
    curve = train(model, replace(QUICK, epochs=9, patience=0, keep="last"))
    assert len(curve) == 9
    assert lesson(model).score() == curve[-1].score


def test_patience_ends_it() -> None:
    curve = train(Small(), replace(QUICK, epochs=30, patience=1, rate=0.0, head_rate=0.0))
    assert len(curve) == 3  # the first is the best of equals; two in a row are not better


def test_what_is_frozen_stays_and_the_rest_learns() -> None:
    model, before = Small(), Small()
    train(model, replace(QUICK, freeze=("body.0",)))
    moved = {n for n, value in model.state_dict().items() if not torch.equal(value, before.state_dict()[n])}
    assert moved == {"head.weight", "head.bias"}


def test_a_search_tries_the_start_and_its_neighbours_and_tells_the_best_first() -> None:
    asked: list[Schedule] = []

    def score(one: Schedule) -> float:
        asked.append(one)
        return -abs(one.rate - 0.1)

    tried = search(QUICK, 8, 0, score)
    assert asked[0] == QUICK
    assert {0.0125 <= one.rate <= 0.2 for one in asked} == {True}
    assert len(set(asked)) == 8
    assert [trial.score for trial in tried] == sorted((score(one) for one in asked[:8]), reverse=True)


def test_a_nudge_has_its_radius_and_points_up_the_loss() -> None:
    slope = torch.tensor([[3.0, 4.0], [0.0, -2.0]])
    nudge = nudge_from(slope, lambda moved: (moved * slope).sum(), Adversary(0.5))
    assert torch.allclose(nudge, torch.tensor([[0.3, 0.4], [0.0, -0.5]]))


def test_more_steps_find_a_worse_place_within_the_radius() -> None:
    # At 0 the slope points along x; within the unit circle the loss is worst at (0, 1), where y alone counts.
    def loss(moved: Tensor) -> Tensor:
        x, y = moved[:, 0], moved[:, 1]
        return (0.1 * x + y.relu() * 5 + 0.01 * y).sum()

    start = torch.zeros(1, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(start), start)
    one, many = (nudge_from(slope, loss, Adversary(1.0, steps)) for steps in (1, 10))
    assert float(loss(many)) > 4.9 > float(loss(one))
    assert float(many.norm()) <= 1.0 + 1e-6


def test_lower_layers_learn_slower() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word = nn.Linear(4, 4)
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
            self.head = nn.Linear(4, 2)

    model = Deep()
    optimizer = _optimizer(model, model.head, replace(QUICK, rate=0.4, layer_decay=0.5))
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert [rate[id(part.weight)] for part in (model.layers[1], model.layers[0], model.word)] == [0.4, 0.2, 0.1]
    assert rate[id(model.head.bias)] == QUICK.head_rate
