"""A small simulated market from its recording to what a backtest, a what-if and a comparison say of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from engines.backtest.matching import alarms
from engines.backtest.results import Backtest, decode
from engines.backtest.whatif import Answer
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.labels import Label
from engines.thinning import retrace
from monitor import simulation
from monitor.backtest import gaps_of, judged_by, labels_of, recording_of, said
from monitor.cli import app
from monitor.label_files import LabelError
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Recording
from monitor.replay_output import Replay
from monitor.rerun import rerun
from monitor.settings import Settings
from schemas.alerts import digest
from schemas.topics import INSTRUMENT_INPUTS
from tests.damage import damage_group
from tests.golden import day as golden
from tests.integration.daemon import stages
from tests.monitor.live import live

pytestmark = pytest.mark.slow
#: Other thresholds of every head that finds something on this day: lower than they are, and higher.
OTHER = {
    "pump_and_dump": 0.4,
    "anomaly": 0.9,
    "adverse_text": 0.65,
    "elevated_risk": 0.32,
    "pump_coordination": 0.6,
}


def tocsin(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden day, with what is known to have happened on it."""
    folder = tmp_path_factory.mktemp("day")
    labels = simulation.write(
        folder / "whole", golden.CONFIG, simulation.companies_of(SymbolMaster.load(DEFAULT_SYMBOLS))
    )
    known = [(label, [name for name in label.instruments if name in golden.INSTRUMENTS]) for label in labels]
    with RecordingWriter(folder / "day", source="simulator", parameters={}) as writer:
        for message in Recording.open(golden.RECORDING).messages():
            writer.append(dataclasses.replace(message, offset=-1))
        writer.add_labels([msgspec.structs.replace(label, instruments=names) for label, names in known if names])
    return folder / "day"


