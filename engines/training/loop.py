"""The training loop: batches in, the weights of the best epoch out; a run that was stopped goes on where it was."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, nn

from engines.training.adversary import Adversary, nudge_from
from engines.training.checkpoints import CheckpointError, load, save

Batch = TypeVar("Batch")


class ScheduleError(ValueError):
    """A schedule does not fit the model; the message says why."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How training runs; ``patience`` epochs in a row without a better score end it, and the best epoch is kept.

    With ``keep`` "last" all epochs run and the last is kept, whatever its score.

    ``rate`` is that of the body and ``head_rate`` that of the head; both rise over the share ``warm_up`` of all steps
    and then fall linearly to 0. Of a body with layers, the last has ``rate``, and each one before it ``layer_decay`` of
    the one after. ``decay`` is weight decay, ``clip`` bounds the gradient's norm. With an ``adversary``
    each step learns from the batch and from the batch nudged. Parameters whose names begin with one of ``freeze`` stay
    as they are. ``fused`` takes a step in one pass over the weights, which is quicker, and rounds otherwise.
    """

    epochs: int = 4
    patience: int = 1
    batch: int = 32
    rate: float = 1e-4
    head_rate: float = 1e-3
    layer_decay: float = 1.0
    decay: float = 0.01
    warm_up: float = 0.1
    clip: float = 1.0
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    adversary: Adversary | None = None
    freeze: tuple[str, ...] = ()
    keep: Literal["best", "last"] = "best"
    fused: bool = False


class Epoch(NamedTuple):
    """A point of the learning curve: mean loss over the epoch's batches, and the score (higher is better) after it."""

    loss: float
    score: float


@dataclass(frozen=True, slots=True)
class Lesson(Generic[Batch]):
    """What is to be learnt.

    ``batches`` yields one epoch of at most ``steps`` batches in an order that the generator decides; ``loss`` of a
    batch may be asked with a nudge of ``nudged(batch)``'s shape on its inputs; ``score`` judges the model as it is, on
    data that are in no batch. ``data`` is a digest of what is learnt: a checkpoint of other data is not taken up.
    """

    name: str
    data: str
    steps: int
    batches: Callable[[np.random.Generator], Iterable[Batch]]
    loss: Callable[[Batch, Tensor | None], Tensor]
    score: Callable[[], float]
    nudged: Callable[[Batch], tuple[int, ...]] | None = None


def device_named(name: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    """Return where to learn; "auto" is a GPU where there is one.

    Raises
    ------
    ScheduleError
        A GPU is asked for, and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ScheduleError("cuda is asked for and torch sees no GPU: take cpu, or auto")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def fit(
    model: nn.Module,
    head: nn.Module,
    lesson: Lesson[Batch],
    schedule: Schedule,
    *,
    seed: int,
    progress: Progress,
    checkpoint: Path | None = None,
    device: str = "cpu",
) -> list[Epoch]:
    """Train ``model``, of which ``head`` is a part, leave it as it was after the epoch that is kept, return the curve.

    It learns on ``device`` ("cpu", "cuda"), where the lesson has to put its batches, and comes back to the CPU.

    With ``checkpoint`` the state is written there after each epoch, and taken up from there where the file exists: the
    same weights come out, to the bit on the same machine and device, however often the run was stopped. Another device
    may take it up.

    Raises
    ------
    CheckpointError
        The file there is of a run with another schedule, seed, lesson or other data.
    ScheduleError
        What is to be frozen is not there.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    for prefix in schedule.freeze:
        if not any(name.startswith(prefix) for name, _ in model.named_parameters()):
            names = ", ".join(name for name, _ in model.named_parameters())
            raise ScheduleError(f"no parameter's name begins with {prefix}, to be frozen: there are {names}")
    for name, parameter in model.named_parameters():
        if name.startswith(schedule.freeze):
            parameter.requires_grad_(False)
    model.to(device)
    optimizer = _optimizer(model, head, schedule)
    steps = schedule.epochs * lesson.steps
    warm = max(1, int(steps * schedule.warm_up))
    plan = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm)))
    )
    identity = {"lesson": lesson.name, "data": lesson.data, "steps": lesson.steps, "seed": seed} | asdict(schedule)
    best, curve = copy.deepcopy(model.state_dict()), list[Epoch]()
    if checkpoint is not None and checkpoint.is_file():
        best, curve = _resume(checkpoint, identity, model, optimizer, plan, rng)
    bar = progress.add_task(lesson.name, total=steps, completed=len(curve) * lesson.steps)
    last = schedule.keep == "last"
    while len(curve) < schedule.epochs and (last or not _stuck(curve, schedule.patience)):
        model.train()
        losses = []
        for batch in lesson.batches(rng):
            optimizer.zero_grad()
            losses.append(_backward(lesson, batch, schedule.adversary, device))
            torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
            optimizer.step()
            plan.step()
            progress.advance(bar)
        model.eval()
        curve.append(Epoch(float(np.mean(losses)), lesson.score()))
        progress.print(f"{lesson.name}, epoch {len(curve)}: loss {curve[-1].loss:.4f}, score {curve[-1].score:.4f}")
        if last or curve[-1].score > max((epoch.score for epoch in curve[:-1]), default=-np.inf):
            best = copy.deepcopy(model.state_dict())
        if checkpoint is not None:
            _save(checkpoint, identity, model, optimizer, plan, rng, best, curve)
    progress.update(bar, completed=steps)
    model.load_state_dict(best)
    model.to("cpu").eval()
    return curve


