"""What training writes is what it learned; nobody who is asked was heard; noise and lines say nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import torch
from rich.progress import Progress

from engines.audio import SAMPLE_RATE_HZ, wav
from engines.bundle import Part
from engines.inference import ORT_CPU
from engines.simulator import voices
from engines.training import voice
from engines.training.models import voice as network
from engines.voice import VoiceEncoder, VoiceSpec

pytestmark = pytest.mark.slow
TINY = voice.Schedule(train=48, calibration=16, test=16, clips=2, epochs=3)


@pytest.fixture(scope="module")
def trained() -> tuple[bytes, VoiceSpec, Part]:
    with Progress(disable=True) as progress:
        return voice.train(0, progress, TINY)


def test_the_report_tells_of_every_part_and_contender_and_that_no_person_was_heard(
    trained: tuple[bytes, VoiceSpec, Part],
) -> None:
    _, spec, part = trained
    assert part.split == {"train": 96, "calibration": 32, "test": 32}
    assert set(part.metrics["voice encoder"]) == {"accuracy", "auc", "brier", "ece", "ece_floor"}
    assert part.metrics["prevalence"]["auc"].value == 0.5
    assert "Never heard a real voice" in part.notes[0]
    assert (spec.dim, spec.frames) == (network.DIM, network.FRAMES)


def test_the_files_serve_and_real_or_not_every_clip_of_a_folder_is_scored(
    trained: tuple[bytes, VoiceSpec, Part], tmp_path: Path
) -> None:
    graph, spec, _ = trained
    encoder = VoiceEncoder(voice.write(tmp_path / "out", graph, spec), [ORT_CPU])
    rng = np.random.default_rng(0)
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in "abcde":
        said = voices.speak(rng, voices.speaker(rng), voices.line(rng), 0.5, 1.0)
        (folder / f"{name}.wav").write_bytes(wav(said))
    found = voice.hear(encoder, folder, most=5)
    assert sorted(found) == [f"{name}.wav" for name in "abcde"]
    assert found["a.wav"] == encoder.encode((folder / "a.wav").read_bytes(), "audio/wav", SAMPLE_RATE_HZ, 1).score
    assert len(voice.hear(encoder, folder, most=2)) == 2


def test_speakers_of_two_parts_are_others_and_a_seed_gives_the_same_clips() -> None:
    first, again, other = (voice.spoken(key, 3, 2, 0.0) for key in ([0, 0], [0, 0], [0, 1]))
    assert first.levels.tobytes() == again.levels.tobytes()
    assert first.speaker.tolist() == [0, 0, 1, 1, 2, 2]
    assert not any(np.array_equal(a, b) for a in first.levels for b in other.levels)


def test_a_wordless_clip_has_the_label_of_chance() -> None:
    clips = voice.spoken([0, 0], 60, 1, 1.0)
    silent = (clips.levels == -1.0).all(axis=(1, 2, 3))  # (clip,)
    assert 0 < silent.sum() < 30
    assert 0.25 < clips.stressed[~silent].mean() < 0.75
    spectrum = clips.levels[~silent, 0, 10:, :90].mean(axis=2)  # (clip, mel): no clip is shorter; a voice has formants
    assert spectrum.std(axis=1).max() < 0.1


def test_a_little_training_tells_a_clear_difference() -> None:
    """The upper half is loud, or the lower: the network learns it, its logits say which is which."""
    rng = np.random.default_rng(0)
    levels = rng.normal(-0.5, 0.2, (128, 1, 40, network.FRAMES)).astype(np.float32).clip(-1, 1)
    stressed = rng.random(128) < 0.5
    levels[stressed, :, 20:] += 0.5
    levels[~stressed, :, :20] += 0.5
    model = network.fit(levels[:96], stressed[:96], 4, 0)
    told = network.logits(model, levels[96:])
    assert ((told > 0) == stressed[96:]).mean() > 0.9


def test_augmented_levels_differ_by_seed_only_and_silence_stays() -> None:
    levels = torch.full((3, 1, 40, 10), -1.0)
    levels[..., :5] = 0.2
    drawn = [network.augment(levels, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0][0], drawn[0][1])
    assert (drawn[0][..., 5:] == -1.0).all()
