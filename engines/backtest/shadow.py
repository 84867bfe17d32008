"""A challenger in shadow beside the champion: what both said of the same hours, and how good it was as far as is known.

Both are judged by the same labels of the same stretch, and a difference has its interval by the same draws of hours for
both: what one hour was like for one, it was for the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from engines.backtest.bootstrap import Bootstrap, interval
from engines.backtest.comparison import Comparison, compare
from engines.backtest.matching import Verdict, Window, alarms, judge
from engines.backtest.results import NOTHING, Estimate, Opened, Part
from engines.labels import Label
from engines.opinion import LEAST
from schemas.alerts import Alert, Severity

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
DRAWS, SEED = 2_000, 0


class Side(Part, frozen=True, kw_only=True):
    """What one of the two said.

    ``precision`` is of the alarms that a label speaks of, harmful or benign; of the others, ``unjudged``, nothing is
    known. ``log_loss`` is of the probabilities that these told; of a side that tells none, of their share of risks,
    which is the best that one number could have been. ``latency_p99_s`` is from when an alert could be known to when it
    was sent, of alerts of the time in which both were live; None where there was none. ``backends`` are those that
    computed.
    """

    bundles: list[str]
    backends: list[str]
    alarms: int
    alarms_a_day: float
    unjudged: int
    precision: Estimate
    recall: Estimate
    log_loss: Estimate = NOTHING
    latency_p99_s: float | None
    live_alerts: int


class Shadowed(Part, frozen=True, kw_only=True):
    """Champion and challenger over ``[from_ns, to_ns)``; gains are the challenger's figure less the champion's.

    Of log loss it is the other way round, so that a gain is one.
    """

    from_ns: int
    to_ns: int
    severity: Severity
    harmful: int
    benign: int
    champion: Side
    challenger: Side
    recall_gain: Estimate
    precision_gain: Estimate
    log_loss_gain: Estimate = NOTHING
    episodes: Comparison

    @property
    def days(self) -> float:
        """How long both were heard, in days of 24 hours."""
        return (self.to_ns - self.from_ns) / DAY_NS


def shadowed(
    champion: Sequence[Alert],
    challenger: Sequence[Alert],
    labels: Sequence[Label],
    *,
    from_ns: int,
    to_ns: int,
    live_ns: int,
    least: Severity = "warning",
) -> Shadowed:
    """Return what both said of ``[from_ns, to_ns)``.

    Parameters
    ----------
    labels
        What is known to have happened; those whose onset lies outside are left out.
    live_ns
        Since when the challenger has been running: what could be known before it worked off, and says nothing of how
        fast it is.
    least
        Episodes of at least this severity count.
    """
    known = [label for label in labels if from_ns <= label.onset_ns < to_ns]
    hours = max(1, -(-(to_ns - from_ns) // HOUR_NS))
    draw = Bootstrap(hours, DRAWS, SEED)
    heard = [_within(alerts, from_ns, to_ns) for alerts in (champion, challenger)]
    verdicts = [judge(known, alarms(alerts, least), Window(), least) for alerts in heard]
    counts = [_counted(verdict, known, from_ns, hours) for verdict in verdicts]
    sides = [
        _side(alerts, verdict, counted, draw, (to_ns - from_ns) / DAY_NS, live_ns)
        for alerts, verdict, counted in zip(heard, verdicts, counts, strict=True)
    ]
    return Shadowed(
        from_ns=from_ns,
        to_ns=to_ns,
        severity=least,
        harmful=sum(not label.benign for label in known),
        benign=sum(label.benign for label in known),
        champion=sides[0],
        challenger=sides[1],
        recall_gain=_gain(draw, *(counted[:2] for counted in counts)),
        precision_gain=_gain(draw, *(counted[2:4] for counted in counts)),
        log_loss_gain=_gain(draw, *(counted[[4, 3]] for counted in reversed(counts))),
        episodes=compare(heard[0], heard[1], least),
    )


def _within(alerts: Iterable[Alert], from_ns: int, to_ns: int) -> list[Alert]:
    """Return alerts of the episodes that began within the stretch, up to its end."""
    kept = list(alerts)
    before = {alert.episode_id for alert in kept if alert.times.available_at < from_ns}
    return [alert for alert in kept if alert.times.available_at < to_ns and alert.episode_id not in before]


def _counted(verdict: Verdict, labels: Sequence[Label], from_ns: int, hours: int) -> npt.NDArray[np.float64]:
    """Return by hour (5, hours): caught harm, all harm, right alarms, judged alarms, the log loss of the latter."""

    def by_hour(times_ns: list[int], weights: list[float]) -> npt.NDArray[np.float64]:
        at = np.clip((np.array(times_ns, np.int64) - from_ns) // HOUR_NS, 0, hours - 1)
        return np.bincount(at, weights, hours).astype(np.float64)

    harm = [label for label in labels if not label.benign]
    caught = [catch.label for catch in verdict.catches]
    judged = [*verdict.hits, *_at_benign(verdict)]
    return np.array(
        [
            by_hour([label.onset_ns for label in caught], [label.weight for label in caught]),
            by_hour([label.onset_ns for label in harm], [label.weight for label in harm]),
            by_hour([one.available_ns for one in verdict.hits], [1.0] * len(verdict.hits)),
            by_hour([one.available_ns for one in judged], [1.0] * len(judged)),
            by_hour([one.available_ns for one in judged], _losses(verdict.hits, _at_benign(verdict))),
        ]
    )


def _losses(hits: Sequence[Opened], benign: Sequence[Opened]) -> list[float]:
    """Return the log loss of what each alarm said of itself, hits first; who tells nothing is given their share."""
    share = len(hits) / max(1, len(hits) + len(benign))
    told = [(one, hit) for hit, of in ((True, hits), (False, benign)) for one in of]
    said = [(share if one.probability is None else one.probability, hit) for one, hit in told]
    return [-math.log(max(probability if hit else 1 - probability, LEAST)) for probability, hit in said]


def _at_benign(verdict: Verdict) -> list[Opened]:
    return [stray.opened for stray in verdict.false if stray.bait]


def _side(
    alerts: Sequence[Alert],
    verdict: Verdict,
    counted: npt.NDArray[np.float64],
    draw: Bootstrap,
    days: float,
    live_ns: int,
) -> Side:
    rang = len(verdict.hits) + len(verdict.false)
    made = [alert.provenance for alert in alerts]
    waits_s = [
        (alert.times.detected_at - alert.times.available_at) / 1e9
        for alert in alerts
        if alert.times.detected_at and alert.times.available_at >= live_ns
    ]
    return Side(
        bundles=sorted({one.bundle for one in made if one.bundle}),
        backends=sorted({one.backend for one in made if one.backend}),
        alarms=rang,
        alarms_a_day=rang / days,
        unjudged=rang - len(verdict.hits) - len(_at_benign(verdict)),
        precision=draw.ratio(counted[2], counted[3]),
        recall=draw.ratio(counted[0], counted[1]),
        log_loss=draw.ratio(counted[4], counted[3]),
        latency_p99_s=float(np.quantile(waits_s, 0.99)) if waits_s else None,
        live_alerts=len(waits_s),
    )


def _gain(draw: Bootstrap, mine: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> Estimate:
    """Return by how much the second ratio is above the first, each (2, hours): above, below."""
    if not mine[1].sum() or not theirs[1].sum():
        return NOTHING
    value = float(theirs[0].sum() / theirs[1].sum() - mine[0].sum() / mine[1].sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        # (draw,)
        drawn = (draw.counts @ theirs[0]) / (draw.counts @ theirs[1]) - (draw.counts @ mine[0]) / (
            draw.counts @ mine[1]
        )
    return interval(value, drawn)
