"""`tocsin disposition` on files: what it takes, what it refuses in one sentence, what backtests get of it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.label_files import read
from monitor.recording_format import Message
from monitor.recording_writer import RecordingWriter
from monitor.replay_output import Replay
from schemas.alerts import Activity, Alert
from schemas.records import Review
from tests.golden.examples import ALERT, EXAMPLES, T
from tests.replays import written

replace = msgspec.structs.replace
(REVIEW,) = (example.record for example in EXAMPLES if isinstance(example.record, Review))


def revision(episode: str, number: int, activity: Activity, score: float, end: int = 0) -> Alert:
    return replace(
        ALERT,
        alert_id=f"{number}{episode}".ljust(32, "0"),
        episode_id=episode.ljust(32, "0"),
        revision=number,
        activity=activity,
        times=replace(ALERT.times, event_end=ALERT.times.event_end + end),
        finding=replace(ALERT.finding, score=score),
    )


@pytest.fixture
def alerts(tmp_path: Path) -> Path:
    told = [
        revision("abc1", 0, "create", 0.6),
        revision("abd2", 0, "create", 0.7),
        revision("abc1", 1, "update", 0.9, 10),
        revision("abc1", 2, "close", 0.1, 20),
        REVIEW,
    ]
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, told)) + b"\n\n")
    return path


def run(alerts: Path, *arguments: str) -> tuple[int, str, str]:
    file = ["--file", str(alerts.with_name("found.jsonl"))]
    source = ["--from", str(alerts)] if arguments[0] not in ("list", "export") else []
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["disposition", *arguments, *source, *file])
    return result.exit_code, result.stdout, result.stderr


def test_an_episode_is_disposed_of_by_its_own_or_an_alerts_id_even_when_closed_and_again(alerts: Path) -> None:
    code, output, _ = run(alerts, "abc", "confirmed_risk", "--author", "ann", "--note", "seen")
    assert (code, output) == (0, "episode abc10000 (pump_and_dump@1, ACME.XTOC): confirmed_risk\n")
    code, output, _ = run(alerts, "1abc", "false_positive", "--author", "bob")
    assert output.endswith("false_positive; it was confirmed_risk by ann\n")

    _, output, _ = run(alerts, "list", "--all", "--json")
    first, last = map(json.loads, output.splitlines())
    assert (first["value"], first["note"], last["value"]) == ("confirmed_risk", "seen", "false_positive")
    assert last["alert_id"].startswith("0abc1"), "the first revision's"
    assert (last["score"], last["event_end"]) == (0.9, ALERT.times.event_end + 20)
    _, output, _ = run(alerts, "list")
    assert "1 looked at; 1 earlier values (--all)" in output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("abc", "guilty"), "VALUE: expected one of confirmed_risk, valuable_alert, false_positive"),
        (("f00", "duplicate"), "No alert, episode or review begins with 'f00' in "),
        (("ab", "duplicate"), "'ab' begins 2 ids in"),
        (("", "duplicate"), "Expected the first digits of an id"),
    ],
)
def test_what_is_unknown_is_refused_in_one_sentence(alerts: Path, arguments: tuple[str, ...], told: str) -> None:
    code, _, error = run(alerts, "set", *arguments)
    assert code == 2
    assert told in error
    assert not alerts.with_name("found.jsonl").exists()


def test_files_that_are_none_are_named_with_the_line(alerts: Path, tmp_path: Path) -> None:
    alerts.write_text('{"no": "alert"}\n')
    code, _, error = run(alerts, "abc", "duplicate")
    assert (code, "alerts.jsonl, line 1: expected an alert or a review in JSON" in error) == (2, True)
    (tmp_path / "found.jsonl").write_text("nothing\n")
    code, _, error = run(alerts, "list")
    assert (code, "found.jsonl, line 1: expected a disposition in JSON" in error) == (2, True)


def test_a_review_is_disposed_of_too_and_both_are_labels_of_a_backtest(alerts: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.parquet"
    code, _, error = run(alerts, "export", "--out", str(labels))
    assert (code, "Nothing was found yet" in error) == (2, True)
    _, output, _ = run(alerts, REVIEW.review_id, "confirmed_risk", "--at", "2024-01-01")
    assert output.startswith("review 33333333 (spoofing@1, ACME.XTOC · a1)")
    run(alerts, "abd2", "data_error", "--at", "2024-01-02")
    code, output, _ = run(alerts, "export", "--out", str(labels))
    assert (code, output.endswith(": 1 risks, 1 that were none\n")) == (0, True)
    harmful, benign = sorted(read(labels).labels, key=lambda label: label.benign)
    assert (harmful.weight, harmful.accounts, harmful.known_ns) == (16.0, ["a1"], 1_704_067_200 * 10**9)
    assert (benign.benign, benign.typology, benign.weight) == (True, "pump_and_dump", 1.0)


@pytest.mark.parametrize("topic", ["alerts", "news"])
def test_a_recording_that_holds_alerts_is_searched(alerts: Path, tmp_path: Path, topic: str) -> None:
    (example,) = (one for one in EXAMPLES if one.name == ("alert" if topic == "alerts" else "news"))
    with RecordingWriter(tmp_path / "day", source="test") as writer:
        writer.append(Message(topic, example.key, example.encoded(), T, T, T // 10**6, offset=0))
    source = ("--from", str(tmp_path / "day"), "--file", str(tmp_path / "found.jsonl"))
    result = CliRunner().invoke(app, ["disposition", "1111", "duplicate", *source])
    if topic == "alerts":
        assert (result.exit_code, "pump_and_dump@1, ACME.XTOC): duplicate" in result.stdout) == (0, True)
    else:
        assert (result.exit_code, "holds no alerts, only news" in result.stderr) == (2, True)


def test_reviews_of_a_replay_are_in_its_folder_and_can_be_disposed_of(tmp_path: Path) -> None:
    written(tmp_path / "replayed", [REVIEW], [ALERT], T)
    assert Replay.open(tmp_path / "replayed").reviews() == [REVIEW]
    found = ("--from", str(tmp_path / "replayed"), "--file", str(tmp_path / "found.jsonl"))
    result = CliRunner().invoke(app, ["disposition", "3333", "false_positive", *found])
    assert (result.exit_code, result.stdout.startswith("review 33333333")) == (0, True), result.output


def test_statistics_are_of_all_that_rang_and_was_drawn(alerts: Path) -> None:
    run(alerts, "abd2", "valuable_alert")
    run(alerts, REVIEW.review_id, "false_positive")
    code, output, _ = run(alerts, "stats", "--json")
    pump, spoofing = map(json.loads, output.splitlines())
    assert (code, pump["episodes"], pump["precision"][0], pump["recall"]) == (0, 2, 1.0, None)
    assert (spoofing["reviews"], spoofing["missed"][0]) == (1, 0.0)
    _, output, _ = run(alerts, "stats")
    assert "valuable_alert 1" in output
