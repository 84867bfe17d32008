"""The voice encoder: a stretch of speech in, a vector to keep, a logit and a calibrated score of stress out.

Every window of sound runs alone, at one shape and on one thread: the same sound gives the same bits whenever, beside
whatever and from whichever thread it is asked.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from engines import audio
from engines.audio import HOP, MELS, WINDOW, AudioError, Floats
from engines.bundle import Bundle, BundleError
from engines.inference import ORDER, Array, Fallback, Inputs, Precision, Session, open_session
from engines.simulator import voices

#: Files of a bundle that has a voice encoder; those without one have neither.
MODEL, SPEC = "voice.onnx", "voice.json"
#: Variants of a window that run together when it is explained, always as many (see `engines.text`).
TOGETHER = 6
#: log10 of power: a window with no louder band holds what 16 bits make of silence (speech has 0 or so).
SILENCE = -7.0
#: Decades of power below the loudest window under which a window is a pause and is not asked.
PAUSE = 3.0


class VoiceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What voice.json holds.

    ``frames`` of 10 ms are a window; of power, ``decades`` below its loudest band are kept. ``slope`` and
    ``intercept`` turn a window's logit into calibrated log odds; ``probes`` are seeds of simulated voices for the
    parity gate.
    """

    dim: int
    frames: int
    decades: float
    slope: float
    intercept: float
    probes: list[int]


class Heard(NamedTuple):
    """What a voice says: ``vector`` float32 (dim,), ``logits`` float32 (1,), ``score`` calibrated P(stressed)."""

    vector: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    score: float


class Attribution(NamedTuple):
    """Milliseconds ``[start_ms, end_ms)`` of the sound and what they add to the log odds of stress."""

    start_ms: int
    end_ms: int
    weight: float


class _Window(NamedTuple):
    """Frames ``[start, end)`` of 10 ms of a sound, and what the network sees of them: float32 (1, 1, mel, time)."""

    start: int
    end: int
    level: npt.NDArray[np.float32]


