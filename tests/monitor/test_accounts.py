"""The account stage in replays: by its journal, in canonical order, and an alert of it proved from either."""

from __future__ import annotations

import asyncio
from pathlib import Path

from typer.testing import CliRunner

from engines.thinning import retrace
from monitor.cli import app
from monitor.proof import by_log, by_recording
from monitor.recordings import Recording
from monitor.replay import recorded
from monitor.replay_output import Replay
from monitor.replay_range import Range
from monitor.replay_run import Loaded, history, journals
from schemas.alerts import digest
from tests.integration.daemon import stages
from tests.monitor.live import live
from tests.payments import payments

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


def test_the_moments_kept_of_accounts_name_them_as_alerts_do_and_give_their_episodes(tmp_path: Path) -> None:
    found = live(stages(), payments(), 1)
    path = found.record(tmp_path / "history", without=(*JOURNALS, "alerts"))
    result = CliRunner().invoke(app, ["replay", str(path), "--level", "rules", "--out", str(tmp_path / "out")])
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
