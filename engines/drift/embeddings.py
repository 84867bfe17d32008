"""A change in a stream of vectors, such as the embeddings of texts.

Each vector becomes a few numbers: its projections on fixed random directions, and how far it lies from the mean of
those before. Each has a rank detector. Where one of them suspects a window, a two-sample test of the projections
decides: the maximum mean discrepancy between the window and what came before it, against permutations of the two.

A. Gretton et al. (2012), A kernel two-sample test, JMLR 13.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from engines.drift.ranks import RankShift
from engines.drift.windows import require

Vectors = npt.NDArray[np.float32]

DIRECTIONS = 32  # of the test
WATCHED = 4  # of those, by a detector each
KEPT = 256  # vectors that the test sees
LEAST = 4  # vectors of a window that is tested; as many lie between two tests
PERMUTATIONS = 199
LEVEL = 0.02  # of the test
MEMORY = 1024  # vectors over which their mean fades
_SEED = 7

_HEADER = struct.Struct("<4sQ2I")
_MAGIC = b"EMB1"


class EmbeddingShift:
    """Says when vectors of one length have changed, and begins anew with what came since.

    Parameters
    ----------
    threshold
        Of the rank detectors' statistic, from which on a window is tested. No budget is known for it; since the window
        is one that was suspected, and windows are tested again and again, `LEVEL` is no rate of false alarms either.

    Example
    -------
    >>> rng = np.random.default_rng(1)
    >>> detector = EmbeddingShift(threshold=20.0)
    >>> any(detector.update(vector) for vector in rng.normal(size=(200, 16)).astype(np.float32))
    False
    >>> any(detector.update(vector) for vector in rng.normal(1.0, size=(20, 16)).astype(np.float32))
    True
    """

    __slots__ = ("_channels", "_count", "_kept", "_mean", "_threshold")

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._count = 0
        self._mean: Vectors | None = None  # (dim,), None before the first vector
        self._kept: list[Vectors] = []  # each (DIRECTIONS,), oldest first
        self._channels = [RankShift(float("inf")) for _ in range(WATCHED + 1)]

    def update(self, vector: Vectors) -> bool:
        """Take the next vector (dim,), finite, and return whether the stream has changed."""
        # Not by BLAS, here and below: its order of summation, and so the last bits, are the processor's.
        projected = np.einsum("i,ij->j", vector, directions(len(vector)))  # (DIRECTIONS,)
        mean = vector if self._mean is None else self._mean
        apart = vector - mean
        self._count += 1
        self._mean = mean + apart / np.float32(min(self._count, MEMORY))
        self._kept = [*self._kept[1 - KEPT :], projected]
        distance = np.sqrt(np.einsum("i,i", apart, apart))
        for channel, value in zip(self._channels, (*projected[:WATCHED], distance), strict=True):
            channel.update(float(value))
        suspect = max(self._channels, key=lambda channel: channel.statistic)
        width = min(
            suspect.width, len(self._kept) // 2
        )  # so that as many as are suspected are there to compare them with
        if suspect.statistic <= self._threshold or width < LEAST or self._count % LEAST:
            return False
        kept = np.array(self._kept)
        if discrepant(kept[:-width], kept[-width:], self._count) > LEVEL:
            return False
        self._begin_anew(width)
        return True

    def _begin_anew(self, kept: int) -> None:
        self._kept = self._kept[-kept:]
        self._count, self._mean = 0, None  # the distances to a mean of before would shrink for long
        for channel in self._channels[:-1]:
            channel.begin_anew(kept)
        self._channels[-1].begin_anew(0)

    def pack(self) -> bytes:
        """Return the state as bytes, at most 0.2 MB."""
        mean = b"" if self._mean is None else self._mean.astype("<f4").tobytes()
        header = _HEADER.pack(_MAGIC, self._count, len(mean), len(self._kept))
        kept = np.array(self._kept, "<f4").tobytes()
        channels = [channel.pack() for channel in self._channels]
        lengths = struct.pack(f"<{len(channels)}I", *map(len, channels))
        return b"".join((header, mean, kept, lengths, *channels))

    def restore(self, data: bytes) -> None:
        """Take the state that `pack` wrote.

        Raises
        ------
        ValueError
            The bytes are not such a state.
        """
        require(data, _MAGIC, "embeddings")
        _, self._count, mean, kept = _HEADER.unpack_from(data)
        at = _HEADER.size
        self._mean = np.frombuffer(data[at : at + mean], "<f4") if mean else None
        at += mean
        self._kept = list(np.frombuffer(data[at : at + 4 * DIRECTIONS * kept], "<f4").reshape(kept, DIRECTIONS))
        at += 4 * DIRECTIONS * kept
        lengths = struct.unpack_from(f"<{len(self._channels)}I", data, at)
        at += 4 * len(lengths)
        for channel, length in zip(self._channels, lengths, strict=True):
            channel.restore(data[at : at + length])
            at += length


@lru_cache(8)
def directions(dim: int) -> Vectors:
    """Return random directions that are the same each time, float32 (dim, DIRECTIONS), such that lengths stay about as
    they are (W. B. Johnson, J. Lindenstrauss 1984).
    """
    drawn = np.random.default_rng([_SEED, dim]).standard_normal((dim, DIRECTIONS))
    return np.asarray(drawn / np.sqrt(DIRECTIONS), np.float32)


def discrepant(before: Vectors, after: Vectors, seed: int) -> float:
    """Return the p-value of two samples (n, d) and (m, d) being of one distribution, by `PERMUTATIONS` of a seed.

    The kernel is Gaussian, as wide as the median distance.

    Example
    -------
    >>> points = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    >>> discrepant(points[:40], points[40:] + 2, seed=1)
    0.005
    """
    both = np.concatenate((before, after)).astype(np.float64)
    squared = (both**2).sum(1)
    apart = np.maximum(squared[:, None] + squared - 2 * np.einsum("ik,jk", both, both), 0)  # (n + m, n + m)
    kernel = np.exp(-apart / max(float(np.median(apart)), 1e-12))
    weights = np.repeat((-1 / len(before), 1 / len(after)), (len(before), len(after)))
    rng = np.random.default_rng(seed)
    drawn = np.array([weights, *(rng.permutation(weights) for _ in range(PERMUTATIONS))])  # (1 + permutations, n + m)
    found = np.einsum("ij,ij->i", np.einsum("ij,jk", drawn, kernel), drawn)
    return float((found >= found[0] - 1e-12).mean())
