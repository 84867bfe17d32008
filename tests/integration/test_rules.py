"""Rules published to a running daemon: in effect at their event time, through a kill, and in the journal's replay.

On librdkafka's in-memory broker: what runs where there is neither Java nor Docker.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.control import change_of, publish
from monitor.render import clock
from monitor.replay_logs import alerts_on_broker
from monitor.replay_output import Replay
from monitor.settings import Settings
from schemas.alerts import Alert
from tests.integration.daemon import Feed, Watch, Worker, account, day, until

pytestmark = pytest.mark.slow
S = 1_000_000_000
RULES = """
version: {version}
effective_from: {at}
typologies:
  adverse_text: {{open: 0.7}}
  market_anomaly: {{severity: info}}
scenarios:
  - name: moves_and_words
    title: A move, and words
    weights: {{market_anomaly: 0.6, adverse_text: 0.5, elevated_risk: 0.3}}
    open: 0.4
    critical: 0.7
"""


def called(settings: Settings, *arguments: str) -> tuple[int, str]:
    where = {"TOCSIN_BOOTSTRAP": settings.bootstrap, "TOCSIN_PREFIX": settings.prefix, "COLUMNS": "200"}
    result = CliRunner(env=where).invoke(app, [*arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def rules(settings: Settings, *arguments: str) -> tuple[int, str]:
    return called(settings, "rules", *arguments)


def iso(ns: int) -> str:
    return clock(ns, "%Y-%m-%dT%H:%M:%SZ")


def alerts(settings: Settings) -> list[Alert]:
    return [a for p in range(settings.partitions) for a in asyncio.run(alerts_on_broker(settings, p))]


def test_rules_take_effect_while_the_daemon_works_and_a_killed_worker_goes_on_with_them(
    embedded: str, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_of(embedded, clock="data", checkpoint_interval_s=1.0, ladder_down_s=0.0)
    part = day()[:4_500]
    middle = len(part) // 2
    effective_ns = part[middle].ts_available // S * S + 60 * S
    path = tmp_path / "rules.yaml"
    path.write_text(RULES.format(version="second", at=iso(effective_ns)))
    watch = Watch(settings)
    with Worker(settings, tmp_path) as worker:
        with Feed(settings, part[:middle]) as feed:
            feed.finish()
        until(lambda: watch.acknowledged() == middle, 90, "the first half is read", [worker])
        code, told = rules(settings, "publish", str(path), "--reason", "a test", "--author", "me")
        assert (code, told.startswith("version second stands at offset 0, in effect from")) == (0, True), told
        until(lambda: worker.events("rules published"), 120, "they are read", [worker])
        assert not worker.events("rules in effect")
        with Feed(settings, part[middle:], rate=600) as feed:
            until(lambda: worker.events("rules in effect"), 120, "they are in effect", [worker])
            until(lambda: watch.acknowledged() > middle + 600, 120, "some more", [worker])
            worker.kill()
            worker.start()
            feed.finish()
        until(lambda: watch.acknowledged() == len(part), 150, "all is read", [worker])
        recovered = worker.events("recovered")
        assert sum(event["messages"] for event in recovered) > middle
        assert sum(event["keys"] for event in recovered) > 0
        assert not worker.events_like("decision configuration has changed")
        code, again = rules(settings, "publish", str(path), "--reason", "a test", "--author", "me")
        assert (code, "was published already" in again) == (2, True)
        code, listed = rules(settings, "show")
        assert (code, "in effect" in listed, "a test" in listed) == (0, True, True)
        assert rules(settings, "show", "second") == (0, path.read_text())
        told = json.loads(worker.get("/readyz")[1])["rules"]
        assert set(told) == {"instrument", "account", "market"}
        followed = [one for one in told["instrument"].values() if one["version"] == "second"]
        assert followed
        assert all(one["since"] == iso(effective_ns) for one in followed)
        assert all(part in listed for part in followed[0].values())
        assert worker.drain() == 0
        assert worker.exits == [-signal.SIGKILL, 0]
    # The journal's replay says the same: rules are in it.
    account(settings).check(messages=len(part), alerts=3)

    found = [a for a in alerts(settings) if not a.finding.typology.startswith("market_wide")]
    # An episode that is closed by the clock is told with the second after it was due.
    before = {a.provenance.config for a in found if a.times.available_at < effective_ns}
    after = {a.provenance.config for a in found if a.times.available_at >= effective_ns}
    assert len(before) == len(after) == 1
    assert before != after
    scenarios = [a for a in found if a.finding.typology == "scenario_moves_and_words@second"]
    assert scenarios
    assert all(a.times.available_at >= effective_ns for a in scenarios)

    # Proved and replayed with no rules of one's own: the journal and the control topic hold them.
    code, proof = called(settings, "replay", "--alert", scenarios[0].alert_id)
    assert (code, "MATCH: scenario_moves_and_words@second create" in proof) == (0, True), proof
    code, replayed = called(settings, "replay", "--history", "--out", str(tmp_path / "history"))
    assert code == 0, replayed
    history = Replay.open(tmp_path / "history").alerts()
    assert scenarios[0].finding.typology in {a.finding.typology for a in history}


def test_what_is_no_rules_is_refused_by_the_daemon_too(
    embedded: str, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_of(embedded, clock="data")
    bad = [("version: a\ncolour: red", "a", "found field colour"), ("version: b", "a", "its text is of version b")]
    for text, version, _ in bad:
        change = change_of(text, version, effective_ns=0, now_ns=S, author="me", reason="a test")
        asyncio.run(publish(settings, change))
    with Worker(settings, tmp_path) as worker:
        until(lambda: worker.partitions, 120, "ready", [worker])
        event = "a change of rules is refused, those before stay in effect"
        until(lambda: len(worker.events(event)) == len(bad), 120, "they are refused", [worker])
        for refused, (_, _, told) in zip(worker.events(event), bad, strict=True):
            assert told in refused["reason"]
        assert not worker.events("rules published")
        assert worker.drain() == 0