class VoiceEncoder:
    """Encodes sound with the bundle's voice encoder; threads may share one.

    A sound longer than a window is cut into as many equal windows as it takes, and what they say is averaged: they are
    looks at one person in one state, not independent ones, so their evidence does not add up; and the most telling one
    would make every long call an alarm. Pauses are left out.

    Parameters
    ----------
    bundle
        A checked bundle that holds `MODEL` and `SPEC`; `of` asks whether it does.
    prefer, plans, fell
        As `engines.text.TextEncoder` takes them.
    precision
        What back ends compute in. There is no INT8 graph of so small a network: where that is asked for, it is fp32.

    Raises
    ------
    BundleError
        voice.json is malformed, or voice.onnx does not take and give the shapes that it says.
    """

    session: Session

    def __init__(
        self,
        bundle: Bundle,
        prefer: Sequence[str] = ORDER,
        *,
        plans: Path | None = None,
        fell: Callable[[Fallback], None] = lambda _: None,
        precision: Precision = "fp32",
    ) -> None:
        where = bundle.path / SPEC
        self._spec = bundle.decode(SPEC, VoiceSpec)
        if not self._spec.probes:
            raise BundleError(f"{where} has no probe: the parity gate would see nothing")
        probes = [self._windows(_probe(seed))[0] for seed in self._spec.probes]
        self.session = open_session(
            bundle.read(MODEL),
            [*({"level": window.level} for window in probes), *({"level": self._variants(w)[1]} for w in probes)],
            prefer,
            plans=plans,
            fell=fell,
            precision="fp32" if precision == "int8" else precision,
            score=self._scores,
        )
        try:
            vector, logit = self.session.run({"level": probes[0].level})
        except Exception as error:  # ONNX Runtime's own have no other base
            raise BundleError(f"{bundle.path / MODEL} does not take {probes[0].level.shape}: {error}") from error
        if (vector.shape, logit.shape) != ((1, self._spec.dim), (1, 1)):
            raise BundleError(
                f"{bundle.path / MODEL} gives {vector.shape} and {logit.shape}, "
                f"expected (1, {self._spec.dim}) as {SPEC} says, and (1, 1)"
            )

    def encode(self, payload: bytes, media_type: str, sample_rate_hz: int, channels: int) -> Heard:
        """Return what the encoder makes of a recording (see `engines.audio.decode`).

        Raises
        ------
        AudioError
            The sound cannot be decoded.
        """
        return self._mean(self._run(self._windows(_samples(payload, media_type, sample_rate_hz, channels))))

    def explain(self, payload: bytes, media_type: str, sample_rate_hz: int, channels: int) -> list[Attribution]:
        """Return which stretches of a recording its score rests on, in their order, by silencing them.

        Of several windows each weighs what it moves the mean by, and the heaviest is taken apart.

        Raises
        ------
        AudioError
            The sound cannot be decoded.
        """
        windows = self._windows(_samples(payload, media_type, sample_rate_hz, channels))
        told = [self._log_odds(logits) for _, logits in self._run(windows)]
        mean, others = sum(told) / len(told), max(1, len(told) - 1)
        whole = [mean - (sum(told) - one) / others if len(told) > 1 else one for one in told]
        heaviest = max(range(len(told)), key=lambda i: abs(whole[i]))
        found = []
        for i, window in enumerate(windows):
            if i != heaviest:
                found.append(_attribution(window.start, window.end, whole[i]))
                continue
            cuts, levels = self._variants(window)
            _, logits = self.session.run({"level": levels})  # (TOGETHER, dim), (TOGETHER, 1)
            without = [self._log_odds(row) for row in np.asarray(logits, np.float32)]
            found += [
                _attribution(window.start + a, window.start + b, (told[i] - less) / len(told))
                for (a, b), less in zip(itertools.pairwise(cuts), without, strict=True)
                if b > a
            ]
        return found

    def _windows(self, samples: Floats) -> list[_Window]:
        """Return the windows of samples (n,) in which somebody may speak, at least one."""
        frames = 1 + max(0, len(samples) - WINDOW) // HOP
        count = -(-frames // self._spec.frames)
        cuts = [frames * i // count for i in range(count + 1)]
        heard = [audio.log_mel(samples[a * HOP : (b - 1) * HOP + WINDOW]) for a, b in itertools.pairwise(cuts)]
        peaks = [float(part.max()) for part in heard]
        return [
            _Window(a, b, level(part, self._spec.frames, self._spec.decades)[None, None])
            for (a, b), part, peak in zip(itertools.pairwise(cuts), heard, peaks, strict=True)
            if peak >= max(peaks) - PAUSE
        ]

    def _variants(self, window: _Window) -> tuple[list[int], npt.NDArray[np.float32]]:
        """Return the cuts of a window's frames into `TOGETHER` stretches, and it with each of them silenced."""
        cuts = [(window.end - window.start) * i // TOGETHER for i in range(TOGETHER + 1)]
        levels = np.repeat(window.level, TOGETHER, axis=0)  # (TOGETHER, 1, mel, time)
        for row, (a, b) in zip(levels, itertools.pairwise(cuts), strict=True):
            row[:, :, a:b] = -1.0
        return cuts, levels

    def _run(self, windows: Sequence[_Window]) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        found = [self.session.run({"level": window.level}) for window in windows]
        return [(np.asarray(vector[0], np.float32), np.asarray(logit[0], np.float32)) for vector, logit in found]

    def _mean(self, found: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]) -> Heard:
        vector, logits = (np.asarray(np.stack(told).mean(axis=0)) for told in zip(*found, strict=True))
        return Heard(vector, logits, _sigmoid(self._log_odds(logits)))

    def _log_odds(self, logits: npt.NDArray[np.float32]) -> float:
        return self._spec.slope * float(logits[0]) + self._spec.intercept

    def _scores(self, outputs: Inputs) -> tuple[Array]:
        """Return the scores (n,) of the session's outputs."""
        return (np.array([_sigmoid(self._log_odds(row)) for row in np.asarray(outputs["1"], np.float32)]),)


def of(
    bundle: Bundle,
    prefer: Sequence[str] = ORDER,
    *,
    plans: Path | None = None,
    fell: Callable[[Fallback], None] = lambda _: None,
    precision: Precision = "fp32",
) -> VoiceEncoder | None:
    """Return the bundle's voice encoder, None where it has none; parameters are those of `VoiceEncoder`.

    Raises
    ------
    BundleError
        The bundle has one of the two files only, or they do not fit.
    """
    there = bundle.has_both(MODEL, SPEC)
    return VoiceEncoder(bundle, prefer, plans=plans, fell=fell, precision=precision) if there else None


def level(spectrogram: Floats, frames: int, decades: float) -> npt.NDArray[np.float32]:
    """Return a log-mel spectrogram (at most ``frames``, mel) as the network sees it, float32 (mel, ``frames``).

    The loudest band is 1 and what is ``decades`` below it -1, which is also silence: how near the microphone was says
    nothing. Silence follows what is shorter.
    """
    seen = np.full((MELS, frames), -1.0, np.float32)  # (mel, time)
    loudest = float(spectrogram.max())
    if loudest > SILENCE:
        below = np.maximum(spectrogram - loudest, -decades)  # (frame, mel)
        seen[:, : len(spectrogram)] = (1.0 + 2.0 * below / decades).T
    return seen


def _samples(payload: bytes, media_type: str, sample_rate_hz: int, channels: int) -> Floats:
    """Return samples (n,) at the network's rate; what is declared is held against what is found."""
    sound = audio.decode(payload, media_type, sample_rate_hz, channels)
    if sound.rate_hz != sample_rate_hz:
        raise AudioError(f"expected {sample_rate_hz} Hz as declared, found {sound.rate_hz} Hz")
    return audio.resample(sound)


def _probe(seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    said = voices.speak(rng, voices.speaker(rng), voices.line(rng), float(rng.random()), 2.5)  # (n,)
    return said / 2.0**15


def _attribution(start: int, end: int, weight: float) -> Attribution:
    frame_ms = 1_000 // audio.FRAMES_PER_SECOND
    return Attribution(start * frame_ms, end * frame_ms, weight)


def _sigmoid(log_odds: float) -> float:
    return 0.5 + 0.5 * math.tanh(log_odds / 2.0)  # without overflow
