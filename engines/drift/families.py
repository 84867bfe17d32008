"""The detectors that there are, each with the one parameter that says how rarely it rings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from engines.drift import river_detectors as river
from engines.drift.embeddings import EmbeddingShift, Vectors
from engines.drift.error_rates import ErrorShift
from engines.drift.ranks import RankShift
from engines.drift.surprises import SurpriseShift

Value = TypeVar("Value", contravariant=True)


class Detector(Protocol[Value]):
    """Watches one stream of values, in bounded memory; what it says depends on nothing but them and their order."""

    def update(self, value: Value) -> bool:
        """Take the next value, a finite one, and return whether the stream has changed; if so it begins anew."""

    def pack(self) -> bytes:
        """Return the state as bytes."""

    def restore(self, data: bytes) -> None:
        """Take the state that `pack` wrote of one with the same parameter; raise `ValueError` for other bytes."""


@dataclass(frozen=True, slots=True)
class Family(Generic[Value]):
    """Detectors that differ in one positive parameter.

    ``often`` and ``seldom`` are the parameter where it rings too often for any use, and hardly ever. ``errors`` says
    that it takes nothing but 0 and 1, and 1 is an error.
    """

    make: Callable[[float], Detector[Value]]
    often: float
    seldom: float
    errors: bool = False

    def between(self, share: float) -> float:
        """Return the parameter a ``share`` of the way from ``often`` to ``seldom``, in its logarithm."""
        return float(self.often * (self.seldom / self.often) ** share)


#: ADWIN's delta is no probability here: it rings far less often than its bound allows, so budgets need more than 1.
FAMILIES: Mapping[str, Family[float]] = {
    "ranks": Family(RankShift, 4.0, 80.0),
    "short_ranks": Family(partial(RankShift, reference=256, recent=64), 4.0, 80.0),  # a tenth of the memory
    "surprises": Family(SurpriseShift, 3.0, 40.0),
    "error_rates": Family(ErrorShift, 3.0, 40.0, errors=True),
    "adwin": Family(river.adwin, 4.0, 1e-9),
    "kswin": Family(river.kswin, 0.3, 1e-9),
    "page_hinkley": Family(river.page_hinkley, 1.0, 2000.0),
    "ddm": Family(river.ddm, 0.5, 20.0, errors=True),
    "eddm": Family(river.eddm, 0.999, 0.01, errors=True),
    "hddm_a": Family(river.hddm_a, 0.9, 1e-15, errors=True),
    "hddm_w": Family(river.hddm_w, 0.9, 1e-15, errors=True),
    "fhddm": Family(river.fhddm, 0.9, 1e-15, errors=True),
}

#: Of vectors there is one.
EMBEDDINGS = "embeddings"
OF_VECTORS: Family[Vectors] = Family(EmbeddingShift, 40.0, 400.0)
