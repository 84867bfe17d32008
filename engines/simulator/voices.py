"""Voices on simulated calls: a source-filter synthesiser, whose speakers sound tenser the more stress they are under.

A train of glottal pulses (Klatt & Klatt, *Analysis, synthesis, and perception of voice quality variations among female
and male talkers*, JASA 1990) and noise pass through the resonances of a mouth that goes from vowel to vowel (Peterson &
Barney, *Control methods used in a study of the vowels*, JASA 1952), and then through a telephone line. What it says are
no words.

What stress does follows reviews: Scherer, *Vocal communication of emotion*, Speech Communication 2003, and Hansen &
Patil, *Speech under stress*, in Speaker Classification I, 2007. A higher pitch is what most studies find; that speech
is faster, less even, and has more of its energy high up, is found less often; of jitter both directions are reported,
and here it rises. How far each of them goes differs by speaker, and by how much on average is our own choice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engines.audio import SAMPLE_RATE_HZ

Floats = npt.NDArray[np.float64]

_SOURCE_HZ = 2 * SAMPLE_RATE_HZ  # pulses have edges: what folds back at this rate is weak where the telephone hears
_STEP = SAMPLE_RATE_HZ // 100  # 80 samples, 10 ms: from one shape of the mouth to the next
_FFT = 256  # 32 ms at the telephone's rate, 12 more than a frame: a vowel's ringing fits
_HZ = np.arange(_FFT // 2 + 1) * SAMPLE_RATE_HZ / _FFT  # (bin,)
#: First three formants of ten vowels as men say them (Peterson & Barney), Hz; the fourth is taken as 3.5 kHz.
_VOWELS = np.array(
    [
        (270, 2290, 3010, 3500),
        (390, 1990, 2550, 3500),
        (530, 1840, 2480, 3500),
        (660, 1720, 2410, 3500),
        (730, 1090, 2440, 3500),
        (570, 840, 2410, 3500),
        (440, 1020, 2240, 3500),
        (300, 870, 2240, 3500),
        (640, 1190, 2390, 3500),
        (490, 1350, 1690, 3500),
    ],
    np.float64,
)
_BANDWIDTHS_HZ = np.array([70.0, 100.0, 140.0, 220.0])
_MU = 255.0  # of the telephone's companding, ITU-T G.711


class Speaker(NamedTuple):
    """A person, calm, and what full stress does to the voice.

    ``tract`` multiplies formants, 1 being a man's; ``tilt_db`` is an octave's loss above 500 Hz; jitter and shimmer are
    standard deviations from one pulse to the next, as shares; ``breath`` is noise beside the pulses' 1; for
    ``open_share`` of a period the glottis is open.
    """

    pitch_hz: float
    melody_semitones: float
    tract: float
    tempo_hz: float  # syllables while speaking
    pause_s: float
    jitter: float
    shimmer: float
    breath: float
    tilt_db: float
    open_share: float
    raise_semitones: float
    livelier: float  # share that is added to the melody
    faster: float  # share that is added to the tempo
    shorter: float  # share that is taken from pauses
    rougher: float  # share that is added to jitter
    brighter_db: float  # taken from the tilt
    tenser: float  # share of a period that the glottis is open for less


class Line(NamedTuple):
    """What a voice comes through: from where to where it is heard, its noise, and whether it has eight bits only."""

    low_hz: float
    high_hz: float
    slope_db: float  # an octave, of microphone and line together
    noise_db: float  # below the voice
    companded: bool


def speaker(rng: np.random.Generator) -> Speaker:
    """Draw a person; half are women."""
    woman = rng.random() < 0.5
    return Speaker(
        pitch_hz=float((200.0 if woman else 115.0) * np.exp(rng.normal(0.0, 0.12))),
        melody_semitones=float(rng.uniform(1.2, 2.6)),
        tract=float(rng.normal(1.16 if woman else 1.0, 0.04)),
        tempo_hz=float(np.clip(rng.normal(4.6, 0.5), 3.4, 6.0)),
        pause_s=float(rng.uniform(0.3, 0.6)),
        jitter=float(rng.uniform(0.004, 0.012)),
        shimmer=float(rng.uniform(0.03, 0.1)),
        breath=float(rng.uniform(0.01, 0.06) * (1.5 if woman else 1.0)),
        tilt_db=float(rng.uniform(2.0, 8.0)),
        open_share=float(rng.uniform(0.55, 0.75)),
        raise_semitones=float(max(0.0, rng.normal(5.0, 1.5))),
        livelier=float(max(0.0, rng.normal(0.7, 0.25))),
        faster=float(max(0.0, rng.normal(0.3, 0.1))),
        shorter=float(np.clip(rng.normal(0.45, 0.15), 0.0, 0.8)),
        rougher=float(max(0.0, rng.normal(0.8, 0.5))),
        brighter_db=float(max(0.0, rng.normal(4.0, 1.2))),
        tenser=float(max(0.0, rng.normal(0.1, 0.05))),
    )


def line(rng: np.random.Generator) -> Line:
    """Draw a line: half are narrow telephones, half calls over the internet."""
    narrow = rng.random() < 0.5
    return Line(
        low_hz=float(rng.uniform(200.0, 320.0) if narrow else rng.uniform(50.0, 150.0)),
        high_hz=float(rng.uniform(3_200.0, 3_500.0) if narrow else rng.uniform(3_600.0, 3_900.0)),
        slope_db=float(rng.uniform(-1.5, 1.5)),
        noise_db=float(rng.uniform(15.0, 45.0)),
        companded=bool(rng.random() < 0.6),
    )


def speak(rng: np.random.Generator, who: Speaker, over: Line, stress: float, seconds: float) -> npt.NDArray[np.int16]:
    """Return ``seconds`` of somebody's speech over a line, int16 (n,) at `SAMPLE_RATE_HZ`; it begins anywhere in it.

    Parameters
    ----------
    stress
        In [0, 1]; 0 is the speaker's calm.

    Example
    -------
    >>> rng = np.random.default_rng(7)
    >>> speak(rng, speaker(rng), line(rng), stress=0.5, seconds=2.5).shape
    (20000,)
    """
    steps = int(seconds * SAMPLE_RATE_HZ) // _STEP + 3  # a frame begins a step before the clip and ends one after it
    said = _plan(rng, who, stress, steps)
    voiced = _pulses(rng, who, stress, said)  # (sample,) at the source's rate
    hiss = rng.standard_normal(len(voiced)) * said.at_samples(said.hiss)  # (sample,)
    tilt_db = max(0.0, who.tilt_db - stress * who.brighter_db)
    bright = 10.0 ** (-tilt_db / 20.0 * np.log2(np.maximum(_HZ, 500.0) / 500.0))  # (bin,)
    sharp = np.exp(-0.5 * ((_HZ - 3_600.0) / 900.0) ** 2)  # (bin,): s and its like, of which a telephone hears the foot
    spectrum = _frames(voiced) * _mouth(said.formants_hz) * bright + _frames(hiss) * sharp  # (step, bin)
    heard = _overlap(np.fft.irfft(spectrum, _FFT))[_STEP:][: int(seconds * SAMPLE_RATE_HZ)]  # (n,)
    return _through(rng, over, heard)


class _Said(NamedTuple):
    """What is to be said, by steps of 10 ms: pitch in Hz, loudness of pulses and of hiss, formants (step, 4) in Hz."""

    pitch_hz: Floats
    loud: Floats
    hiss: Floats
    formants_hz: Floats

    def at_samples(self, track: Floats) -> Floats:
        """Return a track (step,) at each sample of the source, (step * 160,)."""
        after = np.append(track[1:], track[-1])  # (step,)
        return (track[:, None] + (after - track)[:, None] * (np.arange(2 * _STEP) / (2 * _STEP))).ravel()


def _plan(rng: np.random.Generator, who: Speaker, stress: float, steps: int) -> _Said:
    """Draw syllables, phrases and pauses."""
    semitones, loud, hiss = np.zeros(steps), np.zeros(steps), np.zeros(steps)  # (step,)
    formants = np.empty((steps, 4))
    tempo_hz = who.tempo_hz * (1.0 + stress * who.faster)
    pause_s = who.pause_s * (1.0 - stress * who.shorter)
    melody = who.melody_semitones * (1.0 + stress * who.livelier)
    at, left, phrase = -int(rng.integers(0, 100)), int(rng.integers(1, 8)), 8
    while at < steps:
        if left == 0:
            rest = int(100 * pause_s * rng.gamma(4.0, 0.25))
            formants[max(0, at) : max(0, at + rest)] = _VOWELS[8]
            at += rest
            left = phrase = int(rng.integers(5, 12))
        length = max(8, int(100 / tempo_hz * np.exp(rng.normal(0.0, 0.18))))
        onset = int(length * rng.uniform(0.2, 0.4))
        vowel = slice(max(0, at + onset), max(0, at + length))
        consonant = slice(max(0, at), max(0, at + onset))
        formants[max(0, at) : max(0, at + length)] = _VOWELS[rng.integers(len(_VOWELS))]
        stressed = rng.normal()
        semitones[max(0, at) : max(0, at + length)] = melody * (left / phrase - 0.5 + 0.7 * stressed)
        loud[vowel] = np.exp(0.2 * stressed + rng.normal(0.0, 0.1))
        kind = rng.random()
        if kind < 0.3:  # fricative
            hiss[consonant] = 0.12 * np.exp(rng.normal(0.0, 0.4))
        elif kind < 0.65:  # stop: silence, then a burst
            hiss[max(0, at + onset - 2) : max(0, at + onset)] = 0.15 * np.exp(rng.normal(0.0, 0.4))
        else:  # nasal or liquid
            loud[consonant] = 0.35
        at, left = at + length, left - 1
    pitch_hz = who.pitch_hz * 2.0 ** ((_smooth(semitones, 9) + stress * who.raise_semitones) / 12.0)
    mouth = np.stack([_smooth(track, 5) for track in formants.T], 1) * who.tract  # (step, 4)
    return _Said(pitch_hz, _smooth(loud, 5), hiss, mouth)


def _smooth(track: Floats, width: int) -> Floats:
    """Return a track (step,) whose jumps take ``width`` steps, an odd number."""
    weights = np.hanning(width + 2)[1:-1]
    return np.convolve(np.pad(track, width // 2, mode="edge"), weights / weights.sum(), mode="valid")


def _pulses(rng: np.random.Generator, who: Speaker, stress: float, said: _Said) -> Floats:
    """Return what comes out of the glottis, (sample,) at the source's rate: flow's derivative, and breath."""
    pitch = said.at_samples(said.pitch_hz)  # (sample,)
    even = np.cumsum(pitch) / _SOURCE_HZ  # (sample,): periods so far
    jitter = who.jitter * (1.0 + stress * who.rougher)
    count = int(even[-1]) + 2
    uneven = 1.0 + jitter * rng.standard_normal(count)  # (period,)
    phase = np.cumsum(pitch * uneven[even.astype(np.int64)]) / _SOURCE_HZ + rng.random()  # (sample,)
    period = np.minimum(phase.astype(np.int64), count - 1)
    shimmer = np.maximum(0.1, 1.0 + who.shimmer * rng.standard_normal(count))  # (period,)
    open_share = who.open_share - stress * who.tenser  # of a period: a tense voice closes sooner
    x = (phase - phase.astype(np.int64)) / open_share  # (sample,): 1 as the glottis shuts
    flow = np.where(x < 1.0, 2.0 * x - 3.0 * x * x, 0.0)  # (sample,): the derivative of x² - x³
    breath = who.breath * np.where(x < 1.0, 2.0, 0.5) * rng.standard_normal(len(x))  # (sample,)
    return (flow * shimmer[period] + breath) * said.at_samples(said.loud)


def _frames(source: Floats) -> npt.NDArray[np.complex128]:
    """Return the spectrum (step, bin) of frames of two steps, as much of it as the telephone's rate holds."""
    frames = np.lib.stride_tricks.sliding_window_view(source, 4 * _STEP)[:: 2 * _STEP]  # (step, 320)
    hann = 0.5 - 0.5 * np.cos(np.pi * np.arange(4 * _STEP) / (2 * _STEP))  # (320,): neighbours add up to one
    return np.fft.rfft(frames * hann, 2 * _FFT)[:, : _FFT // 2 + 1] / 2.0  # (step, bin)


def _mouth(formants_hz: Floats) -> npt.NDArray[np.complex128]:
    """Return the response (step - 1, bin) of resonators in a row, each of gain one at 0 Hz, to formants (step, 4)."""
    z = np.exp(-2j * np.pi * _HZ / _SOURCE_HZ)  # (bin,)
    radius = np.exp(-np.pi * _BANDWIDTHS_HZ / _SOURCE_HZ)  # (formant,)
    a = 2.0 * radius * np.cos(2.0 * np.pi * formants_hz[:-1] / _SOURCE_HZ)  # (step, formant)
    b = radius * radius  # (formant,)
    below = np.ones((len(a), len(z)), np.complex128)  # (step, bin)
    for k in range(a.shape[1]):
        below *= (1.0 - a[:, k, None] * z + b[k] * (z * z)) / (1.0 - a[:, k, None] + b[k])
    return 1.0 / below


def _overlap(frames: Floats) -> Floats:
    """Return the sum (sample,) of frames (step, `_FFT`) that begin a step after one another."""
    parts = -(-_FFT // _STEP)
    padded = np.pad(frames, ((0, 0), (0, parts * _STEP - _FFT))).reshape(len(frames), parts, _STEP)
    whole = np.zeros((len(frames) + parts, _STEP))
    for k in range(parts):
        whole[k : k + len(frames)] += padded[:, k]
    return whole.ravel()


def _through(rng: np.random.Generator, over: Line, heard: Floats) -> npt.NDArray[np.int16]:
    """Return a voice (n,) as it leaves the line, int16 (n,)."""
    hz = np.fft.rfftfreq(len(heard), 1.0 / SAMPLE_RATE_HZ)  # (bin,)
    band = 1.0 / np.sqrt((1.0 + (over.low_hz / np.maximum(hz, 1.0)) ** 8) * (1.0 + (hz / over.high_hz) ** 16))  # (bin,)
    band *= 10.0 ** (over.slope_db / 20.0 * np.log2(np.maximum(hz, 100.0) / 1_000.0))
    level = np.sqrt(np.mean(np.square(heard))) + 1e-9
    noise = rng.standard_normal(len(heard)) * level * 10.0 ** (-over.noise_db / 20.0)  # (n,)
    sound = np.fft.irfft(np.fft.rfft(heard + noise) * band, len(heard))  # (n,)
    sound *= rng.uniform(0.2, 0.9) / max(1e-9, float(np.abs(sound).max()))  # gains differ: loudness says nothing
    if over.companded:
        small = np.sign(sound) * np.log1p(_MU * np.abs(sound)) / np.log1p(_MU)  # (n,)
        small = np.round(small * 127.0) / 127.0
        sound = np.sign(small) * np.expm1(np.abs(small) * np.log1p(_MU)) / _MU
    return np.round(sound * 32_767.0).astype(np.int16)
