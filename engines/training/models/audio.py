"""Audio: a small CNN on log-mel, and what makes few speakers stand for many."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.audio import MELS, mel, mel_centres_hz

Floats = npt.NDArray[np.float64]

FRAMES = 80  # of 10 ms that the network sees
STRETCHED = 64  # frames that a word is stretched to where tempo is to say nothing
RANGE = 5.0  # decades of power below a clip's loudest band that are kept; the rest counts as silence
FAINT = 3.0  # decades below the loudest band: a word begins and ends with more
LOUD = 3.5  # decades below it: what moments are above whose mean a clip is compared with
CHANNELS = (24, 48, 64)
BATCH = 64
#: How a clip is heard again, and all hearings averaged: by octaves (what throat and mouth are shorter) and by tempo.
OCTAVES = (-0.2, -0.1, 0.0, 0.1, 0.2)
TEMPI = (2.0**-0.2, 2.0**0.2)


class Lesson(NamedTuple):
    """Clips (clip, 1, mel, time) and their classes (clip,)."""

    clips: Tensor
    classes: Tensor


class Relative(nn.Module):
    """Beside each clip, the clip less its own mean spectrum, which voice and microphone have much to do with."""

    def forward(self, clips: Tensor) -> Tensor:
        """Return (clip, 2, mel, time) of clips (clip, 1, mel, time); the mean is of loud moments."""
        loud = (clips.amax(2, keepdim=True) > 1.0 - 2.0 * LOUD / RANGE).float() + 1e-3  # (clip, 1, 1, time)
        mean = (clips * loud).sum(3, keepdim=True) / loud.sum(3, keepdim=True)  # (clip, 1, mel, 1)
        return torch.cat([clips, clips - mean], 1)


def network(classes: int, relative: bool) -> nn.Sequential:
    """Return the CNN: (clip, 1, mel, time) of `FRAMES` frames to logits (clip, class), see `Relative`."""
    one, two, three = CHANNELS
    whole = nn.Sequential(
        Relative() if relative else nn.Identity(),  # (clip, channel, mel, time)
        nn.AvgPool2d((1, 2)),  # (clip, channel, mel, time / 2): 20 ms a step suffice, at a third of the work
        *_block(1 + relative, one),  # (clip, 24, mel / 2, time / 4)
        *_block(one, two),  # (clip, 48, mel / 4, time / 8)
        *_block(two, three),  # (clip, 64, mel / 8, time / 16)
        nn.Dropout2d(0.2),
        nn.Flatten(1),  # (clip, 64 * mel / 8 * time / 16): which sound comes first matters
        nn.Dropout(0.4),
        nn.Linear(three * (MELS // 8) * (FRAMES // 16), classes),  # (clip, class)
    )
    return whole.to(memory_format=torch.channels_last)  # two thirds of the time on a CPU


def _block(before: int, after: int) -> list[nn.Module]:
    """Return a convolution, (clip, before, mel, time) to (clip, after, mel / 2, time / 2)."""
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]


def prepare(spectrograms: Sequence[Floats], stretched: bool) -> Tensor:
    """Return log-mel spectrograms (frame, mel) as one tensor (clip, 1, mel, `FRAMES`) in [-1, 1].

    The loudest band of each is 1, silence is -1: how near the microphone was says nothing. Clips are centred; of longer
    ones the middle stays. Where they are ``stretched``, each is `STRETCHED` frames from its first frame
    that is not `FAINT` to its last.
    """
    clips = torch.full((len(spectrograms), 1, MELS, FRAMES), -1.0)  # (clip, 1, mel, time)
    for clip, spectrogram in zip(clips, spectrograms, strict=True):
        below = torch.from_numpy(spectrogram - spectrogram.max()).float().T  # (mel, frame), 0 at the loudest
        if stretched:
            loud = (below.amax(0) > -FAINT).nonzero()[:, 0]  # (some frames,)
            word = below[:, max(0, int(loud[0]) - 1) : int(loud[-1]) + 2].clamp_min(-RANGE)  # (mel, frame)
            below = F.interpolate(word[None], STRETCHED, mode="linear")[0]  # (mel, stretched)
        level = 1.0 + 2.0 * below.clamp_min(-RANGE) / RANGE  # (mel, frame)
        surplus = max(0, level.shape[1] - FRAMES)
        level = level[:, surplus // 2 :][:, :FRAMES]  # (mel, at most time)
        start = (FRAMES - level.shape[1]) // 2
        clip[0, :, start : start + level.shape[1]] = level
    return clips


def augment(clips: Tensor, rng: torch.Generator) -> Tensor:
    """Return the clips (clip, 1, mel, time) as other people in other rooms might have said them.

    Notes
    -----
    Jaitly & Hinton, *Vocal tract length perturbation improves speech recognition*, ICML 2013 workshop, stretches the
    frequency axis; Park et al., *SpecAugment*, Interspeech 2019, masks bands and moments. Their ranges are widened:
    three speakers cover little of what there is.
    """
    count, _, mels, frames = clips.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count, 1).uniform_(low, high, generator=rng)

    height = torch.linspace(-1.0, 1.0, mels)  # (mel,)
    octaves = (
        uniform(-0.25, 0.25) + uniform(-0.12, 0.12) * height + uniform(-0.08, 0.08) * torch.sin(math.pi * height)
    )  # (clip, mel): throat and mouth are not longer by the same share
    even = (2.0 * torch.arange(frames) + 1.0) / frames - 1.0  # (time,)
    hurry = uniform(-0.12, 0.12) * torch.sin(2.0 * math.pi * even + uniform(-math.pi, math.pi))  # (clip, time)
    x = even * torch.exp2(uniform(-0.4, 0.4)) + uniform(-0.2, 0.2) + hurry  # (clip, time)
    said = _resampled(clips, _bands_from(octaves), x)  # (clip, 1, mel, time)

    tilt = uniform(-0.3, 0.3) * height + uniform(-0.2, 0.2) * (2.0 * height**2 - 1.0)  # (clip, mel)
    turn = 2.0 * math.pi * height  # (mel,)
    tilt = tilt + uniform(-0.12, 0.12) * torch.sin(turn) + uniform(-0.12, 0.12) * torch.cos(turn)  # (clip, mel)
    said = said + tilt[:, None, :, None] + uniform(-0.15, 0.15)[:, :, None, None]  # (clip, 1, mel, time)
    floor = uniform(-1.4, -0.4) + uniform(-0.2, 0.2) * height  # (clip, mel): of noise
    noise = floor[:, None, :, None] + 0.1 * torch.randn(said.shape, generator=rng)  # (clip, 1, mel, time)
    said = torch.maximum(said, noise).clamp_min(-1.0)  # (clip, 1, mel, time): powers add, in logs the louder one wins

    for axis, length, most in ((2, mels, 8), (3, frames, 10)):
        begin = (uniform(0.0, 1.0) * length).long()  # (clip, 1)
        size = (uniform(0.0, 1.0) * (most + 1)).long()  # (clip, 1)
        at = torch.arange(length)  # (length,)
        hidden = (at >= begin) & (at < begin + size)  # (clip, length)
        said = said.masked_fill(hidden[:, None, :, None] if axis == 2 else hidden[:, None, None, :], -1.0)
    return said


def _bands_from(octaves: Tensor) -> Tensor:
    """Return where each band is taken from, (clip, mel) in `grid_sample`'s units, where it is so many octaves off."""
    centres = mel_centres_hz()
    hz = torch.from_numpy(centres).float() * torch.exp2(octaves)  # (clip, mel)
    spacing = float(mel(centres[1:2])[0] - mel(centres[:1])[0])
    band = torch.from_numpy(mel(hz.numpy())) / spacing - 1.0  # (clip, mel)
    return (2.0 * band + 1.0) / MELS - 1.0


