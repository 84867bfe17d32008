"""`tocsin replay` as a person calls it: what is asked for together and cannot be, what is damaged, what is written."""

from __future__ import annotations

import dataclasses
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from agents.fusion import SCORES
from engines.inference import OPENVINO, ORT_CPU
from engines.text import TextEncoder
from monitor.agreement import TOLERANCE, alike, farthest
from monitor.cli import app
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Message, Recording
from monitor.replay_output import Replay
from schemas import control
from schemas.control import RuleChange
from tests.golden.day import RECORDING

STRETCH = ["--from", "2025-03-03T14:45", "--to", "2025-03-03T15:05", "--warm-up", "10m"]


def call(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["replay", *words])
    assert result.exit_code == code, result.output
    return result


def test_a_stretch_is_written_whole_and_says_what_it_is_of(tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = call(str(RECORDING), *STRETCH, "--instruments", "JUNIPER.XTOC, TERRACE.XTOC", "--out", str(out)).stdout
    assert not Path(f"{out}.part").exists()
    replay = Replay.open(out)
    manifest = replay.manifest
    assert manifest.instruments == ["JUNIPER.XTOC", "TERRACE.XTOC"]
    assert (manifest.to_ns - manifest.from_ns) // 60_000_000_000 == 20
    assert 9 <= manifest.warm_up_ns // 60_000_000_000 < 10  # its first message came a little later
    assert manifest.recording.path == str(RECORDING.resolve())
    assert set(replay.table("scores", ["instrument"]).column("instrument").to_pylist()) == set(manifest.instruments)
    assert pq.read_table(out / "tracks.parquet").num_rows == manifest.files["tracks.parquet"].rows > 0
    assert manifest.counts.moments > manifest.files["tracks.parquet"].rows
    assert told.splitlines()[-1] == f"digest {manifest.digest}"
    assert "Note: Of 2 instruments alone: the market stage heard nothing." in told
    assert "the window of its pretraining on all-MiniLM-L6-v2 is unknown" in told
    assert {metric.name for metric in replay.metrics()} >= {"tocsin_ticks_total", "tocsin_replay_cpu_seconds"}
    assert "exists; remove it" in call(str(RECORDING), "--out", str(out), code=2).stderr


def test_another_configuration_comes_from_a_file(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("grace_ms = 10000\n")
    folders = []
    for n, words in enumerate(([], ["--config", str(config)])):
        call(str(RECORDING), *STRETCH, *words, "--out", str(tmp_path / str(n)))
        folders.append(Replay.open(tmp_path / str(n)).manifest)
    assert folders[0].config != folders[1].config
    assert folders[0].bundle == folders[1].bundle


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--bundle", "a", "--bundle", "b"], "History is replayed with one bundle"),
        (["--from", "2025-03-04", "--to", "2025-03-03"], "--to is no later than --from"),
        (["--from", "yesterday"], "--from: expected `beginning`, an age such as 15m"),
        (["--warm-up", "long"], "--warm-up: expected a length of time"),
        (["--offsets", "mystery=1:2"], "--offsets: expected TOPIC=FIRST:LAST"),
        (["--to-prefix", "tocsin."], "is the prefix of the live topics"),
        (["--shards", "2", "--speed", "1"], "--shards and --ray replay a recording by history"),
        (["--shards", "2", "--offsets", "news=1:2"], "--shards and --ray replay a recording by history"),
        (["--ray", "auto", "--to-prefix", "replay."], "--shards and --ray replay a recording by history"),
        (["--config", "gone.toml"], "gone.toml cannot be read"),
        (["--to", "beginning"], "nothing of it lies between --from and --to"),
        (["--from", "2h"], "nothing of it lies between --from and --to"),
        (["--to", "9999-01-01"], "--to: expected a time from 1970 to 2262"),
        (["--instruments", "NOBODY.XTOC"], "holds no message of what --instruments"),
        (["--out", "/dev/null/out"], "/dev/null/out cannot be made (Not a directory)"),
        (["--alert", "3f", "--from", "1h", "--out", "x"], "--alert makes no use of --out, --from"),
        (["--check-lookahead", "--speed", "2"], "--check-lookahead makes no use of --speed"),
        (
            ["--check-lookahead", "--bundle", "a", "--bundle", "b"],
            "--check-lookahead makes no use of a second --bundle",
        ),
        (["--check-lookahead", "--to", "2025-03-03T14:30:00.3"], "Nothing is said of this stretch"),
    ],
)
def test_what_cannot_be_is_a_sentence(words: list[str], sentence: str) -> None:
    assert sentence in call(str(RECORDING), *words, code=2).stderr


def test_under_rules_only_ticks_speak(tmp_path: Path) -> None:
    call(str(RECORDING), "--level", "rules", "--out", str(tmp_path / "out"))
    replay = Replay.open(tmp_path / "out")
    assert {alert.quality.ladder for alert in replay.alerts()} == {"rules only"}
    assert {alert.finding.typology for alert in replay.alerts()} == {"market_anomaly@1", "pump_and_dump@1"}
    assert replay.table("scores", ["elevated_risk", "adverse_text"]).drop_null().num_rows == 0
    shed = {metric.labels: metric.value for metric in replay.metrics() if metric.name == "tocsin_shed_total"}
    assert shed['modality="text"'] == replay.manifest.counts.messages["news"]


