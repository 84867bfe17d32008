"""Spoken digits: which word is said in a clip, by people who were not heard in training.

A folder holds WAV clips called ``<label>_<speaker>_<take>.wav``, as speech_fsdd does; other files are left alone, and
in the folder to predict a clip may have any name. Where both folders are the same, each speaker is predicted by what
has learnt from the others only.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rich.progress import Progress, TaskID

from engines.audio import AudioError, cepstra, decode_wav, log_mel, resample
from engines.training.measures import MULTICLASS, Judged
from engines.training.models import audio
from engines.training.tasks import Outcome, Run
from engines.training.tasks.tables import FolderError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NAME = re.compile(r"(?P<label>[^_]+)_(?P<speaker>[^_]+)_\d+\.wav")
SEEDS = (0, 1)  # of the networks whose probabilities are averaged
MEASURES = {name: MULTICLASS[name] for name in ("accuracy", "macro_f1")}


class Clip(NamedTuple):
    """A clip's file name, what its name says about it (nothing: empty), and its log-mel spectrogram (frame, mel)."""

    name: str
    label: str
    speaker: str
    spectrogram: Floats


class Guesses(NamedTuple):
    """The probability of each class for each clip, (clip, class), by model."""

    tocsin: Floats
    dtw_1nn: Floats
    majority: Floats


def run(train: Path, test: Path, out: Path, run: Run) -> Outcome:
    """Learn the words of ``train``, write ``file,label`` for the clips of ``test`` to ``out``; see `Task`.

    Intervals are of 500 bootstraps over whole speakers, or over clips where there is one speaker only.

    Returns
    -------
    Accuracy and macro F1 of the network, of the nearest clip under dynamic time warping, and of the most frequent word.

    Raises
    ------
    FolderError
        ``train`` has no two words by name, or fewer than two speakers and is to predict itself; ``test`` has no clips;
        a clip cannot be decoded.
    """
    progress = run.progress
    heard = [clip for clip in read_clips(train) if clip.label]
    names = sorted({clip.label for clip in heard})
    speakers = sorted({clip.speaker for clip in heard})
    if len(names) < 2:
        raise FolderError(f"{train}: expected <label>_<speaker>_<take>.wav of two labels or more, found {names}")
    truth = np.array([names.index(clip.label) for clip in heard])  # (heard,)

    if train.resolve() == test.resolve():
        if len(speakers) < 2:
            raise FolderError(f"{train}: to predict itself it needs two speakers or more, found {speakers}")
        asked, whose = heard, np.array([speakers.index(clip.speaker) for clip in heard])
        task = progress.add_task("training", total=len(speakers) * len(SEEDS) * audio.STEPS)
        guesses = Guesses(*(np.zeros((len(heard), len(names))) for _ in Guesses._fields))
        for speaker in range(len(speakers)):
            here = whose == speaker  # (heard,)
            rest = [clip for clip, held_out in zip(heard, here, strict=True) if not held_out]
            held = [clip for clip, held_out in zip(heard, here, strict=True) if held_out]
            found = guess(rest, truth[~here], len(names), held, progress, task)
            for whole, part in zip(guesses, found, strict=True):
                whole[here] = part
    else:
        asked = read_clips(test)
        if not asked:
            raise FolderError(f"{test}: expected WAV clips, found none")
        if known := sorted({clip.speaker for clip in asked} & set(speakers)):
            progress.console.print(f"speakers of {test} that are in {train} too: {', '.join(known)}")
        task = progress.add_task("training", total=len(SEEDS) * audio.STEPS)
        guesses = guess(heard, truth, len(names), asked, progress, task)

    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("file", "label"))
        table.writerows((clip.name, names[best]) for clip, best in zip(asked, guesses.tocsin.argmax(1), strict=True))
    judged = judge_named(asked, names, guesses)
    return Outcome(judged.metrics(MEASURES, seed=0), judged) if judged else Outcome({})


