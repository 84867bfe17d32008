"""A backtest's findings as tests need them: real alerts and labels matched plainly, what is curved made of a seed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from engines.backtest.results import (
    Ablation,
    Backtest,
    Bin,
    Calibration,
    Catch,
    Choice,
    Contender,
    CostCurve,
    CostPoint,
    Day,
    Estimate,
    Opened,
    Parameters,
    PrCurve,
    PrPoint,
    Rate,
    Span,
    Stray,
    Tested,
    WalkForward,
)
from engines.labels import Label
from schemas.alerts import Alert, digest

DAY_NS = 86_400 * 10**9
AFTER_NS = 3_600 * 10**9


def opened_by(alert: Alert) -> Opened:
    """Return an episode as the backtest sees it, by its first alert."""
    return Opened(
        episode_id=alert.episode_id,
        alert_id=alert.alert_id,
        typology=alert.finding.typology,
        instrument=alert.subject.instrument,
        opened_ns=alert.times.event_end,
        available_ns=alert.times.available_at,
        severity=alert.finding.severity,
        score=alert.finding.score,
        weights={name: one.weight for name, one in alert.modalities.items() if one.weight},
    )


def _share(part: int, whole: int) -> Estimate:
    """Return a share with Wilson's 95 % interval, which stays within [0, 1]."""
    if not whole:
        return Estimate(None)
    p, z = part / whole, 1.96
    middle, half = p + z * z / 2 / whole, z * (p * (1 - p) / whole + z * z / 4 / whole**2) ** 0.5
    return Estimate(p, (middle - half) / (1 + z * z / whole), (middle + half) / (1 + z * z / whole))


