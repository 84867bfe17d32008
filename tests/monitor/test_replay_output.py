"""The folder of a replay: what goes in comes out, and thresholds can be asked of it."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from agents.flow import Scored, Ticked
from engines.thinning import retrace
from engines.tracks import TickUpdate, Track
from engines.typologies import TypologySpec
from monitor.recordings import Recording
from monitor.replay_format import Counts, Metric, Origin, ReplayError, Told
from monitor.replay_history import by_history
from monitor.replay_output import Replay
from monitor.replay_writer import ReplayWriter
from monitor.replayed import Replayed
from schemas.alerts import Alert, Explanation, digest
from schemas.journal import Clock
from schemas.records import DeadLetter, Forecast, Score, Sentiment, Signal
from tests.golden.day import RECORDING
from tests.integration.daemon import stages

S = 1_000_000_000
SPEC = TypologySpec(name="x", version="1", title="X", open=0.5, critical=0.9, close=0.2, hold_ns=S)


def told(alerts: list[Alert]) -> Told:
    return Told(
        code_version="0",
        source="history",
        recording=Origin(path="day", digest="d"),
        from_ns=1,
        to_ns=2,
        bundle="b",
        config="c",
        digest=digest(alerts),
        counts=Counts(messages={"news": 3}, alerts=len(alerts)),
        stamps=["a sentence"],
    )


@dataclass(frozen=True)
class Made:
    replay: Replay
    replayed: Replayed
    scores: list[Score]
    signals: list[Signal]


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The golden day, replayed into a folder."""
    path = tmp_path_factory.mktemp("replay") / "out"
    scores: list[Score] = []
    signals: list[Signal] = []

    class Listening(ReplayWriter):
        def take(self, output: object) -> None:
            scores.extend([output] if isinstance(output, Score) else [])
            signals.extend([output] if isinstance(output, Signal) else [])
            super().take(output)

    with Listening(path, specs=stages().specs) as writer:
        replayed = asyncio.run(by_history(Recording.open(RECORDING).messages(), stages(), sink=writer))
        writer.finish(replayed.alerts, told(replayed.alerts), [Metric(name="tocsin_ticks_total", value=7.0)])
    return Made(Replay.open(path), replayed, scores, signals)


def test_alerts_come_back_as_they_were_in_the_digests_order(golden: Made) -> None:
    alerts = golden.replay.alerts()
    assert alerts == sorted(golden.replayed.alerts, key=lambda a: (a.times.available_at, a.alert_id))
    assert digest(alerts) == golden.replay.manifest.digest
    rows = golden.replay.table("alerts").to_pylist()
    assert [msgspec.json.decode(row["body"], type=Alert) for row in rows] == alerts
    assert [row["alert_id"] for row in rows] == [alert.alert_id for alert in alerts]
    assert {row["warm_up"] for row in rows} == {False}


def test_scores_and_signals_come_back_a_row_each(golden: Made) -> None:
    rows = golden.replay.table("scores").to_pylist()
    assert len(rows) == len(golden.scores) == golden.replayed.scores > 100
    for row, score in zip(rows, golden.scores, strict=True):
        found = {name: row[name] for name in golden.replay.table("scores", ["instrument"]).schema.names}
        assert found == {"instrument": score.instrument}
        assert (row["window_start"], row["ts_event"], row["ts_available"]) == (
            score.window_start,
            score.ts_event,
            score.ts_available,
        )
        assert {name: row[name] for name in score.scores} == score.scores
        others = {"elevated_risk", "market_anomaly", "adverse_text", "chart_risk", "voice_stress"} - score.scores.keys()
        assert all(row[name] is None for name in others)
    signals = golden.replay.table("signals").to_pylist()
    assert len(signals) == len(golden.signals) > 10
    for row, signal in zip(signals, golden.signals, strict=True):
        for group, part in (("forecast", signal.forecast), ("sentiment", signal.sentiment)):
            of = Forecast if group == "forecast" else Sentiment
            expected = {f"{group}_{name}": getattr(part, name, None) for name in of.__struct_fields__}
            assert {name: row[name] for name in expected} == expected


def test_the_typologies_own_thresholds_find_in_the_tracks_what_triage_found(golden: Made) -> None:
    """So what they find at other thresholds is what it would have found."""
    replay = golden.replay
    heads = {spec.name: head for head, spec in replay.manifest.specs.items()}
    alerts = {}
    for alert in golden.replayed.alerts:
        head = heads[alert.finding.typology.partition("@")[0]]
        alerts.setdefault((alert.subject.instrument, head, alert.subject.account), []).append(
            (
                alert.activity,
                alert.times.event_end,
                alert.times.available_at,
                alert.finding.severity,
                alert.finding.score,
            )
        )
    found = {}
    for (instrument, head, account), moments in replay.tracks().items():
        traced = retrace(
            replay.manifest.specs[head],
            moments,
            patience_ns=replay.manifest.patience_ns,
            until_ns=golden.replayed.clock_ns,
        )
        if traced:
            found[instrument, head, account] = [(t.activity, t.ts, at, t.severity, t.score) for t, _, at in traced]
    assert found == alerts
    assert replay.manifest.files["tracks.parquet"].rows < golden.replayed.ticks


