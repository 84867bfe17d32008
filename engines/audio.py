"""Audio: bytes to samples, samples to a log-mel spectrogram; the daemon and training hear through the same ears."""

from __future__ import annotations

import importlib.util
import io
import math
import wave
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SAMPLE_RATE_HZ = 8_000  # telephone speech, which is what calls are
WINDOW = SAMPLE_RATE_HZ * 25 // 1_000  # 200 samples, 25 ms: short enough for a vowel to stand still
HOP = SAMPLE_RATE_HZ * 10 // 1_000  # 80 samples, 10 ms
FFT = 1 << (WINDOW - 1).bit_length()  # 256: the window, padded to the next power of two
BINS = FFT // 2 + 1  # 129, 31.25 Hz apart
MELS = 40
FRAMES_PER_SECOND = SAMPLE_RATE_HZ // HOP  # 100
MAX_SAMPLES = 8 << 20  # that a compressed file may unfold to: what a message of 16 MB holds in 16 bits
MAX_STEP = 1_000  # samples that become a whole number of samples; of 44.1 kHz 441
FLOOR = 1e-10  # of power: what digital silence is taken for


class AudioError(ValueError):
    """Bytes are no audio that can be decoded; the message says what was expected and what to do."""


class Sound(NamedTuple):
    """Samples (n,) in [-1, 1), one channel, and how many of them make a second."""

    samples: Floats
    rate_hz: int


def decode_wav(data: bytes) -> Sound:
    """Return the sound of a WAV file of PCM samples of 8 to 32 bits, its channels averaged.

    Raises
    ------
    AudioError
        It is no WAV, is compressed or in floating point, ends early, or has no samples.

    Notes
    -----
    Microsoft and IBM, *Multimedia Programming Interface and Data Specifications 1.0* (1991): 8 bits are unsigned, more
    are signed and little-endian.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            width, channels, rate_hz, count = (
                file.getsampwidth(), file.getnchannels(), file.getframerate(), file.getnframes()
            )  # fmt: skip
            raw = np.frombuffer(file.readframes(count), np.uint8)
    except (wave.Error, EOFError, RuntimeError) as error:
        raise AudioError(f"expected a WAV file of PCM samples, to which convert; found: {error!r}") from error
    if not 1 <= width <= 4 or rate_hz < 1:
        raise AudioError(f"expected samples of 1 to 4 bytes at 1 Hz or more, found {width} bytes at {rate_hz} Hz")
    if raw.size != count * channels * width or not count:
        raise AudioError(f"expected {count or 'some'} frames of {channels} × {width} bytes, found {raw.size} bytes")
    if width == 1:
        whole = (raw.astype(np.int64) - 128) << 24
    else:
        wide = np.zeros((raw.size // width, 4), np.uint8)  # (sample, byte), the highest bytes last
        wide[:, 4 - width :] = raw.reshape(-1, width)
        whole = wide.view("<i4").astype(np.int64)[:, 0]  # (sample,)
    return Sound(whole.reshape(-1, channels).mean(axis=1) / 2.0**31, rate_hz)


def decode_l16(data: bytes, rate_hz: int, channels: int) -> Sound:
    """Return the sound of bare samples of 16 bits, high byte first (RFC 3551, 4.5.11), its channels averaged.

    Raises
    ------
    AudioError
        There are no samples, or not as many for each channel.
    """
    if not data or len(data) % (2 * channels):
        raise AudioError(f"expected samples of 2 bytes in {channels} channels, found {len(data)} bytes")
    return Sound(np.frombuffer(data, ">i2").reshape(-1, channels).mean(axis=1) / 2.0**15, rate_hz)


def decode_flac(data: bytes) -> Sound:
    """Return the sound of a FLAC file (RFC 9639), its channels averaged.

    Raises
    ------
    AudioError
        It is no FLAC, is damaged or would unfold to more than `MAX_SAMPLES`; or the extra ``flac`` is not installed.
    """
    if importlib.util.find_spec("soundfile") is None:
        raise AudioError("FLAC is read by soundfile, which is not installed: install the extra `flac`, or send WAV")
    import soundfile

    if not data.startswith(b"fLaC"):
        raise AudioError(f"expected a FLAC file, found {data[:4]!r}")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if not 0 < file.frames * file.channels <= MAX_SAMPLES:
                raise AudioError(f"expected 1 to {MAX_SAMPLES:,} samples, found {file.frames} × {file.channels}")
            read, rate_hz, count = file.read(dtype="float64", always_2d=True), file.samplerate, file.frames
    except soundfile.LibsndfileError as error:
        raise AudioError(f"expected a FLAC file, found a damaged one: {error.error_string}") from error
    if len(read) != count:
        raise AudioError(f"expected {count} frames of FLAC, found {len(read)}")
    return Sound(read.mean(axis=1), rate_hz)


def decode(payload: bytes, media_type: str, sample_rate_hz: int, channels: int) -> Sound:
    """Return the sound of a recording as `schemas.records.AudioSegment` declares it.

    Raises
    ------
    AudioError
        It is of another media type than audio/wav, audio/flac and audio/L16, or damaged.
    """
    match media_type:
        case "audio/wav":
            return decode_wav(payload)
        case "audio/flac":
            return decode_flac(payload)
        case "audio/L16":
            return decode_l16(payload, sample_rate_hz, channels)
    raise AudioError(f"expected audio/wav, audio/flac or audio/L16, found {media_type}")


def wav(samples: npt.NDArray[np.int16], rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """Return samples (n,) of one channel as a WAV file of 16 bits."""
    with io.BytesIO() as held:
        with wave.open(held, "wb") as file:
            file.setparams((1, 2, rate_hz, len(samples), "NONE", "not compressed"))
            file.writeframes(samples.astype("<i2").tobytes())
        return held.getvalue()


def resample(sound: Sound, rate_hz: int = SAMPLE_RATE_HZ) -> Floats:
    """Return the samples of ``sound`` at ``rate_hz``, (ceil(n * rate_hz / sound.rate_hz),), without aliases.

    The spectrum is cut, or continued with zeros, at half the lower rate. Half a second of silence follows the sound
    meanwhile, so that its end does not ring into its beginning.

    Raises
    ------
    AudioError
        The rates have so little in common that the transform would take gigabytes.
    """
    samples, old_hz = sound
    if old_hz == rate_hz:
        return samples
    step = old_hz // math.gcd(old_hz, rate_hz)  # this many samples become a whole number of samples
    if step > MAX_STEP:
        raise AudioError(f"expected a usual rate such as 8000, 16000, 44100 or 48000 Hz, found {old_hz} Hz: convert it")
    padded = -(-(len(samples) + old_hz // 2) // step) * step
    target = padded * rate_hz // old_hz
    spectrum = np.fft.rfft(samples, padded)[: target // 2 + 1]  # (bin,)
    return np.fft.irfft(spectrum, target)[: -(-len(samples) * rate_hz // old_hz)] * (target / padded)


def mel(hz: Floats) -> Floats:
    """Return frequencies on the mel scale of O'Shaughnessy (1987), the one HTK uses: 2595 log10(1 + f / 700)."""
    return 2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0)


