"""The account stage in replays: by its journal, in canonical order, and an alert of it proved from either."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engines.thinning import retrace
from monitor.cli import app
from monitor.proof import by_log, by_recording
from monitor.recordings import Recording
from monitor.replay_logs import recorded
from monitor.replay_output import Replay
from monitor.replay_range import Range
from monitor.replay_run import Loaded, history, journals
from schemas.alerts import digest
from tests.integration.daemon import stages
from tests.monitor.live import live
from tests.payments import payments
from tests.statements import stated

RULES = """
version: a
typologies: {structuring: {enabled: false}}
scenarios: [{name: moves, title: Moves, weights: {structuring: 0.9, round_trip: 0.9}, open: 0.4, hold: 1 d}]
"""
JOURNALS = ("journal", "accounts.journal", "market.journal")


def test_what_a_daemon_said_of_accounts_is_said_again_by_its_journal_and_proved(tmp_path: Path) -> None:
    found = live(stages(), payments(), 3, seed=2)
    assert {alert.subject.instrument for alert in found.alerts} == {"accounts"}
    recording = Recording.open(found.record(tmp_path / "capture"))
    replayed = asyncio.run(journals(recorded(recording), recording.partitions("journal"), Loaded(stages()), Range()))
    assert digest(replayed.alerts) == digest(found.alerts)
    assert replayed.by_topic["transfers"] == len(payments())
    for alert in found.alerts[::5]:
        proof = asyncio.run(by_log(recorded(recording), Loaded(stages()), alert))
        assert proof.difference is None
        assert proof.inputs == len(alert.evidence.inputs)


def test_statements_among_payments_are_said_again_by_the_journal_and_in_canonical_order(tmp_path: Path) -> None:
    sent = [*payments(), *stated()]
    found = live(stages(), sent, 2, seed=4)
    rung = [a for a in found.alerts if a.finding.typology == "counterparty_default@1"]
    assert [(a.subject.account, a.activity) for a in rung] == [("P5", "create"), ("C1", "create")]
    assert {a.provenance.bundle for a in rung} == {stages().about["bundle"]}
    assert not any(a.provenance.bundle for a in found.alerts if a not in rung)
    recording = Recording.open(found.record(tmp_path / "capture"))
    replayed = asyncio.run(journals(recorded(recording), recording.partitions("journal"), Loaded(stages()), Range()))
    assert digest(replayed.alerts) == digest(found.alerts)
    (letter,) = replayed.dead_letters
    assert (letter.topic, letter.reason, letter.offset) == ("statements", "out_of_range", 2)
    for alert in rung:
        proof = asyncio.run(by_log(recorded(recording), Loaded(stages()), alert))
        assert (proof.difference, proof.inputs) == (None, 1)
    plain = Recording.open(found.record(tmp_path / "history", without=(*JOURNALS, "alerts")))
    again = asyncio.run(history(plain, stages(), Range()))
    # Payments were overtaken by a statement: when an episode of theirs closed is the journal's own.
    assert digest(a for a in again.alerts if a.finding.typology == "counterparty_default@1") == digest(rung)


def test_at_rules_only_a_replay_scores_no_statement_and_counts_each(tmp_path: Path) -> None:
    found = live(stages(), stated(), 1)
    path = found.record(tmp_path / "history", without=(*JOURNALS, "alerts"))
    result = CliRunner().invoke(app, ["replay", str(path), "--level", "rules", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    replay = Replay.open(tmp_path / "out")
    assert not list(replay.alerts())
    counted = {one.labels: one.value for one in replay.metrics() if one.name == "tocsin_rows_set_aside_total"}
    assert counted == {'reason="rules_only: counterparty_default"': 3}


def test_history_says_the_same_and_of_some_instruments_nothing(tmp_path: Path) -> None:
    found = live(stages(), payments(), 1)
    recording = Recording.open(found.record(tmp_path / "history", without=(*JOURNALS, "alerts")))
    replayed = asyncio.run(history(recording, stages(), Range()))
    assert digest(replayed.alerts) == digest(found.alerts)
    for alert in replayed.alerts[::5]:
        proof = asyncio.run(by_recording(recording, stages(), alert, 0, 0))
        assert proof.difference is None
        assert proof.inputs == len(alert.evidence.inputs)
    assert not asyncio.run(history(recording, stages(), Range(instruments=frozenset({"ACME.XTOC"})))).alerts
    # Of the first half, what was said in it: time ends there.
    half_ns = payments()[len(payments()) - 20].ts_available
    part = asyncio.run(history(recording, stages(), Range(to_ns=half_ns)))
    assert [a.alert_id for a in part.alerts] == [a.alert_id for a in replayed.alerts if a.times.available_at < half_ns]


@pytest.mark.parametrize("rules", ["version: none", RULES])
def test_the_moments_kept_of_accounts_name_them_as_alerts_do_and_give_their_episodes(
    rules: str, tmp_path: Path
) -> None:
    (ruled := tmp_path / "rules.yaml").write_text(rules)
    found = live(stages(), payments(), 1)
    path = found.record(tmp_path / "history", without=(*JOURNALS, "alerts"))
    arguments = ["replay", str(path), "--level", "rules", "--rules", str(ruled), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    replay = Replay.open(tmp_path / "out")
    told: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for alert in replay.alerts():
        scope = (alert.subject.instrument, alert.finding.typology.partition("@")[0], alert.subject.account)
        told.setdefault(scope, []).append((alert.activity, alert.times.event_end))
    manifest = replay.manifest
    kept = {
        scope: [(one.activity, one.ts) for one, _, _ in traced]
        for scope, moments in replay.tracks().items()
        if (traced := retrace(
            manifest.specs[scope[1]], moments, patience_ns=manifest.patience_ns, until_ns=manifest.until_ns
        ))
    }  # fmt: skip
    assert kept == told
    assert {instrument for instrument, _, _ in kept} == {"accounts"}
    assert ("scenario_moves" in {head for _, head, _ in kept}) is (rules is RULES)
