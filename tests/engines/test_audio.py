"""Audio: what is decoded, resampled and heard can be worked out by hand."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from engines.audio import (
    FFT,
    FLOOR,
    MELS,
    SAMPLE_RATE_HZ,
    WINDOW,
    AudioError,
    Floats,
    Sound,
    cepstra,
    decode_wav,
    log_mel,
    mel,
    mel_bank,
    mel_centres_hz,
    mel_to_hz,
    power,
    resample,
)


def wav(raw: bytes, width: int = 2, channels: int = 1, rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """Return a WAV file of PCM bytes."""
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setparams((channels, width, rate_hz, 0, "NONE", "not compressed"))
        file.writeframes(raw)
    return held.getvalue()


def tone(hz: float, count: int = SAMPLE_RATE_HZ, rate_hz: int = SAMPLE_RATE_HZ) -> Floats:
    """Return a sine of amplitude one."""
    return np.sin(2 * np.pi * hz * np.arange(count) / rate_hz)


@pytest.mark.parametrize(
    ("raw", "width"),
    [
        (bytes([0, 128, 192]), 1),
        (struct.pack("<3h", -(2**15), 0, 2**14), 2),
        (b"\x00\x00\x80" + b"\x00\x00\x00" + b"\x00\x00\x40", 3),
        (struct.pack("<3i", -(2**31), 0, 2**30), 4),
    ],
)
def test_samples_of_any_width_span_minus_one_to_one(raw: bytes, width: int) -> None:
    sound = decode_wav(wav(raw, width, rate_hz=16_000))
    assert sound.samples.tolist() == [-1.0, 0.0, 0.5]
    assert sound.rate_hz == 16_000


def test_channels_are_averaged() -> None:
    raw = struct.pack("<4h", 2**14, 0, -(2**14), -(2**14))
    assert decode_wav(wav(raw, channels=2)).samples.tolist() == [0.25, -0.5]


def test_floating_point_is_refused_by_its_format() -> None:
    data = bytearray(wav(bytes(8), width=4))
    data[20:22] = struct.pack("<H", 3)  # WAVE_FORMAT_IEEE_FLOAT
    with pytest.raises(AudioError, match=r"PCM samples, .*unknown format: 3"):
        decode_wav(bytes(data))


@pytest.mark.parametrize("data", [b"", b"fLaC" + bytes(40), wav(bytes(8))[:20]])
def test_what_is_no_wav_is_refused(data: bytes) -> None:
    with pytest.raises(AudioError, match="expected a WAV file of PCM samples"):
        decode_wav(data)


def test_a_file_that_ends_early_is_refused() -> None:
    with pytest.raises(AudioError, match=r"expected 100 frames of 1 × 2 bytes, found 120 bytes"):
        decode_wav(wav(bytes(200))[:-80])


def test_a_file_without_samples_is_refused() -> None:
    with pytest.raises(AudioError, match="expected some frames"):
        decode_wav(wav(b""))


@pytest.mark.parametrize("rate_hz", [44_100, 16_000, 11_025, 6_000])
def test_a_tone_stays_the_same_tone_at_another_rate(rate_hz: int) -> None:
    found = resample(Sound(tone(440, rate_hz, rate_hz), rate_hz))
    assert len(found) == SAMPLE_RATE_HZ
    inner = slice(400, -400)  # where the tone does not begin or end
    np.testing.assert_allclose(found[inner], tone(440)[inner], atol=2e-3)


def test_what_the_lower_rate_cannot_hold_is_gone() -> None:
    found = resample(Sound(tone(6_000, 16_000, 16_000), 16_000))  # would fold to 2 kHz
    assert np.abs(found[400:-400]).max() < 2e-3


def test_a_kilohertz_is_about_a_thousand_mel() -> None:
    """What the scale was made for; 700 Hz is 2595 log10(2)."""
    assert mel(np.array(1_000.0)) == pytest.approx(1_000, abs=0.1)
    assert mel(np.array(700.0)) == pytest.approx(781.17, abs=0.01)
    assert mel_to_hz(mel(np.array([0.0, 440.0]))) == pytest.approx([0.0, 440.0])


def test_filters_have_area_one() -> None:
    """The wide ones, that is: where a triangle is no wider than a few bins, its samples say little of its area."""
    areas = mel_bank().sum(axis=1) * SAMPLE_RATE_HZ / FFT
    assert areas[MELS // 2 :] == pytest.approx(np.ones(MELS // 2), abs=0.05)
    assert (mel_bank().max(axis=1) > 0).all()


@pytest.mark.parametrize("count", [0, 1, WINDOW, WINDOW + 79, WINDOW + 80, SAMPLE_RATE_HZ])
def test_a_frame_begins_every_ten_milliseconds_while_its_window_fits(count: int) -> None:
    expected = {0: 1, 1: 1, WINDOW: 1, WINDOW + 79: 1, WINDOW + 80: 2, SAMPLE_RATE_HZ: 98}[count]
    assert log_mel(np.zeros(count)).shape == (expected, MELS)


@pytest.mark.parametrize("band", [3, 10, 20, 30, 38])
def test_a_tone_is_loudest_in_the_band_it_is_the_centre_of(band: int) -> None:
    heard = log_mel(tone(mel_centres_hz()[band]))
    assert set(heard.argmax(axis=1)) == {band}


def test_the_power_of_a_tone_follows_from_its_window() -> None:
    """A sine in the middle of a bin: half the sum of the Hann window, which is half its length, squared."""
    spectrum = power(tone(1_000))  # 1 kHz is bin 32
    assert spectrum.argmax(axis=1).tolist() == [32] * 98
    assert spectrum[:, 32] == pytest.approx(np.full(98, (WINDOW / 4) ** 2), rel=1e-3)


def test_a_tenth_of_the_amplitude_is_two_decades_less() -> None:
    loud, soft = log_mel(tone(1_000)), log_mel(0.1 * tone(1_000))
    band = loud[0].argmax()
    np.testing.assert_allclose(loud[:, band] - soft[:, band], 2.0, atol=1e-9)


def test_silence_is_the_floor() -> None:
    assert (log_mel(np.zeros(WINDOW)) == np.log10(FLOOR)).all()


def test_a_flat_spectrum_has_one_cepstral_coefficient() -> None:
    """DCT-II of a constant: sqrt(2 / n) * n times it in the first, nothing else."""
    found = cepstra(np.full((2, 8), 3.0), 4)
    np.testing.assert_allclose(found, [[12.0, 0, 0, 0]] * 2, atol=1e-12)


def test_real_speech_is_louder_where_vowels_are(data_dir: Path) -> None:
    sound = decode_wav((data_dir / "speech_fsdd" / "1_george_0.wav").read_bytes())
    heard = log_mel(resample(sound))
    assert heard.shape == (1 + (len(sound.samples) - WINDOW) // 80, MELS)
    assert mel_centres_hz()[heard.max(axis=0).argmax()] < 1_000


def test_a_rate_that_has_nothing_in_common_with_ours_is_refused_before_it_costs_gigabytes() -> None:
    with pytest.raises(AudioError, match="found 383987 Hz: convert it"):
        resample(Sound(np.zeros(1_000), 383_987))
    for rate_hz in (11_025, 22_050, 44_100, 48_000, 96_000, 384_000):
        assert len(resample(Sound(np.zeros(rate_hz), rate_hz))) == SAMPLE_RATE_HZ