def test_moments_far_below_any_threshold_cost_no_rows(tmp_path: Path) -> None:
    ts = np.arange(500, dtype=np.int64) * S
    quiet = Track("x", ts, ts, np.zeros(500), ts, lambda _: Explanation(), silent=True)
    loud = Track("x", ts + 500 * S, ts + 500 * S, np.linspace(0.0, 0.6, 500), ts, lambda _: Explanation())
    with ReplayWriter(tmp_path / "out", specs={"x": SPEC}) as writer:
        for _ in range(100):
            writer.take(Ticked("A", TickUpdate(tracks=(quiet,))))
        ticked = Ticked("A", TickUpdate(tracks=(loud,)))
        writer.take(Clock(7 * S))
        writer.take(ticked)
        writer.take(Scored("A", loud, None))  # what reaches triage of the same: it is kept once
        assert writer.moments == 101 * 500
        manifest = writer.finish([], told([]), [])
    table = Replay.open(tmp_path / "out").table("tracks")
    assert min(table.column("score").to_pylist()) >= manifest.track_floor == 0.05
    assert table.num_rows == manifest.files["tracks.parquet"].rows == 458
    assert set(table.column("clock_ns").to_pylist()) == {7 * S}
    assert table.column("order").to_pylist() == list(range(100 * 500 + 42, 101 * 500))


def test_rows_go_out_in_groups_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.replay_writer._GROUP_ROWS", 10)
    with ReplayWriter(tmp_path / "out", specs={"x": SPEC}) as writer:
        for n in range(25):
            writer.take(Score(ts_event=n, instrument="A", window_start=n, window_end=n, scores={"adverse_text": 0.5}))
        writer.finish([], told([]), [])
    file = pq.ParquetFile(tmp_path / "out" / "scores.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [10, 10, 5]


def test_a_score_that_no_column_is_for_is_an_error(tmp_path: Path) -> None:
    with ReplayWriter(tmp_path / "out", specs={"x": SPEC}) as writer, pytest.raises(ValueError, match="named mystery"):
        writer.take(Score(ts_event=1, instrument="A", window_start=1, window_end=1, scores={"mystery": 0.5}))
    assert not list(tmp_path.iterdir())


def test_dead_letters_metrics_and_stamps_come_back(tmp_path: Path, golden: Made) -> None:
    letter = DeadLetter(ts_event=1, topic="news", partition=3, offset=9, reason="json", detail="no", value=b"{")
    with ReplayWriter(tmp_path / "out", specs={"x": SPEC}) as writer:
        writer.refuse(letter)
        writer.finish([], told([]), [])
    replay = Replay.open(tmp_path / "out")
    assert replay.dead_letters() == [letter]
    assert replay.manifest.files["dead_letters.ndjson"].rows == 1
    assert replay.manifest.stamps == ["a sentence"]
    assert golden.replay.metrics() == [Metric(name="tocsin_ticks_total", value=7.0)]
    assert golden.replay.table("metrics").to_pylist() == [{"name": "tocsin_ticks_total", "labels": "", "value": 7.0}]


def test_nothing_half_written_is_left_or_read(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with ReplayWriter(path, specs={"x": SPEC}):
        assert path.with_name("out.part").is_dir()
    assert not list(tmp_path.iterdir())
    (tmp_path / "out.part").mkdir()
    with pytest.raises(ReplayError, match=r"no manifest.json; .*out.part is an unfinished one; replay the recording"):
        Replay.open(path)
    path.mkdir()
    with pytest.raises(ReplayError, match="out exists; remove it or name another folder"):
        ReplayWriter(path, specs={"x": SPEC})


def test_a_damaged_folder_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with ReplayWriter(path, specs={"x": SPEC}) as writer:
        writer.finish([], told([]), [])
    Replay.open(path)
    scores, manifest = path / "scores.parquet", path / "manifest.json"
    whole = scores.read_bytes()
    scores.write_bytes(whole[:-10])
    with pytest.raises(ReplayError, match=r"scores.parquet has SHA-256 .* and \d+ bytes, its manifest says .* and \d+"):
        Replay.open(path)
    with pytest.raises(ReplayError, match=r"scores.parquet cannot be read"):
        Replay.open(path, verify=False).table("scores")
    os.remove(scores)
    with pytest.raises(ReplayError, match=r"scores.parquet is missing"):
        Replay.open(path)
    body = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(body | {"layout": 1}))
    with pytest.raises(ReplayError, match="has layout 1, this version reads 3; replay the recording again"):
        Replay.open(path)
    manifest.write_bytes((RECORDING / "manifest.json").read_bytes())
    with pytest.raises(ReplayError, match=rf"{path} is a recording: replay it first, `tocsin replay {path} --out DIR`"):
        Replay.open(path)
    manifest.write_text(json.dumps(body | {"files": {}}))
    with pytest.raises(ReplayError, match=r"does not list alerts.ndjson, alerts.parquet, dead_letters.ndjson"):
        Replay.open(path)
    manifest.write_text("{")
    with pytest.raises(ReplayError, match="is no manifest of a replay"):
        Replay.open(path)


def test_a_folder_that_was_written_before_reviews_were_drawn_holds_none(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with ReplayWriter(path, specs={"x": SPEC}) as writer:
        writer.finish([], told([]), [])
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["files"]["reviews.parquet"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    os.remove(path / "reviews.parquet")
    old = Replay.open(path)
    assert old.reviews() == []
    assert old.table("reviews", ["score"]).num_rows == 0
