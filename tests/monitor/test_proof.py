"""One alert is rebuilt from its instrument alone, and what was changed of it, or of its evidence, is found."""

from __future__ import annotations

import asyncio
import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.errors import StartupError
from monitor.proof import Proof, by_log, by_recording, chosen, of_recording, require_configuration
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Recording
from monitor.replay_history import Course, by_history
from monitor.replay_logs import recorded
from monitor.replay_output import Replay
from monitor.replay_run import Loaded, warm_up
from schemas.alerts import Alert
from schemas.journal import RULES_ONLY, Decides
from schemas.topics import INSTRUMENT_INPUTS
from tests.golden.day import RECORDING
from tests.integration.daemon import stages
from tests.monitor.live import Live, crowd, live

S = 1_000_000_000


@cache
def golden() -> Recording:
    return Recording.open(RECORDING)


@cache
def alerts() -> tuple[Alert, ...]:
    return tuple(asyncio.run(by_history(golden().messages(), stages())).alerts)


def proved(alert: Alert, from_ns: int = 0) -> Proof:
    return asyncio.run(by_recording(golden(), stages(), alert, 0, from_ns))


@pytest.mark.parametrize("number", range(14))
def test_each_alert_of_a_day_is_rebuilt_from_its_instrument_alone(number: int) -> None:
    alert = alerts()[number]
    proof = proved(alert)
    assert (proof.difference, proof.farthest, proof.notes) == (None, None, ())
    assert proof.inputs == len(alert.evidence.inputs) > 0
    assert proof.messages < golden().rows(INSTRUMENT_INPUTS) / 1.5
    assert len(alerts()) == 14


def changed(alert: Alert, group: str, **fields: Any) -> Alert:
    return msgspec.structs.replace(alert, **{group: msgspec.structs.replace(getattr(alert, group), **fields)})


def test_an_alert_of_another_level_of_the_ladder_is_rebuilt_at_that_level() -> None:
    under = asyncio.run(by_history(golden().messages(), stages(), Course(level=RULES_ONLY))).alerts
    assert {alert.quality.ladder for alert in under} == {"rules only"}
    assert proved(under[0]).difference is None


def test_the_first_field_that_differs_is_named() -> None:
    alert = alerts()[0]
    told = str(proved(changed(alert, "finding", score=0.5)).difference)
    assert told == f"finding.score: theirs 0.5, ours {alert.finding.score}"
    found = proved(changed(alert, "times", event_end=alert.times.event_end - 1)).difference
    assert found is not None
    assert found.path == "times.event_end"


def test_numbers_may_differ_by_the_tolerance_and_the_farthest_is_told() -> None:
    proof = proved(changed(alerts()[0], "finding", score=alerts()[0].finding.score - 1e-6))
    assert proof.difference is None
    assert proof.farthest is not None
    assert proof.farthest.path == "finding.score"


def test_evidence_that_is_gone_or_was_changed_is_named() -> None:
    alert = alerts()[0]
    first, *rest = alert.evidence.inputs
    other = changed(alert, "evidence", inputs=[msgspec.structs.replace(first, sha256="0" * 64), *rest])
    proof = proved(other)
    assert str(proof.difference) == (
        f"evidence {first.topic}/{first.partition}, offset {first.offset}: theirs '{'0' * 64}', ours '{first.sha256}'"
    )
    assert proof.inputs == len(rest)
    gone = changed(alert, "evidence", inputs=[msgspec.structs.replace(first, offset=10**6), *rest])
    assert str(proved(gone).difference).endswith("ours absent")


def test_an_alert_that_nothing_raises_is_told() -> None:
    proof = proved(msgspec.structs.replace(alerts()[0], alert_id="f" * 32))
    assert str(proof.difference) == "the alert: theirs 'market_anomaly@1', ours absent"


def test_one_of_the_warm_up_is_rebuilt_with_its_mark() -> None:
    alert = alerts()[0]
    from_ns = alert.times.available_at + 1
    assert proved(warm_up(alert), from_ns).difference is None
    found = proved(warm_up(alert)).difference
    assert found is not None
    assert found.path == "quality.warm_up"


def test_who_made_it_on_what_is_said_and_is_no_difference() -> None:
    proof = proved(changed(alerts()[0], "provenance", code_version="9", backend="openvino", precision="bf16"))
    assert proof.difference is None
    made = alerts()[0].provenance
    assert proof.notes == (
        f"made by version 9, rebuilt by {made.code_version}",
        f"made on openvino in bf16, rebuilt on {made.backend} in {made.precision}",
    )


def test_an_alert_of_another_configuration_is_told_with_what_is_needed() -> None:
    alert, loaded = alerts()[0], Loaded(stages())
    require_configuration(alert, loaded, ())
    with pytest.raises(StartupError, match=r"decided by bundle other .*: name the folder of that bundle by --bundle"):
        require_configuration(changed(alert, "provenance", config="c", bundle="other"), loaded, ())
    with pytest.raises(StartupError, match=r"decided by configuration c of version 7, here is .*--config FILE"):
        require_configuration(changed(alert, "provenance", config="c", code_version="7"), loaded, ())
    with pytest.raises(StartupError) as told:
        require_configuration(changed(alert, "provenance", config="c"), loaded, ())
    assert str(told.value).count(alert.provenance.config) == 1
    other = dataclasses.replace(
        stages(), instrument=dataclasses.replace(stages().instrument, decides=Decides("other", "x"), configs=("c",))
    )
    require_configuration(changed(alert, "provenance", config="c", bundle="other"), Loaded(stages(), [other]), ())


