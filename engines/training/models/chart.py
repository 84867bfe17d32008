"""Charts: a small CNN on pictures of 20 bars, which has learnt them as others might draw them, too."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from engines.charts import BARS, HEIGHT_PX, NUMBERS, PLAIN, Bytes, Floats, Style, draw, numbers, see
from engines.training.models import thinned

Ints = npt.NDArray[np.int64]

CHANNELS = (8, 16, 32)
EMBEDDED = 32
BATCH = 128
EPOCHS = 3
TOGETHER = 32  # charts of a batch that are drawn in one foreign style
PEAK_RATE = 2e-3
ALIKE = 0.1  # weight of the squared difference of a chart's logits in two styles
CONTRAST = 60  # greys that anything drawn is at least away from the background


class Network(nn.Module):
    """The CNN: charts (chart, 1, 64, 60) in [0, 1] to a logit, and to the numbers that are drawn.

    As Jiang, Kelly & Xiu have it, kernels are higher than wide, so that a price far from the next bar's is still seen;
    it has a fraction of the parameters of theirs, which had a market of thousands of stocks to learn from.
    """

    def __init__(self) -> None:
        super().__init__()
        one, two, three = CHANNELS
        self.look = nn.Sequential(
            *_block(1, one, (5, 5), (2, 3)),  # (chart, 8, 32, 20): a column a bar
            *_block(one, two, (5, 3), (2, 1)),  # (chart, 16, 16, 20)
            *_block(two, three, (5, 3), (2, 2)),  # (chart, 32, 8, 10)
            nn.Flatten(1),  # (chart, 2560): where in the chart matters
        )
        seen = three * (HEIGHT_PX // 8) * (BARS // 2)
        self.read = nn.Linear(seen, BARS * NUMBERS)
        self.embed = nn.Sequential(nn.Dropout(0.5), nn.Linear(seen, EMBEDDED), nn.LeakyReLU(0.01))
        self.head = nn.Linear(EMBEDDED, 1)

    def forward(self, charts: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (chart,) and numbers (chart, 120) of ``charts`` (chart, 1, 64, 60)."""
        seen = self.look(charts)  # (chart, 2560)
        return self.head(self.embed(seen))[:, 0], self.read(seen)


def _block(before: int, after: int, kernel: tuple[int, int], stride: tuple[int, int]) -> list[nn.Module]:
    """Return a convolution, (chart, before, height, width) to (chart, after, height / stride, width / stride)."""
    padding = (kernel[0] // 2, 1)
    return [nn.Conv2d(before, after, kernel, stride, padding, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.01)]


def imitate(bars: Floats, average: Floats, rng: np.random.Generator) -> Bytes:
    """Return charts of ``bars`` (chart, time, 5) as one other person might draw them, seen by `see`: (chart, 64, 60).

    Bars or candles, other sizes, any colours on light or dark, with or without the average (chart, time), the volume, a
    grid, margins with axes and their labels; cut at the edges, the oldest bars missing, noisy, and compressed as JPEG.
    """
    background = int(rng.integers(0, 50) if _maybe(rng, 0.5) else rng.integers(206, 256))
    greys = np.arange(256)
    inks = greys[np.abs(greys - background) >= CONTRAST]
    wick, falling, rising, volume, line = (int(ink) for ink in rng.choice(inks, 5))
    height = int(rng.integers(56, 121))
    style = Style(
        "candles" if _maybe(rng, 0.6) else "bars",
        int(rng.integers(3, 7)),
        height,
        0 if _maybe(rng, 0.1) else int(height * rng.uniform(0.12, 0.3)),
        (background, wick, falling, rising, volume, line),
    )
    shown = bars.copy()
    shown[:, : int(rng.integers(0, 3))] = np.nan
    pictures = draw(shown, style, None if _maybe(rng, 0.3) else average)  # (chart, height, width)
    pictures = _furnish(pictures, background, inks, rng)  # (chart, height, width), a little larger
    top, bottom, left, right = (int(rng.integers(0, 3)) if _maybe(rng, 0.3) else 0 for _ in range(4))
    pictures = pictures[:, top : pictures.shape[1] - bottom, left : pictures.shape[2] - right]
    if _maybe(rng, 0.5):
        noise = rng.normal(0, rng.uniform(1, 6), pictures.shape)  # (chart, height, width)
        pictures = np.clip(pictures + noise, 0, 255).astype(np.uint8)
    if _maybe(rng, 0.4):
        quality = int(rng.integers(30, 91))
        pictures = np.stack([_through_jpeg(picture, quality) for picture in pictures])
    return see(pictures)


def _maybe(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)


def _furnish(pictures: Bytes, background: int, inks: Ints, rng: np.random.Generator) -> Bytes:
    """Return charts (chart, height, width) with a faint grid, and margins with axes and what looks like labels."""
    faint = int(background + (rng.choice(inks) - background) * rng.uniform(0.1, 0.4))
    for lines in (pictures[:, :: rng.integers(8, 30)], pictures[:, :, :: rng.integers(8, 30)]):
        if _maybe(rng, 0.3):
            lines[lines == background] = faint
    _, height, width = pictures.shape
    below, left, right = (
        int(size * rng.uniform(0, 0.12)) if _maybe(rng, 0.5) else 0 for size in (height, width, width)
    )
    pictures = np.pad(pictures, ((0, 0), (0, below), (left, right)), constant_values=background)
    ink = int(rng.choice(inks))
    for margin in (pictures[:, :, :left], pictures[:, :, pictures.shape[2] - right :][:, :, ::-1]):
        if margin.shape[2] > 4:
            margin[:, :, -1] = ink
            for row in range(4, height - 6, int(rng.integers(10, 25))):
                label = margin[:, row : row + 4, :-2]  # (chart, 4, margin)
                label[rng.random(label.shape) < 0.5] = ink
    if below:
        pictures[:, height] = ink
    return pictures


def _through_jpeg(picture: Bytes, quality: int) -> Bytes:
    file = BytesIO()
    Image.fromarray(picture).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file))


