"""Scenarios of what accounts pay, from a rule file to the alert: four simulated days in which rules change."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import pytest

from engines.labels import Label
from engines.simulator import money
from monitor.converters.messages import record_message
from monitor.proof import by_log, by_recording
from monitor.recordings import Message, Recording
from monitor.replay_history import by_history
from monitor.replay_logs import recorded
from monitor.replay_range import Range
from monitor.replay_run import Loaded, history, journals
from monitor.settings import Settings
from monitor.stage import Stages, load_stages
from schemas.alerts import Alert, digest
from schemas.journal import Rules
from tests.monitor.live import live
from tests.payments import payments
from tests.statements import stated

DAY_NS = 86_400_000_000_000
#: 2025-03-03T00:00:00Z; rules take effect two days later.
BEGIN_NS = 1_740_960_000_000_000_000
AT_NS = BEGIN_NS + 2 * DAY_NS
RULES = """
version: "2025-03"
{effective}
typologies:
  rapid_movement: {{enabled: false}}
scenarios:
  - name: laundering
    title: Laundering
    weights: {{structuring: 0.9, rapid_movement: 0.9}}
    within: 1 d
    open: 0.45
    hold: 1 d
  - name: owes
    title: Payments of one who owes
    weights: {{counterparty_default: 0.9, round_trip: 0.5}}
    within: 30 d
    open: 0.2
    close: 0.1
"""
EFFECTIVE = "effective_from: 2025-03-05T00:00:00Z"


@cache
def days() -> tuple[list[Message], list[Label]]:
    """Return what is paid on four days, and what of it is laundering."""
    people, labels, messages = money.economy(11), list[Label](), list[Message]()
    for number in range(4):
        today = date(2025, 3, 3) + timedelta(number)
        typologies = ("structuring", "rapid_movement")
        paid = money.day(11, people, today, number, BEGIN_NS + number * DAY_NS, typologies=typologies)
        labels += paid.labels
        made = [record_message("transfers", one) for one in paid.transfers]
        messages += [
            Message(m.topic, m.key, m.value, m.ts_event, m.ts_available, m.ts_available // 10**6) for m in made
        ]
    return messages, labels


def stages(folder: Path, effective: str = EFFECTIVE) -> Stages:
    path = folder / "rules.yaml"
    path.write_text(RULES.format(effective=effective))
    return load_stages(Settings(rules=path), lambda _: None, mode="replay")


def said(made: Stages) -> list[Alert]:
    return asyncio.run(by_history(days()[0], made)).alerts


def published(*rules: Rules) -> Stages:
    """Return stages that were started without rules, and were told of some."""
    made = load_stages(Settings(), lambda _: None, mode="replay")
    for one in rules:
        made.rulebook.add(one)
    return made


@cache
def unruled() -> list[Alert]:
    return said(published())


def test_a_scenario_tells_who_pays_below_the_threshold_and_who_passes_money_on(tmp_path: Path) -> None:
    opened = [
        a
        for a in said(stages(tmp_path))
        if (a.finding.typology, a.activity) == ("scenario_laundering@2025-03", "create")
    ]
    guilty = {label.accounts[0] for label in days()[1] if label.start_ns >= AT_NS}
    assert len(guilty) == 4
    assert guilty <= {a.subject.account for a in opened}
    for alert in opened:
        assert alert.subject.instrument == "accounts"
        parts = {rule.name: rule for rule in alert.explanation.rules[1:]}
        assert {name: rule.weight for name, rule in parts.items()} == {"structuring": 0.9, "rapid_movement": 0.9}
        left = [1 - 0.9 * rule.value for rule in parts.values()]
        assert alert.finding.score == pytest.approx(1 - left[0] * left[1])
        assert alert.evidence.inputs[-1].topic == "transfers"


@pytest.mark.parametrize("by", ["file", "publication"])
def test_rules_change_alerts_of_accounts_from_their_time_on_only_and_ids_carry_them(by: str, tmp_path: Path) -> None:
    found = said(stages(tmp_path) if by == "file" else published(Rules(AT_NS, 0, RULES.format(effective=EFFECTIVE))))
    before, after = ([a for a in found if (a.times.available_at < AT_NS) is early] for early in (True, False))
    assert {a.finding.typology for a in before} == {"structuring@1", "rapid_movement@1"}
    assert digest(before) == digest(a for a in unruled() if a.times.available_at < AT_NS)
    opened = [a for a in after if a.activity == "create"]
    assert {a.finding.typology for a in opened} >= {"structuring@1", "scenario_laundering@2025-03"}
    assert "rapid_movement@1" not in {a.finding.typology for a in opened}
    assert {a.alert_id for a in opened}.isdisjoint(a.alert_id for a in unruled())
    assert {a.provenance.config for a in opened}.isdisjoint(a.provenance.config for a in unruled())


def test_scenarios_are_said_again_by_the_journal_and_by_history_and_proved(tmp_path: Path) -> None:
    made = stages(tmp_path, effective="")
    ruled = dataclasses.replace(made, account=made.account.under(made.rulebook.base))
    found = live(ruled, [*payments(), *stated()], 2, seed=4)
    rung = {a.finding.typology: a for a in found.alerts if a.finding.typology.startswith("scenario_")}
    assert rung.keys() == {"scenario_laundering@2025-03", "scenario_owes@2025-03"}
    # Only what weighs the model's word names it.
    assert not rung["scenario_laundering@2025-03"].provenance.bundle
    assert rung["scenario_owes@2025-03"].provenance.bundle == made.about["bundle"]
    recording = Recording.open(found.record(tmp_path / "capture"))
    replayed = asyncio.run(journals(recorded(recording), recording.partitions("journal"), Loaded(ruled), Range()))
    assert digest(replayed.alerts) == digest(found.alerts)
    plain = Recording.open(found.record(tmp_path / "history", without=("accounts.journal", "journal", "alerts")))
    again = asyncio.run(history(plain, made, Range()))
    assert {a.alert_id for a in rung.values()} <= {a.alert_id for a in again.alerts}
    for alert in rung.values():
        assert asyncio.run(by_log(recorded(recording), Loaded(ruled), alert)).difference is None
        assert asyncio.run(by_recording(plain, made, alert, 0, 0)).difference is None
