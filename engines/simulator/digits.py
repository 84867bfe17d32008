"""Spoken digits, by people who do not exist: what the ten words look like on a log-mel spectrogram, told by phonetics.

Vowels and glides are resonances of a mouth that goes from one place to the next (formants after Peterson & Barney,
*Control methods used in a study of the vowels*, JASA 1952; consonants after Klatt, *Software for a cascade/parallel
formant synthesizer*, JASA 1980), which a glottis or a breath excites; friction has a spectrum of its own. Power is
computed step by step, and there are no samples: nobody listens to it. People differ in their tract, pitch, tempo,
accent, microphone and room, by more than most do: who learns from them is to know the words and not the people.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engines.audio import BINS, FFT, FLOOR, SAMPLE_RATE_HZ, mel_bank

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_STEP_MS = 5.0  # two are a hop of `engines.audio`
_HANN = np.array([0.2, 0.8, 1.0, 0.8, 0.2]) / 3.0  # (step,): a window of 25 ms
_HZ = np.arange(BINS) * SAMPLE_RATE_HZ / FFT  # (bin,)
_NEUTRAL_HZ = np.array([500.0, 1_500.0, 2_500.0])  # of a mouth that does nothing
_SILENT_DB = -99.0


class _Phone(NamedTuple):
    """A speech sound: three formants in Hz, how long it lasts, and how loud voice, breath and friction are in it."""

    formants_hz: tuple[float, float, float]
    length_ms: float
    voice_db: float = _SILENT_DB
    breath_db: float = _SILENT_DB
    friction_db: float = _SILENT_DB
    friction: int = 0  # row of `_friction`


#: Sounds by ARPAbet's names, in small letters. Ours: ``ou``, ``ei`` and ``ux``, which OW and EY end and UW may begin
#: with; ``gr``, an r of the throat; ``-``, a closed mouth. HH has the mouth of what comes next.
_PHONES: Mapping[str, _Phone] = {
    "iy": _Phone((290, 2250, 2950), 150, 0),
    "ih": _Phone((400, 1950, 2550), 90, 0),
    "eh": _Phone((550, 1800, 2480), 100, 0),
    "ah": _Phone((620, 1220, 2450), 120, 0),
    "ax": _Phone((500, 1450, 2450), 70, -3),
    "aa": _Phone((740, 1150, 2450), 120, 1),
    "ao": _Phone((560, 860, 2450), 150, 0),
    "ow": _Phone((490, 950, 2350), 110, 0),
    "ou": _Phone((380, 850, 2300), 90, -2),
    "uw": _Phone((310, 950, 2250), 170, -1),
    "ux": _Phone((330, 1400, 2250), 60, -1),
    "ey": _Phone((480, 2000, 2600), 100, 0),
    "ei": _Phone((340, 2250, 2850), 90, -2),
    "w": _Phone((310, 680, 2200), 70, -5),
    "r": _Phone((400, 1150, 1600), 70, -4),
    "er": _Phone((480, 1250, 1650), 80, -3),
    "gr": _Phone((470, 1150, 2350), 70, -7, -30),
    "n": _Phone((280, 1500, 2550), 90, -9),
    "z": _Phone((280, 1700, 2600), 90, -12, friction_db=-16, friction=0),
    "s": _Phone((350, 1700, 2600), 130, breath_db=-40, friction_db=-12, friction=0),
    "f": _Phone((350, 1100, 2300), 110, breath_db=-40, friction_db=-24, friction=1),
    "th": _Phone((350, 1400, 2500), 90, breath_db=-40, friction_db=-26, friction=1),
    "v": _Phone((280, 1100, 2300), 70, -10, friction_db=-28, friction=1),
    "t": _Phone((350, 1750, 2650), 20, breath_db=-25, friction_db=-12, friction=0),
    "k": _Phone((350, 2000, 2500), 20, breath_db=-25, friction_db=-14, friction=2),
    "hh": _Phone((500, 1500, 2500), 40, breath_db=-14),
    "-": _Phone((350, 1700, 2600), 60),
}

#: How each digit may be pronounced, by natives and by others.
WORDS: Mapping[str, Sequence[str]] = {
    "0": ("z ih r ow ou", "z iy r ow ou", "z iy er ow ou", "s iy r ow ou", "z ih gr ow", "z eh gr ow"),
    "1": ("w ah n", "w aa n", "w ao n", "v ah n"),
    "2": ("t hh uw", "t hh ux uw", "t uw"),
    "3": ("th r iy", "th er iy", "s r iy", "f r iy", "t r iy", "th gr iy", "s gr iy"),
    "4": ("f ao er", "f ow er", "f ao ax", "f ao", "f ao gr", "f ow ax"),
    "5": ("f aa eh iy v", "f aa ih v", "f aa iy f", "f aa ih"),
    "6": ("s ih - k s", "s iy - k s", "s ih - s"),
    "7": ("s eh v ax n", "s eh v n", "s eh v eh n", "z eh v ax n"),
    "8": ("ey ei - t hh", "eh ei - t", "ey ei -", "ey ei - t"),
    "9": ("n aa ih n", "n aa eh iy n", "n ah iy n"),
}


class Person(NamedTuple):
    """Who speaks, and through what; factors are of a man's usual.

    ``tract`` multiplies formants, ``each`` (3,) the first to third, ``own`` those of each sound; ``space`` is how far
    vowels are from the neutral one; ``loud_db`` is how much louder each sound is said, ``friction_db`` friction;
    ``glide_ms`` is how long the mouth takes from one place to the next; ``tilt_db`` is an octave's loss of the voice;
    ``accent`` is the usual pronunciation of each word. Of the room and the microphone: a cut of lows, a slope an
    octave, ripples (4,) of the response, noise and its slope, the share that echoes into the next frame, and how far
    below the loudest frame a recording begins and ends.
    """

    pitch_hz: float
    tract: float
    each: Floats
    own: Mapping[str, Floats]
    space: float
    tempo: float
    glide_ms: float
    tilt_db: float
    breath_db: float
    nasal_hz: float
    narrow: float
    hiss: float
    loud_db: Mapping[str, float]
    friction_db: float
    accent: Mapping[str, str]
    low_hz: float
    slope_db: float
    ripple_db: Floats
    noise_db: float
    noise_slope_db: float
    echo: float
    trim_db: float


def person(rng: np.random.Generator) -> Person:
    """Draw somebody; who has a short tract mostly has a high voice."""
    tract = float(np.exp(rng.uniform(-0.12, 0.28)))
    high = tract > 1.1 and rng.random() < 0.8
    return Person(
        pitch_hz=float((190.0 if high else 120.0) * np.exp(rng.normal(0.0, 0.2))),
        tract=tract,
        each=np.exp(rng.normal(0.0, 0.04, 3)),
        own={name: np.exp(rng.normal(0.0, 0.075, 3)) for name in _PHONES},
        space=float(rng.uniform(0.8, 1.15)),
        tempo=float(np.exp(rng.normal(0.0, 0.25))),
        glide_ms=float(rng.uniform(60.0, 140.0)),
        tilt_db=float(rng.uniform(4.0, 14.0)),
        breath_db=float(rng.uniform(-40.0, -18.0)),
        nasal_hz=float(rng.uniform(1_100.0, 1_900.0)),
        narrow=float(np.exp(rng.normal(0.1, 0.25))),
        hiss=float(np.exp(rng.normal(0.0, 0.08))),
        loud_db={name: float(rng.normal(0.0, 3.0)) for name in _PHONES},
        friction_db=float(rng.normal(0.0, 5.0)),
        accent={word: str(rng.choice(np.array(ways))) for word, ways in WORDS.items()},
        low_hz=float(rng.uniform(0.0, 250.0)),
        slope_db=float(rng.normal(0.0, 2.5)),
        ripple_db=rng.normal(0.0, 1.5, 4),
        noise_db=float(rng.uniform(-70.0, -28.0)),
        noise_slope_db=float(rng.uniform(-6.0, 3.0)),
        echo=float(rng.uniform(0.0, 0.25)),
        trim_db=float(rng.uniform(18.0, 55.0)),
    )


def say(rng: np.random.Generator, who: Person, word: str) -> Floats:
    """Return the log10 mel spectrogram (frame, mel), as `engines.audio.log_mel` does, of somebody who says a digit.

    Example
    -------
    >>> rng = np.random.default_rng(7)
    >>> say(rng, person(rng), "6").shape[1]
    40
    """
    said = _plan(rng, who, word)
    mouth = _mouth(who, said)  # (step, bin)
    source = 10.0 ** (-who.tilt_db / 10.0 * np.log2(np.maximum(_HZ, 150.0) / 500.0))  # (bin,)
    source *= np.minimum(1.0, _HZ / 150.0)  # (bin,)
    uneven = np.exp(rng.normal(0.0, 0.15, mouth.shape))  # (step, bin)
    harmonics = _harmonics(said.pitch_hz) * uneven  # (step, bin)
    noise = rng.exponential(1.0, (3, *mouth.shape))  # (source, step, bin): power of noise in a bin
    breath = 10.0 ** (who.breath_db / 10.0) * noise[0] * np.sqrt(_HZ / 1_000.0)  # (step, bin)
    power = mouth * source * said.voice[:, None] ** 2 * (harmonics + breath)  # (step, bin)
    power += mouth * 3.0 * said.breath[:, None] ** 2 * noise[1]
    power += _friction(who)[said.friction_kind] * 4.0 * said.friction[:, None] ** 2 * noise[2]
    return np.log10(np.maximum(_heard(rng, who, power) @ mel_bank().T, FLOOR))  # (frame, mel)


class _Said(NamedTuple):
    """What is done, by steps: formants (step, 3) and pitch in Hz, amplitudes, the row of `_friction`, how nasal."""

    formants_hz: Floats
    pitch_hz: Floats
    voice: Floats
    breath: Floats
    friction: Floats
    friction_kind: Ints
    nasal: Floats


def _plan(rng: np.random.Generator, who: Person, word: str) -> _Said:
    """Draw how a word is said this time."""
    way = who.accent[word] if rng.random() < 0.85 else str(rng.choice(np.array(WORDS[word])))
    names = way.split()
    targets, db, kinds, lengths = [], [], [], []  # by sound
    for at, name in enumerate(names):
        phone = _PHONES[name]
        shape = _PHONES[names[(at + 1) % len(names)]] if name == "hh" else phone
        place = np.array(shape.formants_hz, np.float64)  # (formant,)
        if name == "n":
            place[1] = who.nasal_hz
        elif phone.friction_db == _SILENT_DB and name != "-":
            place = _NEUTRAL_HZ * (place / _NEUTRAL_HZ) ** who.space
        targets.append(place * who.own[name] * who.each * who.tract * np.exp(rng.normal(0.0, 0.02, 3)))
        louder = who.loud_db[name] + rng.normal(0.0, 1.5)
        db.append((phone.voice_db + louder, phone.breath_db, phone.friction_db + louder + who.friction_db))
        kinds.append(phone.friction)
        steps = phone.length_ms * who.tempo * np.exp(rng.normal(0.0, 0.2)) / _STEP_MS
        lengths.append(max(2, round(steps)))
    lengths[0] += (before := int(rng.integers(2, 12)))
    lengths[-1] += (after := int(rng.integers(4, 16)))
    of = np.repeat(np.arange(len(names)), lengths)  # (step,): which sound
    level = np.array(db)[of]  # (step, 3)
    level[:before] = level[len(of) - after :] = _SILENT_DB
    amplitude = 10.0 ** (np.maximum(level, -80.0) / 20.0)  # (step, 3)
    time = np.linspace(0.0, 1.0, len(of))  # (step,)
    fade = np.exp(rng.uniform(-0.6, 0.1) * time**2 - rng.uniform(0.0, 0.3) * (1.0 - time) ** 4)  # (step,)
    semitones = rng.uniform(-1.0, 6.0) * (0.5 - time) + rng.normal(0.0, 2.0)  # (step,)
    semitones += rng.uniform(0.0, 2.0) * np.sin(np.pi * time)
    return _Said(
        formants_hz=_smooth(np.array(targets)[of], int(who.glide_ms * np.sqrt(who.tempo) / _STEP_MS)),
        pitch_hz=who.pitch_hz * 2.0 ** (semitones / 12.0),
        voice=_smooth(amplitude[:, 0], 9) * fade,
        breath=_smooth(amplitude[:, 1], 5) * fade,
        friction=_smooth(amplitude[:, 2], 5) * fade,
        friction_kind=np.array(kinds)[of],
        nasal=_smooth((np.array(names)[of] == "n").astype(np.float64), 7),
    )


def _smooth(track: Floats, steps: int) -> Floats:
    """Return a track (step, ...) under a moving Hann window of ``steps``, made odd."""
    half = steps // 2
    weights = np.hanning(2 * half + 3)[1:-1]  # (2 * half + 1,)
    padded = np.pad(track, [(half, half), *[(0, 0)] * (track.ndim - 1)], mode="edge")
    return _filtered(padded, weights / weights.sum())


def _filtered(padded: Floats, weights: Floats) -> Floats:
    """Return the weighted sum of neighbouring steps, (step - len(weights) + 1, ...)."""
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis=0)  # (step, ..., neighbour)
    found: Floats = windows @ weights
    return found


def _mouth(who: Person, said: _Said) -> Floats:
    """Return the gain in power (step, bin) of five resonators in a row, each one at 0 Hz, less what the nose takes."""
    higher = np.tile(np.array([3_500.0, 4_500.0]) * who.tract, (len(said.nasal), 1))  # (step, 2)
    formants = np.hstack([said.formants_hz, higher])[:, :, None]  # (step, formant, 1)
    half = 0.5 * who.narrow * np.array([70.0, 100.0, 150.0, 220.0, 280.0])  # (formant,), of the bandwidths
    damping = (half * (1.0 + 1.2 * said.nasal[:, None]))[:, :, None]  # (step, formant, 1)
    whole = formants**2 + damping**2  # (step, formant, 1)
    gain = whole**2 / ((whole - _HZ**2) ** 2 + (2.0 * damping * _HZ) ** 2)  # (step, formant, bin)
    zero = _HZ / (900.0 * who.tract)  # (bin,), of the closed mouth behind an n
    left = np.minimum(1.0, (zero**2 - 1.0) ** 2 + (0.25 * zero) ** 2)  # (bin,)
    found: Floats = gain.prod(axis=1) * (1.0 - said.nasal[:, None] * (1.0 - left))
    return found


def _harmonics(pitch_hz: Floats) -> Floats:
    """Return the power (step, bin) of harmonics of one size as a window of 25 ms shows them; their mean is about 1."""
    width = 27.5  # Hz, of the window's lobe
    pitch = pitch_hz[:, None]  # (step, 1)
    off = np.abs(_HZ - pitch * np.round(_HZ / pitch))  # (step, bin): to the nearest harmonic
    lobes = np.exp(-0.5 * (off / width) ** 2) + np.exp(-0.5 * ((pitch - off) / width) ** 2)  # (step, bin)
    heard = lobes * (0.5 * pitch < _HZ) * pitch / (width * np.sqrt(2.0 * np.pi))  # (step, bin)
    return np.asarray(heard + 1e-3, np.float64)


def _friction(who: Person) -> Floats:
    """Return spectra of friction in power, (kind, bin): s and its like, f and its like, the release of a k."""
    s = 1.0 / (1.0 + (3_600.0 * who.hiss / np.maximum(_HZ, 1.0)) ** 6)  # (bin,): a telephone hears its foot
    f = 0.15 + 0.3 * np.exp(-0.5 * ((_HZ - 1_500.0 * who.hiss) / 1_500.0) ** 2) + 0.5 * (_HZ / 4_000.0) ** 2
    k = 0.1 + np.exp(-0.5 * ((_HZ - 1_900.0 * who.hiss) / 350.0) ** 2)
    return np.stack([s, f, k])


def _heard(rng: np.random.Generator, who: Person, power: Floats) -> Floats:
    """Return what a recording has of power (step, bin): frames of 25 ms, (frame, bin), from a first to a last loud."""
    frames = _filtered(np.pad(power, ((2, 2), (0, 0)), mode="edge"), _HANN)[::2]  # (frame, bin)
    for before, after in itertools.pairwise(frames):
        after += who.echo * before
    ripples = who.ripple_db @ np.cos(np.pi * np.outer(np.arange(1, 5), _HZ / 4_000.0))  # (bin,)
    response = 10.0 ** ((who.slope_db * np.log2(np.maximum(_HZ, 60.0) / 1_000.0) + ripples) / 10.0)  # (bin,)
    frames *= response / (1.0 + (who.low_hz / np.maximum(_HZ, 1.0)) ** 4)
    octaves = np.log2(np.maximum(_HZ, 100.0) / 1_000.0)  # (bin,)
    noise = 10.0 ** ((who.noise_db + who.noise_slope_db * octaves) / 10.0)  # (bin,), below the loudest moments
    frames += frames.max(axis=0).mean() * noise * rng.exponential(1.0, frames.shape)
    loud = frames.sum(axis=1)  # (frame,)
    kept = np.flatnonzero(loud > loud.max() * 10.0 ** (-who.trim_db / 10.0))
    return frames[max(0, kept[0] - int(rng.integers(0, 4))) : kept[-1] + 1 + int(rng.integers(0, 6))]
