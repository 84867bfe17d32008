"""Scenarios in the instrument stage: one alert where typologies add up, the same however ticks are packed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec
import pytest

from agents.flow import Item
from agents.instrument_state import InstrumentState
from agents.watched import INPUTS_KEPT
from engines.instruments import Listing
from engines.rules import Override, RuleFile, Scenario, When, overridden
from schemas.alerts import Alert, digest
from schemas.journal import Clock
from tests.agents.streams import BEGIN, KEY, S, arrivals, cut, engines, news, pump, run

RULES = RuleFile(
    version="7",
    typologies={"adverse_text": Override(enabled=False)},
    scenarios=(
        Scenario(
            name="pump_with_words",
            title="A pump with words",
            weights={"pump_and_dump": 0.6, "adverse_text": 0.5},
            within_ns=1_800 * S,
            open=0.6,
            hold_ns=600 * S,
            regulation=("MAR Art. 12(2)(d)",),
        ),
    ),
)
WORDS = [(news(7_000), 0.9)]


def said(rules: RuleFile, sizes: Sequence[int] = (500,), texts: bool = True) -> list[Alert]:
    listing = Listing(instrument=KEY, symbol="ORCHID", venue="XTOC")
    made = dataclasses.replace(engines(), rules=rules, listing=lambda _: listing)
    items: list[Item] = [*arrivals(cut(pump(), sizes), WORDS if texts else ()), Clock(BEGIN + 30_000 * S)]
    return run(items, {}, made)


def of(alerts: list[Alert], typology: str) -> list[Alert]:
    return [alert for alert in alerts if alert.finding.typology == typology]


def test_words_and_a_pump_are_one_alert_that_names_both_with_their_weights() -> None:
    found = of(said(RULES), "scenario_pump_with_words@7")
    assert (found[0].activity, found[-1].activity) == ("create", "close")
    alert = found[0]
    assert alert.finding.title == "A pump with words"
    assert alert.finding.regulation == ["MAR Art. 12(2)(d)"]
    rules = {rule.name: rule for rule in alert.explanation.rules}
    assert rules["adverse_text"].value == pytest.approx(0.9)
    assert rules["pump_and_dump"].weight == 0.6
    assert alert.finding.score == pytest.approx(1 - (1 - 0.6 * rules["pump_and_dump"].value) * (1 - 0.5 * 0.9))
    assert alert.finding.score >= 0.6
    assert "below" in alert.explanation.clears
    assert alert.evidence.inputs


def test_one_alone_is_not_enough_and_a_silent_typology_says_nothing() -> None:
    assert not of(said(RULES, texts=False), "scenario_pump_with_words@7")
    assert not of(said(RULES), "adverse_text@1")
    assert of(said(RuleFile(version="7")), "adverse_text@1")


def test_a_scenario_for_others_is_not_asked() -> None:
    (scenario,) = RULES.scenarios
    other = msgspec.structs.replace(scenario, when=When(venue=("XNYS",)))
    assert not of(said(msgspec.structs.replace(RULES, scenarios=(other,))), "scenario_pump_with_words@7")


@pytest.mark.parametrize("sizes", [(1,), (7,), (3, 11, 1, 250)])
def test_packing_ticks_otherwise_changes_nothing(sizes: tuple[int, ...]) -> None:
    assert digest(said(RULES, sizes)) == digest(said(RULES))


def test_what_is_remembered_is_kept_in_a_checkpoint() -> None:
    state: dict[str, InstrumentState] = {}
    made = dataclasses.replace(engines(), rules=RULES)
    run(arrivals((), WORDS), state, made)
    kept = InstrumentState.unpack(state[KEY].pack())
    assert kept.peaks[""].steps == state[KEY].peaks[""].steps
    (step,) = kept.peaks[""].steps["adverse_text"]
    assert (step.ts, step.score, step.inputs) == (WORDS[0][0].ts_event, pytest.approx(0.9), (kept.inputs[-1],))


def test_evidence_is_of_all_that_carry_it_however_much_came_since() -> None:
    """Between the words and the pump lie 200 seconds of a frame each: more than is remembered in order."""
    first = of(said(RULES, sizes=(1,)), "scenario_pump_with_words@7")[0]
    named = [(one.topic, one.offset) for one in first.evidence.inputs]
    assert named[0][0] == "news"
    completed = max(offset for _, offset in named)
    assert named[-1] == ("frames", completed)
    # What came with the next message is remembered by then, and no evidence.
    assert len(named) == len(set(named)) == INPUTS_KEPT - 1


def test_many_ticks_do_not_push_out_the_text_beside_them() -> None:
    state: dict[str, InstrumentState] = {}
    run(arrivals(cut(pump()[:100], (1,)), [(news(60), 0.1)]), state)
    topics = [seen.topic for seen in state[KEY].inputs]
    assert topics == ["news"] + ["frames"] * (INPUTS_KEPT - 1)


def test_what_rules_let_close_was_not_known_before_they_took_effect() -> None:
    """A silent typology's open episode, and one whose hold is shorter now, close at the change, not in the past."""
    state: dict[str, InstrumentState] = {}
    opened = run(arrivals(cut(pump(), (500,))), state)
    assert {alert.finding.typology for alert in opened} == {"pump_and_dump@1", "market_anomaly@1"}
    since_ns = BEGIN + 7_600 * S
    rules = RuleFile(
        version="8",
        effective_ns=since_ns,
        typologies={"pump_and_dump": Override(enabled=False), "market_anomaly": Override(hold_ns=60 * S)},
    )
    made = engines()
    specs = {head: overridden(spec, rules) for head, spec in made.specs.items()}
    made = dataclasses.replace(made, rules=rules, specs=specs)
    found = run([Clock(since_ns)], state, made)
    assert {a.finding.typology: (a.activity, a.times.available_at) for a in found} == {
        "pump_and_dump@1": ("close", since_ns),
        "market_anomaly@1": ("close", since_ns),
    }