def a_backtest(
    alerts: Sequence[Alert], labels: Sequence[Label], from_ns: int, to_ns: int, *, days: int = 24, seed: int = 3
) -> Backtest:
    """Return findings about ``alerts`` and ``labels``; days, curves and calibration are drawn, not measured."""
    draw = np.random.default_rng(seed)
    alarms = [alert for alert in alerts if alert.activity == "create" and alert.finding.severity != "info"]
    catches, missed, met = [], [], set()
    for label in (one for one in labels if not one.benign):
        mine = [
            alert
            for alert in alarms
            if alert.subject.instrument in label.instruments
            and label.start_ns <= alert.times.event_end <= label.end_ns + AFTER_NS
        ]
        met |= {alert.episode_id for alert in mine}
        if not mine:
            missed.append(label)
            continue
        known = mine[0].times.available_at
        catches.append(
            Catch(
                label=label,
                opened=[opened_by(alert) for alert in mine],
                own=any(alert.finding.typology.startswith(label.typology) for alert in mine),
                delay_s=(known - label.onset_ns) / 1e9,
                lead_s=(label.public_ns - known) / 1e9 if label.public_ns else None,
            )
        )
    false = []
    for alert in alarms:
        if alert.episode_id not in met:
            bait = [
                one.event_id
                for one in labels
                if one.benign
                and alert.subject.instrument in one.instruments
                and one.start_ns <= alert.times.event_end <= one.end_ns + AFTER_NS
            ]
            false.append(Stray(opened=opened_by(alert), bait=bait[0] if bait else ""))
    hits, harmful = len(met), len(catches) + len(missed)
    first_day = from_ns - from_ns % DAY_NS
    table = []
    for number in range(days):
        positives = int(draw.integers(0, 7))
        right = int(min(positives, 5, draw.binomial(5, 0.55)))
        table.append(
            Day(
                day_ns=first_day - (days - 1 - number) * DAY_NS,
                k=5,
                hits=right,
                precision=right / 5,
                ceiling=min(positives, 5) / 5,
                positives=positives,
                alarms=int(draw.poisson(6)),
                labels=positives,
                caught=right,
                instruments=20,
            )
        )
    rates = [
        Rate(day_ns=day.day_ns, hour=hour, typology=kind, alarms=int(count))
        for day in table
        for kind, hour, count in zip(
            ("market_anomaly@1", "pump_and_dump@1", "adverse_text@1"),
            draw.integers(14, 21, 3).tolist(),
            draw.poisson(1.4, 3),
            strict=True,
        )
        if count
    ]
    leads = sorted(float(s) for s in [*draw.normal(400, 500, 40), *(c.lead_s for c in catches if c.lead_s is not None)])
    delays = sorted(float(s) for s in [*draw.gamma(2.0, 90.0, 60), *(c.delay_s for c in catches)])
    own = Contender(
        name="tocsin",
        kind="tocsin",
        title="All typologies together",
        episodes=len(alarms),
        hits=hits,
        informed=sum(a.activity == "create" and a.finding.severity == "info" for a in alerts),
        recall=_share(len(catches), harmful),
        own_recall=Estimate(0.6, 0.25, 0.85),
        precision=_share(hits, len(alarms)),
        alerts_per_day=Estimate(float(len(alarms)), 8.0, 17.0),
        alerts_per_instrument_day=Estimate(len(alarms) / 20),
        alerts_per_analyst_day=Estimate(float(len(alarms))),
        lead_median_s=Estimate(float(np.median(leads)), 200.0, 600.0),
        lead_p10_s=Estimate(float(np.quantile(leads, 0.1))),
        delay_median_s=Estimate(float(np.median(delays)), 60.0, 240.0),
        pr_auc=Estimate(0.62, 0.41, 0.78),
        brier=Estimate(0.041, 0.03, 0.05),
        ece=Estimate(0.03, 0.02, 0.04),
        nab=Estimate(55.0, 31.0, 70.0),
        cost=Estimate(211.0, 105.0, 320.0),
    )
    blind = {"alerts_per_instrument_day": Estimate(0.6), "alerts_per_analyst_day": Estimate(12.0)}
    random = Contender(
        name="random",
        kind="random",
        title="Rings as often, at random",
        episodes=len(alarms) + 0.4,
        hits=1.6,
        recall=Estimate(0.18, 0.0, 0.4),
        precision=Estimate(0.12, 0.0, 0.25),
        alerts_per_day=Estimate(12.4),
        pr_auc=Estimate(0.07, 0.05, 0.1),
        cost=Estimate(520.0, 400.0, 620.0),
        **blind,
    )
    always = Contender(
        name="always",
        kind="always",
        title="Rings in every cell",
        episodes=140,
        hits=9,
        recall=Estimate(1.0),
        precision=Estimate(0.06),
        alerts_per_day=Estimate(140.0),
        pr_auc=Estimate(0.06),
        cost=Estimate(131.0),
        **blind,
    )
    nothing = Contender(
        name="nothing",
        kind="nothing",
        episodes=0,
        hits=0,
        recall=Estimate(0.0),
        precision=Estimate(None),
        alerts_per_day=Estimate(0.0),
        cost=Estimate(600.0),
        alerts_per_instrument_day=Estimate(0.0),
        alerts_per_analyst_day=Estimate(0.0),
    )
    thresholds = np.linspace(0.05, 1.0, 60)
    false_at, missed_at = np.round(140 * (1 - thresholds) ** 3), np.round(6 * thresholds**2)
    points = [
        CostPoint(
            threshold=float(t), cost=float(f + 100 * m), episodes=int(f) + 6 - int(m), false=int(f), missed=int(m)
        )
        for t, f, m in zip(thresholds, false_at, missed_at, strict=True)
    ]
    recall = np.linspace(0.05, 1.0, 40)

    def curve(name: str, height: float) -> PrCurve:
        points = [
            PrPoint(threshold=float(1 - r), precision=float(max(0.06, height * (1 - r**2.2))), recall=float(r))
            for r in recall
        ]
        return PrCurve(contender=name, points=points, operating=points[len(points) // 2])

    edges = np.linspace(0, 1, 11)
    bins = [
        Bin(
            low=float(low),
            high=float(high),
            cells=int(3_000 * (1 - low) ** 6) + 3,
            mean=float((low + high) / 2),
            share=Estimate(
                float(s := min(1.0, ((low + high) / 2) ** 1.25)), max(0.0, float(s) - 0.08), min(1.0, float(s) + 0.11)
            ),
        )
        for low, high in itertools.pairwise(edges)
    ]
    return Backtest(
        tested=Tested(
            replay="replayed/2025-03-03",
            recording="recordings/2025-03-03",
            recording_digest="5f3c" * 16,
            alert_digest=digest(alerts),
            code_version="0.1.0",
            bundle="50d8fef17574",
            config="0c80943eb6c32b74968537e58fcd3902",
            from_ns=from_ns,
            to_ns=to_ns,
            warm_up_ns=3_600 * 10**9,
            instruments=20,
            days=days,
            instrument_days=20 * days,
            labels_file="recordings/2025-03-03/labels.parquet",
            labels_digest="a9" * 32,
            labels=harmful,
            benign=sum(one.benign for one in labels),
            stamps=["The bundle's pretraining window is unknown: it may have seen what is tested here."],
            gaps=[Span(from_ns=from_ns, to_ns=from_ns + 60 * 10**9, what="offsets 410 to 433 of frames are missing")],
        ),
        parameters=Parameters(),
        cells=20 * 7 * days,
        positive_cells=9 * days,
        base_rate=9 / 140,
        contenders=[own, random, always, nothing],
        days=table,
        precision_at_k=Estimate(float(np.mean([d.precision for d in table if d.positives])), 0.34, 0.62),
        ceiling_at_k=Estimate(float(np.mean([d.ceiling for d in table if d.positives])), 0.5, 0.8),
        pr_curves=[curve("tocsin", 0.97), curve("market_anomaly", 0.7), curve("random", 0.07)],
        cost_curves=[
            CostCurve(
                contender="urgency",
                points=points,
                flag_nothing=600.0,
                flag_all=131.0,
                cheapest=min(points, key=lambda p: p.cost),
                today=points[30],
            )
        ],
        walk_forward=WalkForward(
            contender="urgency",
            choices=[
                Choice(
                    from_ns=day.day_ns,
                    to_ns=day.day_ns + DAY_NS,
                    threshold=0.5 + 0.01 * number,
                    known=3 * number,
                    chosen=number > 2,
                    episodes=7,
                    false=3,
                    missed=1,
                )
                for number, day in enumerate(table[-5:])
            ],
            cost=240.0,
            cost_today=262.0,
            cost_hindsight=190.0,
            episodes=35,
            false=15,
            missed=5,
        ),
        calibrations=[
            Calibration(contender="tocsin", floor=0.05, brier=own.brier, brier_base=0.058, ece=own.ece, bins=bins)
        ],
        leads_s=leads,
        delays_s=delays,
        rates=rates,
        ablations=[
            Ablation(
                modality=name,
                how="rerun",
                episodes=len(alarms) - fallen,
                fallen=fallen,
                leaning=2,
                false=4,
                recall=Estimate(0.6 - 0.05 * fallen, 0.2, 0.8),
                precision=Estimate(0.5, 0.3, 0.7),
                lost=[catch.label.event_id for catch in catches[:fallen]],
            )
            for name, fallen in (("ticks", 3), ("text", 1), ("chart", 0))
        ],
        catches=catches,
        missed=missed,
        false=false,
        benign=[label for label in labels if label.benign],
        notes=["One day's labels fall into few blocks: intervals are wide."],
    )
