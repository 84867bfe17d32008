"""What rules change of what the stages say: from their time on, under ids of their own, and in a replay alike."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path

import pytest

from monitor.errors import StartupError
from monitor.recordings import Message, Recording
from monitor.render import clock
from monitor.replay_history import Course, by_history
from monitor.settings import Settings
from monitor.stage import Stages, load_stages
from schemas.alerts import Alert, digest
from schemas.journal import RULES_ONLY, Rules
from tests.golden.day import RECORDING
from tests.payments import payments

S = 1_000_000_000
RULES = """
version: second
{when}
typologies:
  pump_and_dump: {{severity: info, parameters: {{rise: 0.03}}}}
scenarios:
  - {{name: moves, title: Moves, weights: {{market_anomaly: 0.9, pump_and_dump: 0.9}}, open: 0.4}}
"""


def stages(path: Path | None = None) -> Stages:
    return load_stages(Settings(rules=path), lambda _: None, mode="replay")


@cache
def day() -> tuple[Message, ...]:
    return tuple(Recording.open(RECORDING).messages())


def said(made: Stages) -> list[Alert]:
    return asyncio.run(by_history(day(), made, Course(level=RULES_ONLY))).alerts


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def unruled() -> list[Alert]:
    return said(stages())


def test_ids_carry_the_rules_and_nothing_else_changes_by_an_empty_file(unruled: list[Alert], tmp_path: Path) -> None:
    made = stages(written(tmp_path / "rules.yaml", "version: empty"))
    found = said(made)
    assert made.about["rules"] == "empty"
    told = [(a.times.available_at, a.finding.typology, a.finding.score, a.activity) for a in found]
    assert sorted(told) == sorted(
        (a.times.available_at, a.finding.typology, a.finding.score, a.activity) for a in unruled
    )
    assert not {a.alert_id for a in found} & {a.alert_id for a in unruled}
    ours = {a.provenance.config for a in found if not a.finding.typology.startswith("market_wide")}
    assert ours <= set(made.instrument.under(made.rulebook.base).configs)


def test_rules_take_effect_at_their_event_time_in_history_too(unruled: list[Alert], tmp_path: Path) -> None:
    pumps = [a for a in unruled if (a.finding.typology, a.activity) == ("pump_and_dump@1", "create")]
    pump_ns = max(a.times.available_at for a in pumps)  # before the first of them nothing is said
    at_ns = pump_ns // S * S - 60 * S
    when = f"effective_from: {_iso(at_ns)}"
    found = said(stages(written(tmp_path / "rules.yaml", RULES.format(when=when))))
    before = [a for a in found if a.times.available_at < at_ns]
    assert before
    assert digest(before) == digest([a for a in unruled if a.times.available_at < at_ns])
    after = [a for a in found if a.times.available_at >= at_ns]
    assert any(a.finding.typology == "scenario_moves@second" for a in after)
    assert not {a.provenance.config for a in after} & {a.provenance.config for a in before}
    opened = next(a for a in after if a.finding.typology == "pump_and_dump@1")
    assert opened.finding.severity == "info"
    assert opened.times.available_at <= pump_ns


def test_rules_that_cannot_be_followed_are_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    weighs = "scenarios: [{name: a, title: A, weights: {label_cyber: 1}}]"
    with pytest.raises(StartupError, match="label_cyber, of which there is no label"):
        stages(written(path, f"version: a\n{weighs}"))
    with pytest.raises(StartupError, match=r"rules.yaml:2:1: .*found field colour"):
        stages(written(path, "version: a\ncolour: red"))
    with pytest.raises(StartupError, match=r"pump\.window_ns: expected at most"):
        stages(written(path, "version: a\ntypologies: {pump_and_dump: {parameters: {window: 30 d}}}"))


def test_one_stage_is_made_for_all_lanes_and_without_rules_it_is_the_stage_itself() -> None:
    made = stages()
    rules = Rules(0, 0, RULES.format(when=""))
    assert made.instrument.under(rules) is made.instrument.under(rules)
    assert made.instrument.under(Rules()) is made.instrument
    assert made.market.under(rules).decides != made.market.decides


@pytest.mark.parametrize(("weighed", "ours"), [("spoofing", True), ("market_anomaly", False)])
def test_ids_of_a_scenario_hash_what_decides_on_orders_where_it_weighs_them(weighed: str, ours: bool) -> None:
    rules = Rules(0, 0, f"version: a\nscenarios: [{{name: a, title: A, weights: {{{weighed}: 1}}}}]")
    stage = stages().instrument.under(rules)
    assert (stage.decides.config in stage.configs) == ours


def test_a_silent_typology_of_money_raises_no_alert(tmp_path: Path) -> None:
    made = stages(written(tmp_path / "rules.yaml", "version: a\ntypologies: {structuring: {enabled: false}}"))
    found = {a.finding.typology for a in asyncio.run(by_history(payments(), made)).alerts}
    assert "fan_out@1" in found
    assert "structuring@1" not in found


def _iso(ns: int) -> str:
    return clock(ns, "%Y-%m-%dT%H:%M:%SZ")