def test_an_alert_is_named_by_the_beginning_of_its_id() -> None:
    one = alerts()[0]
    assert chosen(alerts(), one.alert_id[:8], "x", "x/alerts.ndjson") is one
    with pytest.raises(StartupError, match=r"No alert begins with 'zz' in x; x/alerts\.ndjson lists them"):
        chosen(alerts(), "zz", "x", "x/alerts.ndjson")
    with pytest.raises(StartupError, match=r"Expected the first digits of an id, found nothing: x/alerts\.ndjson"):
        chosen(alerts(), "", "x", "x/alerts.ndjson")


# By the journal.


@cache
def lived() -> Live:
    return live(stages(), [*golden().messages(INSTRUMENT_INPUTS)], 4, seed=5)


def test_live_alerts_are_rebuilt_by_the_journal_of_their_partition(tmp_path: Path) -> None:
    recording = Recording.open(lived().record(tmp_path / "r"))
    there = of_recording(recording)
    assert len(there) == len(lived().alerts) >= 8
    loaded = Loaded(stages())
    for alert in there:
        proof = asyncio.run(by_log(recorded(recording), loaded, alert))
        assert proof.difference is None
        assert proof.inputs == len(alert.evidence.inputs)
    found = asyncio.run(by_log(recorded(recording), loaded, changed(there[0], "finding", score=0.1))).difference
    assert found is not None
    assert found.path == "finding.score"


def test_an_alert_of_the_market_is_rebuilt_from_all_instruments_or_by_its_journal(tmp_path: Path) -> None:
    found = live(stages(), crowd(16), 2, seed=6)
    recording = Recording.open(found.record(tmp_path / "r"))
    rung = [alert for alert in of_recording(recording) if alert.subject.instrument == "market"]
    assert len(rung) == 2
    for alert in rung:
        proof = asyncio.run(by_log(recorded(recording), Loaded(stages()), alert))
        assert proof.difference is None
        assert proof.messages <= 16  # the openings, and no tick
        assert proof.inputs == len(alert.evidence.inputs)

    with RecordingWriter(tmp_path / "h", source="test") as writer:
        for message in crowd(16):
            writer.append(dataclasses.replace(message, partition=0))
    history = Recording.open(tmp_path / "h")
    replayed = asyncio.run(by_history(history.messages(), stages()))
    for alert in replayed.alerts[-2:]:
        assert alert.finding.typology == "market_wide@1"
        assert asyncio.run(by_recording(history, stages(), alert, 0, 0)).difference is None


# As a person calls it.


def test_an_alert_of_the_market_is_proved_at_the_level_that_its_replay_was_at(tmp_path: Path) -> None:
    """Which it does not say itself: its stage has no models, and no ladder."""
    with RecordingWriter(tmp_path / "day", source="test") as writer:
        for message in crowd(16):
            writer.append(dataclasses.replace(message, partition=0))
    call = CliRunner().invoke
    out = tmp_path / "out"
    result = call(app, ["replay", str(tmp_path / "day"), "--level", "rules", "--out", str(out)])
    assert result.exit_code == 0, result.output
    replay = Replay.open(out)
    assert replay.manifest.level == RULES_ONLY
    rung = [alert for alert in replay.alerts() if alert.subject.instrument == "market"]
    assert {alert.quality.ladder for alert in rung} == {"full"}
    result = call(app, ["replay", str(out), "--alert", rung[0].alert_id])
    assert result.stdout.startswith("MATCH: market_wide@1"), result.output


def test_the_command_proves_an_alert_of_a_replays_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    call = CliRunner().invoke
    result = call(app, ["replay", str(RECORDING), "--to", "2025-03-03T15:30", "--out", str(out)])
    assert result.exit_code == 0, result.output
    alert = alerts()[0]
    result = call(app, ["replay", str(out), "--alert", alert.alert_id[:10]])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"MATCH: market_anomaly@1 create of JUNIPER.XTOC, alert {alert.alert_id}, from ")

    lines = (out / "alerts.ndjson").read_bytes()
    (out / "alerts.ndjson").write_bytes(lines.replace(b"JUNIPER", b"JUNIPEX", 1))
    result = call(app, ["replay", str(out), "--alert", alert.alert_id])
    assert result.exit_code == 2
    assert "alerts.ndjson has SHA-256" in result.stderr

    result = call(app, ["replay", str(RECORDING), "--alert", alert.alert_id])
    assert result.exit_code == 2
    assert "holds no alerts: name the folder of its replay" in result.stderr
    result = call(app, ["replay", str(lived().record(tmp_path / "r")), "--alert", lived().alerts[0].alert_id])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("MATCH: ")
