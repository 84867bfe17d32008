"""The library of typologies, what rules change of it, and for which instruments a scenario is."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from engines.instruments import Listing
from engines.library import defaults, library
from engines.order_findings import OrderConfig
from engines.rule_text import RulesError, read, written
from engines.rules import NONE, Override, RuleFile, Scenario, When, configured, overridden, parameters
from engines.ticks import TickConfig
from engines.transfers import TransferConfig
from engines.typologies.counterparty_default import CounterpartyConfig
from engines.typologies.market_wide import CrowdConfig
from engines.words import WordsConfig

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
    assert made.pump.rise == made.pump_equity.rise == 0.1
    assert msgspec.structs.replace(made, pump=TickConfig().pump, pump_equity=TickConfig().pump_equity) == TickConfig()
    assert configured(TickConfig(), NONE) == TickConfig()


def test_a_silent_typology_is_left_out_and_others_stay() -> None:
    rules = RuleFile(version="1", typologies={"adverse_text": Override(enabled=False)})
    specs = {"anomaly": library()["market_anomaly"].spec, "adverse_text": library()["adverse_text"].spec}
    assert rules.specs(specs, "instrument") == {"anomaly": specs["anomaly"]}


def test_a_scenario_is_judged_where_all_that_it_weighs_is() -> None:
    def of(name: str) -> Scenario:
        return Scenario(name=name, title="A", weights={name: 1.0})

    one, other, label = of("spoofing"), of("structuring"), of("label_cyber")
    off = msgspec.structs.replace(of("fan_in"), enabled=False)
    rules = RuleFile(version="1", scenarios=(one, other, label, off))
    assert rules.asked("instrument") == rules.applying(LISTING) == (one, label)
    assert rules.asked("account") == (other,)
    assert rules.specs({}, "account").keys() == {"scenario_structuring"}


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


ASKED = (TickConfig(), OrderConfig(), WordsConfig(), TransferConfig(), CounterpartyConfig(), CrowdConfig())


@pytest.mark.parametrize("name", [name for name, known in library().items() if known.config])
def test_every_parameter_of_every_typology_can_be_named_and_reaches_what_asks_it(name: str) -> None:
    config = library()[name].config
    assert config is not None
    usual = dict(written(field, value) for field, value in defaults(config).items())
    rules = read(f"version: 1\ntypologies: {{{name}: {{parameters: {{{_flow(usual)}}}}}}}")
    assert rules.typologies[name].parameters == defaults(config)
    # The first number of each is changed, within its range.
    field, value = next((field, value) for field, value in defaults(config).items() if isinstance(value, int | float))
    other = RuleFile(version="2", typologies={name: Override(parameters={field: type(value)(value / 2)})})
    assert [type(one).__name__ for one in ASKED if configured(one, other) != one] != []
    assert [mine for mine in parameters(other, name) if mine[1] != mine[2]] == [(field, type(value)(value / 2), value)]


def _flow(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in values.items())


@pytest.mark.parametrize(
    ("typology", "given", "found"),
    [
        ("spoofing", "other_side: 35", "expected a number above 0 and at most 1, found 35.0"),
        ("sanctions_proximity", "similarity: 101", "expected a number above 0 and at most 100, found 101.0"),
        ("layering", "levels: 0", "expected a number above 0, found 0.0"),
    ],
)
def test_a_share_beyond_the_whole_is_refused(typology: str, given: str, found: str) -> None:
    with pytest.raises(RulesError, match=f"{found}; give one in range"):
        read(f"version: 1\ntypologies: {{{typology}: {{parameters: {{{given}}}}}}}")
