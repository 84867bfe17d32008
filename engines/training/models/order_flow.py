"""Order flow: the last events of an account to a logit a typology, through dilated convolutions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.training.models import thinned

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Bits = npt.NDArray[np.int8]
Ints = npt.NDArray[np.int64]

WIDTH = 32
LAYERS = 3  # dilations 1, 2, 4 see 29 events
BATCH = 256
EPOCHS = 4
PEAK_RATE = 3e-3


class Network(nn.Module):
    """Residual convolutions over events (Bai, Kolter & Koltun 2018, but to both sides), then their mean and highest."""

    def __init__(self, features: int, beside: int, typologies: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(features, WIDTH, 1)
        self.layers = nn.ModuleList(
            nn.Conv1d(WIDTH, WIDTH, 5, padding=2 * 2**layer, dilation=2**layer) for layer in range(LAYERS)
        )
        self.join = nn.Linear(2 * WIDTH + beside, WIDTH)
        self.head = nn.Linear(WIDTH, typologies)

    def forward(self, events: Tensor, beside: Tensor) -> Tensor:
        """Return logits (row, typology) of ``events`` (row, event, feature), the last feature 1 where there is one."""
        there = events[:, :, -1:].transpose(1, 2)  # (row, 1, event)
        x = self.first(events.transpose(1, 2)) * there  # (row, width, event)
        for layer in self.layers:
            x = x + F.dropout(F.relu(layer(x)), 0.1, self.training) * there  # (row, width, event)
        mean = x.sum(2) / there.sum(2).clamp(min=1.0)  # (row, width)
        most = x.amax(2)  # (row, width), 0 at least where events are missing
        joined = F.relu(self.join(torch.cat([mean, most, beside], 1)))  # (row, width)
        told: Tensor = self.head(F.dropout(joined, 0.2, self.training))  # (row, typology)
        return told


def fit(events: Halves, beside: Singles, labels: Bits, seed: int, step: Callable[[], None]) -> Network:
    """Return a network that tells ``labels`` (row, typology; 1, 0, or -1 where it is not known).

    It learns from ``events`` (row, event, feature) and ``beside`` (row, number); ``step`` is called after each epoch.
    """
    torch.manual_seed(seed)
    model = Network(events.shape[2], beside.shape[1], labels.shape[1])

    def loss(rows: Ints) -> Tensor:
        told = model(torch.from_numpy(events[rows]).float(), torch.from_numpy(beside[rows]))  # (batch, typology)
        truth = torch.from_numpy(labels[rows])  # (batch, typology)
        known = (truth >= 0).float()  # (batch, typology)
        each = F.binary_cross_entropy_with_logits(told, truth.clamp(min=0).float(), known, reduction="sum")
        return each / len(rows)

    rng = np.random.default_rng(seed)
    thinned.fit(model, loss, len(labels), rng, every=1, epochs=EPOCHS, batch=BATCH, peak_rate=PEAK_RATE, step=step)
    return model


@torch.no_grad()
def logits(model: Network, events: Halves, beside: Singles) -> Floats:
    """Return the logits (row, typology) of ``events`` (row, event, feature) and ``beside`` (row, number)."""
    told = [torch.zeros(0, model.head.out_features)]
    for at in range(0, len(events), 4 * BATCH):
        rows = slice(at, at + 4 * BATCH)
        told.append(model(torch.from_numpy(events[rows]).float(), torch.from_numpy(beside[rows])))  # (batch, typology)
    found: Floats = torch.cat(told).double().numpy()
    return found
