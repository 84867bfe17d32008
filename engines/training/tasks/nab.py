"""Anomalies in timestamped series, judged by the score of the Numenta Anomaly Benchmark.

The detector (`engines.series`) has nothing to train but the surprise from which on a value is an alarm: that is chosen
on the labelled series of one folder. Predictions are a CSV for each series with its anomaly_score, 0.5 and more being
an alarm. Where both folders are the same, the measures are those of thresholds that were chosen without the series of
the same kind (the subfolder), while the predictions use the threshold of all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from engines.backtest.nab import Marks, mark, normalised, probation, raw_score
from engines.bundle import Metric
from engines.series import Alarm, Surprise, resting
from engines.training.tasks import Outcome, Run
from engines.training.tasks.tables import FolderError, read_file

Floats = npt.NDArray[np.float64]
SEED = 11
DRAWS = 2000
THRESHOLDS = np.geomspace(1, 100, 120)  # surprises that are tried
SMOOTH = 5  # neighbouring thresholds averaged before the best is taken: a lucky one does not hold elsewhere


@dataclass(frozen=True)
class Series:
    """A series by its name, "folder/file.csv"; ``marks`` where its windows are known."""

    name: str
    timestamps: list[str]
    ts_ns: list[int]
    values: Floats
    marks: Marks | None

    @property
    def kind(self) -> str:
        """Its folder's name."""
        return self.name.rpartition("/")[0]

    @property
    def probation(self) -> int:
        """Number of first values that are not scored."""
        return probation(len(self.values))


class Detector(NamedTuple):
    """A detector: the surprise of every value of a series, and how many values after an alarm give none."""

    surprise: Callable[[Series], Floats]
    rest: Callable[[int], int]


def tocsin(series: Series) -> Floats:
    """Return the surprise that `engines.series.Surprise` has at each value."""
    surprise = Surprise(series.probation)
    return np.array([surprise.update(*at) for at in zip(series.ts_ns, series.values.tolist(), strict=True)])


def windowed_gaussian(series: Series, window: int = 6400, step: int = 100) -> Floats:
    """Return minus the logarithm of a value's tail by the mean and deviation of the last ``window`` before it.

    Both are renewed at every value until the window is full, and every ``step`` values from then on (as NAB has it).
    """
    surprises = np.zeros(len(series.values))
    mean, deviation = 0.0, 1.0
    for row, value in enumerate(series.values.tolist()):
        if row and (row <= window or row % step == 0):
            last = series.values[max(0, row - window) : row]
            mean, deviation = float(last.mean()), max(float(last.std()), 1e-6)
        z = abs(value - mean) / deviation
        # Beyond 8 deviations the tail underflows; -log of its asymptote goes on.
        surprises[row] = -math.log(math.erfc(z / math.sqrt(2))) if z < 8 else z * z / 2 + math.log(z)
    return surprises


def chance(series: Series) -> Floats:
    """Return surprises that know nothing of the series."""
    return np.random.default_rng([SEED, *series.name.encode()]).exponential(size=len(series.values))


DETECTORS = {
    "tocsin": Detector(tocsin, resting),
    "windowed_gaussian": Detector(windowed_gaussian, lambda _: 0),
    "windowed_gaussian_resting": Detector(windowed_gaussian, resting),
    "random_resting": Detector(chance, resting),
}


