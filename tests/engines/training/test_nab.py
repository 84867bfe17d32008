"""NAB's score by hand, and the task that is judged by it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.progress import Progress

from engines.backtest.nab import mark, normalised, position_reward, probation, raw_score
from engines.series import Alarm, resting
from engines.training.tasks import Run, nab
from engines.training.tasks.tables import FolderError


def test_rewards_are_the_published_ones() -> None:
    # The values that the benchmark's own documentation gives for these positions.
    published = {-1.0: 0.98661, -0.5: 0.84828, 0.0: 0.0, 1.0: -0.98661, 3.0: -1.0, 9.0: -1.0}
    for position, reward in published.items():
        assert position_reward(position) == pytest.approx(reward, abs=1e-5)


def test_probation_is_fifteen_percent_up_to_750() -> None:
    assert [probation(rows) for rows in (100, 4032, 5000, 22695)] == [15, 604, 750, 750]


def test_only_the_first_alarm_of_a_window_earns_and_every_one_outside_costs() -> None:
    marks = mark(100, [(40, 49)])
    early, half_way, width_later = 20, 45, 58
    assert raw_score(marks, [40]) == pytest.approx(1)
    assert raw_score(marks, [half_way, 47, 49]) == pytest.approx(0.84828 / 0.98661, abs=1e-5)
    assert raw_score(marks, [early]) == pytest.approx(-1 - 0.11)
    assert raw_score(marks, [width_later]) == pytest.approx(-1 - 0.11 * 0.98661, abs=1e-5)
    assert raw_score(marks, [early, half_way, 47, width_later]) == pytest.approx(-0.11 + 0.85979 - 0.10853, abs=1e-5)


def test_alarms_and_windows_within_the_probation_do_not_count() -> None:
    marks = mark(100, [(5, 9), (40, 49)])
    assert marks.windows == 1
    assert raw_score(marks, [6, 14, 40]) == pytest.approx(1)


def test_no_alarm_is_0_and_every_window_at_once_is_100() -> None:
    marks = mark(1000, [(200, 299), (600, 609)])
    assert normalised(raw_score(marks, []), 2) == 0
    assert normalised(raw_score(marks, [200, 600]), 2) == pytest.approx(100)


def test_alarms_are_those_of_the_stream() -> None:
    surprises = np.random.default_rng(1).exponential(size=3000)
    alarm = Alarm(3.0, 100)
    streamed = [row for row, told in enumerate(surprises.tolist()) if alarm.update(told) >= 0.5]
    assert nab.alarms(surprises, 3.0, 100, alarm.rest) == streamed
    assert len(streamed) > 20


def test_threshold_with_good_neighbours_beats_a_lucky_one() -> None:
    raw = np.array([[0, 9, 0, 0, 0, 4, 5, 6, 5, 4, 0.0]])
    assert nab.choose(raw) == 7


def make_folder(folder: Path, *, labelled: bool, seed: int) -> Path:
    windows = {}
    for number, kind in enumerate(("pumps", "pumps", "queues", "queues")):
        values = np.random.default_rng([seed, number]).normal(50, 1, 800)
        values[500 + 20 * number : 510 + 20 * number] += 15
        times = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 10), "5m", eager=True)[:800]
        name = f"{kind}/s{number}.csv"
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = times.dt.strftime("%Y-%m-%d %H:%M:%S")
        pl.DataFrame({"timestamp": shown, "value": values}).write_csv(path)
        windows[name] = [[f"{shown[480 + 20 * number]}.000000", f"{shown[540 + 20 * number]}.000000"]]
    if labelled:
        (folder / "anything.json").write_text(json.dumps(windows))
        (folder / "another.json").write_text(json.dumps({name: [pair[0][0]] for name, pair in windows.items()}))
    return folder


def test_task_finds_bursts_in_another_folder_and_scores_every_row(tmp_path: Path) -> None:
    train = make_folder(tmp_path / "train", labelled=True, seed=1)
    test = make_folder(tmp_path / "test", labelled=True, seed=2)
    measures = nab.run(train, test, tmp_path / "out", Run(Progress(disable=True))).metrics
    assert measures["tocsin nab_standard"].value > 80
    assert measures["random_resting nab_standard"].value < 60
    found = pl.read_csv(tmp_path / "out" / "queues" / "s3.csv")
    given = pl.read_csv(test / "data" / "queues" / "s3.csv")
    assert found.columns == ["timestamp", "value", "anomaly_score"]
    assert found.select("timestamp", "value").equals(given)
    scores = found["anomaly_score"]
    assert scores.is_between(0, 1).all()
    assert (scores[560:570] >= 0.5).any()
    assert (scores[:120] < 0.5).all()


def test_predictions_need_no_windows_and_do_not_change_with_them(tmp_path: Path) -> None:
    train = make_folder(tmp_path / "train", labelled=True, seed=1)
    outs = [tmp_path / "with", tmp_path / "without"]
    for out, labelled in zip(outs, (True, False), strict=True):
        test = make_folder(tmp_path / f"test{labelled}", labelled=labelled, seed=2)
        measures = nab.run(train, test, out, Run(Progress(disable=True))).metrics
        assert bool(measures) is labelled
    for path in outs[0].rglob("*.csv"):
        assert path.read_bytes() == (outs[1] / path.relative_to(outs[0])).read_bytes()


def test_same_folder_is_judged_by_thresholds_of_the_other_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path / "both", labelled=True, seed=1)

    def told(one: nab.Series) -> nab.Floats:
        # Pumps are told at 20, queues at 3 and falsely at 10: neither kind's threshold suits the other.
        surprises = np.zeros(len(one.values))
        surprises[480:620] = 20 if one.kind == "pumps" else 3
        surprises[150:450] += 10 if one.kind == "pumps" else 0
        return surprises

    monkeypatch.setattr(nab, "DETECTORS", {"tocsin": nab.Detector(told, lambda _: 0)})
    measures = nab.run(folder, folder, tmp_path / "out", Run(Progress(disable=True))).metrics
    # Queues have no alarm at the pumps' threshold: half of the windows are missed. Pumps pay for falsehoods at 3.
    assert measures["tocsin nab_standard"].value < 25


def test_folder_without_windows_or_with_a_gap_says_what_is_missing(tmp_path: Path) -> None:
    unlabelled = make_folder(tmp_path / "unlabelled", labelled=False, seed=1)
    with pytest.raises(FolderError, match="JSON file of anomaly windows"):
        nab.run(unlabelled, unlabelled, tmp_path / "out", Run(Progress(disable=True)))
    path = unlabelled / "data" / "pumps" / "s0.csv"
    path.write_text("timestamp,value\n2024-01-01 00:00:00,1\n2024-01-01 00:05:00,\n")
    with pytest.raises(FolderError, match="row 2: expected a finite value"):
        nab.read_series(unlabelled)
    for timestamp in ("yesterday", ""):
        path.write_text(f"timestamp,value\n2024-01-01 00:00:00,1\n{timestamp},1\n")
        with pytest.raises(FolderError, match="expected timestamps"):
            nab.read_series(unlabelled)
    path.write_bytes(b"timestamp,value\n\xe9,1\n")
    with pytest.raises(FolderError, match=r"s0\.csv: expected a table"):
        nab.read_series(unlabelled)
    path.write_bytes(b"")  # no series: it is left alone
    assert "s0.csv" not in {one.name.rpartition("/")[2] for one in nab.read_series(unlabelled) if one.kind == "pumps"}
    (unlabelled / "windows.json").write_text("{")
    with pytest.raises(FolderError, match=r"windows\.json: expected JSON"):
        nab.read_series(unlabelled)


def test_real_series_have_their_windows_where_a_perfect_detector_finds_them(data_dir: Path) -> None:
    series = nab.read_series(data_dir / "nab")
    marks = [one.marks for one in series if one.marks is not None]
    windows = sum(one.windows for one in marks)
    assert (len(series), len(marks), windows) == (31, 31, 63)
    perfect = sum(raw_score(one, one.first) for one in marks)
    assert normalised(perfect, windows) == pytest.approx(100)


def test_traffic_accidents_are_found_in_a_real_series(data_dir: Path) -> None:
    one = next(one for one in nab.read_series(data_dir / "nab") if one.name == "realTraffic/speed_7578.csv")
    assert one.marks is not None
    told = nab.tocsin(one)
    raw = raw_score(one.marks, nab.alarms(told, 4.5, one.probation, resting(one.probation)))
    assert normalised(raw, one.marks.windows) > 75
