"""Voice: a small CNN on log-mel of about three seconds, which listens for how something is said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.audio import MELS

FRAMES = 300  # of 10 ms: a window
DECADES = 5.0  # of power below a window's loudest band that are kept; the rest counts as silence
DIM = 32
CHANNELS = (16, 24, 32)
BATCH = 32
PEAK_RATE = 3e-3


class Voice(nn.Module):
    """Levels (clip, 1, mel, time) in [-1, 1] to a vector (clip, `DIM`) and a logit of stress (clip, 1)."""

    def __init__(self) -> None:
        super().__init__()
        one, two, three = CHANNELS
        self.layers = nn.Sequential(
            nn.AvgPool2d(
                (1, 3)
            ),  # (clip, 1, mel, time / 3): 30 ms a step suffice for syllables, at a third of the work
            *_block(1, one),  # (clip, 16, mel / 2, time / 6)
            *_block(one, two),  # (clip, 24, mel / 4, time / 12)
            *_block(two, three),  # (clip, 32, mel / 8, time / 24)
        )
        self.vector = nn.Linear(2 * three * (MELS // 8), DIM)
        self.head = nn.Linear(DIM, 1)
        self.drop = nn.Dropout(0.4)

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return vector (clip, `DIM`) and logit (clip, 1)."""
        heard = self.layers(level).flatten(1, 2)  # (clip, 32 * mel / 8, time / 24)
        told = torch.cat([heard.mean(2), heard.amax(2)], 1)  # (clip, 2 * 32 * mel / 8): when it was said matters not
        vector = torch.tanh(self.vector(self.drop(told)))  # (clip, dim)
        return vector, self.head(vector)  # (clip, dim), (clip, 1)


def _block(before: int, after: int) -> list[nn.Module]:
    """Return a convolution, (clip, before, mel, time) to (clip, after, mel / 2, time / 2)."""
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]


def augment(levels: Tensor, rng: torch.Generator) -> Tensor:
    """Return levels (clip, 1, mel, time) as other rooms and microphones might have made them."""
    count, _, mels, _ = levels.shape
    height = torch.linspace(-1.0, 1.0, mels)  # (mel,)

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count, 1).uniform_(low, high, generator=rng)

    colour = uniform(-0.1, 0.1) * height + uniform(-0.1, 0.1) * torch.sin(torch.pi * height)  # (clip, mel)
    colour = colour + uniform(-0.08, 0.08) * torch.cos(2.0 * torch.pi * height) + uniform(-0.1, 0.1)  # (clip, mel)
    silent = levels <= -1.0
    at = torch.arange(mels)  # (mel,)
    begin = uniform(0.0, float(mels))  # (clip, 1)
    hidden = (at >= begin) & (at < begin + uniform(0.0, 6.0))  # (clip, mel): no band may decide alone
    silent = silent | hidden[:, None, :, None]
    return (levels + colour[:, None, :, None]).clamp(-1.0, 1.0).masked_fill(silent, -1.0)  # (clip, 1, mel, time)


def fit(
    levels: npt.NDArray[np.float32],
    stressed: npt.NDArray[np.bool_],
    epochs: int,
    seed: int,
    step: Callable[[], None] = lambda: None,
) -> Voice:
    """Return a network trained on ``levels`` (clip, 1, mel, time) and ``stressed`` (clip,); an epoch calls ``step``."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    model = Voice()
    seen, truth = torch.from_numpy(levels), torch.from_numpy(stressed.astype(np.float32))
    total = epochs * (len(truth) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), PEAK_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=total)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(truth), generator=rng)  # (clip,)
        for first in range(0, len(truth) - BATCH + 1, BATCH):
            rows = order[first : first + BATCH]  # (batch,)
            _, logit = model(augment(seen[rows], rng))
            loss = F.binary_cross_entropy_with_logits(logit[:, 0], truth[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        step()
    model.eval()
    return model


@torch.inference_mode()
def logits(model: Voice, levels: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the logit (clip,) of each of ``levels`` (clip, 1, mel, time)."""
    parts = [model(part)[1][:, 0] for part in torch.from_numpy(levels).split(256)]
    found: npt.NDArray[np.float64] = torch.cat(parts).double().numpy()
    return found
