"""Ticks: bars in a row to a logit, through dilated convolutions or an LSTM; hidden bars to learn from beforehand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.training.models import thinned

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

WIDTH = 16
LAYERS = 4  # of convolutions: dilations 1, 2, 4, 8 see 61 bars
HIDDEN = 0.2  # share of bars that pretraining hides
BATCH = 256
EPOCHS = 2
PEAK_RATE = 3e-3


class Convolutions(nn.Module):
    """Residual convolutions that reach twice as far each: Bai, Kolter & Koltun 2018, but to both sides of a bar."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(features, WIDTH, 1)
        self.layers = nn.ModuleList(
            nn.Conv1d(WIDTH, WIDTH, 5, padding=2 * 2**layer, dilation=2**layer) for layer in range(LAYERS)
        )

    def forward(self, bars: Tensor) -> Tensor:
        """Return what each bar is among the others, (row, time, width), of ``bars`` (row, time, feature)."""
        x = self.first(bars.transpose(1, 2))  # (row, width, time)
        for layer in self.layers:
            x = x + F.dropout(F.relu(layer(x)), 0.1, self.training)  # (row, width, time)
        return x.transpose(1, 2)  # (row, time, width)


class Memory(nn.Module):
    """An LSTM over the bars."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, WIDTH, batch_first=True)

    def forward(self, bars: Tensor) -> Tensor:
        """Return what each bar is after those before, (row, time, width), of ``bars`` (row, time, feature)."""
        return self.lstm(bars)[0]  # (row, time, width)


BODIES: dict[str, type[nn.Module]] = {"tcn": Convolutions, "lstm": Memory}


class Encoder(nn.Module):
    """Bars to an embedding, and to what it adds to a logit that is known without them."""

    def __init__(self, body: Literal["tcn", "lstm"], features: int) -> None:
        super().__init__()
        self.body = BODIES[body](features)
        self.restore = nn.Linear(WIDTH, features)
        self.head = nn.Linear(2 * WIDTH, 1)
        nn.init.zeros_(self.head.weight)  # what is known already is where learning begins
        nn.init.zeros_(self.head.bias)

    def embed(self, bars: Tensor) -> Tensor:
        """Return (row, 2 width) of ``bars`` (row, time, feature)."""
        x = self.body(bars)  # (row, time, width)
        return torch.cat([x[:, -1], x.mean(1)], 1)  # (row, 2 width)

    def forward(self, bars: Tensor, known: Tensor) -> Tensor:
        """Return logits (row,) of ``bars`` (row, time, feature) and the logits ``known`` beforehand (row,)."""
        embedded = F.dropout(self.embed(bars), 0.5, self.training)  # (row, 2 width)
        return known + self.head(embedded)[:, 0]  # (row,)


def pretrain(model: Encoder, bars: Singles, *, seed: int, epochs: int, every: int) -> None:
    """Teach ``model`` to restore hidden bars of ``bars`` (row, time, feature) from those around them (in place).

    A fifth of the bars are set to 0, as in Devlin et al., *BERT*, 2019; the loss is their squared error.
    """
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), PEAK_RATE, weight_decay=0.01)
    model.train()
    for epoch in range(epochs):
        rows = torch.from_numpy(np.arange(epoch % every, len(bars), every))  # (row,)
        for batch in rows[torch.randperm(len(rows), generator=rng)].split(BATCH):
            x = torch.from_numpy(bars[batch.numpy()])  # (batch, time, feature)
            hidden = torch.rand(x.shape[:2], generator=rng) < HIDDEN  # (batch, time)
            told = model.restore(model.body(x.masked_fill(hidden[:, :, None], 0.0)))  # (batch, time, feature)
            loss = (told - x)[hidden].square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def fit(
    body: Literal["tcn", "lstm"],
    bars: Singles,
    known: Singles,
    labels: Ints,
    seed: int,
    every: int,
    step: Callable[[], None],
) -> Encoder:
    """Return an encoder that tells ``labels`` (row,) from ``bars`` (row, time, feature) and logits ``known`` (row,).

    An epoch takes one row of ``every``, another one each time. ``step`` is called after each epoch.
    """
    torch.manual_seed(seed)
    model = Encoder(body, bars.shape[2])
    _tune(model, bars, known, labels, seed, EPOCHS, every, step)
    return model


def transfer(
    source: Encoder,
    bars: Singles,
    known: Singles,
    labels: Ints,
    *,
    seed: int,
    epochs: int,
    every: int,
    step: Callable[[], None],
) -> Encoder:
    """Return a copy of ``source`` that goes on learning, from these rows; see `fit`.

    What it learnt from other instruments, without labels (see `pretrain`) or with others, is where it begins: Yosinski
    et al., *How transferable are features in deep neural networks?*, 2014. All its weights learn.
    """
    torch.manual_seed(seed)
    model = copy.deepcopy(source)
    _tune(model, bars, known, labels, seed, epochs, every, step)
    return model


def _tune(
    model: Encoder,
    bars: Singles,
    known: Singles,
    labels: Ints,
    seed: int,
    epochs: int,
    every: int,
    step: Callable[[], None],
) -> None:
    def loss(rows: Ints) -> Tensor:
        told = model(torch.from_numpy(bars[rows]), torch.from_numpy(known[rows]))  # (batch,)
        return F.binary_cross_entropy_with_logits(told, torch.from_numpy(labels[rows]).float())

    rng = np.random.default_rng(seed)
    thinned.fit(model, loss, len(labels), rng, every=every, epochs=epochs, batch=BATCH, peak_rate=PEAK_RATE, step=step)


@torch.no_grad()
def logits(model: Encoder, bars: Singles, known: Singles) -> Floats:
    """Return the logit of each row, (row,), of ``bars`` (row, time, feature) and the logits ``known`` (row,)."""
    together = 4 * BATCH
    told = [torch.zeros(0)]
    for at in range(0, len(bars), together):
        rows = slice(at, at + together)
        told.append(model(torch.from_numpy(bars[rows]), torch.from_numpy(known[rows])))  # (row,)
    found: Floats = torch.cat(told).double().numpy()
    return found