def tensor(pictures: Bytes) -> Tensor:
    """Return pictures (chart, 64, 60) as the network takes them, (chart, 1, 64, 60) in [0, 1]."""
    return torch.from_numpy(pictures).float()[:, None] / 255


def fit(
    bars: Floats,
    average: Floats,
    labels: Ints,
    seed: int,
    step: Callable[[], None],
    *,
    every: int,
    epochs: int,
    peak_rate: float = PEAK_RATE,
) -> Network:
    """Return a network that tells ``labels`` (row,) from charts of ``bars`` (row, time, 5) and ``average`` (row, time).

    An epoch takes one row of ``every``, another one each time, and draws each in the `PLAIN` style and in another's.
    Beside the label it learns to read off the numbers that were drawn: what is to be seen is much, what it says about
    the label little, and reading makes one of all styles. ``step`` is called after each epoch.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Network()
    nn.init.zeros_(model.head.weight)
    nn.init.constant_(model.head.bias, float(np.log(labels.mean() / (1 - labels.mean()))))

    def loss(rows: Ints) -> Tensor:
        some, line = bars[rows], average[rows]  # (batch, time, 5), (batch, time)
        groups = np.array_split(np.arange(len(rows)), max(1, len(rows) // TOGETHER))
        others = [imitate(some[group], line[group], rng) for group in groups]
        told, read = model(tensor(np.concatenate([draw(some, PLAIN, line), *others])))  # (2 batch,), (2 batch, 120)
        known = torch.from_numpy(labels[rows]).float().repeat(2)  # (2 batch,)
        shown = torch.from_numpy(numbers(some, line)).flatten(1).repeat(2, 1)  # (2 batch, 120)
        plain, other = told.chunk(2)  # (batch,) each
        right = F.binary_cross_entropy_with_logits(told, known) + F.mse_loss(read, shown)
        return right + ALIKE * F.mse_loss(other, plain)

    thinned.fit(model, loss, len(labels), rng, every=every, epochs=epochs, batch=BATCH, peak_rate=peak_rate, step=step)
    return model


@torch.no_grad()
def logits(model: Network, bars: Floats, average: Floats, redrawn: np.random.Generator | None = None) -> Floats:
    """Return the logit of each chart, (row,), of ``bars`` (row, time, 5) and ``average`` (row, time).

    With ``redrawn``, charts are drawn as others might (`imitate`).
    """
    together = TOGETHER if redrawn else BATCH
    told = [torch.zeros(0)]
    for at in range(0, len(bars), together):
        some, line = bars[at : at + together], average[at : at + together]  # (chart, time, 5), (chart, time)
        pictures = imitate(some, line, redrawn) if redrawn else draw(some, PLAIN, line)  # (chart, 64, 60)
        told.append(model(tensor(pictures))[0])  # (chart,)
    found: Floats = torch.cat(told).double().numpy()
    return found