def _resampled(clips: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return clips (clip, 1, mel, time) taken from bands ``y`` (clip, mel) and moments ``x`` (clip, time)."""
    count, _, mels, frames = clips.shape
    grid = torch.stack(
        [x[:, None, :].expand(count, mels, frames), y[:, :, None].expand(count, mels, frames)], -1
    )  # (clip, mel, time, 2)
    said = F.grid_sample(clips, grid, padding_mode="border", align_corners=False)  # (clip, 1, mel, time)
    return torch.where((x.abs() > 1.0)[:, None, None, :], -1.0, said)  # silence around it


def fit(
    model: nn.Sequential, lessons: Sequence[Lesson], steps: int, rate: float, seed: int, step: Callable[[], None]
) -> nn.Sequential:
    """Return ``model``, trained for ``steps`` on batches of an equal part of each lesson; each calls ``step``."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(steps):
        rows = [torch.randint(len(lesson.classes), (BATCH // len(lessons),), generator=rng) for lesson in lessons]
        clips = torch.cat([lesson.clips[drawn] for lesson, drawn in zip(lessons, rows, strict=True)])
        classes = torch.cat([lesson.classes[drawn] for lesson, drawn in zip(lessons, rows, strict=True)])  # (batch,)
        logits = model(augment(clips, rng))  # (batch, class)
        loss = F.cross_entropy(logits, classes, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        step()
    return model.eval()


@torch.no_grad()
def log_probabilities(model: nn.Sequential, clips: Tensor) -> Floats:
    """Return the log probability of each class for each clip, (clip, class), a mean over `OCTAVES` and `TEMPI`."""
    count, _, mels, frames = clips.shape
    even = (2.0 * torch.arange(frames) + 1.0) / frames - 1.0  # (time,)
    told = torch.zeros(count, 1)
    for octaves in OCTAVES:
        y = _bands_from(torch.full((count, mels), octaves))  # (clip, mel)
        for tempo in TEMPI:
            heard = _resampled(clips, y, (even * tempo).expand(count, frames))  # (clip, 1, mel, time)
            told = told + model(heard).log_softmax(1) / (len(OCTAVES) * len(TEMPI))  # (clip, class)
    found: Floats = told.double().numpy()
    return found