@pytest.fixture(scope="module")
def tested(day: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording, backtested: replayed first, and again without words."""
    out = tmp_path_factory.mktemp("tested") / "out"
    tocsin("backtest", day, "--out", out, "--severity", "info", "--without", "text", "--k", 1)
    return out


@pytest.fixture(scope="module")
def found(tested: Path) -> Backtest:
    return decode((tested / "backtest.json").read_bytes())


@pytest.fixture(scope="module")
def replay(tested: Path) -> Replay:
    return Replay.open(tested / "replay")


@pytest.fixture(scope="module")
def other(day: Path, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """The same recording, replayed by other thresholds."""
    from monitor import instrument_stage

    out = tmp_path_factory.mktemp("other") / "out"
    usual = instrument_stage.SPECS
    specs = {
        head: msgspec.structs.replace(usual[head], open=other, critical=max(usual[head].critical, other))
        for head, other in OTHER.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instrument_stage, "SPECS", usual | specs)
        tocsin("replay", day, "--out", out)
    return Replay.open(out)


def test_it_tells_what_was_tested(found: Backtest, replay: Replay, day: Path) -> None:
    tested, manifest = found.tested, replay.manifest
    assert (tested.alert_digest, tested.bundle, tested.config) == (manifest.digest, manifest.bundle, manifest.config)
    assert (tested.recording, tested.recording_digest) == (str(day), manifest.recording.digest)
    assert (tested.from_ns, tested.to_ns, tested.days) == (manifest.from_ns, manifest.to_ns, 1)
    assert tested.labels + tested.benign + tested.labels_outside == len(recorded(replay))
    assert tested.labels > 0
    assert tested.stamps == manifest.stamps
    assert tested.gaps == []


def recorded(replay: Replay) -> list[Label]:
    recording = recording_of(replay)
    assert recording is not None
    assert gaps_of(recording) == []
    return recording.labels()


def test_its_alarms_are_the_replays(found: Backtest, replay: Replay) -> None:
    rung = alarms(replay.alerts(), "info")
    assert found.contenders[0].episodes == len(rung) > 0
    told = [one for catch in found.catches for one in catch.opened] + [stray.opened for stray in found.false]
    assert {one.episode_id for one in told} == {one.episode_id for one in rung}
    assert sum(rate.alarms for rate in found.rates) == len(rung)


def test_the_kept_moments_explain_every_alarm(found: Backtest) -> None:
    assert not any("not exact" in note for note in found.notes)
    own = found.contenders[0]
    today = found.cost_curves[0].today
    assert (today.episodes, today.episodes - today.false) == (own.episodes, own.hits)


def test_it_is_better_than_chance(found: Backtest) -> None:
    rows = {row.name: row for row in found.contenders}
    own, random = rows["tocsin"], rows["random"]
    assert found.base_rate is not None
    assert own.pr_auc.value is not None
    assert random.precision.value is not None
    assert own.precision.value is not None
    assert own.pr_auc.value > found.base_rate
    assert own.precision.value > random.precision.value
    assert rows["always"].recall.value == 1


def test_days_stay_below_their_ceiling(found: Backtest) -> None:
    assert found.days
    assert all(day.precision <= day.ceiling <= 1 for day in found.days)


def test_without_words_no_text_rings_and_it_is_a_replay_of_its_own(found: Backtest, tested: Path) -> None:
    without = next(one for one in found.ablations if one.modality == "text")
    assert without.how == "rerun"
    rest = Replay.open(tested / "without-text")
    assert "news" not in rest.manifest.counts.messages
    assert without.episodes == len(alarms(rest.alerts(), "info"))
    heads = {alert.finding.typology.partition("@")[0] for alert in rest.alerts() if "text" in alert.modalities}
    assert all(not alert.modalities["text"].present for alert in rest.alerts())
    assert heads
    assert {one.how for one in found.ablations if one.modality != "text"} <= {"shares"}


def events_of(labels: list[Label], path: Path) -> Path:
    """Write labels as a person would."""
    rows = ["event_id,typology,start_ns,onset_ns,end_ns,instruments"]
    rows += [
        f"{o.event_id},{o.typology},{o.start_ns},{o.onset_ns},{o.end_ns},{' '.join(o.instruments)}" for o in labels
    ]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_what_was_live_is_judged_by_its_journals_and_again_without_a_modality(replay: Replay, tmp_path: Path) -> None:
    """Without sound, of which there was none, it is what it was; without words the rest is applied as it was live."""
    lived = live(stages(), [*Recording.open(golden.RECORDING).messages(INSTRUMENT_INPUTS)], 4, seed=5)
    out, path = tmp_path / "out", lived.record(tmp_path / "lived")
    events = events_of(recorded(replay), tmp_path / "events.csv")
    words = ["--labels", events, "--severity", "info", "--k", 1, "--without", "text", "--without", "audio"]
    tocsin("backtest", path, "--out", out, *words)
    found = decode((out / "backtest.json").read_bytes())
    whole, silent, mute = (Replay.open(out / name) for name in ("replay", "without-audio", "without-text"))
    assert whole.manifest.source == silent.manifest.source == mute.manifest.source == "journal"
    assert whole.manifest.digest == digest(lived.alerts)
    assert found.contenders[0].episodes == len(alarms(whole.alerts(), "info")) > 0
    assert not any("not exact" in note for note in found.notes)
    assert silent.manifest.digest == whole.manifest.digest
    assert {one.modality: one.fallen for one in found.ablations if one.how == "rerun"}["audio"] == 0
    frames = [one.manifest.counts.messages["frames"] for one in (whole, mute)]
    assert frames[0] == frames[1]
    assert "news" not in mute.manifest.counts.messages
    assert all(not alert.modalities["text"].present for alert in mute.alerts())
    assert mute.alerts()


def test_a_rerun_keeps_to_the_offsets_and_the_level_of_the_whole(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    tocsin("replay", golden.RECORDING, "--level", "rules", "--offsets", "frames=0:900", "--out", whole)
    opened = Replay.open(whole)
    rest = rerun(Settings(), Recording.open(golden.RECORDING), opened, tmp_path / "rest", without="text")
    assert (rest.manifest.level, rest.manifest.offsets) == (2, ["frames=0:900"])
    assert rest.manifest.counts.messages["frames"] == opened.manifest.counts.messages["frames"] == 900
    # No model is asked at this level, so words are worth nothing there.
    assert rest.manifest.digest == opened.manifest.digest
    assert rest.alerts()


@pytest.mark.parametrize("head", sorted(OTHER))
def test_a_swept_threshold_opens_what_a_replay_with_it_opens(replay: Replay, other: Replay, head: str) -> None:
    name = other.manifest.specs[head].name
    expected = sorted(
        (alert.times.available_at, alert.subject.instrument, alert.times.event_end, alert.finding.score)
        for alert in other.alerts()
        if alert.activity == "create" and alert.finding.typology.startswith(f"{name}@")
    )
    assert expected
    answer = msgspec.json.decode(
        tocsin("whatif", replay.path, "--head", head, "--thresholds", OTHER[head], "--episodes", "--json"), type=Answer
    )
    at = next(number for number, price in enumerate(answer.prices) if price.threshold == OTHER[head])
    rung = answer.episodes[at]
    assert [(one.available_ns, one.instrument, one.opened_ns, one.score) for one in rung] == expected
    assert answer.prices[at].episodes == len(expected)
    criticals = {
        a.episode_id
        for a in other.alerts()
        if a.finding.typology.startswith(f"{name}@") and a.finding.severity == "critical"
    }
    assert answer.prices[at].critical == len(criticals)
    # Of a dozen instruments no crowd comes; what another head opens the market's stage does not count.
    assert answer.prices[at].market == (0 if head == "anomaly" else None)
    assert answer.market == ([[]] * len(answer.prices) if head == "anomaly" else [])


def test_thresholds_that_were_swept_did_open_something(other: Replay, replay: Replay) -> None:
    def opened(of: Replay) -> int:
        return sum(alert.activity == "create" for alert in of.alerts())

    assert opened(other) != opened(replay)


def test_a_sweep_and_stepping_moment_by_moment_agree(replay: Replay) -> None:
    found = said(replay)
    manifest = replay.manifest
    for (instrument, head, _), moments in replay.tracks().items():
        traced = retrace(manifest.specs[head], moments, patience_ns=manifest.patience_ns, until_ns=manifest.until_ns)
        opened = [t.moment.ts_event for t in traced if t.transition.activity == "create" and t.moment]
        kept = found.sweep.moments[head]
        at = found.sweep.rings(head, manifest.specs[head].open)
        mine = at[kept.instrument[at] == found.heard.names.index(instrument)]
        assert np.array_equal(kept.ts_event[mine], opened)


def test_two_replays_side_by_side(replay: Replay, other: Replay) -> None:
    told = json.loads(tocsin("compare", replay.path, other.path, "--json"))
    a = {one["episode_id"] for one in told["only_a"]} | {pair["a"]["episode_id"] for pair in told["both"]}
    assert a == {one.episode_id for one in alarms(replay.alerts())}
    assert told["only_a"] or told["only_b"]
    shown = tocsin("compare", replay.path, other.path)
    assert "only" in shown
    assert "different recordings" not in shown
    same = json.loads(tocsin("compare", replay.path, replay.path, "--json"))
    assert (same["only_a"], same["only_b"]) == ([], [])


def test_budgets_and_prices_are_printed(replay: Replay) -> None:
    budgets = ["--budget", "1/day", "--budget", "200/day", "--trading-day", "240m"]
    shown = tocsin("whatif", replay.path, "--head", "elevated_risk", *budgets)
    assert "1/day: 0." in shown
    assert "is the lowest threshold that keeps it" in shown
    assert "caught" in shown


def test_labels_of_unknown_instruments_are_refused_or_skipped_and_told(replay: Replay, tmp_path: Path) -> None:
    own = recorded(replay)
    other = msgspec.structs.replace(
        own[0], event_id="other", start_ns=own[0].onset_ns, end_ns=own[0].onset_ns, instruments=["NOBODY.X"]
    )
    path = events_of([*own, other], tmp_path / "events.csv")
    out = tmp_path / "out"
    error = refused("backtest", replay.path, "--labels", path, "--out", out)
    assert "labels NOBODY.X, of which nothing was heard" in error
    assert not out.exists()
    shown = tocsin("backtest", replay.path, "--labels", path, "--out", out, "--unknown-instruments", "skip")
    assert "1 label and 1 instrument of labels" in shown
    found = decode((out / "backtest.json").read_bytes())
    assert (found.tested.unknown_instruments, found.tested.labels_skipped) == (["NOBODY.X"], 1)
    assert "holds a backtest" in refused("backtest", replay.path, "--labels", path, "--out", out)


def test_labels_outside_of_the_tested_range_are_counted_and_not_judged(replay: Replay) -> None:
    found = said(replay)
    labels = labels_of(replay, recording_of(replay), None)
    late = [
        msgspec.structs.replace(one, onset_ns=one.onset_ns + 10**15, end_ns=one.end_ns + 10**15)
        for one in labels.labels
    ]
    moved = type(labels)(tuple(late), labels.where, labels.digest)
    kept, outside, tested = judged_by(replay, found, moved, skip_unknown=False)
    assert (kept, outside, tested.labels_outside) == ([], late, len(labels.labels))


def test_a_report_that_fails_leaves_nothing_that_refuses_the_next(
    replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as broken:
        broken.setattr("monitor.report.page.render", lambda page: 1 / 0)
        failed = CliRunner().invoke(app, ["backtest", str(replay.path), "--out", str(out)])
    assert isinstance(failed.exception, ZeroDivisionError)
    assert not out.exists() or not list(out.iterdir())
    tocsin("backtest", replay.path, "--out", out, "--trading-day", "240m")
    assert {path.name for path in out.iterdir()} == {"backtest.json", "report.html"}
    assert decode((out / "backtest.json").read_bytes()).parameters.trading_day_ns == 240 * 60 * 10**9


def test_a_recording_without_labels_needs_a_file_of_them(replay: Replay) -> None:
    with pytest.raises(LabelError, match="is not there any more as it was: name a file of labels with --labels FILE"):
        labels_of(replay, None, None)


@pytest.mark.parametrize(
    ("arguments", "said_"),
    [
        (["--thresholds", "0.4:0.9:0.05", "--head", "nobody"], "--head: expected one of"),
        (["--head", "anomaly"], "Expected either --thresholds FIRST:LAST:STEP or --budget"),
        (["--head", "anomaly", "--thresholds", "0.01"], "kept scores from 0.05 up, found 0.01"),
        (["--head", "anomaly", "--thresholds", "0.9:0.4:0.1"], "expected 0 < FIRST <= LAST <= 1"),
        (["--head", "anomaly", "--thresholds", "0.1:0.9:0.0001"], "expected 1,000 steps or fewer"),
        (["--head", "anomaly", "--thresholds", "much"], "expected FIRST:LAST:STEP"),
        (["--head", "anomaly", "--budget", "5"], "expected a number an hour, day or week"),
    ],
)
def test_what_cannot_be_swept_is_said(replay: Replay, arguments: list[str], said_: str) -> None:
    assert said_ in refused("whatif", replay.path, *arguments)


def test_options_of_a_recording_are_refused_for_a_replay(replay: Replay, tmp_path: Path) -> None:
    assert "is a replay already" in refused("backtest", replay.path, "--out", tmp_path / "x", "--from", "1d")
    assert "--without: expected" in refused("backtest", replay.path, "--out", tmp_path / "x", "--without", "smell")


def test_a_modality_is_left_out_by_the_settings_of_the_whole_or_not_at_all(replay: Replay, tmp_path: Path) -> None:
    settings = tmp_path / "other.toml"
    settings.write_text("forget_days = 17\n")
    error = refused("backtest", replay.path, "--out", tmp_path / "x", "--without", "text", "--config", settings)
    assert "was replayed with configuration" in error
    assert not (tmp_path / "x" / "backtest.json").exists()


def test_a_range_in_which_nothing_was_heard_is_refused(day: Path, tmp_path: Path) -> None:
    arguments = ["--from", "2001-01-01", "--to", "2001-01-02", "--allow-overlap", "--out", tmp_path / "x"]
    assert "nothing of it lies between --from and --to" in refused("backtest", day, *arguments)
    # A minute before the first message nobody can tell without reading.
    arguments[1:4] = ["2025-03-03T14:29:00", "--to", "2025-03-03T14:29:30"]
    assert "holds no message of what" in refused("backtest", day, *arguments)


def test_what_is_damaged_stays_left_out_of_the_report_a_rerun_and_a_dossier(day: Path, tmp_path: Path) -> None:
    recording = tmp_path / "damaged"
    shutil.copytree(day, recording)
    (file,) = (recording / "news").iterdir()
    damage_group(file, 0)
    out = tmp_path / "out"
    tocsin("backtest", recording, "--out", out, "--damaged", "skip", "--without", "chart")
    found = decode((out / "backtest.json").read_bytes())
    told = [str(one) for one in Recording.open(recording, damaged="skip").damage]
    assert [gap.what for gap in found.tested.gaps] == told
    # Each once: the replay's stamps say it.
    report = (out / "report.html").read_text()
    assert [report.count(one) for one in told] == [1] * len(told)
    replay = Replay.open(out / "replay")
    assert replay.manifest.recording.damaged
    tocsin("dossier", out / "replay", replay.alerts()[0].alert_id, "--out", tmp_path / "alert.html")