def mel_to_hz(mels: Floats) -> Floats:
    """Return the frequencies at which `mel` is ``mels``."""
    return 700.0 * (10.0 ** (np.asarray(mels) / 2595.0) - 1.0)


@cache
def mel_centres_hz() -> Floats:
    """Return where each filter of the bank peaks, (`MELS`,): evenly spaced in mel between 0 and half the rate."""
    return mel_to_hz(np.linspace(0.0, float(mel(np.array(SAMPLE_RATE_HZ / 2))), MELS + 2))[1:-1]


@cache
def mel_bank() -> Floats:
    """Return triangular filters (`MELS`, `BINS`), from neighbour's centre to neighbour's centre, of area one (Slaney).

    A flat spectrum so has the same energy in every band, though the high ones are wider.
    """
    edges = np.concatenate([[0.0], mel_centres_hz(), [SAMPLE_RATE_HZ / 2]])  # (mel + 2,)
    bins_hz = np.arange(BINS) * SAMPLE_RATE_HZ / FFT  # (bin,)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]  # (mel, 1) each
    rising = (bins_hz - left) / (centre - left)  # (mel, bin)
    falling = (right - bins_hz) / (right - centre)  # (mel, bin)
    bank: Floats = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (right - left))
    return bank


def power(samples: Floats) -> Floats:
    """Return the power spectrum (frame, `BINS`) of samples (n,) at `SAMPLE_RATE_HZ`.

    There are 1 + (n - `WINDOW`) // `HOP` frames; what is shorter than a window is followed by silence up to one.
    """
    whole = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(whole, WINDOW)[::HOP]  # (frame, window)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)  # (window,), periodic
    return np.abs(np.fft.rfft(frames * hann, FFT)) ** 2  # (frame, bin)


def log_mel(samples: Floats) -> Floats:
    """Return the log10 mel spectrogram (frame, `MELS`) of samples (n,) at `SAMPLE_RATE_HZ`.

    Example
    -------
    >>> log_mel(np.sin(2 * np.pi * 1_000 * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)).shape
    (98, 40)

    Notes
    -----
    Davis & Mermelstein, *Comparison of parametric representations for monosyllabic word recognition*, IEEE TASSP 1980.
    """
    return np.log10(np.maximum(power(samples) @ mel_bank().T, FLOOR))  # (frame, mel)


def cepstra(spectrogram: Floats, count: int = 13) -> Floats:
    """Return the first mel-frequency cepstral coefficients (frame, ``count``) of a log-mel spectrogram, by DCT-II."""
    bands = spectrogram.shape[1]
    angles = np.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(count))  # (mel, count)
    found: Floats = spectrogram @ np.cos(angles) * math.sqrt(2.0 / bands)  # (frame, count)
    return found