@pytest.mark.slow
def test_two_back_ends_raise_the_same_alerts_within_the_tolerance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    replays = []
    for backend in (OPENVINO, ORT_CPU):
        monkeypatch.setattr("monitor.encoding.TextEncoder", partial(TextEncoder, prefer=(backend,)))
        call(str(RECORDING), "--out", str(tmp_path / backend))
        replays.append(Replay.open(tmp_path / backend))
        assert {alert.provenance.backend for alert in replays[-1].alerts()} == {backend}
    ours, theirs = (replay.alerts() for replay in replays)
    assert alike(ours, theirs) is None
    assert any(farthest(*both) for both in zip(ours, theirs, strict=True)), "two back ends, and not a digit apart"
    for name in SCORES:
        mine, others = (np.array(replay.table("scores", [name])[name].to_pylist(), float) for replay in replays)
        np.testing.assert_allclose(mine, others, rtol=TOLERANCE, atol=TOLERANCE)
    shown = CliRunner().invoke(app, ["compare", *(str(replay.path) for replay in replays)]).stdout
    assert "The same decides: alerts agree within 0.001." in shown


def test_single_ticks_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    news = next(Recording.open(RECORDING).messages(["news"]))
    with RecordingWriter(tmp_path / "single", source="test") as writer:
        writer.append(news)
        writer.append(dataclasses.replace(news, topic="ticks"))
    assert "Note: The ticks were not used" in call(str(tmp_path / "single")).stdout


def test_journals_are_neither_paced_nor_cut_by_offsets_nor_shared_out() -> None:
    for words in (["--speed", "2"], ["--offsets", "news=1:2"], ["--level", "rules"]):
        assert "say --history as well" in call(*words, code=2).stderr


def test_history_is_replayed_with_one_bundle() -> None:
    told = call(str(RECORDING), "--bundle", "a", "--bundle", "b", code=2).stderr
    assert "History is replayed with one bundle" in told


def test_a_damaged_recording_is_used_when_that_is_said_and_the_result_shows_it(tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    shutil.copytree(RECORDING, recording)
    (news,) = (recording / "news").glob("*.parquet")
    news.write_bytes(news.read_bytes()[:-20])
    refused = call(str(recording), *STRETCH, code=2).stderr
    assert news.name in refused
    out = tmp_path / "out"
    told = call(str(recording), *STRETCH, "--damaged", "skip", "--out", str(out)).stdout
    changed, left_out = [stamp for stamp in Replay.open(out).manifest.stamps if stamp.startswith("Damaged: ")]
    assert changed.startswith(f"Damaged: news/{news.name} has ")
    assert changed.endswith(": what of it reads well is used.")
    assert re.fullmatch(
        rf"Damaged: news/{news.name} cannot be read .*: [\d,]+ messages left out, 2025-03-03 .* to 2025-03-03 .* UTC\.",
        left_out,
    )
    assert all(f"Note: {stamp}" in told for stamp in (changed, left_out))
    assert "news" not in Replay.open(out).manifest.counts.messages


RULES = """
version: "7"
typologies: {pump_and_dump: {severity: info}}
scenarios: [{name: moves, title: Moves, weights: {market_anomaly: 0.9, pump_and_dump: 0.9}, open: 0.4}]
"""


def test_published_rules_are_in_effect_where_history_is_replayed_and_alerts_under_them_are_proved(
    tmp_path: Path,
) -> None:
    whole = Recording.open(RECORDING)
    at_ns = next(m.ts_available for m in whole.messages() if m.ts_available) // 10**9 * 10**9 + 1_800 * 10**9
    told = [
        RuleChange(version="7", effective_ns=at_ns, published_ns=at_ns, author="a", reason="b", text=RULES),
        RuleChange(version="7", effective_ns=at_ns + 1, published_ns=at_ns, author="a", reason="b", text="version: 8"),
    ]
    with RecordingWriter(tmp_path / "day", source="a test") as writer:
        for number, change in enumerate(told):
            value = control.encode(change)
            writer.append(Message("control", b"rules/7", value, at_ns, at_ns, at_ns // 10**6, offset=number))
        for message in whole.messages():
            writer.append(message)
    call(str(tmp_path / "day"), "--level", "rules", "--out", str(tmp_path / "out"))
    alerts = Replay.open(tmp_path / "out").alerts()
    scenarios = [alert for alert in alerts if alert.finding.typology == "scenario_moves@7"]
    assert scenarios
    assert all(alert.times.available_at >= at_ns for alert in scenarios)
    proof = call(str(tmp_path / "out"), "--alert", scenarios[0].alert_id).stdout
    assert proof.startswith("MATCH: scenario_moves@7 create of")
    # Rules of one's own are asked alone.
    (tmp_path / "own.yaml").write_text("version: own")
    call(str(tmp_path / "day"), "--level", "rules", "--rules", str(tmp_path / "own.yaml"), "--out", str(tmp_path / "b"))
    other = Replay.open(tmp_path / "b").alerts()
    assert other
    assert not [alert for alert in other if alert.finding.typology.startswith("scenario")]
