"""Simulated voices: the same seed says the same, stress does to a voice what it is said to, and calls have sound."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from engines.audio import BINS, SAMPLE_RATE_HZ, decode_wav, log_mel, power
from engines.instruments import SymbolMaster
from engines.simulator.day import Config, Day, simulate
from engines.simulator.voices import Line, Speaker, line, speak, speaker
from engines.simulator.words import Company
from schemas import media

COMPANIES = [Company(x.instrument, x.symbol, x.name) for x in SymbolMaster.load().listings.values()]
CLEAR = Line(low_hz=50.0, high_hz=3_900.0, slope_db=0.0, noise_db=50.0, companded=False)
SECOND_NS = 10**9


def someone(seed: int) -> Speaker:
    return speaker(np.random.default_rng(seed))


def said(seed: int, stress: float, over: Line = CLEAR, seconds: float = 3.0) -> npt.NDArray[np.float64]:
    """Return the samples of a speaker; what is said is the same at every stress as far as tempo lets it."""
    return speak(np.random.default_rng([seed, 1]), someone(seed), over, stress, seconds) / 2.0**15


def pitch_hz(samples: npt.NDArray[np.float64]) -> float:
    """Return the median over frames of 40 ms of the lag at which they are most like themselves, 80 to 400 Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 320)[::80]  # (frame, 320)
    loud = frames[np.square(frames).mean(1) > 0.3 * np.square(samples).mean()]
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(320), 1_024)) ** 2
    alike = np.fft.irfft(spectrum)[:, 20:100] / np.correlate(np.hanning(320), np.hanning(320), "full")[339:419]
    return float(SAMPLE_RATE_HZ / (20 + np.median(alike.argmax(axis=1))))


@pytest.fixture(scope="module")
def day() -> Day:
    return next(simulate(Config(hours=1.0, ticks_a_second=2.0), COMPANIES))


def test_the_same_seed_says_the_same_and_another_does_not() -> None:
    assert said(1, 0.5).tobytes() == said(1, 0.5).tobytes()
    assert not np.array_equal(said(1, 0.5), said(2, 0.5))
    assert speaker(np.random.default_rng(1)) != someone(2)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.345, 3.0])
def test_a_clip_is_as_long_as_asked_and_never_clips(seconds: float) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        samples = speak(rng, speaker(rng), line(rng), float(rng.random()), seconds)
        assert samples.dtype == np.int16
        assert len(samples) == int(seconds * SAMPLE_RATE_HZ)
        assert np.abs(samples.astype(np.int64)).max() < 32_767


def test_pitch_is_the_speakers_and_rises_with_stress() -> None:
    found = [(someone(seed), pitch_hz(said(seed, 0.0)), pitch_hz(said(seed, 1.0))) for seed in range(12)]
    for who, calm, _ in found:
        assert calm == pytest.approx(who.pitch_hz, rel=0.25)
    raised = np.log2([tense / calm for _, calm, tense in found]) * 12
    assert np.median(raised) == pytest.approx(np.median([who.raise_semitones for who, *_ in found]), abs=1.5)


def test_energy_moves_up_and_pauses_get_shorter_with_stress() -> None:
    high, speaking = [], []
    for seed in range(12):
        shares, loud = [], []
        for stress in (0.0, 1.0):
            samples = said(seed, stress, seconds=8.0)
            spectrum = power(samples).mean(axis=0)  # (bin,)
            shares.append(np.log10(spectrum[BINS // 4 :].sum() / spectrum.sum()))
            frames = log_mel(samples).max(axis=1)  # (frame,)
            loud.append((frames > frames.max() - 2.5).mean())
        high.append(shares[1] - shares[0])
        speaking.append(loud[1] - loud[0])
    assert np.mean(high) > 0.05
    assert np.mean(speaking) > 0.02


def test_a_speaker_whom_stress_does_nothing_to_sounds_the_same_under_it() -> None:
    calm = someone(3)._replace(
        raise_semitones=0.0, livelier=0.0, faster=0.0, shorter=0.0, rougher=0.0, brighter_db=0.0, tenser=0.0
    )
    first, second = (speak(np.random.default_rng(4), calm, CLEAR, stress, 2.0) for stress in (0.0, 1.0))
    assert first.tobytes() == second.tobytes()


def test_a_telephone_passes_its_band_only() -> None:
    narrow = Line(low_hz=300.0, high_hz=3_000.0, slope_db=0.0, noise_db=60.0, companded=False)
    wide, phone = (power(said(5, 0.3, over)).mean(axis=0) for over in (CLEAR, narrow))  # (bin,), 31.25 Hz apart
    passed = np.log10(phone / phone[32]) - np.log10(wide / wide[32])  # beside 1 kHz, decades
    assert passed[4] < -2.0  # 125 Hz
    assert passed[126] < -1.0  # 3.9 kHz
    assert abs(passed[64]) < 0.1  # 2 kHz


def test_every_segment_of_a_call_is_heard_before_it_is_understood(day: Day) -> None:
    texts = {(part.call_id, part.segment): part for part in day.transcripts}
    assert len(day.audio) == len(texts) > 20
    for part in day.audio:
        text = texts.pop((part.call_id, part.segment))
        media.check_audio(part)
        assert (part.instrument, part.ts_event) == (text.instrument, text.ts_event)
        assert part.ts_event < part.ts_available <= text.ts_available
        assert 2.0 <= len(decode_wav(part.payload).samples) / SAMPLE_RATE_HZ <= 3.0
    assert all(a.ts_available <= b.ts_available for a, b in itertools.pairwise(day.audio))


def test_a_days_sound_is_its_seeds_and_small() -> None:
    config = Config(hours=1.0, ticks_a_second=2.0, calls=2)
    first, second, other = (next(simulate(c, COMPANIES)).audio for c in (config, config, replace(config, seed=8)))
    assert first == second
    assert first[0].payload != other[0].payload
    assert sum(len(part.payload) for part in first) < 3_000_000
