"""Members that learn, in the order of time, what analysts found of alerts: each is told before it is learnt.

An alert is told of at the moment at which a desk could know of it, by what was found until then; what was found of it
is learnt when it was said (progressive validation, with the delay that labels have: A. P. Dawid 1984). So every figure
is of alerts that nobody had judged yet. Beside the members stand two dummies: **no change** says of each alert what was
found last, **rate** the share of risks among all that was found so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from engines.backtest.bootstrap import Bootstrap
from engines.backtest.results import Estimate
from engines.dispositions import RISKS, latest
from engines.online import Forest, Logistic, Online
from engines.opinion import LEAST, Opinion, features_of
from schemas.alerts import Alert
from schemas.records import Disposition

#: What is told of beside the members.
ENSEMBLE, NO_CHANGE, RATE = "opinion", "no change", "rate"
DAY_NS = 86_400 * 10**9
DRAWS, SEED = 2_000, 0
#: Findings without which nothing is learnt, and those of either kind.
FEWEST, FEWEST_OF_A_KIND = 20, 3


class OpinionError(ValueError):
    """Nothing can be learnt of what was found; the text says why."""


class Judged(NamedTuple):
    """An alert that was told of at ``ts`` and known to be a risk, or none, at ``known`` (ns): what each said of it."""

    ts: int
    known: int
    risk: bool
    said: dict[str, float]


class Learnt(NamedTuple):
    """What was learnt: the opinion, what was said before it was known, and what could not be learnt.

    ``unknown`` findings are of episodes of which no alert is there, ``early`` ones were said no later than the alert
    was known.
    """

    opinion: Opinion
    judged: Sequence[Judged]
    unknown: int
    early: int


class Measured(NamedTuple):
    """How good one was: share that was right by 0.5, mean log loss, and what of the no-change dummy's errors it spares.

    Intervals are of 95 %, drawn by days of alerts.
    """

    accuracy: Estimate
    log_loss: Estimate
    kappa_temporal: Estimate


def learn(alerts: Iterable[Alert], found: Iterable[Disposition]) -> Learnt:
    """Play alerts and what was found of them in the order of time, and return what was learnt.

    Of an episode its first alert counts, and what was found last, from when that was said; duplicates and reviews,
    which have no alert, teach nothing.

    Raises
    ------
    OpinionError
        Fewer findings than `FEWEST` are of alerts that are there, or hardly any is of the other kind.
    """
    opened = {alert.episode_id: alert for alert in alerts if alert.activity == "create"}
    said = [one for one in latest(found) if one.value != "duplicate" and one.alert_id]
    mine = [one for one in said if one.episode_id in opened]
    late = [one for one in mine if one.ts_event > opened[one.episode_id].times.available_at]
    risks = sum(one.value in RISKS for one in late)
    if len(late) < FEWEST or min(risks, len(late) - risks) < FEWEST_OF_A_KIND:
        raise OpinionError(
            f"{len(late)} findings are of alerts that are there, {risks} of them risks: expected {FEWEST} or more, and"
            f" {FEWEST_OF_A_KIND} of either kind; `tocsin disposition ALERT VALUE` adds some"
        )
    typologies = sorted({opened[one.episode_id].finding.typology.partition("@")[0] for one in late})
    truth = {one.episode_id: one.value in RISKS for one in late}
    # Of what nobody has found anything there is nothing to learn, and no member changes where it tells.
    known = sorted([*((opened[episode].times.available_at, 1, episode) for episode in truth),
                    *((one.ts_event, 0, one.episode_id) for one in late)])  # fmt: skip
    logistic, forest = Logistic(), Forest()
    online = Online({"logistic": logistic, "forest": forest}, waiting=len(truth))
    waiting: dict[str, tuple[int, dict[str, float]]] = {}
    judged: list[Judged] = []
    last, rate = False, Counted()
    for ts, tells, episode in known:
        if tells:
            share = online.tell(episode, features_of(opened[episode], typologies))
            told = online.waits(episode) | {ENSEMBLE: share, NO_CHANGE: float(last), RATE: rate.share}
            waiting[episode] = ts, told
        else:
            risk = truth[episode]
            online.learn(episode, risk)
            at, told = waiting.pop(episode)
            judged.append(Judged(at, ts, risk, told))
            last = risk
            rate.add(risk)
    trust = online.weights
    opinion = Opinion(
        typologies=typologies,
        logistic=logistic.plain(),
        forest=forest.plain(),
        logistic_weight=trust["logistic"],
        forest_weight=trust["forest"],
    )
    return Learnt(opinion, judged, unknown=len(said) - len(mine), early=len(mine) - len(late))


class Counted:
    """The share of risks so far, beginning with one of each kind."""

    def __init__(self) -> None:
        self._risks, self._all = 1, 2

    @property
    def share(self) -> float:
        """The share."""
        return self._risks / self._all

    def add(self, risk: bool) -> None:
        """Count one."""
        self._risks, self._all = self._risks + risk, self._all + 1


def measured(judged: Sequence[Judged]) -> dict[str, Measured]:
    """Return how good each was that told of alerts: the opinion first, then its members, then the dummies."""
    _, day = np.unique([one.ts // DAY_NS for one in judged], return_inverse=True)
    draw = Bootstrap(int(day.max()) + 1, DRAWS, SEED)
    count = draw.per_block(day)
    errors = {name: [_wrong(one.said[name], one.risk) for one in judged] for name in judged[0].said}
    unchanged = draw.per_block(day, errors[NO_CHANGE])
    names = [ENSEMBLE, *(name for name in errors if name not in (ENSEMBLE, NO_CHANGE, RATE)), NO_CHANGE, RATE]
    return {
        name: Measured(
            accuracy=draw.ratio(draw.per_block(day, errors[name]), count, factor=-1.0, offset=1.0),
            log_loss=draw.ratio(draw.per_block(day, [_loss(one.said[name], one.risk) for one in judged]), count),
            kappa_temporal=draw.ratio(draw.per_block(day, errors[name]), unchanged, factor=-1.0, offset=1.0),
        )
        for name in names
    }


def _wrong(share: float, risk: bool) -> float:
    return float((share >= 0.5) != risk)


def _loss(share: float, risk: bool) -> float:
    told = min(1 - LEAST, max(LEAST, share))
    return -math.log(told if risk else 1 - told)
