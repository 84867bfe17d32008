"""River's detectors as they are, behind the interface of all detectors, with states that can be kept.

River is imported where one is made: it brings scikit-learn and SciPy, two fifths of a daemon's start, and the detectors
that the daemon makes are our own.

Their parameters speak of values of about unit scale; those that do so get values in deviations of the stream's first
`FIRST`. Detectors of errors take them as they are.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec
import numpy as np

FIRST = 48  # values that the scale is taken from, which the detector then sees at once
AS_IS = (0.0, 1.0)
_SEED = 7  # of the draws that KSWIN makes


class _River(Protocol):
    drift_detected: bool

    def update(self, x: Any) -> object: ...


class RiverDetector:
    """One of River's detectors.

    Parameters
    ----------
    detector
        River's.
    unit
        What a value is measured from and in before it sees it; None takes both from the stream's first values.

    Example
    -------
    >>> from river.drift import ADWIN
    >>> detector = RiverDetector(ADWIN(delta=0.002), unit=None)
    >>> any(detector.update(float(i % 7)) for i in range(400))
    False
    >>> any(detector.update(float(i % 7 + 5)) for i in range(64))
    True
    """

    __slots__ = ("_centre", "_detector", "_first", "_scale")

    def __init__(self, detector: _River, *, unit: tuple[float, float] | None = AS_IS) -> None:
        self._detector = detector
        self._first: list[float] | None = None if unit else []  # None: the unit is known
        self._centre, self._scale = unit or AS_IS

    def update(self, value: float) -> bool:
        """Take the next value, a finite one, and return whether the stream has changed."""
        if self._first is None:
            return self._told(value)
        self._first.append(value)
        if len(self._first) < FIRST:
            return False
        low, self._centre, high = np.quantile(self._first, (0.25, 0.5, 0.75)).tolist()
        self._scale = (high - low) / 1.349 or float(np.std(self._first)) or 1.0
        first, self._first = self._first, None
        return sum(self._told(one) for one in first) > 0  # all of them are to be seen

    def _told(self, value: float) -> bool:
        self._detector.update((value - self._centre) / self._scale)
        return bool(self._detector.drift_detected)

    def pack(self) -> bytes:
        """Return the state as bytes."""
        return msgspec.msgpack.encode((self._first, self._centre, self._scale, dict(_kept(self._detector))))

    def restore(self, data: bytes) -> None:
        """Take the state that `pack` wrote of a detector of the same kind and parameters.

        Raises
        ------
        ValueError
            The bytes are not such a state.
        """
        try:
            self._first, self._centre, self._scale, kept = msgspec.msgpack.decode(data)
            _put(self._detector, kept)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            name = type(self._detector).__name__
            raise ValueError(f"{name}: expected its packed state, found {data[:8]!r}: {error}") from error


def _kept(thing: object) -> Iterator[tuple[str, object]]:
    """Yield the attributes of one of River's objects as what msgpack can write."""
    for name, value in vars(thing).items():
        match value:
            case None | bool() | int() | str():
                yield name, value
            case float():
                yield name, float(value)  # NumPy's too
            case deque():
                yield name, list(value)
            case random.Random():
                yield name, value.getstate()
            case Callable():  # chosen by a parameter
                pass
            case _ if hasattr(value, "__setstate__"):  # of River's compiled part: its state is bytes
                yield name, value.__getstate__()
            case _:
                yield name, dict(_kept(value))


def _put(thing: object, kept: dict[str, Any]) -> None:
    """Set the attributes of one of River's objects to what `_kept` told."""
    for name, value in kept.items():
        match vars(thing)[name]:
            case deque(maxlen=length):
                setattr(thing, name, deque(value, length))
            case random.Random() as rng:
                version, state, gauss = value
                rng.setstate((version, tuple(state), gauss))
            case compiled if hasattr(compiled, "__setstate__"):
                compiled.__setstate__(value)
            case inner if isinstance(value, dict):
                _put(inner, value)
            case _:
                setattr(thing, name, value)


def adwin(delta: float) -> RiverDetector:
    """Return ADWIN of confidence ``delta``, of the other parameters' defaults, as all below."""
    from river.drift import ADWIN

    return RiverDetector(ADWIN(delta=delta), unit=None)


def kswin(alpha: float) -> RiverDetector:
    """Return KSWIN of level ``alpha``."""
    from river.drift import KSWIN

    return RiverDetector(KSWIN(alpha=alpha, seed=_SEED))


def page_hinkley(threshold: float) -> RiverDetector:
    """Return Page and Hinkley's test of ``threshold``, in deviations."""
    from river.drift import PageHinkley

    return RiverDetector(PageHinkley(threshold=threshold), unit=None)


def ddm(threshold: float) -> RiverDetector:
    """Return DDM that tells a drift from ``threshold`` deviations on."""
    from river.drift.binary import DDM

    return RiverDetector(DDM(warning_threshold=threshold, drift_threshold=threshold))


def eddm(beta: float) -> RiverDetector:
    """Return EDDM that tells a drift below ``beta``."""
    from river.drift.binary import EDDM

    return RiverDetector(EDDM(alpha=beta, beta=beta))


def hddm_a(confidence: float) -> RiverDetector:
    """Return HDDM_A of ``confidence``, for rises and falls."""
    from river.drift.binary import HDDMA

    return RiverDetector(HDDMA(confidence, confidence, two_sided_test=True))


def hddm_w(confidence: float) -> RiverDetector:
    """Return HDDM_W of ``confidence``, for rises and falls."""
    from river.drift.binary import HDDMW

    return RiverDetector(HDDMW(confidence, confidence, two_sided_test=True))


def fhddm(confidence: float) -> RiverDetector:
    """Return FHDDM of ``confidence``: it looks for a fall, so it gets what was right."""
    from river.drift.binary import FHDDM

    return RiverDetector(FHDDM(confidence_level=confidence), unit=(1.0, -1.0))
