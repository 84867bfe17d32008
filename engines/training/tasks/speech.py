"""Spoken digits: which word is said in a clip, by people who were not heard in training.

A folder holds WAV clips called ``<label>_<speaker>_<take>.wav``, as speech_fsdd does; other files are left alone, and
in the folder to predict a clip may have any name. Where both folders are the same, each speaker is predicted by what
has learnt from the others only.

Few speakers are few people. Networks therefore hear simulated ones first, as far as the words are digits, and go on
hearing them beside the real ones (`engines.simulator.digits`). How sure they are is settled by what they say of
speakers that they have not heard.
"""

from __future__ import annotations

import copy
import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from engines.audio import AudioError, cepstra, decode_wav, log_mel, resample
from engines.simulator import digits
from engines.training import checkpoints
from engines.training.measures import MULTICLASS, Judged
from engines.training.models import audio
from engines.training.tasks import Outcome, Run
from engines.training.tasks.tables import FolderError
from engines.training.text import softmax

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NAME = re.compile(r"(?P<label>[^_]+)_(?P<speaker>[^_]+)_\d+\.wav")
PEOPLE = 500  # simulated, each of whom says each word once
FIRST_STEPS, FIRST_RATE = 800, 3e-3  # with simulated people alone
STEPS, RATE = 200, 2e-3  # with both
FOLDS = 4  # that speakers are dealt to, at most: each is predicted by networks of the others
TEMPERATURES = np.geomspace(0.2, 5.0, 66)
MEASURES = {name: MULTICLASS[name] for name in ("accuracy", "macro_f1", "ece")}


class Clip(NamedTuple):
    """A clip's file name, what its name says about it (nothing: empty), and its log-mel spectrogram (frame, mel)."""

    name: str
    label: str
    speaker: str
    spectrogram: Floats


class Member(NamedTuple):
    """How a network hears: words stretched to one length or as they are, less their mean spectrum too or not."""

    seed: int
    stretched: bool
    relative: bool


#: Networks whose log probabilities are averaged.
MEMBERS = (Member(0, False, False), Member(1, True, False), Member(2, True, True))


class Beginner(NamedTuple):
    """A network that has heard simulated people only, and they: one lesson, or none where they can say no word."""

    member: Member
    network: nn.Sequential
    heard: Sequence[audio.Lesson]


class Guesses(NamedTuple):
    """The probability of each class for each clip, (clip, class), by model."""

    tocsin: Floats
    dtw_1nn: Floats
    majority: Floats


