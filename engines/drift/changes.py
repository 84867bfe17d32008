"""What moved in a stream of numbers, since when and how much: told of the values around an alarm, whoever rang.

The values that were kept are split where the normal scores of their ranks, or of their distances from the middle
rank, differ most between the older and the newer part, in deviations of that difference (A. N. Pettitt (1979), A
non-parametric approach to the change-point problem, Applied Statistics 28(2)).
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from engines.drift.families import Detector
from engines.drift.ranks import scores
from engines.drift.windows import require

KEPT = 256
LEAST = 8  # values that a part has at least, so that its median is one

_HEADER = struct.Struct("<4sI")
_MAGIC = b"WTC1"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What an alarm is about.

    ``since`` counts the values that came after the change, the one that rang included. ``moved`` says what of them
    differs more from before. ``before`` and ``after`` are medians, ``above`` is the probability that a value of now is
    larger than one of before, half of the equal ones among them: 0.5 where only the spread moved. ``spread`` is the
    ratio of the interquartile ranges, now to before, infinite where before there was none.
    """

    since: int
    moved: Literal["level", "spread"]
    before: float
    after: float
    above: float
    spread: float


def locate(values: Sequence[float]) -> Change:
    """Return where ``values``, oldest first, at least 2 `LEAST` of them, changed, and what.

    Example
    -------
    >>> locate([float(i % 5) for i in range(60)] + [float(i % 5 + 3) for i in range(20)])
    Change(since=21, moved='level', before=2.0, after=5.0, above=0.9229217110573043, spread=1.0)
    """
    seen = np.asarray(values, np.float64)
    count = len(seen)
    ordered = np.sort(seen)
    middle = (ordered.searchsorted(seen, "left") + ordered.searchsorted(seen, "right") - 1) / 2  # (count,)
    rows = np.array([np.interp(middle, np.arange(count), row) for row in scores(count - 1)])  # (2, count)
    older = np.arange(LEAST, count - LEAST + 1)  # values before the split
    sums = (rows - rows.mean(1, keepdims=True)).cumsum(1)[:, older - 1]  # (2, splits)
    squares = sums**2 / (older * (count - older)) / np.maximum(rows.var(1, keepdims=True), 1e-12)
    row, split = np.unravel_index(int(squares.argmax()), squares.shape)
    before, after = seen[: older[split]], seen[older[split] :]
    larger = np.sort(before).searchsorted(after, "left") + np.sort(before).searchsorted(after, "right")
    ranges = [float(np.subtract(*np.quantile(part, (0.75, 0.25)))) for part in (before, after)]
    return Change(
        since=len(after),
        moved="spread" if row else "level",
        before=float(np.median(before)),
        after=float(np.median(after)),
        above=float(larger.mean()) / (2 * len(before)),
        spread=ranges[1] / ranges[0] if ranges[0] else 1.0 if ranges[0] == ranges[1] else float("inf"),
    )


class Watch:
    """A detector, and the last values of its stream, ``kept`` of them, to tell a change by.

    Example
    -------
    >>> from engines.drift.budget import detector
    >>> watch, rng = Watch(detector("ranks", 1000)), np.random.default_rng(1)
    >>> told = [watch.update(value + 5 * (i >= 300)) for i, value in enumerate(rng.normal(size=330).tolist())]
    >>> [change.moved for change in told if change]
    ['level']
    """

    __slots__ = ("_detector", "_kept", "_values")

    def __init__(self, detector: Detector[float], kept: int = KEPT) -> None:
        self._detector, self._kept = detector, kept
        self._values = array("d")

    @property
    def values(self) -> array[float]:
        """The values that are kept, oldest first."""
        return self._values

    def update(self, value: float) -> Change | None:
        """Take the next value; return the change if it rings. What came since is kept, to tell the next one by.

        Raises
        ------
        ValueError
            The value is not finite.
        """
        if not math.isfinite(value):
            raise ValueError(f"expected a finite value to watch, found {value}: leave out what is missing")
        self._values.append(value)
        del self._values[: -self._kept]
        if not self._detector.update(value) or len(self._values) < 2 * LEAST:
            return None
        change = locate(self._values)
        self._values = self._values[-change.since :]
        return change

    def pack(self) -> bytes:
        """Return the state as bytes."""
        values = np.array(self._values, "<f8").tobytes()
        return _HEADER.pack(_MAGIC, len(self._values)) + values + self._detector.pack()

    def restore(self, data: bytes) -> None:
        """Take the state that `pack` wrote of a watch with the same detector.

        Raises
        ------
        ValueError
            The bytes are not such a state.
        """
        require(data, _MAGIC, "watch")
        _, count = _HEADER.unpack_from(data)
        end = _HEADER.size + 8 * count
        self._values = array("d", data[_HEADER.size : end])
        self._detector.restore(data[end:])
