"""Spoken digits: speakers are kept apart, folders are read by name, and sounds that differ are told apart."""

from __future__ import annotations

import csv
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import torch
from rich.console import Console
from rich.progress import Progress

from engines.audio import MELS, SAMPLE_RATE_HZ
from engines.training.models import audio
from engines.training.tasks import Run, speech
from engines.training.tasks.tables import FolderError

pytestmark = pytest.mark.long
HZ = {"low": 300, "high": 2_400}


def write(folder: Path, name: str, hz: float) -> None:
    """Write a third of a second of a tone in a little noise."""
    count = SAMPLE_RATE_HZ // 3
    noise = np.random.default_rng(int(hz)).normal(0, 30, count)
    samples = 8_000 * np.sin(2 * np.pi * hz * np.arange(count) / SAMPLE_RATE_HZ) + noise
    with wave.open(str(folder / name), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", "not compressed"))
        file.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture
def voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three speakers who say two words, each a little higher than the one before; training is kept short."""
    monkeypatch.setattr(speech, "STEPS", 30)
    folder = tmp_path / "voices"
    folder.mkdir()
    for at, speaker in enumerate(("ann", "bob", "cyd")):
        for word, hz in HZ.items():
            for take in range(2):
                write(folder, f"{word}_{speaker}_{take}.wav", hz * (1 + 0.05 * at + 0.01 * take))
    (folder / "address.flac").write_bytes(b"fLaC")
    return folder


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_folder_that_predicts_itself_tells_two_tones_apart_by_other_speakers(voices: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with Progress(disable=True) as progress:
        found = speech.run(voices, voices, out, Run(progress)).metrics
    assert found["tocsin accuracy"].value == 1.0
    assert found["dtw_1nn accuracy"].value == 1.0
    assert found["majority accuracy"].value == 0.5  # two words, as often
    header, *told = rows(out)
    assert header == ["file", "label"]
    assert told == [[path.name, path.name.split("_")[0]] for path in sorted(voices.glob("*.wav"))]


def test_nobody_who_is_predicted_was_heard(voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folds = []
    honest = speech.tell

    def watched(
        beginners: list[speech.Beginner],
        heard: list[speech.Clip],
        truth: speech.Ints,
        asked: list[speech.Clip],
        advance: Callable[[], None],
        keep: Path | None,
    ) -> speech.Floats:
        folds.append(({clip.speaker for clip in heard}, {clip.speaker for clip in asked}))
        assert [clip.label for clip in heard] == [["high", "low"][row] for row in truth]
        return honest(beginners, heard, truth, asked, advance, keep)

    monkeypatch.setattr(speech, "tell", watched)
    with Progress(disable=True) as progress:
        speech.run(voices, voices, tmp_path / "out.csv", Run(progress))
    assert folds == [({"bob", "cyd"}, {"ann"}), ({"ann", "cyd"}, {"bob"}), ({"ann", "bob"}, {"cyd"})]


def test_a_run_that_was_stopped_goes_on_with_the_networks_that_it_had(
    voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, trained = audio.fit, 0

    def stopped(*arguments: Any) -> torch.nn.Sequential:
        nonlocal trained
        if trained == 4:
            raise KeyboardInterrupt
        trained += 1
        return honest(*arguments)

    with Progress(disable=True) as progress:
        whole = speech.run(voices, voices, tmp_path / "whole.csv", Run(progress)).metrics
        with monkeypatch.context() as stop:
            stop.setattr(audio, "fit", stopped)
            with pytest.raises(KeyboardInterrupt):
                speech.run(voices, voices, tmp_path / "out.csv", Run(progress, keep=tmp_path / "kept"))
        trained = -5
        monkeypatch.setattr(audio, "fit", stopped)
        found = speech.run(voices, voices, tmp_path / "out.csv", Run(progress, keep=tmp_path / "kept")).metrics
    assert found == whole
    assert trained == 0  # three members of three folds, less the four that were there


def test_clips_without_labels_are_predicted_and_not_measured(voices: Path, tmp_path: Path) -> None:
    test = tmp_path / "test"
    test.mkdir()
    write(test, "one.wav", 310)
    write(test, "part_two_2.wav", 2_450)
    with Progress(disable=True) as progress:
        assert speech.run(voices, test, tmp_path / "out.csv", Run(progress)).metrics == {}
    assert rows(tmp_path / "out.csv")[1:] == [["one.wav", "low"], ["part_two_2.wav", "high"]]


def test_speakers_heard_before_are_named_and_words_never_heard_are_missed(voices: Path, tmp_path: Path) -> None:
    test = tmp_path / "test"
    test.mkdir()
    write(test, "low_ann_7.wav", 305)
    write(test, "middle_dan_0.wav", 2_450)
    console = Console(record=True, width=300)
    with Progress(console=console) as progress:
        found = speech.run(voices, test, tmp_path / "out.csv", Run(progress)).metrics
    assert "are in" in (said := console.export_text())
    assert "too: ann\n" in said
    assert found["tocsin accuracy"].value == 0.5


def test_folders_that_cannot_serve_are_refused(voices: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with Progress(disable=True) as progress:
        with pytest.raises(FolderError, match="of two labels or more"):
            speech.run(empty, voices, tmp_path / "out.csv", Run(progress))
        with pytest.raises(FolderError, match="expected WAV clips, found none"):
            speech.run(voices, empty, tmp_path / "out.csv", Run(progress))
        (empty / "low_ann_0.wav").write_bytes(b"RIFF")
        with pytest.raises(FolderError, match=r"low_ann_0\.wav: expected a WAV file"):
            speech.run(voices, empty, tmp_path / "out.csv", Run(progress))
        (empty / "low_ann_0.wav").unlink()
        write(empty, "low_ann_0.wav", 300)
        write(empty, "high_ann_0.wav", 2_400)
        with pytest.raises(FolderError, match="two speakers or more"):
            speech.run(empty, empty, tmp_path / "out.csv", Run(progress))


def test_warping_takes_the_same_shape_at_another_speed_for_nearest() -> None:
    rise, fall = np.arange(5.0)[:, None], np.arange(5.0)[::-1, None]
    slow = np.repeat(rise, 3, axis=0)
    assert speech.nearest_by_warping([fall, rise], [slow, np.repeat(fall, 2, axis=0)]).tolist() == [1, 0]


def test_more_speakers_than_folds_are_dealt_to_them(
    tmp_path: Path, voices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "FOLDS", 2)
    folds: list[set[str]] = []

    def noted(
        _: list[speech.Beginner], heard: list[speech.Clip], truth: speech.Ints, asked: list[speech.Clip], __: object
    ) -> speech.Floats:
        folds.append({clip.speaker for clip in asked})
        return np.zeros((len(asked), 2))

    monkeypatch.setattr(speech, "tell", noted)
    with Progress(disable=True) as progress:
        speech.run(voices, voices, tmp_path / "out.csv", Run(progress))
    assert folds == [{"ann", "cyd"}, {"bob"}]


def test_temperature_is_what_makes_the_share_that_is_right_the_probability() -> None:
    """Three of four are right: log odds of 2 are to become log 3."""
    told = np.tile([0.0, 2.0], (4, 1))
    by = speech.temperature(told, np.array([1, 1, 1, 0]))
    assert by == pytest.approx(2.0 / np.log(3.0), rel=0.03)  # the ladder's step is 5 %
    assert speech.softmax(told / by)[0, 1] == pytest.approx(0.75, abs=0.01)


def test_clips_are_centred_and_as_loud_as_each_other() -> None:
    soft, long = np.full((2, MELS), -6.0), np.full((audio.FRAMES + 10, MELS), 3.0)
    soft[0, 0] = -4.0
    clips = audio.prepare([soft, long], stretched=False)
    assert clips.shape == (2, 1, MELS, audio.FRAMES)
    middle = audio.FRAMES // 2
    assert clips[0, 0, 0, middle - 2 : middle + 2].tolist() == pytest.approx([-1, 1, 0.2, -1])  # 2 of 5 decades below
    assert (clips[1] == 1.0).all()


def test_stretched_words_are_of_one_length_whatever_silence_is_around_them() -> None:
    word = np.zeros((20, MELS))
    padded = np.pad(word, ((15, 25), (0, 0)), constant_values=-9.0)
    short, long = audio.prepare([padded, np.repeat(padded, 2, axis=0)], stretched=True)[:, 0, 0]  # (time,) each
    begin = (audio.FRAMES - audio.STRETCHED) // 2
    assert (short == 1.0).sum() == pytest.approx(audio.STRETCHED * 20 / 22, abs=3)  # a frame of silence on each side
    assert (long == 1.0).sum() == pytest.approx(audio.STRETCHED * 40 / 42, abs=3)
    assert (short[:begin] == -1.0).all()
    assert (short[-begin:] == -1.0).all()


def test_augmented_clips_differ_by_seed_only() -> None:
    clips = audio.prepare([np.random.default_rng(0).normal(size=(30, MELS))] * 3, stretched=False)
    drawn = [audio.augment(clips, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0][0], drawn[0][1])
    assert drawn[0].shape == clips.shape
    assert drawn[0].min() >= -1.0


def test_real_digits_are_told_better_than_by_chance_after_a_little_training(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three speakers say zero, one and five, another is to be understood."""
    monkeypatch.setattr(speech, "MEMBERS", speech.MEMBERS[:1])
    monkeypatch.setattr(speech, "PEOPLE", 60)
    monkeypatch.setattr(speech, "FIRST_STEPS", 60)
    monkeypatch.setattr(speech, "STEPS", 40)
    folders = tmp_path / "train", tmp_path / "test"
    for folder in folders:
        folder.mkdir()
    for path in (data_dir / "speech_fsdd").glob("[015]_*.wav"):
        (folders["jackson" in path.name] / path.name).write_bytes(path.read_bytes())
    with Progress(disable=True) as progress:
        found = speech.run(*folders, tmp_path / "out.csv", Run(progress)).metrics
    assert found["majority accuracy"].value == pytest.approx(1 / 3, abs=1e-4)
    assert found["tocsin accuracy"].value > 0.6