def find_windows(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the windows of every series by "folder/file.csv", from the JSON file of ``folder`` that has such."""
    for path in sorted(folder.rglob("*.json")):
        try:
            found = json.loads(path.read_bytes())
        except ValueError as error:
            raise FolderError(f"{path}: expected JSON: {error}") from error
        if isinstance(found, dict) and any(
            isinstance(windows, list) and any(isinstance(window, list) for window in windows)
            for windows in found.values()
        ):
            return found
    return {}


def read_series(folder: Path) -> list[Series]:
    """Return all series below ``folder``, by name.

    Raises
    ------
    FolderError
        There is none, or one has a timestamp or value that cannot be read.
    """
    windows = find_windows(folder)
    found = []
    for path in sorted(folder.rglob("*.csv")):
        table = read_file(path, typed=False)
        if not {"timestamp", "value"} <= set(table.columns) or not table.height:
            continue
        name = "/".join(path.relative_to(folder).parts[-2:])
        values = table["value"].cast(pl.Float64, strict=False).fill_null(math.nan).to_numpy()
        if not np.isfinite(values).all():
            raise FolderError(f"{path}: row {int(np.argmin(np.isfinite(values))) + 1}: expected a finite value")
        try:
            ts_ns = _ns(table["timestamp"].fill_null("nothing").str.to_datetime())
        except pl.exceptions.PolarsError as error:
            raise FolderError(f"{path}: expected timestamps such as 2014-04-01 00:05:00: {error}") from error
        marks = mark(len(ts_ns), _rows(ts_ns, windows[name])) if name in windows else None
        found.append(Series(name, table["timestamp"].to_list(), ts_ns, values, marks))
    if not found:
        raise FolderError(f"{folder}: expected CSV files with the columns timestamp, value; found none")
    return found


def _ns(timestamps: pl.Series) -> list[int]:
    return list(timestamps.cast(pl.Datetime("ns")).cast(pl.Int64))


def _rows(ts_ns: list[int], windows: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    rows = []
    for bounds in windows:
        first, last = _ns(pl.Series([datetime.fromisoformat(bound) for bound in bounds]))
        inside = [row for row, ts in enumerate(ts_ns) if first <= ts <= last]
        if inside:
            rows.append((inside[0], inside[-1]))
    return sorted(rows)


def alarms(surprises: Floats, threshold: float, first: int, rest: int) -> list[int]:
    """Return the rows, from ``first`` on, at which `engines.series.Alarm` gives an alarm."""
    rows = np.flatnonzero(surprises[first:] >= threshold) + first
    found: list[int] = []
    at = 0
    while at < len(rows):
        found.append(int(rows[at]))
        at = int(np.searchsorted(rows, rows[at] + rest + 1))
    return found


def raw_table(series: Sequence[Series], surprises: Sequence[Floats], thresholds: Floats, detector: Detector) -> Floats:
    """Return the raw score of every labelled series at every threshold (series, thresholds)."""
    return np.array(
        [
            [
                raw_score(one.marks, alarms(told, threshold, one.probation, detector.rest(one.probation)))
                for threshold in thresholds
            ]
            for one, told in zip(series, surprises, strict=True)
            if one.marks is not None
        ]
    )


def choose(raw: Floats) -> int:
    """Return which threshold has the best sum of ``raw`` (series, thresholds), smoothed over its neighbours."""
    summed = np.pad(raw.sum(axis=0), SMOOTH // 2, mode="edge")
    return int(np.convolve(summed, np.full(SMOOTH, 1 / SMOOTH), mode="valid").argmax())


def with_interval(raw: Floats, windows: npt.NDArray[np.int64]) -> Metric:
    """Return the normalised score of series with these raw scores and windows, and 95 % of bootstraps over series."""
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(0, len(raw), (DRAWS, len(raw)))
    drawn = drawn[windows[drawn].sum(axis=1) > 0]
    low, high = np.quantile([normalised(raw[rows].sum(), windows[rows].sum()) for rows in drawn], (0.025, 0.975))
    whole = normalised(raw.sum(), windows.sum())
    return Metric(round(float(whole), 2), round(float(low), 2), round(float(high), 2))


def run(train: Path, test: Path, out: Path, run: Run) -> Outcome:
    """Choose the thresholds on ``train``, write scores of ``test`` below ``out``, and return the measures there.

    Raises
    ------
    FolderError
        A folder has no series, ``train`` no windows, or a value cannot be read.
    """
    tested = read_series(test)
    same = train.resolve() == test.resolve()
    trained = [one for one in (tested if same else read_series(train)) if one.marks is not None]
    if not any(one.marks.windows for one in trained if one.marks is not None):
        raise FolderError(f'{train}: expected a JSON file of anomaly windows, {{"folder/file.csv": [[start, end], …]}}')
    judged = [one for one in tested if one.marks is not None]
    windows = np.array([one.marks.windows for one in judged if one.marks is not None], dtype=np.int64)
    kinds = np.array([one.kind for one in trained])
    measures: dict[str, Metric] = {}
    task = run.progress.add_task("series", total=len(DETECTORS) * (len(tested) + (0 if same else len(trained))))

    def surprises(detector: Detector, series: Sequence[Series]) -> dict[str, Floats]:
        told = {}
        for one in series:
            told[one.name] = detector.surprise(one)
            run.progress.advance(task)
        return told

    for name, detector in DETECTORS.items():
        told = surprises(detector, tested)
        learned = told if same else surprises(detector, trained)
        raw = raw_table(trained, [learned[one.name] for one in trained], THRESHOLDS, detector)
        best = choose(raw)
        if name == "tocsin":
            write(out, tested, told, float(THRESHOLDS[best]))
        if not windows.sum():
            continue
        if same:
            picked = [choose(raw[kinds != kind]) if (kinds != kind).any() else best for kind in kinds]
            reached = raw[np.arange(len(raw)), picked]
        else:
            reached = raw_table(judged, [told[one.name] for one in judged], THRESHOLDS[[best]], detector)[:, 0]
        measures[f"{name} nab_standard"] = with_interval(reached, windows)
    return Outcome(measures)


def write(out: Path, series: Sequence[Series], surprises: dict[str, Floats], threshold: float) -> None:
    """Write a CSV for every series, laid out as the series are, with an alarm at each anomaly_score of 0.5 and more."""
    for one in series:
        alarm = Alarm(threshold, one.probation)
        scores = [alarm.update(surprise) for surprise in surprises[one.name].tolist()]
        path = out / one.name
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {"timestamp": one.timestamps, "value": one.values, "anomaly_score": scores}
        pl.DataFrame(columns).write_csv(path)
