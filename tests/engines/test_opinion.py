"""Opinions: learnt as findings come, written down as numbers that say the same, put on alerts, judged by the gate."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agents.flow import Item
from agents.opinions import opinions
from engines.backtest.gate import Policy, checks
from engines.backtest.shadow import shadowed
from engines.bundle import MANIFEST, Bundle, BundleError, Entry, sha256_of
from engines.labels import Label
from engines.online import Forest, Logistic
from engines.opinion import (
    SPEC,
    Linear,
    Split,
    Tree,
    _names,
    encoded,
    features_of,
    grown,
    of,
)
from engines.progressive import ENSEMBLE, NO_CHANGE, RATE, Learnt, OpinionError, learn, measured
from schemas.alerts import Alert, Drifting, Modality
from schemas.journal import Clock
from schemas.records import Disposition, Verdict
from tests.engines.bundles import write_bundle, write_manifest
from tests.golden.examples import ALERT

HOUR = 3_600 * 10**9
BEGIN = 1_741_003_200 * 10**9
replace = msgspec.structs.replace


def alert(number: int, score: float, typology: str = "spoofing@1", hours: float = 0.0) -> Alert:
    at = BEGIN + int(hours * HOUR)
    return replace(
        ALERT,
        alert_id=f"a{number:031}",
        episode_id=f"e{number:031}",
        activity="create",
        times=replace(ALERT.times, event_start=at - 60 * 10**9, event_end=at, available_at=at),
        finding=replace(ALERT.finding, score=score, typology=typology),
    )


def finding(of_alert: Alert, value: Verdict, hours_later: float) -> Disposition:
    at = of_alert.times.available_at + int(hours_later * HOUR)
    return Disposition(
        ts_event=at,
        ts_available=at,
        episode_id=of_alert.episode_id,
        alert_id=of_alert.alert_id,
        value=value,
        author="ann",
        typology=of_alert.finding.typology,
        instrument=of_alert.subject.instrument,
        event_start=of_alert.times.event_start,
        event_end=of_alert.times.event_end,
        score=of_alert.finding.score,
    )


def desk(count: int = 200, seed: int = 1) -> tuple[list[Alert], list[Disposition]]:
    """Alerts, two an hour; spoofing of a high score is a risk, all else is none; found a day later, but of a tenth."""
    rng, alerts, found = np.random.default_rng(seed), [], []
    for number in range(count):
        typology, score = ("spoofing@1", "layering@2")[number % 2], float(rng.uniform(0.5, 0.99))
        alerts.append(alert(number, score, typology, number / 2))
        if rng.random() < 0.9:
            risk = typology.startswith("spoofing") and score > 0.75
            found.append(finding(alerts[-1], "confirmed_risk" if risk else "false_positive", 24.0))
    return alerts, found


@pytest.fixture(scope="module")
def learnt() -> Learnt:
    return learn(*desk())


def test_an_opinion_is_better_than_both_dummies_of_alerts_that_nobody_had_judged(learnt: Learnt) -> None:
    told = measured(learnt.judged)
    assert list(told) == [ENSEMBLE, "logistic", "forest", NO_CHANGE, RATE]
    losses = {name: one.log_loss.value or 0.0 for name, one in told.items()}
    assert losses[ENSEMBLE] < losses[RATE] < losses[NO_CHANGE]
    assert told[NO_CHANGE].kappa_temporal.value == 0.0
    assert (told[ENSEMBLE].kappa_temporal.value or 0.0) > 0.15
    assert told[ENSEMBLE].log_loss.low is not None
    yes, no = (learnt.opinion.probability(alert(999, score)) for score in (0.95, 0.55))
    assert yes > no


def test_nothing_is_known_before_it_was_said(learnt: Learnt) -> None:
    alerts, found = desk()
    # What was found of later alerts is turned round: of what was told before that was said, not a bit changes.
    cut = BEGIN + 50 * HOUR
    turned = [
        one
        if one.ts_event < cut
        else replace(one, value="confirmed_risk" if "false" in one.value else "false_positive")
        for one in found
    ]
    mine, theirs = (
        {one.ts: one.said for one in told.judged if one.ts < cut} for told in (learnt, learn(alerts, turned))
    )
    assert mine == theirs
    assert len(mine) > 50
    assert {one.said[RATE] for one in learnt.judged if one.ts < BEGIN + 24 * HOUR} == {0.5}


def test_what_teaches_nothing_is_counted_and_what_was_said_last_counts(learnt: Learnt) -> None:
    alerts, found = desk()
    unknown = replace(found[0], episode_id="f" * 32)
    early = finding(alert(500, 0.9), "confirmed_risk", -1.0)
    again = [replace(one, value="data_error") for one in found[:5]]  # contradicted, then taken back
    told = learn([*alerts, alert(500, 0.9)], [*again, *found, unknown, early])
    assert (told.unknown, told.early, len(told.judged)) == (1, 1, len(found))
    assert told.opinion.logistic == learnt.opinion.logistic
    assert learn(alerts, [*found, replace(found[9], value="duplicate")]).unknown == 0


def test_what_was_found_as_the_alert_became_known_is_early_and_alerts_without_findings_change_nothing(
    learnt: Learnt,
) -> None:
    alerts, found = desk()
    others = [alert(1_000 + number, 0.6, hours=1.0) for number in range(12_000)]  # more than may wait for a label
    told = learn([*alerts, *others], [*found, finding(others[0], "confirmed_risk", 0.0)])
    assert (told.early, len(told.judged)) == (1, len(found))
    assert told.opinion == learnt.opinion


@pytest.mark.parametrize(("kept", "told"), [(10, "10 findings are of alerts"), (25, "0 of them risks")])
def test_too_little_is_one_sentence(kept: int, told: str) -> None:
    alerts, found = desk()
    none = [replace(one, value="false_positive") for one in found[:kept]]
    with pytest.raises(OpinionError, match=f"{told}.*expected 20 or more, and 3 of either kind"):
        learn(alerts, none)


def test_numbers_say_what_rivers_members_say() -> None:
    rng, logistic, forest = np.random.default_rng(3), Logistic(), Forest(trees=4)
    for a, b in rng.normal(size=(600, 2)).tolist():
        row = {"a": a, "b": b, "c": 1.0}
        logistic.learn(row, a + 0.2 * b > 0.3, 1.0)
        forest.learn(row, a > 0.3, 1.0)
    assert any(isinstance(tree.root, Split) for tree in forest.plain())
    for a, b in rng.normal(size=(50, 2)).tolist():
        row = {"a": a, "b": b, "c": 1.0}
        assert logistic.plain().told(row) == pytest.approx(logistic.told(row))
        assert grown(forest.plain(), row) == pytest.approx(forest.told(row))
    assert Forest(trees=2).plain() == []
    assert grown([], {}) == 0.5


def test_features_are_of_what_the_digest_covers_and_always_the_same() -> None:
    told = features_of(alert(1, 0.9), ["layering", "spoofing"])
    assert list(told) == _names(["layering", "spoofing"])
    assert (told["is spoofing"], told["is layering"]) == (1.0, 0.0)
    assert told["score"] == pytest.approx(math.log(9))
    framed = replace(alert(1, 0.9), evidence=replace(ALERT.evidence, count=7, inputs=[]))
    framed = replace(framed, quality=replace(framed.quality, late_events=3, gaps=1))
    assert features_of(framed, ["layering", "spoofing"]) == told
    drifted = Drifting(kind="stale_feed", stream="ticks", since=0, detected=1)
    other = replace(
        alert(1, 0.9),
        modalities={"text": Modality(present=True, weight=0.25), "ticks": Modality(present=False)},
        quality=replace(ALERT.quality, drift=[drifted, replace(drifted, kind="market")]),
    )
    found = features_of(other, [])
    assert (found["on text"], found["on ticks"], found["drift"], found["flaws"]) == (0.25, 0.0, 1.0, 1.0)


def test_an_opinion_is_put_on_what_rings_and_holds_nothing_back(learnt: Learnt) -> None:
    opened, closed, clock = alert(1, 0.9), replace(alert(2, 0.9), activity="close"), Clock(BEGIN)

    async def given() -> AsyncIterator[Item | Alert]:
        for one in (opened, clock, closed):
            yield one

    async def taken() -> list[Item | Alert]:
        return [one async for one in opinions(given(), opinion=learnt.opinion)]

    first, *others = asyncio.run(taken())
    assert others == [clock, closed]
    assert isinstance(first, Alert)
    assert first.finding.probability == learnt.opinion.probability(opened)
    assert replace(first, finding=opened.finding) == opened


def put(bundle: Path, content: bytes) -> Bundle:
    (bundle / SPEC).write_bytes(content)
    files = [path for path in bundle.iterdir() if path.name != MANIFEST]
    write_manifest(bundle, {path.name: Entry(sha256_of(path), path.stat().st_size) for path in files})
    return Bundle.load(bundle)


def test_a_bundle_says_what_was_learnt_and_refuses_what_is_no_opinion(tmp_path: Path, learnt: Learnt) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    assert of(Bundle.load(bundle)) is None
    assert of(put(bundle, encoded(learnt.opinion))) == learnt.opinion
    with pytest.raises(BundleError, match="holds no opinion"):
        of(put(bundle, b"{}"))
    with pytest.raises(BundleError, match="holds no opinion"):
        of(put(bundle, b'{"typologies": ["\xff"]}'))
    odd = replace(learnt.opinion, forest=[Tree(1.0, Split("mood", 0.5, 0.1, 0.9))])
    with pytest.raises(BundleError, match="asks for mood, which no alert has"):
        of(put(bundle, encoded(odd)))
    lacking = Linear(bias=0.0, weights={"score": 1.0}, means={}, deviations={})
    with pytest.raises(BundleError, match="holds no opinion"):
        of(put(bundle, encoded(replace(learnt.opinion, logistic=lacking))))


def test_the_gate_measures_what_an_opinion_says() -> None:
    opened = [alert(number, 0.9, hours=5.0 * number) for number in range(40)]
    labels = [
        Label(
            event_id=str(number),
            typology="spoofing",
            start_ns=one.times.event_start,
            onset_ns=one.times.event_start,
            end_ns=one.times.event_end,
            instruments=[one.subject.instrument],
            benign=number % 2 == 1,
        )
        for number, one in enumerate(opened)
    ]

    def saying(risk: float, none: float) -> list[Alert]:
        told = [risk, none] * 20
        return [
            replace(one, finding=replace(one.finding, probability=p, severity="critical"))
            for one, p in zip(opened, told, strict=True)
        ]

    silent = [replace(one, finding=replace(one.finding, severity="critical")) for one in opened]
    span = {"from_ns": BEGIN - HOUR, "to_ns": BEGIN + 201 * HOUR, "live_ns": 0}
    good = shadowed(silent, saying(0.9, 0.1), labels, **span)
    assert good.champion.log_loss.value == pytest.approx(math.log(2), abs=0.15)
    assert (good.log_loss_gain.low or 0.0) > 0.0
    bad = shadowed(silent, saying(0.1, 0.9), labels, **span)
    assert (bad.log_loss_gain.high or 0.0) < 0.0
    policy = Policy(target="log_loss")
    targets = [checks(found, policy)[-1] for found in (good, bad, shadowed(silent, silent, labels, **span))]
    assert [(one.name, one.passed) for one in targets] == [("target: log_loss", done) for done in (True, False, False)]