def _stuck(curve: Sequence[Epoch], patience: int) -> bool:
    scores = [epoch.score for epoch in curve]
    return bool(scores) and len(scores) - 1 - int(np.argmax(scores)) > patience


def _backward(lesson: Lesson[Batch], batch: Batch, adversary: Adversary | None, device: str) -> float:
    """Add the gradients of a batch to the model's, return its loss."""
    if adversary is None or lesson.nudged is None:
        loss = lesson.loss(batch, None)
        loss.backward()
        return float(loss.detach())
    nudge = torch.zeros(lesson.nudged(batch), device=device, requires_grad=True)
    loss = lesson.loss(batch, nudge)
    loss.backward()
    assert nudge.grad is not None
    lesson.loss(batch, nudge_from(nudge.grad, lambda moved: lesson.loss(batch, moved), adversary)).backward()
    return float(loss.detach())


def _optimizer(model: nn.Module, head: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    last = list(head.parameters())
    body = [(n, p) for n, p in model.named_parameters() if p.requires_grad and all(p is not q for q in last)]
    layer = [int(found[1]) if (found := re.match(r"layers\.(\d+)\.", name)) else -1 for name, _ in body]
    top = max(layer, default=-1)
    groups: list[dict[str, Any]] = [
        {
            "params": [p for (_, p), n in zip(body, layer, strict=True) if n == at],
            "lr": schedule.rate * schedule.layer_decay ** (top - at),
        }
        for at in sorted(set(layer), reverse=True)
    ]
    groups.append({"params": last, "lr": schedule.head_rate})
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=schedule.decay, fused=schedule.fused)
    kind = torch.optim.AdamW if schedule.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, weight_decay=schedule.decay, fused=schedule.fused)


def _save(
    path: Path,
    identity: dict[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    plan: torch.optim.lr_scheduler.LambdaLR,
    rng: np.random.Generator,
    best: dict[str, Tensor],
    curve: list[Epoch],
) -> None:
    state = {
        "identity": identity,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "plan": plan.state_dict(),
        "rng": rng.bit_generator.state,
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all(),  # none without a GPU
        "best": best,
        "curve": [tuple(epoch) for epoch in curve],
    }
    save(path, state)


def _resume(
    path: Path,
    identity: dict[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    plan: torch.optim.lr_scheduler.LambdaLR,
    rng: np.random.Generator,
) -> tuple[dict[str, Tensor], list[Epoch]]:
    state = load(path)
    if different := [name for name in identity if state["identity"].get(name) != identity[name]]:
        name = different[0]
        raise CheckpointError(
            f"{path} is of a run with {name} {state['identity'].get(name)}, this one has {identity[name]}: "
            "remove it, or ask for the run that it is of"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    plan.load_state_dict(state["plan"])
    rng.bit_generator.state = state["rng"]
    torch.set_rng_state(state["torch_rng"])
    if len(state.get("cuda_rng", [])) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    return state["best"], [Epoch(*epoch) for epoch in state["curve"]]
