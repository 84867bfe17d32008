"""Coverage: whether as few quiet scores ring as a budget says, month by month, on later data.

A score is quiet where nothing came of it. Compared are p-values against a fixed set of quiet scores (all that had
settled before the later part), against the last settled ones (rolling), and those that follow the drift
(`engines.conformal.Follow`). How much is looked back on, and the step, are those with the smallest mean distance from
the budgets in the months before the later part. Nothing is read before it is known: a row's score on its day, whether
it was quiet once it has settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from engines.bundle import Metric
from engines.conformal import Follow, follow, followed_p_values, p_values, rings, seen, settled
from engines.training.measures import judge

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BUDGETS = (0.1, 0.01)
#: Of the days before the later part, the first so many are only calibrated on.
FIRST = 0.25
KEPT = (100, 200)
STEPS = (0.0001, 0.0005, 0.002, 0.005, 0.01)
ROLLED = (500, 2_000, 8_000)
#: With fewer quiet rows in the median month, quarters are told.
FEW = 400
#: The aim: as far from the budget as a share of quiet rows may be.
NEAR = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Scores and what came of them.

    ``day`` (n,) is days since 1970; on ``settles`` (n,) it is known whether a row was ``quiet`` (n,).
    ``score`` (n,) is known on the day, or where it is an error (``of_errors``) once it settles. ``later`` (n,) is the
    part that is judged; ``block`` (n,) numbers what a bootstrap draws together.
    """

    day: Ints
    settles: Ints
    score: Floats
    quiet: Bools
    later: Bools
    block: Ints
    of_errors: bool = False

    def in_order(self) -> Stream:
        """Return the rows in the order of days."""
        rows = np.argsort(self.day, kind="stable")
        ints = self.day[rows], self.settles[rows]
        return Stream(
            *ints, self.score[rows], self.quiet[rows], self.later[rows], self.block[rows], of_errors=self.of_errors
        )


