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

from engines.charts import AVERAGE, BACKGROUND, HEIGHT_PX, PLAIN, WIDTH_PX, Bytes, Floats, Style, draw, see

Ints = npt.NDArray[np.int64]

CHANNELS = (8, 16, 32)
EMBEDDED = 32
BATCH = 256
TOGETHER = 32  # charts of a batch that are drawn in one foreign style
PEAK_RATE = 2e-3
CONTRAST = 60  # greys that anything drawn is at least away from the background


def network() -> nn.Sequential:
    """Return the CNN: (chart, 1, 64, 60) in [0, 1] to logits (chart, 1); all but its last layer embeds.

    As Jiang, Kelly & Xiu have it, kernels are higher than wide, so that a price far from the next bar's is still seen;
    it has a sixtieth of the parameters of theirs, which had 1993-2000's whole market to learn from.
    """
    one, two, three = CHANNELS
    return nn.Sequential(
        nn.Conv2d(1, one, (5, 3), (2, 1), (2, 1), bias=False),  # (chart, 8, 32, 60)
        nn.BatchNorm2d(one),
        nn.LeakyReLU(0.01),
        nn.MaxPool2d((2, 1)),  # (chart, 8, 16, 60)
        *_block(one, two),  # (chart, 16, 8, 30)
        *_block(two, three),  # (chart, 32, 4, 15)
        nn.Flatten(1),  # (chart, 1920): where in the chart matters
        nn.Dropout(0.5),
        nn.Linear(three * (HEIGHT_PX // 16) * (WIDTH_PX // 4), EMBEDDED),  # (chart, 32)
        nn.LeakyReLU(0.01),
        nn.Linear(EMBEDDED, 1),  # (chart, 1)
    )


def _block(before: int, after: int) -> list[nn.Module]:
    """Return a convolution, (chart, before, height, width) to (chart, after, height / 2, width / 2)."""
    return [
        nn.Conv2d(before, after, (5, 3), padding=(2, 1), bias=False),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(0.01),
        nn.MaxPool2d(2),
    ]


def imitate(bars: Floats, average: Floats, rng: np.random.Generator) -> Bytes:
    """Return charts (chart, 64, 60) of ``bars`` (chart, time, 5) as one other person might draw them, as `see` sees them.

    Bars or candles, other sizes, any colours on light or dark, with or without the average (chart, time), the volume, a
    grid, margins with axes and their labels; cut at the edges, the oldest bars missing, noisy, and compressed as JPEG.
    """

    def maybe(share: float) -> bool:
        return bool(rng.random() < share)

    background = int(rng.integers(0, 50)) if maybe(0.5) else int(rng.integers(206, 256))
    inks = [grey for grey in range(256) if abs(grey - background) >= CONTRAST]
    height = int(rng.integers(56, 121))
    palette = tuple(int(grey) for grey in rng.choice(inks, AVERAGE + 1))
    style = Style(
        "candles" if maybe(0.6) else "bars",
        int(rng.integers(3, 7)),
        height,
        0 if maybe(0.1) else int(height * rng.uniform(0.12, 0.3)),
        (background, *palette[1:]),  # type: ignore[arg-type]
    )
    shown = bars.copy()
    shown[:, : int(rng.integers(0, 3))] = np.nan
    pictures = draw(shown, style, None if maybe(0.3) else average)  # (chart, height, width)
    faint = int(background + (rng.choice(inks) - background) * rng.uniform(0.1, 0.4))
    for axis in (1, 2):
        if maybe(0.3):
            step = int(rng.integers(8, 30))
            lines = pictures[:, ::step] if axis == 1 else pictures[:, :, ::step]
            lines[lines == background] = faint
    margins = [(0, 0), *(tuple(int(size * rng.uniform(0, 0.12)) * maybe(0.5) for _ in "ab") for size in pictures.shape[1:])]
    pictures = np.pad(pictures, margins, constant_values=background)
    _, (above, below), (left, right) = margins
    ink = int(rng.choice(inks))
    for edge, side in ((left, 0), (right, -1)):
        if edge > 4:
            pictures[:, :, edge - 1 if side == 0 else -edge] = ink
            for row in range(4, pictures.shape[1] - 6, int(rng.integers(10, 25))):
                columns = slice(0, edge - 2) if side == 0 else slice(2 - edge, None)
                label = pictures[:, row : row + 4, columns]
                label[rng.random(label.shape) < 0.5] = ink
    if below > 2:
        pictures[:, -below] = ink
    top, bottom, start, end = (int(rng.integers(0, 3)) * maybe(0.3) for _ in range(4))
    pictures = pictures[:, top : pictures.shape[1] - bottom, start : pictures.shape[2] - end]
    if maybe(0.5):
        noise = rng.normal(0, rng.uniform(1, 6), pictures.shape).astype(np.float32)
        pictures = np.clip(pictures + noise, 0, 255).astype(np.uint8)
    if maybe(0.4):
        quality = int(rng.integers(30, 91))
        pictures = np.stack([_through_jpeg(picture, quality) for picture in pictures])
    return see(pictures)


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
    *,
    seed: int,
    epochs: int,
    every: int,
    step: Callable[[], None],
) -> nn.Sequential:
    """Return a network that tells ``labels`` (row,) from charts of ``bars`` (row, time, 5) and ``average`` (row, time).

    An epoch takes one row of ``every``, another one each time, and half of its charts in others' styles. ``step`` is
    called after each epoch.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = network()
    steps = -(-len(labels) // every // BATCH) + 1
    optimizer = torch.optim.AdamW(model.parameters(), PEAK_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps * epochs)
    torch.nn.init.constant_(model[-1].bias, float(np.log(labels.mean() / (1 - labels.mean()))))
    model.train()
    for epoch in range(epochs):
        rows = rng.permutation(np.arange(epoch % every, len(labels), every))  # (row,)
        for batch in np.array_split(rows, max(1, len(rows) // BATCH)):
            half = len(batch) // 2
            pictures = [draw(bars[batch[:half]], PLAIN, average[batch[:half]])]
            pictures += [
                imitate(bars[some], average[some], rng)
                for some in np.array_split(batch[half:], max(1, (len(batch) - half) // TOGETHER))
            ]
            told = model(tensor(np.concatenate(pictures)))[:, 0]  # (batch,)
            loss = F.binary_cross_entropy_with_logits(told, torch.from_numpy(labels[batch]).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        step()
    return model.eval()


@torch.no_grad()
def logits(model: nn.Sequential, pictures: Bytes) -> Floats:
    """Return the logit of each picture (chart, 64, 60), shape (chart,)."""
    told = [model(tensor(pictures[at : at + 4 * BATCH]))[:, 0] for at in range(0, len(pictures), 4 * BATCH)]
    found: Floats = torch.cat(told).double().numpy()
    return found
