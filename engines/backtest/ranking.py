"""Rankings: precision among the k that scored highest, precision over recall, and scores beside what happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engines.backtest.bootstrap import Bootstrap
from engines.backtest.matching import reaches
from engines.backtest.results import Bin, Calibration, Estimate, PrCurve, PrPoint
from engines.typologies import TypologySpec
from schemas.alerts import Severity

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
#: Bins of equal width: most cells of a monitor score next to nothing, and would fill all bins of equal number.
BINS = 10
#: Points of a curve at most.
POINTS = 200
#: The urgency at which Tocsin rings.
RINGS = 0.5


def ring(spec: TypologySpec, least: Severity) -> float:
    """Return the score at which a typology raises an alarm of at least a severity.

    Example
    -------
    >>> spec = TypologySpec(name="x", version="1", title="X", open=0.5, critical=0.9, close=0.2, hold_ns=1,
    ...                     opens_as="info")
    >>> ring(spec, "info"), ring(spec, "warning")
    (0.5, 0.9)
    """
    return spec.open if reaches(spec.opens_as, least) else spec.critical


def urgency(score: Floats, ring: float) -> Floats:
    """Return scores on the scale that heads share: 0.5 where one rings, straight from there to 0 and to 1."""
    below = 0.5 * score / ring
    above = 0.5 + 0.5 * (score - ring) / max(1 - ring, 1e-300)
    return np.where(score < ring, below, above)


def score_of(urgency: float, ring: float) -> float:
    """Return the score of an urgency: `urgency` the other way round.

    Example
    -------
    >>> score_of(0.25, 0.8), score_of(0.5, 0.8), score_of(0.75, 0.8)
    (0.4, 0.8, 0.9)
    """
    return ring * urgency / 0.5 if urgency <= 0.5 else ring + (1 - ring) * (urgency - 0.5) / 0.5


def urgencies(scores: Mapping[str, Floats], rings: Mapping[str, float], cells: int) -> Floats:
    """Return the greatest urgency of any head in each cell (cells,)."""
    found = np.zeros(cells)
    for head, score in scores.items():
        np.maximum(found, urgency(score, rings[head]), out=found)
    return found


class TopK(NamedTuple):
    """Of each day (days,): ``hits`` among the k highest, ``positives`` there were, and how many were heard of."""

    day: Ints
    hits: Floats
    positives: Ints
    heard: Ints


def top_k(day: Ints, truth: Bools, score: Floats, k: int) -> TopK:
    """Return how many of the ``k`` instruments that scored highest on each day were a label's.

    Those that tie for the last places have equal chances of them; who scored nothing is not looked at.
    """
    days, of = np.unique(day, return_inverse=True)
    order = np.lexsort((-score, of))
    hits = np.zeros(len(days))
    ends = np.append(np.searchsorted(of[order], np.arange(len(days))), len(of))
    for number, (first, last) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
        mine = order[first:last]
        mine = mine[score[mine] > 0]
        if len(mine) <= k:
            hits[number] = truth[mine].sum()
            continue
        cut = score[mine[k - 1]]
        surely, tied = mine[score[mine] > cut], mine[score[mine] == cut]
        hits[number] = truth[surely].sum() + truth[tied].mean() * (k - len(surely))
    return TopK(days, hits, np.bincount(of, truth, len(days)).astype(np.int64), np.bincount(of, minlength=len(days)))


def curve(contender: str, truth: Bools, score: Floats, operating: float) -> PrCurve:
    """Return precision over recall by threshold, falling, thinned to `POINTS`; ``operating`` is today's threshold."""
    whole = int(truth.sum())
    values, level = np.unique(-score, return_inverse=True)
    hits = np.cumsum(np.bincount(level, truth, len(values)))
    flagged = np.cumsum(np.bincount(level, minlength=len(values)))

    def point(at: int, threshold: float) -> PrPoint:
        recall = float(hits[at] / whole) if whole else 0.0
        return PrPoint(threshold=threshold, precision=float(hits[at] / flagged[at]), recall=recall)

    # Half of the points by number, half closer the higher the score: precision moves most at the top.
    halves = [np.linspace(1, len(values), POINTS // 2), np.geomspace(1, max(len(values), 1), POINTS // 2)]
    shown = np.unique(np.concatenate(halves).astype(int) - 1).tolist() if len(values) and whole else []
    rung = int(np.searchsorted(values, -operating, "right")) - 1
    return PrCurve(
        contender=contender,
        points=[point(at, float(-values[at])) for at in shown],
        operating=point(rung, operating) if rung >= 0 and whole else None,
    )


def bin_of(score: Floats) -> Ints:
    """Return the bin of each score in [0, 1]."""
    return np.minimum((score * BINS).astype(np.int64), BINS - 1)


def calibration(contender: str, truth: Bools, score: Floats, block: Ints, draw: Bootstrap, floor: float) -> Calibration:
    """Return how far scores (n,) are the probability that a cell is a label's."""
    bins, rows = bin_of(score), draw.per_block(block)
    base = float(truth.mean()) if len(truth) else 0.0
    told = []
    for number in range(BINS):
        mine = bins == number
        if mine.any():
            share = draw.ratio(draw.per_block(block[mine], truth[mine]), draw.per_block(block[mine]))
            told.append(
                Bin(
                    low=number / BINS,
                    high=(number + 1) / BINS,
                    cells=int(mine.sum()),
                    mean=float(score[mine].mean()),
                    share=share,
                )
            )
    return Calibration(
        contender=contender,
        floor=floor,
        brier=draw.ratio(draw.per_block(block, (truth - score) ** 2), rows),
        brier_base=base * (1 - base),
        ece=draw.binned_gap(truth - score, block, bins, BINS) if len(truth) else Estimate(None),
        bins=told,
    )
