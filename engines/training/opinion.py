"""What was learnt of analysts' findings, as a member of a bundle."""

from __future__ import annotations

from engines.backtest.results import Estimate
from engines.bundle import Metric, Part, Source
from engines.lineage import day_of
from engines.opinion import SPEC, encoded
from engines.progressive import DAY_NS, Learnt, measured
from engines.training.build import Member

SOURCE = "findings"


def member_of(learnt: Learnt) -> Member:
    """Return the opinion as a member, with how good it was of alerts that nobody had judged yet."""
    judged, opinion = learnt.judged, learnt.opinion
    times = min(one.ts for one in judged), judged[-1].known
    first, last = (day_of(ts - ts % DAY_NS) for ts in times)
    risks = sum(one.risk for one in judged)
    notes = [
        f"Learnt from {len(judged)} findings, {risks} of them risks, of {', '.join(opinion.typologies)}.",
        f"Weights by the losses of late: logistic {opinion.logistic_weight:.2f}, forest {opinion.forest_weight:.2f}.",
    ]
    if learnt.unknown:
        notes.append(f"{learnt.unknown} findings were of episodes of which no alert is there, and taught nothing.")
    if learnt.early:
        notes.append(f"{learnt.early} findings were said no later than their alert was known, and taught nothing.")
    part = Part(
        task="what an analyst will find of an alert",
        split={"findings": len(judged)},
        split_rule="Progressive: each alert was told of before what was found of it was learnt; intervals draw days.",
        metrics={
            name: {
                what: _metric(figure)
                for what, figure in zip(("log loss", "accuracy", "kappa-temporal"),
                                        (one.log_loss, one.accuracy, one.kappa_temporal), strict=True)
                if figure.value is not None
            }
            for name, one in measured(judged).items()
        },
        notes=notes,
    )  # fmt: skip
    source = Source(
        name=SOURCE,
        stage="training",
        origin="dispositions, and the alerts that they speak of",
        licence="whose the findings are",
        may_train_what_ships=False,
        window=f"{first} to {last}",
        note=f"{len(judged)} findings of analysts.",
    )
    return Member({SPEC: encoded(opinion)}, part, source)


def _metric(figure: Estimate) -> Metric:
    """Return a figure; where days are too few for an interval, it has no width."""
    value = figure.value or 0.0
    return Metric(value, value if figure.low is None else figure.low, value if figure.high is None else figure.high)
