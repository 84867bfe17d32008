"""Adversarial training: inputs moved to where the loss is worse, within a radius.

One step is the fast gradient method (Miyato, Dai & Goodfellow 2017, on embeddings of words), more are projected
gradient descent (Madry et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

#: Steps of projected gradient descent where nobody says how many.
PGD_STEPS = 3


@dataclass(frozen=True, slots=True)
class Adversary:
    """How far each row of an input is moved (Euclidean ``radius``, in the input's units), and in how many ``steps``."""

    radius: float
    steps: int = 1


def nudge_from(gradient: Tensor, loss: Callable[[Tensor], Tensor], adversary: Adversary) -> Tensor:
    """Return what to add to an input (batch, ...) so that its loss is worse, given the loss's gradient there.

    ``loss`` of a nudge is asked ``steps - 1`` times more; each step goes ``radius`` far and back into the ball.
    """
    nudge = adversary.radius * _unit(gradient)
    for _ in range(adversary.steps - 1):
        nudge.requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(nudge), nudge)
        moved = nudge.detach() + adversary.radius * _unit(gradient)
        nudge = moved * (adversary.radius / _length(moved)).clamp_max(1.0)
    return nudge.detach()


def _unit(rows: Tensor) -> Tensor:
    return rows / _length(rows)


def _length(rows: Tensor) -> Tensor:
    """Return the Euclidean length of each row (batch, ...), as (batch, 1, ...); a row of zeros has a tiny one."""
    return rows.flatten(1).norm(dim=1).clamp_min(1e-12).reshape(-1, *[1] * (rows.ndim - 1))
