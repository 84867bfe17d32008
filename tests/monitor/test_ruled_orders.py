"""Scenarios of what accounts do with orders, from a rule file to the alert: an hour in which rules change."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import Literal

import pytest

from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.labels import Label
from engines.simulator.day import Config
from monitor import shards, simulation
from monitor.recordings import Recording
from monitor.render import clock
from monitor.replay_history import Course, by_history
from monitor.replay_range import Range
from monitor.replay_run import Loaded, load
from monitor.replayed import Replayed
from monitor.settings import Settings
from schemas.alerts import Alert, digest
from schemas.journal import RULES_ONLY, Rules

pytestmark = pytest.mark.slow
Model = Literal["agents", "queues"]
S = 1_000_000_000
RULES = """
version: "2025-03"
effective_from: {at}
typologies:
  wash_trading: {{enabled: false}}
scenarios:
  - name: abuse
    title: Abuse of orders
    when: {{venue: [XTOC]}}
    weights: {{spoofing: 0.9, layering: 0.9, wash_trading: 0.8}}
    open: 0.45
    critical: 0.9
"""


class Hour:
    """A simulated hour of a model, and the whole second at which rules take effect: after half of what is injected."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.path = folder / model
        config = Config(
            model=model,
            seed=7001,
            hours=1.0,
            calls=0,
            articles_an_hour=6,
            posts_an_hour=6,
            typologies=("spoofing", "layering", "wash_trading"),
        )
        companies = simulation.companies_of(SymbolMaster.load(DEFAULT_SYMBOLS), 3)
        self.labels: list[Label] = sorted(simulation.write(self.path, config, companies), key=lambda one: one.start_ns)
        self.recording = Recording.open(self.path, verify=False)
        middle = len(self.labels) // 2
        self.at_ns = (self.labels[middle - 1].end_ns + self.labels[middle].start_ns) // 2 // S * S
        self.rules = RULES.format(at=clock(self.at_ns, "%Y-%m-%dT%H:%M:%SZ"))
        self.file = folder / f"{model}.yaml"
        self.file.write_text(self.rules)

    @cache  # noqa: B019
    def said(self, ruled: str = "") -> list[Alert]:
        """Return the alerts at instruments, under the rules of the file or as published ("control"), or none ("")."""
        loaded = load(
            Settings(rules=self.file if ruled == "file" else None),
            rules=[Rules(self.at_ns, 0, self.rules)] if ruled == "control" else (),
        )
        messages = self.recording.messages(loaded.stages.instrument.topics)
        course = Course(level=RULES_ONLY, until_ns=self.recording.last_ns)
        return asyncio.run(by_history(messages, loaded.stages, course, market=False)).alerts


@pytest.fixture(scope="module", params=["agents", "queues"])
def hour(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Hour:
    return Hour(tmp_path_factory.mktemp("hours"), request.param)


def test_a_scenario_names_the_account_with_each_part_and_its_weight(hour: Hour) -> None:
    found = [a for a in hour.said("file") if a.finding.typology == "scenario_abuse@2025-03"]
    opened = [a for a in found if a.activity == "create"]
    later = [label for label in hour.labels if label.start_ns > hour.at_ns]
    assert {(label.instruments[0], label.accounts[0]) for label in later if label.typology != "wash_trading"} <= {
        (a.subject.instrument, a.subject.account) for a in opened
    }
    for alert in opened:
        assert alert.finding.title == "Abuse of orders"
        weights = {rule.name: rule.weight for rule in alert.explanation.rules[1:]}
        assert weights == {"spoofing": 0.9, "layering": 0.9, "wash_trading": 0.8}
        assert alert.evidence.inputs[-1].topic == "orders"
        left = 1.0
        for rule in alert.explanation.rules[1:]:
            left *= 1.0 - rule.weight * rule.value
        assert alert.finding.score == pytest.approx(1.0 - left)


@pytest.mark.parametrize("ruled", ["file", "control"])
def test_rules_change_alerts_from_their_time_on_only_and_ids_carry_the_version(hour: Hour, ruled: str) -> None:
    unruled, found = hour.said(), hour.said(ruled)
    before = [a for a in found if a.times.available_at < hour.at_ns]
    assert any(a.subject.account for a in before)
    assert digest(before) == digest([a for a in unruled if a.times.available_at < hour.at_ns])
    after = [a for a in found if a.times.available_at >= hour.at_ns and a.activity == "create"]
    assert after
    assert {a.provenance.config for a in after}.isdisjoint(a.provenance.config for a in unruled)
    assert {a.alert_id for a in after}.isdisjoint(a.alert_id for a in unruled)
    assert {a.finding.typology for a in after} - {a.finding.typology for a in unruled} == {"scenario_abuse@2025-03"}
    assert not [a for a in after if a.finding.typology == "wash_trading@1"]


def test_shards_find_under_rules_what_one_process_finds(hour: Hour) -> None:
    settings = Settings(rules=hour.file)
    loaded: Loaded = load(settings)
    job = shards.job_of(settings, hour.recording, loaded, Range(), RULES_ONLY, written=False)
    keys = sorted(shards.weigh(hour.recording, loaded.stages.instrument.topics, RULES_ONLY))
    found = Replayed()
    for mine in (frozenset(keys[::2]), frozenset(keys[1::2])):
        carried = None
        for stop_ns in (hour.at_ns - 600 * S, 0):
            one, carried = shards.part(job, mine, carried, stop_ns)
            found.add(one.replayed())
    assert digest(found.alerts) == digest(hour.said("file"))