def read_clips(folder: Path) -> list[Clip]:
    """Return the WAV clips of ``folder`` by name.

    Raises
    ------
    FolderError
        One cannot be decoded.
    """
    clips = []
    for path in sorted(folder.glob("*.wav")):
        said = NAME.fullmatch(path.name)
        try:
            spectrogram = log_mel(resample(decode_wav(path.read_bytes())))
        except AudioError as error:
            raise FolderError(f"{path}: {error}") from error
        clips.append(Clip(path.name, said["label"] if said else "", said["speaker"] if said else "", spectrogram))
    return clips


def guess(heard: list[Clip], truth: Ints, classes: int, asked: list[Clip], progress: Progress, task: TaskID) -> Guesses:
    """Return what each model makes of ``asked`` once it has learnt ``heard``, whose classes are ``truth`` (heard,)."""
    known = audio.prepare([clip.spectrogram for clip in heard])  # (heard, 1, mel, time)
    unknown = audio.prepare([clip.spectrogram for clip in asked])  # (asked, 1, mel, time)
    found = np.zeros((len(asked), classes))
    for seed in SEEDS:
        model = audio.fit(known, truth, classes, seed, lambda: progress.advance(task))
        found += audio.probabilities(model, unknown) / len(SEEDS)
    one_hot = np.eye(classes)
    templates, queries = (
        [cepstra(np.maximum(clip.spectrogram - clip.spectrogram.max(), -audio.RANGE)) for clip in clips]
        for clips in (heard, asked)
    )  # (frame, coefficient) each, as loud as each other like the network's
    nearest = nearest_by_warping(templates, queries)  # (asked,)
    majority = np.bincount(truth).argmax()
    return Guesses(found, one_hot[truth[nearest]], np.tile(one_hot[majority], (len(asked), 1)))


def nearest_by_warping(templates: list[Floats], queries: list[Floats]) -> Ints:
    """Return for each query (frame, feature) the index of the nearest template under dynamic time warping, (query,).

    The distance is the least sum of Euclidean distances along a path of steps (1, 0), (0, 1) and (1, 1), divided by the
    two lengths' sum: Sakoe & Chiba, *Dynamic programming algorithm optimization for spoken word recognition*, IEEE
    TASSP 1978, without a slope constraint.
    """
    lengths = np.array([len(template) for template in templates])  # (template,)
    padded = np.zeros((len(templates), lengths.max(), templates[0].shape[1]))  # (template, frame, feature)
    for row, template in zip(padded, templates, strict=True):
        row[: len(template)] = template
    nearest = np.empty(len(queries), np.int64)
    for at, query in enumerate(queries):
        before = np.full((len(templates), lengths.max() + 1), np.inf)  # (template, frame + 1)
        before[:, 0] = 0.0
        for frame in query:
            step = np.linalg.norm(padded - frame, axis=2)  # (template, frame)
            after = np.full_like(before, np.inf)
            for i in range(step.shape[1]):
                after[:, i + 1] = step[:, i] + np.minimum(np.minimum(before[:, i], before[:, i + 1]), after[:, i])
            before = after
        last = before[np.arange(len(templates)), lengths]  # (template,)
        nearest[at] = np.argmin(last / (lengths + len(query)))
    return nearest


def judge_named(asked: list[Clip], names: list[str], guesses: Guesses) -> Judged | None:
    """Return what each model told of the clips whose names tell; a word never heard counts as missed.

    Where no name tells a word that was heard, as in ``clip_a_1.wav``, names are taken to tell nothing: None.
    """
    rows = [row for row, clip in enumerate(asked) if clip.label]
    said = {asked[row].label for row in rows}
    if not said & set(names):
        return None
    every = [*names, *sorted(said - set(names))]
    truth = np.array([every.index(asked[row].label) for row in rows])
    by_speaker = np.unique([asked[row].speaker for row in rows], return_inverse=True)[1].astype(np.int64)
    blocks = by_speaker if by_speaker.any() else np.arange(len(rows))
    unheard = np.zeros((len(rows), len(every) - len(names)))
    told = {model: np.hstack([guessed[rows], unheard]) for model, guessed in guesses._asdict().items()}
    return Judged(tuple(every), truth, told, blocks)
