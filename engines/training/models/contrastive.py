"""Text and market: what was said of a stock and what its bars did then are taught to lie close together.

InfoNCE (van den Oord, Li & Vinyals, *Representation learning with contrastive predictive coding*, 2018), told from both
sides as in Radford et al., *Learning transferable visual models from natural language supervision*, ICML 2021. No
label is read: of the rows of a batch each text has to find its own bars, and each row of bars its own text.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.training.models import thinned
from engines.training.models.ticks import WIDTH, Convolutions

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BATCH = 256
PEAK_RATE = 2e-3
#: What cosines are multiplied by at first; it is learnt.
SHARPNESS = 5.0


class Pair(nn.Module):
    """Vectors of texts and bars to one space, where a cosine says how well they go together."""

    def __init__(self, text: int, features: int, dim: int) -> None:
        super().__init__()
        self.text = nn.Linear(text, dim)
        self.body = Convolutions(features)
        self.market = nn.Linear(2 * WIDTH, dim)
        self.sharpness = nn.Parameter(torch.tensor(math.log(SHARPNESS)))

    def of_text(self, vectors: Tensor) -> Tensor:
        """Return directions (row, dim) of texts' vectors (row, text)."""
        return F.normalize(self.text(F.dropout(vectors, 0.2, self.training)), dim=1)  # (row, dim)

    def of_market(self, bars: Tensor) -> Tensor:
        """Return directions (row, dim) of bars (row, time, feature)."""
        x = self.body(bars)  # (row, time, width)
        return F.normalize(self.market(torch.cat([x[:, -1], x.mean(1)], 1)), dim=1)  # (row, dim)

    def forward(self, vectors: Tensor, bars: Tensor) -> Tensor:
        """Return the loss, nats, of texts (batch, text) and their bars (batch, time, feature): log(batch) by chance."""
        close = self.sharpness.exp() * self.of_text(vectors) @ self.of_market(bars).T  # (batch, batch)
        own = torch.arange(len(close))  # (batch,)
        return (F.cross_entropy(close, own) + F.cross_entropy(close.T, own)) / 2


def pretrain(vectors: Singles, bars: Singles, *, dim: int, epochs: int, seed: int, step: Callable[[], None]) -> Pair:
    """Return what has learnt which of ``vectors`` (row, text) goes with which of ``bars`` (row, time, feature).

    ``bars`` may be later than their text: the market's side is a label of sorts, and is asked for nothing afterwards.
    ``step`` is called after each epoch.
    """
    torch.manual_seed(seed)
    model = Pair(vectors.shape[1], bars.shape[2], dim)

    def loss(rows: Ints) -> Tensor:
        found: Tensor = model(torch.from_numpy(vectors[rows]), torch.from_numpy(bars[rows]))  # ()
        return found

    rng = np.random.default_rng(seed)
    thinned.fit(model, loss, len(vectors), rng, every=1, epochs=epochs, batch=BATCH, peak_rate=PEAK_RATE, step=step)
    return model


@torch.no_grad()
def project(model: Pair, vectors: Singles) -> Singles:
    """Return the directions (row, dim) of texts' ``vectors`` (row, text)."""
    found: Singles = model.of_text(torch.from_numpy(vectors)).numpy()
    return found


@torch.no_grad()
def matched(model: Pair, vectors: Singles, bars: Singles) -> Floats:
    """Return for each row (row,) the share of the other rows' bars that are further from its text than its own are.

    Half of them by chance.
    """
    close = (
        model.of_text(torch.from_numpy(vectors)) @ model.of_market(torch.from_numpy(bars)).T
    ).double()  # (row, row)
    own = close.diagonal()[:, None]  # (row, 1)
    beaten = (close < own).double().sum(1) + ((close == own).double().sum(1) - 1) / 2  # (row,)
    share: Floats = (beaten / (len(close) - 1)).numpy()
    return share
