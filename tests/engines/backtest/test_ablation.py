"""What is left without a modality, told by the shares of alerts."""

from __future__ import annotations

import pytest

from engines.backtest.ablation import by_rerun, by_shares, standing
from engines.backtest.contenders import nothing
from engines.backtest.field import Field
from engines.backtest.matching import alarms, judge
from engines.backtest.results import Ablation, Parameters
from tests.engines.backtest.made import HOUR, alert, heard, label

EVENTS = [label("words", 10 * HOUR, 10 * HOUR + 60), label("ticks", 15 * HOUR, 15 * HOUR + 60)]
RINGS = {"pump_and_dump": 0.5, "adverse_text": 0.8, "elevated_risk": 0.5}


def test_a_share_is_what_the_log_odds_are_less_without() -> None:
    # Log odds of 0.5 are 0: without a share of 1 they are -1, without one of -1 they are 1.
    found = standing(alert(1, episode="e", score=0.5, shares={"ticks": 1.0, "text": -1.0}))
    assert found.without == {"ticks": pytest.approx(0.26894142), "text": pytest.approx(0.73105858)}
    assert standing(alert(1, episode="e", weights={"calls": 1.0})).alone == "calls"
    assert standing(alert(1, episode="e")).alone == "ticks"
    assert standing(alert(1, episode="e", score=1.0, shares={"ticks": 0.0})).without["ticks"] == pytest.approx(1)


def found() -> dict[str, Ablation]:
    told = [
        alert(10 * HOUR, episode="text", typology="adverse_text@1", score=0.9, weights={"text": 1.0}),
        alert(15 * HOUR, episode="pump", typology="pump_and_dump@1"),
        alert(
            20 * HOUR,
            episode="both",
            typology="elevated_risk@1",
            score=0.6,
            weights={"ticks": 0.1, "text": 0.9},
            shares={"ticks": 0.1, "text": 0.9},
        ),
    ]
    field = Field(EVENTS, heard(), Parameters(before_ns=0, after_ns=0))
    rung = alarms(told)
    whole = judge(EVENTS, rung, field.window, least="info")
    caught = {catch.label.event_id for catch in whole.catches}
    assert caught == {"words", "ticks"}
    return {one.modality: one for one in by_shares(field, rung, {a.alert_id: a for a in told}, RINGS, caught)}


def test_what_stands_on_one_alone_falls_and_what_rings_without_it_leans() -> None:
    by_modality = found()
    assert sorted(by_modality) == ["text", "ticks"]
    # Log odds of 0.6 are 0.405: 0.305 without ticks still rings at 0.5, -0.495 without text does not.
    text, ticks = by_modality["text"], by_modality["ticks"]
    assert (text.episodes, text.fallen, text.leaning, text.false, text.lost) == (1, 2, 0, 0, ["words"])
    assert (ticks.episodes, ticks.fallen, ticks.leaning, ticks.false, ticks.lost) == (2, 1, 1, 1, ["ticks"])
    assert (text.recall.value, text.precision.value) == (0.5, 1.0)


def test_a_rerun_tells_what_was_lost_and_gained() -> None:
    row = nothing(Field(EVENTS, heard(), Parameters()))
    told = by_rerun("chart", row, {"words", "ticks"}, row, {"ticks", "other"})
    assert (told.how, told.lost, told.gained, told.fallen) == ("rerun", ["words"], ["other"], 0)
