"""A change in a stream of vectors, such as the embeddings of texts.

Each vector becomes its projections on fixed random directions, in which the reference (the last `REFERENCE` vectors
before those under suspicion) is uncorrelated and of unit variance; what lies far out counts as `FAR` deviations. The
sum of a window that ends now, squared, is divided by what it would be where nothing changed, the reference's
autocorrelation included; the largest one of windows is the statistic (H. Hotelling's, of all directions at once, since
nobody knows in which one a change will come). Where it is large, a two-sample test of the projections decides: the
maximum mean discrepancy between the window and what came before it, against permutations of the two.

H. Hotelling (1931), The generalization of Student's ratio, Annals of Mathematical Statistics 2(3).
A. Gretton et al. (2012), A kernel two-sample test, JMLR 13.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from engines.drift import windows
from engines.drift.windows import LAGS, RECENT, STEP, require

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

DIRECTIONS = 32
FIRST = 96  # vectors that a reference begins with: nothing is said before
REFERENCE = 512  # of a reference, at most
LEAST = 8  # of a window: what is said often comes several times in a row
WIDTHS = np.array([width for width in windows.WIDTHS if width >= LEAST])
FAR = 1.5  # deviations
RIDGE = 0.02  # of the average variance, added to each direction's
TESTED = 128  # vectors before the window that the test sees
PERMUTATIONS = 199
LEVEL = 0.02  # of the test
_SEED = 7

_HEADER = struct.Struct("<4sQ2I")
_MAGIC = b"EMB2"


class EmbeddingShift:
    """Says when vectors of one length have changed, and begins anew with what came since.

    Parameters
    ----------
    threshold
        Of the statistic, from which on a window is tested. `engines.drift.budget` knows it for an expected run time;
        since the window is one that was suspected, and is tested until it is no longer, `LEVEL` is no rate of false
        alarms.

    Example
    -------
    >>> rng = np.random.default_rng(1)
    >>> detector = EmbeddingShift(threshold=90.0)
    >>> any(detector.update(vector) for vector in rng.normal(size=(200, 16)).astype(np.float32))
    False
    >>> any(detector.update(vector) for vector in rng.normal(1.0, size=(20, 16)).astype(np.float32))
    True
    """

    #: Of the last vector; how many vectors, the last ones, speak most for a change.
    statistic: float
    width: int
    _reference: list[Vectors]  # each (DIRECTIONS,), oldest first, as are the recent ones, which came next
    _recent: list[Vectors]
    _sums: Floats  # (RECENT + STEP + 1, DIRECTIONS): of scores up to each recent vector, a zero first
    _middle: Floats  # (DIRECTIONS,)
    _matrix: Floats  # (DIRECTIONS, DIRECTIONS) that scores come by, (0, 0) before there is a reference
    _centre: Floats  # (DIRECTIONS,): of the reference's scores
    _scale: Floats
    _variance: Floats  # (widths,): of a sum of so many scores
    __slots__ = (
        *("_centre", "_count", "_matrix", "_middle", "_recent", "_reference", "_scale", "_sums", "_threshold"),
        *("_variance", "statistic", "width"),
    )

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._count = 0
        self._begin([])

    def update(self, vector: Vectors) -> bool:
        """Take the next vector (dim,), finite, and return whether the stream has changed."""
        # Not by BLAS, here and below: its order of summation, and so the last bits, are the processor's.
        projected = np.einsum("i,ij->j", vector, directions(len(vector)))  # (DIRECTIONS,)
        self._count += 1
        if not self._matrix.size:
            self._reference.append(projected)
            if len(self._reference) >= FIRST:
                self._learn()
            return False
        self._recent.append(projected)
        held = len(self._recent)
        self._sums[held] = self._sums[held - 1] + self._scores(projected[None])[0]
        self._suspect()
        if self.statistic > self._threshold:
            before, window = (self._reference + self._recent)[: -self.width], self._recent[-self.width :]
            if discrepant(np.array(before[-TESTED:]), np.array(window), self._count) <= LEVEL:
                self._begin(window)
                return True
        # A young reference grows first: half as many vectors are suspected as there are to compare them with.
        if held >= min(RECENT, len(self._reference) // 2) + STEP:
            self._reference = (self._reference + self._recent[:STEP])[-REFERENCE:]
            del self._recent[:STEP]
            self._learn()
        return False

    def _suspect(self) -> None:
        held = len(self._recent)
        fit = int(WIDTHS.searchsorted(held, "right"))
        self.statistic, self.width = 0.0, 0
        if fit:
            apart = self._sums[held] - self._sums[held - WIDTHS[:fit]]  # (fit, DIRECTIONS)
            squares = (apart**2).sum(1) / self._variance[:fit]
            best = int(squares.argmax())
            self.statistic, self.width = float(squares[best]), int(WIDTHS[best])

    def _begin(self, reference: list[Vectors]) -> None:
        self._reference, self._recent = reference, []
        self.statistic, self.width = 0.0, 0
        self._sums = np.zeros((RECENT + STEP + 1, DIRECTIONS))
        self._matrix = np.empty((0, 0))
        if len(reference) >= FIRST:
            self._learn()

    def _learn(self) -> None:
        """Take the reference as it is now, and score the recent vectors by it."""
        reference, count = np.array(self._reference, np.float64), len(self._reference)
        self._middle = reference.mean(0)
        self._matrix = whitening(reference - self._middle)
        self._centre, self._scale = np.zeros(DIRECTIONS), np.ones(DIRECTIONS)
        scores = self._scores(reference)
        self._centre, self._scale = scores.mean(0), np.maximum(scores.std(0), 1e-9)
        # Of vectors that the matrix was not made of the square is larger, as Hotelling's law has it.
        beyond = (count - 1) / (count - DIRECTIONS - 2)
        self._variance = beyond * _variances((scores - self._centre) / self._scale)
        if self._recent:
            np.cumsum(self._scores(np.array(self._recent)), 0, out=self._sums[1 : len(self._recent) + 1])

    def _scores(self, projected: Vectors | Floats) -> Floats:
        """Return the scores of vectors (n, DIRECTIONS)."""
        turned = ((projected - self._middle)[:, None] * self._matrix).sum(2)
        scores: Floats = (np.clip(turned, -FAR, FAR) - self._centre) / self._scale
        return scores

    def pack(self) -> bytes:
        """Return the state as bytes, at most 103 kB."""
        header = _HEADER.pack(_MAGIC, self._count, len(self._reference), len(self._recent))
        return header + np.array(self._reference + self._recent, "<f4").tobytes()

    def restore(self, data: bytes) -> None:
        """Take the state that `pack` wrote.

        Raises
        ------
        ValueError
            The bytes are not such a state.
        """
        require(data, _MAGIC, "embeddings")
        _, self._count, reference, _ = _HEADER.unpack_from(data)
        kept = list(np.frombuffer(data, "<f4", offset=_HEADER.size).reshape(-1, DIRECTIONS))
        self._begin([])
        self._reference, self._recent = kept[:reference], kept[reference:]
        if reference >= FIRST:
            self._learn()


def whitening(apart: Floats) -> Floats:
    """Return the matrix (k, k) by which rows (n, k), of mean zero, become uncorrelated and of unit variance about.

    It is the inverse of Cholesky's factor, not by LAPACK, whose last bits are the processor's.

    Example
    -------
    >>> rows = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]]) * (3, 1)
    >>> whitening(rows).round(2).tolist()
    [[0.33, 0.0], [0.0, 0.95]]
    """
    count, size = apart.shape
    left = np.einsum("ni,nj->ij", apart, apart) / count
    left += (RIDGE * np.trace(left) / size + 1e-12) * np.eye(size)
    found = np.eye(size)
    for at in range(size):
        shares = left[at + 1 :, at] / left[at, at]
        found[at + 1 :] -= np.outer(shares, found[at])
        left[at + 1 :] -= np.outer(shares, left[at])
    return np.asarray(found / np.sqrt(np.diag(left))[:, None])


def _variances(scores: Floats) -> Floats:
    """Return, for each of `WIDTHS`, the variance of so many successive scores' sum beside their reference (n, k)."""
    found = np.ones(len(WIDTHS))
    for lag in range(1, LAGS + 1):
        together = float((scores[lag:] * scores[:-lag]).sum()) / scores.size
        if abs(together) < 2 / scores.size**0.5:
            break
        found += 2 * np.maximum(0, 1 - lag / WIDTHS) * together
    return np.asarray(WIDTHS * np.maximum(found, 0.25) * (1 + WIDTHS / len(scores)))


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
