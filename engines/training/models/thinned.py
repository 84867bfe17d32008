"""Training on rows whose neighbours are nearly the same: an epoch takes one of so many, another one each time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Ints = npt.NDArray[np.int64]


def fit(
    model: nn.Module,
    loss: Callable[[Ints], Tensor],
    rows: int,
    rng: np.random.Generator,
    *,
    every: int,
    epochs: int,
    batch: int,
    peak_rate: float,
    step: Callable[[], None],
) -> None:
    """Train ``model`` on ``rows`` rows, one of ``every`` in each epoch, and leave it ready to tell.

    ``loss`` is of rows by number, (batch,); the rate goes up to ``peak_rate`` and down again over all epochs. ``step``
    is called after each epoch.
    """
    steps = -(-rows // every // batch) + 1
    optimizer = torch.optim.AdamW(model.parameters(), peak_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=steps * epochs)
    model.train()
    for epoch in range(epochs):
        taken = rng.permutation(np.arange(epoch % every, rows, every))  # (row,)
        for numbers in np.array_split(taken, max(1, len(taken) // batch)):
            value = loss(numbers)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
        step()
    model.eval()
