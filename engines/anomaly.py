"""Market anomaly: how surprising a tick's price is for this instrument, as the chance that a day has nothing like it.

The statistic is a tick's distance from the last closed bar, in trailing mean absolute bar returns (`Scales.move`) and
scaled by the root of the time between. Bars whose largest statistic exceeds ``tail`` are counted, and their excesses
averaged; above ``tail`` the excess follows a generalised Pareto distribution of shape 1/3, the inverse cubic law of
returns (Gopikrishnan et al. 1999), whose scale is fitted by the mean excess (peaks over threshold; McNeil, Frey 2000).
With ``x`` the number of bars expected a day with at least this statistic,

    score = (1 + x / 8) ** -8

is the probability that a day has no such bar, the rate itself being uncertain as if it rested on eight observations.
So a threshold is a budget of false alarms: 0.98 opens about once in fifty days of an instrument that only does what it
did before. Half-space trees give every closed bar an anomaly of its own (a conformal rank); a jump out of a bar that
was already unusual counts as rarer, by up to ``boost``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from engines.features import Scales
from engines.typologies import TypologySpec
from schemas.alerts import Explanation, RuleResult

DAY_NS = 86_400e9
SHAPE = 3.0  # 1 / shape parameter of the Pareto tail
CERTAINTY = 8.0
RANKS = 64
RANK_MEMORY = 4096

SPEC = TypologySpec(
    name="market_anomaly",
    version="1",
    title="Unusual price move",
    regulation=("MAR Art. 16(2)",),
    open=0.98,
    critical=0.999,
    close=0.5,
    hold_ns=300_000_000_000,
)


class AnomalyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``tail`` in mean absolute returns; ``warm_up_bars`` closed bars before anything scores; ``boost`` >= 1."""

    tail: float = 6.0
    warm_up_bars: int = 120
    boost: float = 10.0


@dataclass(slots=True, eq=False)
class Ranks:
    """Histogram of an instrument's half-space scores, `RANKS` counts below `RANK_MEMORY`, halved when full."""

    counts: list[int] = field(default_factory=lambda: [0] * RANKS)
    total: int = 0


def rank(ranks: Ranks, score: float) -> float:
    """Return the share of earlier bars that looked less unusual (conformal, in [0, 1)), then remember this one."""
    cell = min(RANKS - 1, int(score * RANKS))
    above = sum(ranks.counts[cell:])
    ranks.counts[cell] += 1
    ranks.total += 1
    result = 1.0 - (above + 1) / ranks.total if ranks.total > 1 else 0.0
    if ranks.total >= RANK_MEMORY:
        ranks.counts = [count >> 1 for count in ranks.counts]
        ranks.total = sum(ranks.counts)
    return max(0.0, result)


def rarity(config: AnomalyConfig, rank: float) -> float:
    """Return by how much the ``rank`` of the last closed bar makes a jump out of it rarer, in [1 / boost, 1]."""
    return min(1.0, max(1.0 / config.boost, 2.0 * (1.0 - rank)))


class Tail(NamedTuple):
    """The fitted tail of an instrument: ``per_day`` bars exceed ``tail``, by ``width`` on the Pareto scale."""

    per_day: float
    width: float


def fit(config: AnomalyConfig, scales: Scales) -> Tail:
    """Return the tail as it is known now. Before anything was seen: one exceedance, by ``tail``."""
    if not scales.span_ns:
        return Tail(0.0, config.tail)
    count = scales.exceedances + 1.0
    mean_excess = (scales.excess + config.tail) / count
    return Tail(count * DAY_NS / scales.span_ns, mean_excess * (1.0 - 1.0 / SHAPE))


def score(
    config: AnomalyConfig,
    statistic: npt.NDArray[np.float64],
    per_day: npt.NDArray[np.float64] | float,
    width: npt.NDArray[np.float64] | float,
    rarity: npt.NDArray[np.float64] | float,
) -> npt.NDArray[np.float64]:
    """Return the score of each statistic (n,), 0 up to ``tail``.

    ``rarity`` in [1 / boost, 1] multiplies the expected number. Only +, -, * and / are used, so that the bits do not
    depend on how many ticks are scored together.
    """
    excess = 1.0 + np.maximum(statistic - config.tail, 0.0) / (SHAPE * width)
    x = per_day * rarity / (excess * excess * excess)
    base = 1.0 + x / CERTAINTY
    squared = base * base
    fourth = squared * squared
    result: npt.NDArray[np.float64] = (statistic > config.tail) / (fourth * fourth)
    return result


def explain(config: AnomalyConfig, statistic: float, per_day: float, width: float, bar: float) -> Explanation:
    """Return why a tick scored as it did; ``bar`` is the last closed bar's rank, at least 0.5."""
    above = max(1.0, 1.0 + (statistic - config.tail) / (SHAPE * width))
    rules = [
        RuleResult(name="jump", value=statistic, threshold=config.tail, unit="mean absolute returns"),
        RuleResult(
            name="bars a day with such a jump", value=per_day / above**3, threshold=per_day, unit="1/d", at_most=True
        ),
        RuleResult(name="anomaly of the last closed bar", value=bar, threshold=0.5, unit="rank", weight=0.5),
    ]
    return Explanation(rules=rules, clears=f"a jump of less than {config.tail:g} mean absolute returns")