class Span(msgspec.Struct, frozen=True):
    """A month or quarter: its quiet rows, and by contender the share of them that did not ring, for each budget."""

    name: str
    rows: int
    covered: dict[str, list[float]]

    def noise(self, budget: float) -> float:
        """Return how far the share of as many independent rows strays from the budget, in 95 % of all draws."""
        return float(1.96 * np.sqrt(budget * (1 - budget) / self.rows))


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How p-values held budgets on the later part.

    By contender: ``pooled`` is the share of quiet rows that did not ring, for each budget, ``rang`` that of the others
    that did, ``auc`` how well p-values tell the two apart (both empty where all are quiet).
    """

    budgets: list[float]
    chosen: str
    spans: list[Span]
    pooled: dict[str, list[Metric]]
    rang: dict[str, list[float]]
    auc: dict[str, float]


def coverage(stream: Stream, seed: int) -> Coverage:
    """Return how each contender's p-values held `BUDGETS` on the later part.

    Raises
    ------
    BudgetError
        Too few quiet scores had settled before the later part, or before the months that choices are made by.
    """
    stream = stream.in_order()
    days = np.unique(stream.day)
    judged_from = int(stream.day[stream.later].min())
    # Where scores settle late, so long until they are enough for the rarest budget.
    enough = np.sort(stream.settles[stream.quiet])[: round(1 / min(BUDGETS))].max()
    begins = min(max(int(days[int(FIRST * (days < judged_from).sum())]), int(enough)), judged_from)
    before = stream.quiet & ~stream.later & (stream.day >= begins) & (stream.settles <= judged_from)  # (n,)
    spans = _spans(stream)

    def distance(p: Floats) -> float:
        rang = _rang(p)  # (n, budget)
        off = [np.abs(rang[before & (spans == name)].mean(0) - BUDGETS) for name in np.unique(spans[before])]
        return float(np.mean(off)) if off else 0.0

    def best(contenders: Iterable[tuple[str, Floats]]) -> tuple[str, Floats]:
        return min(contenders, key=lambda one: distance(one[1]))

    fixed = _fixed(stream, judged_from)
    rolled, rolling = best((f"{last:,} settled scores", _rolling(stream, begins, last)) for last in ROLLED)
    config, following = best(
        (f"{kept} scores and a step of {step:g}", _following(stream, begins, Follow(kept=kept, step=step)))
        for kept, step in product(KEPT, STEPS)
    )
    told = {"fixed": fixed, "rolling": rolling, "following": following}
    quiet, loud = stream.later & stream.quiet, stream.later & ~stream.quiet  # (n,) each
    found = {name: _rang(p) for name, p in told.items()}
    return Coverage(
        budgets=list(BUDGETS),
        chosen=f"{config}; rolling: {rolled}",
        spans=[
            Span(
                str(name),
                int((quiet & (spans == name)).sum()),
                {one: _share(~rang[quiet & (spans == name)]) for one, rang in found.items()},
            )
            for name in np.unique(spans[quiet])
        ],
        pooled={name: _pooled(~rang[quiet], stream.block[quiet], seed) for name, rang in found.items()},
        rang={name: _share(rang[loud]) for name, rang in found.items()} if loud.any() else {},
        auc={name: round(float(roc_auc_score(loud[stream.later], -p[stream.later])), 4) for name, p in told.items()}
        if loud.any()
        else {},
    )


def within(spans: Iterable[Span], contender: str, budget: int, noisy: bool) -> int:
    """Return in how many ``spans`` a contender is `NEAR` its budget (by number), or ``noisy``, as near as noise is."""
    return sum(
        abs(span.covered[contender][budget] - 1 + BUDGETS[budget])
        <= max(NEAR, span.noise(BUDGETS[budget]) if noisy else 0.0) + 1e-9
        for span in spans
    )


def _spans(stream: Stream) -> npt.NDArray[np.str_]:
    """Return the month of each row (n,), or its quarter where months hold too few quiet rows."""
    month = stream.day.astype("datetime64[D]").astype("datetime64[M]")
    _, rows = np.unique(month[stream.quiet & stream.later], return_counts=True)
    if np.median(rows) >= FEW:
        return month.astype(np.str_)
    number = month.astype(np.int64)
    return np.array([f"{1970 + n // 12}-Q{n % 12 // 3 + 1}" for n in number.tolist()])


def _fixed(stream: Stream, at: int) -> Floats:
    return p_values(stream.score[stream.quiet & ~stream.later & (stream.settles <= at)], stream.score)


def _rolling(stream: Stream, begins: int, last: int) -> Floats:
    p = np.ones(len(stream.day))  # (n,)
    order = np.argsort(stream.settles, kind="stable")
    order = order[stream.quiet[order]]
    for day, rows in _days(stream, begins):
        known = order[: np.searchsorted(stream.settles[order], day, side="right")]
        p[rows] = p_values(stream.score[known[-last:]], stream.score[rows])
    return p


def _following(stream: Stream, begins: int, config: Follow) -> Floats:
    """Return p-values (n,), 1 before ``begins``."""
    p = np.ones(len(stream.day))  # (n,)
    order = np.argsort(stream.settles, kind="stable")
    order = order[stream.quiet[order]]
    at = int(np.searchsorted(stream.settles[order], begins, side="right"))
    state = follow(config, stream.score[order[:at]])
    for day, rows in _days(stream, begins):
        until = int(np.searchsorted(stream.settles[order], day, side="right"))
        known, at = order[at:until], until
        # Rows from before the beginning were never told a p-value that could have rung.
        state = settled(config, state, p[known[stream.day[known] >= begins]])
        state = seen(config, state, stream.score[known if stream.of_errors else rows])
        p[rows] = followed_p_values(config, state, stream.score[rows])
    return p


def _days(stream: Stream, begins: int) -> Iterable[tuple[int, slice]]:
    days, first = np.unique(stream.day, return_index=True)
    ends = np.append(first[1:], len(stream.day))
    return [(int(d), slice(int(a), int(b))) for d, a, b in zip(days, first, ends, strict=True) if d >= begins]


def _rang(p: Floats) -> Bools:
    """Return which of p-values (n,) ring under each budget, (n, budget)."""
    return np.stack([rings(Follow(), p, budget) for budget in BUDGETS], 1)


def _share(rang: Bools) -> list[float]:
    return [round(float(share), 4) for share in rang.mean(0)]


def _pooled(covered: Bools, block: Ints, seed: int) -> list[Metric]:
    shares: Mapping[str, int] = {str(budget): at for at, budget in enumerate(BUDGETS)}
    measures = {name: (lambda _, drawn, at=at: float(drawn[:, at].mean())) for name, at in shares.items()}
    return list(judge(measures, np.zeros(len(covered), np.int64), covered.astype(np.float64), block, seed).values())
