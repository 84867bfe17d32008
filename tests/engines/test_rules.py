"""The library of typologies, what rules change of it, and for which instruments a scenario is."""

from __future__ import annotations

import msgspec
import pytest

from engines.instruments import Listing
from engines.library import library
from engines.rules import NONE, Override, RuleFile, Scenario, When, configured, overridden
from engines.ticks import TickConfig

LISTING = Listing(instrument="ACME.XTOC", symbol="ACME", venue="XTOC", desk="equities", asset_class="equity")


@pytest.mark.parametrize("name", library())
def test_every_typology_says_what_it_is_and_its_parameters_have_defaults(name: str) -> None:
    known = library()[name]
    assert known.spec.name == name
    assert known.definition
    if known.config is not None:
        assert known.config()


def test_what_a_file_does_not_name_stays_as_it_is() -> None:
    rules = RuleFile(version="1", typologies={"pump_and_dump": Override(open=0.6, hold_ns=7)})
    spec = library()["pump_and_dump"].spec
    assert overridden(spec, rules) == msgspec.structs.replace(spec, open=0.6, hold_ns=7)
    other = library()["adverse_text"].spec
    assert overridden(other, rules) is other


def test_parameters_reach_a_configuration_however_deep() -> None:
    rules = RuleFile(version="1", typologies={"pump_and_dump": Override(parameters={"rise": 0.1})})
    made = configured(TickConfig(), rules)
    assert made.pump.rise == 0.1
    assert msgspec.structs.replace(made, pump=TickConfig().pump) == TickConfig()
    assert configured(TickConfig(), NONE) == TickConfig()


def test_a_silent_typology_is_left_out_and_others_stay() -> None:
    rules = RuleFile(version="1", typologies={"adverse_text": Override(enabled=False)})
    specs = {"anomaly": library()["market_anomaly"].spec, "adverse_text": library()["adverse_text"].spec}
    assert rules.specs(specs) == {"anomaly": specs["anomaly"]}


@pytest.mark.parametrize(
    ("when", "meant"),
    [
        (When(), True),
        (When(venue=("XTOC", "XNYS")), True),
        (When(venue=("XNYS",)), False),
        (When(desk=("equities",), asset_class=("equity",)), True),
        (When(desk=("equities",), asset_class=("future",)), False),
        (When(instruments=("ACME.XTOC",)), True),
        (When(instruments=("ACME.XNYS",)), False),
    ],
)
def test_all_conditions_hold_and_one_of_each_list_is_enough(when: When, meant: bool) -> None:
    assert when.holds(LISTING) is meant
    rules = RuleFile(version="1", scenarios=(Scenario(name="a", title="A", when=when, weights={"adverse_text": 1.0}),))
    assert bool(rules.applying(LISTING)) is meant


def test_the_digest_is_of_what_is_decided_not_of_when() -> None:
    now, later = RuleFile(version="1"), RuleFile(version="1", effective_ns=10**9)
    assert now.digest == later.digest
    assert now.digest != RuleFile(version="2").digest
    assert now.digest != RuleFile(version="1", typologies={"adverse_text": Override(open=0.9)}).digest
