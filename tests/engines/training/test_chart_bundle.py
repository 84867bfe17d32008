"""The chart encoder that ships: each day has its own chart, nothing later is in it, the file says what was learnt."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

from rich.progress import Progress

from engines import charts
from engines.bundle import Bundle
from engines.chart_encoder import ChartEncoder
from engines.inference import ORT_CPU
from engines.training import chart, fusion, split
from tests.engines.test_chart_encoder import write

DAYS = [day for i in range(400) if (day := date(2014, 9, 1) + timedelta(i)).weekday() < 5]


def stocks(folder: Path, rng: np.random.Generator) -> Path:
    """Write a small stocknet: random walks of three tickers, and one post."""
    tables = []
    for ticker in ("A", "B", "C"):
        close = 50 * np.exp(rng.standard_t(3, len(DAYS)).cumsum() / 100)
        open_ = close * np.exp(rng.normal(0, 0.003, len(DAYS)))
        columns = {
            "ticker": [ticker] * len(DAYS),
            "date": [str(day) for day in DAYS],
            "open": open_,
            "high": np.maximum(open_, close) * 1.004,
            "low": np.minimum(open_, close) * 0.996,
            "close": close,
            "adj_close": close * np.where(np.arange(len(DAYS)) < 150, 0.5, 1.0),  # a dividend, or a split
            "volume": rng.uniform(1000, 9000, len(DAYS)),
        }
        tables.append(pl.DataFrame(columns))
    folder.mkdir()
    pl.concat(tables).write_parquet(folder / "prices_daily.parquet")
    posts = {"ticker": ["A"], "created_at": [datetime(2015, 7, 1, tzinfo=UTC)], "text": ["results tomorrow"]}
    pl.DataFrame(posts).write_parquet(folder / "tweets.parquet")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stocks(tmp_path_factory.mktemp("stocks") / "data", np.random.default_rng(0))


@pytest.fixture(scope="module")
def days(folder: Path) -> fusion.Days:
    return fusion.load_days(folder)


def test_each_row_has_the_20_bars_that_end_with_its_own_day(folder: Path, days: fusion.Days) -> None:
    shown = chart.windows(folder, days)
    assert shown.bars.shape == (len(days.day), 20, 5)
    table = pl.read_parquet(folder / "prices_daily.parquet").with_columns(factor=pl.col("adj_close") / pl.col("close"))
    each = table.height // 3
    rows = [i for i in range(table.height) if table["date"][i] == str(DAYS[100])]
    found = np.flatnonzero(days.day == np.datetime64(DAYS[100]).astype(int))
    assert len(found) == len(rows) == 3
    for at, row in zip(found, rows, strict=True):
        then = table[row - 19 : row + 1]
        prices = then.select(pl.col("open", "high", "low", "close") * pl.col("factor")).to_numpy()
        assert shown.bars[at, :, :4] == pytest.approx(prices)
        assert shown.bars[at, :, 4].tolist() == then["volume"].to_list()
        closes = (table["close"] * table["factor"])[row - row % each : row + 1].to_numpy()
        assert shown.average[at] == pytest.approx([closes[i - 19 : i + 1].mean() for i in range(81, 101)])


def test_the_label_is_of_the_day_after_the_chart(folder: Path, days: fusion.Days) -> None:
    shown = chart.windows(folder, days)
    here = np.flatnonzero((days.day[:-1] + 1 == days.day[1:]) & (days.part[:-1] == days.part[1:]))
    moves = np.abs(np.diff(np.log(shown.bars[here + 1, :, 3]), axis=1))  # of the next day's chart
    large = days.label[here] == 1
    assert np.median(moves[large, -1]) > 2.5 * np.median(moves[~large, -1])
    assert np.median(moves[large, -2]) < 2 * np.median(moves[~large, -2])


def test_no_chart_changes_with_what_comes_later(folder: Path, days: fusion.Days, tmp_path: Path) -> None:
    later = pl.col("date") > str(DAYS[150])
    table = pl.read_parquet(folder / "prices_daily.parquet")
    columns = ("open", "high", "low", "close", "volume")
    changed = table.with_columns(pl.when(later).then(pl.col(*columns) * 3).otherwise(pl.col(*columns)))
    changed.write_parquet(tmp_path / "prices_daily.parquet")
    before = days.day <= np.datetime64(DAYS[150]).astype(int)
    now, then = chart.windows(folder, days).at(before), chart.windows(tmp_path, days).at(before)
    assert before.sum() > 200
    assert now.bars.tolist() == then.bars.tolist()
    assert now.average == pytest.approx(then.average)


def test_days_of_other_data_are_refused(folder: Path, days: fusion.Days, tmp_path: Path) -> None:
    short = pl.read_parquet(folder / "prices_daily.parquet").filter(pl.col("date") < "2015-09-15")
    short.write_parquet(tmp_path / "prices_daily.parquet")
    with pytest.raises(ValueError, match=f"days of {tmp_path}, found {len(days.day)} others"):
        chart.windows(tmp_path, days)


def test_calibration_undoes_what_is_known_and_takes_the_level_of_all_quarters() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(-2, 1, 20_000)
    label = (rng.random(20_000) < 1 / (1 + np.exp(-true))).astype(np.int64)
    part = np.array(["stop"] * 20_000)
    slope, intercept = chart.calibrate(2 * true + 3, labelled(label, part))
    assert (slope, intercept) == pytest.approx((0.5, -1.5), abs=0.05)
    twice = np.concatenate([label, np.ones(5_000, np.int64)])
    moved = chart.calibrate(2 * true + 3, labelled(twice, np.append(part, ["train"] * 5_000)))
    before, after = label.mean(), twice.mean()
    assert moved[0] == pytest.approx(slope)
    assert moved[1] - intercept == pytest.approx(np.log(after / (1 - after)) - np.log(before / (1 - before)))


def labelled(label: npt.NDArray[np.int64], part: npt.NDArray[np.str_]) -> fusion.Days:
    nothing = np.zeros(len(label), np.int64)
    zeros = np.zeros((len(label), 2))
    return fusion.Days(
        bars=zeros.astype(np.float32),
        post=nothing,
        age_ns=nothing,
        label=label,
        size=zeros[:, 0],
        trailing=zeros,
        day=nothing,
        part=part,
        posts=[],
        split=split.SHIPPED,
    )


@pytest.fixture(scope="module")
def trained(folder: Path) -> chart.Trained:
    with pytest.MonkeyPatch.context() as patch, Progress(disable=True) as progress:
        patch.setattr(chart, "EPOCHS", 1)
        return chart.train(folder, fusion.load_days(folder), 0, progress)


@pytest.mark.slow
def test_the_report_has_every_contender_by_every_measure(trained: chart.Trained, days: fusion.Days) -> None:
    part = trained.part
    assert list(part.metrics) == [
        "chart",
        "chart, as others draw",
        "the same numbers + logistic",
        "prevalence",
        "gain by drawing",
    ]
    for contender in list(part.metrics)[:4]:
        assert list(part.metrics[contender]) == ["auc", "average_precision", "ece", "brier", "ece_floor"]
    assert part.metrics["prevalence"]["auc"].value == 0.5
    assert part.split == {name: int((days.part == name).sum()) for name in ("train", "stop", "test")}
    assert min(part.split.values()) > 100


@pytest.mark.slow
def test_the_file_says_what_the_network_says_of_a_picture(
    trained: chart.Trained, folder: Path, days: fusion.Days, tmp_path: Path
) -> None:
    bundle: Bundle = write(tmp_path / "bundle", chart_onnx=trained.graph, chart_json=msgspec.json.encode(trained.spec))
    served = ChartEncoder(bundle, [ORT_CPU])
    pictures = chart.drawn(chart.windows(folder, days))[::97]
    vectors, logits = chart.embed(trained.model, pictures)
    assert vectors.shape == (len(pictures), trained.spec.dim)
    assert logits.shape == (len(pictures), 1)
    assert len(trained.graph) < 1_000_000
    told = [served.encode(charts.png(picture), "image/png") for picture in pictures]
    assert np.stack([seen.vector for seen in told]) == pytest.approx(vectors, abs=1e-5)
    assert np.stack([seen.logits for seen in told]) == pytest.approx(logits, abs=1e-5)
    assert len({seen.score for seen in told}) == len(told)
    spec = trained.spec
    assert told[0].score == pytest.approx(1 / (1 + np.exp(-(spec.slope * logits[0, 0] + spec.intercept))), abs=1e-5)


def test_others_charts_differ_from_ours_and_are_as_many(folder: Path, days: fusion.Days) -> None:
    shown = chart.windows(folder, days).at(days.part == "stop")
    ours, others = chart.drawn(shown), chart.drawn(shown, np.random.default_rng(0))
    assert ours.shape == others.shape == (len(shown.bars), 64, 60)
    assert not np.array_equal(ours, others)