def run(train: Path, test: Path, out: Path, run: Run) -> Outcome:
    """Learn the words of ``train``, write ``file,label`` for the clips of ``test`` to ``out``; see `Task`.

    Intervals are of 500 bootstraps over whole speakers, or over clips where there is one speaker only. Where only one
    speaker is learnt from, nothing tells how sure the networks should be, and they are taken at their word. Where a
    folder predicts itself, how sure they are about a speaker is settled on what is said of the others, by networks that
    have heard that one.

    Returns
    -------
    Accuracy, macro F1 and calibration error of the networks, of the nearest clip under dynamic time warping, and of the
    most frequent word.

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

    fold = np.array([speakers.index(clip.speaker) for clip in heard]) % FOLDS  # (heard,)
    folds = [fold == part for part in np.unique(fold)] if len(speakers) > 1 else []  # (heard,) each
    own = train.resolve() == test.resolve()
    if own and not folds:
        raise FolderError(f"{train}: to predict itself it needs two speakers or more, found {speakers}")
    asked = heard if own else read_clips(test)
    if not asked:
        raise FolderError(f"{test}: expected WAV clips, found none")
    if known := sorted({clip.speaker for clip in asked} & set(speakers)) if not own else []:
        progress.console.print(f"speakers of {test} that are in {train} too: {', '.join(known)}")

    steps = FIRST_STEPS * any(name in digits.WORDS for name in names) + STEPS * (len(folds) + (not own))
    steps *= len(MEMBERS)
    task = progress.add_task("training", total=steps)

    def advance() -> None:
        progress.advance(task)

    def without(part: Mask) -> tuple[list[Clip], Ints]:
        return [clip for clip, held_out in zip(heard, part, strict=True) if not held_out], truth[~part]

    beginners = begin(names, advance, run.keep)
    apart = np.zeros((len(heard), len(names)))  # log probabilities, each by who has not heard the speaker
    for at, part in enumerate(folds):
        kept = run.keep and run.keep / f"fold-{at}"
        apart[part] = tell(beginners, *without(part), [heard[row] for row in np.flatnonzero(part)], advance, kept)
    if own:
        guesses = Guesses(*(np.zeros((len(heard), len(names))) for _ in Guesses._fields))
        for part in folds:
            sure = temperature(apart[~part], truth[~part])
            guesses.tocsin[part] = softmax(apart[part] / sure)
            rivals = guess_simply(*without(part), len(names), [heard[row] for row in np.flatnonzero(part)])
            guesses.dtw_1nn[part], guesses.majority[part] = rivals
    else:
        told = tell(beginners, heard, truth, asked, advance, run.keep and run.keep / "all")  # (asked, class)
        sure = temperature(apart, truth) if folds else 1.0
        guesses = Guesses(softmax(told / sure), *guess_simply(heard, truth, len(names), asked))

    progress.update(task, completed=steps)
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


def begin(names: Sequence[str], advance: Callable[[], None], keep: Path | None) -> list[Beginner]:
    """Return `MEMBERS` that have heard simulated people say those of the words ``names`` which are digits.

    With ``keep``, networks that lie in that folder are not trained again, and others are left there.
    """
    rng = np.random.default_rng(0)
    classes = [at for at, name in enumerate(names) if name in digits.WORDS]
    people = [digits.person(rng) for _ in range(PEOPLE if classes else 0)]
    said = [digits.say(rng, who, names[at]) for who in people for at in classes]  # (frame, mel) each
    beginners = []
    for member in MEMBERS:
        torch.manual_seed(member.seed)
        network = audio.network(len(names), member.relative)
        lessons = []
        if said:
            lessons.append(audio.Lesson(audio.prepare(said, member.stretched), torch.tensor(classes).repeat(PEOPLE)))
            network = _heard(
                network,
                lessons,
                FIRST_STEPS,
                FIRST_RATE,
                member,
                advance,
                keep and keep / f"simulated-{member.seed}.pt",
            )
        beginners.append(Beginner(member, network, lessons))
    return beginners


def _heard(
    network: nn.Sequential,
    lessons: Sequence[audio.Lesson],
    steps: int,
    rate: float,
    member: Member,
    advance: Callable[[], None],
    path: Path | None,
) -> nn.Sequential:
    """Return a copy of ``network`` that has heard ``lessons``: the one at ``path``, or else one that is left there."""
    source = checkpoints.digest(network, *(part for lesson in lessons for part in lesson), steps, rate, repr(member))

    def learn() -> nn.Sequential:
        return audio.fit(copy.deepcopy(network), lessons, steps, rate, member.seed, advance)

    return checkpoints.once(path, source, lambda: copy.deepcopy(network), learn)


def tell(
    beginners: Sequence[Beginner],
    heard: list[Clip],
    truth: Ints,
    asked: list[Clip],
    advance: Callable[[], None],
    keep: Path | None,
) -> Floats:
    """Return log probabilities (asked, class) by ``beginners`` that have heard ``heard``, of classes ``truth``, too.

    ``keep`` is as in `begin`.
    """
    told = []
    for member, network, simulated in beginners:
        known, unknown = (
            audio.prepare([clip.spectrogram for clip in clips], member.stretched) for clips in (heard, asked)
        )  # (clip, 1, mel, time) each
        lessons = [audio.Lesson(known, torch.from_numpy(truth)), *simulated]
        pupil = _heard(network, lessons, STEPS, RATE, member, advance, keep and keep / f"member-{member.seed}.pt")
        told.append(audio.log_probabilities(pupil, unknown))
    return np.asarray(np.mean(told, axis=0), np.float64)


def temperature(told: Floats, truth: Ints) -> float:
    """Return by what log probabilities (clip, class) are to be divided for the truth (clip,) to be likeliest.

    Guo, Pleiss, Sun & Weinberger, *On calibration of modern neural networks*, ICML 2017.
    """
    rows = np.arange(len(truth))
    losses = [-np.log(softmax(told / by)[rows, truth]).mean() for by in TEMPERATURES]
    return float(TEMPERATURES[np.argmin(losses)])


def guess_simply(heard: list[Clip], truth: Ints, classes: int, asked: list[Clip]) -> tuple[Floats, Floats]:
    """Return what the nearest of ``heard``, of classes ``truth``, says of ``asked``, and the most frequent word."""
    one_hot = np.eye(classes)
    templates, queries = (
        [cepstra(np.maximum(clip.spectrogram - clip.spectrogram.max(), -audio.RANGE)) for clip in clips]
        for clips in (heard, asked)
    )  # (frame, coefficient) each, as loud as each other like the network's
    nearest = nearest_by_warping(templates, queries)  # (asked,)
    majority = np.bincount(truth).argmax()
    return one_hot[truth[nearest]], np.tile(one_hot[majority], (len(asked), 1))


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
