"""Adverse moves: outcomes by hand, nothing from later, folders joined by ticker, rows in order."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

from rich.progress import Progress

from engines.training.models import chart, ticks
from engines.training.tasks import Run, kdd17
from engines.training.tasks.tables import FolderError


def prices(tickers: int, days: int, start: int = 0, seed: int = 0) -> pl.DataFrame:
    """Random walks; ``start`` days of them are left out."""
    tables = []
    for ticker in range(tickers):
        rng = np.random.default_rng([seed, ticker])
        close = 50 * np.exp(rng.normal(0, 0.01, days + start).cumsum())
        open_ = close * np.exp(rng.normal(0, 0.003, len(close)))
        columns = {
            "ticker": [f"T{ticker}"] * len(close),
            "date": [str(date(2010, 1, 1) + timedelta(day)) for day in range(len(close))],
            "open": open_,
            "high": np.maximum(open_, close) * 1.004,
            "low": np.minimum(open_, close) * 0.996,
            "close": close,
            "volume": rng.integers(1000, 9000, len(close)),
            "adj_close": close,
        }
        tables.append(pl.DataFrame(columns)[start:])
    return pl.concat(tables)


def folder(path: Path, table: pl.DataFrame) -> Path:
    path.mkdir()
    table.write_parquet(path / "any.parquet")
    return path


def joined(path: Path, train: pl.DataFrame, test: pl.DataFrame) -> kdd17.Table:
    learnt = kdd17.read(folder(path / "train", train))
    asked = kdd17.read(folder(path / "test", test)) if len(test) else learnt.clear()  # a folder has rows
    return kdd17.assemble(learnt, asked)


def test_an_outcome_is_the_move_of_20_days_over_the_volatility_of_20_and_60_before(tmp_path: Path) -> None:
    table = prices(1, 100)
    outcome, ends = kdd17.outcomes(joined(tmp_path, table, table.clear()))
    close = np.log(table["close"].to_numpy())
    moves = np.diff(close)[10:70]  # into days 11 … 70
    volatility = np.sqrt(moves[-20:].std() * moves.std())
    assert outcome[70] == pytest.approx((close[90] - close[70]) / (volatility * np.sqrt(20)))
    assert ends[70] - ends[69] == 1
    assert np.flatnonzero(np.isfinite(outcome)).tolist() == list(range(60, 80))


def test_no_outcome_reaches_into_the_other_folder_or_another_ticker(tmp_path: Path) -> None:
    table = prices(2, 200)
    earlier = table.filter(pl.col("date") < "2010-05-31")  # 150 days
    found = joined(tmp_path, earlier, table.filter(pl.col("date") >= "2010-05-31"))
    outcome, _ = kdd17.outcomes(found)
    days = [*range(60, 130), *range(150, 180)]
    assert np.flatnonzero(np.isfinite(outcome)).tolist() == days + [200 + day for day in days]
    assert found.asked.tolist() == [*[-1] * 150, *range(50), *[-1] * 150, *range(50, 100)]


def test_what_is_seen_of_a_row_does_not_change_with_what_comes_later(tmp_path: Path) -> None:
    table = prices(3, 150)
    early = table.filter(pl.col("date") < "2010-04-11")  # 100 days
    whole = kdd17.look(joined(tmp_path, table, table.clear()))
    (tmp_path / "then").mkdir()
    then = kdd17.look(joined(tmp_path / "then", early, table.clear()))
    rows = np.array([ticker * 150 + day for ticker in range(3) for day in range(100)])
    for now, before in zip(whole.at(rows), then, strict=True):
        np.testing.assert_allclose(now, before, rtol=1e-5, atol=1e-6)


def test_a_split_shows_nowhere(tmp_path: Path) -> None:
    table = prices(1, 150)
    names = ("open", "high", "low", "close")
    split = table.with_columns(
        pl.when(pl.col("date") < "2010-04-11").then(pl.col(n) * 7).otherwise(pl.col(n)) for n in names
    )
    one = joined(tmp_path, table, table.clear())
    (tmp_path / "split").mkdir()
    other = joined(tmp_path / "split", split, table.clear())
    np.testing.assert_allclose(one.bars, other.bars)


def test_after_a_long_gap_history_begins_anew(tmp_path: Path) -> None:
    table = prices(1, 200)
    gap = table.filter((pl.col("date") < "2010-04-01") | (pl.col("date") > "2010-05-10"))
    assert np.unique(joined(tmp_path, gap, table.clear()).first).tolist() == [0, 90]


def test_no_row_is_learnt_from_whose_outcome_is_in_what_is_told() -> None:
    day = np.tile(np.arange(100), 2)
    parts = kdd17.walk(day, day + 20)
    assert [(day[before].max() + 20 < day[after].min()) for before, after in parts] == [True, True]
    assert [(day[after].min(), day[after].max()) for _, after in parts] == [(50, 74), (75, 99)]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "EPOCHS", 1)
    monkeypatch.setattr(ticks, "EPOCHS", 1)
    monkeypatch.setattr(kdd17, "FEWEST", 50)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_later_rows_are_told_in_their_order_and_young_ones_get_the_prevalence(tmp_path: Path) -> None:
    table = prices(4, 260)
    new = prices(1, 100, seed=9).with_columns(ticker=pl.lit("NEW"))
    test = pl.concat([table.filter(pl.col("date") >= "2010-08-09"), new]).sample(fraction=1, shuffle=True, seed=1)
    folders = folder(tmp_path / "train", table.filter(pl.col("date") < "2010-08-09")), folder(tmp_path / "test", test)
    with Progress(disable=True) as progress:
        found = kdd17.run(*folders, tmp_path / "out" / "predictions.csv", Run(progress)).metrics
    told = pl.read_csv(tmp_path / "out" / "predictions.csv", schema_overrides={"date": pl.String})
    assert told.select("ticker", "date").equals(test.select("ticker", "date"))
    young = (told["ticker"] == "NEW") & (told["date"] < "2010-03-02")
    assert (told.filter(young)["p_adverse"] == kdd17.WORST).all()
    assert told.filter(~young)["p_adverse"].n_unique() > 150
    assert told["p_adverse"].is_between(0, 1).all()
    assert {n.rsplit(" ", 1)[0] for n in found} >= {"tocsin", "chart", "chart_redrawn", "ticks", "gain over ticks"}
    assert found["prevalence auc"].value == 0.5


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_run_that_was_stopped_goes_on_with_the_networks_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, out = folder(tmp_path / "own", prices(3, 260)), tmp_path / "out.csv"
    honest, asked = ticks.fit, 0

    def fit(*arguments: Any) -> ticks.Encoder:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise KeyboardInterrupt
        return honest(*arguments)

    with Progress(disable=True) as progress:
        whole = kdd17.run(own, own, out, Run(progress)).metrics
        monkeypatch.setattr(ticks, "fit", fit)
        with pytest.raises(KeyboardInterrupt):
            kdd17.run(own, own, out, Run(progress, keep=tmp_path / "kept"))
        assert kdd17.run(own, own, out, Run(progress, keep=tmp_path / "kept")).metrics == whole
    assert asked == 4 + 3  # two at each of three moments; three were there


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_folder_predicts_its_own_later_part_and_too_little_is_refused(data_dir: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(data_dir / "kdd17_prices" / "prices_daily.parquet")
    some = table.filter(pl.col("ticker").is_in(table["ticker"].unique().sort()[:3]), pl.col("date") > "2013")
    real = folder(tmp_path / "real", some)
    with Progress(disable=True) as progress:
        kdd17.run(real, real, tmp_path / "out.csv", Run(progress))
        told = pl.read_csv(tmp_path / "out.csv", schema_overrides={"date": pl.String})
        days, later = (table["date"].unique().sort().to_list() for table in (some, told))
        assert later == days[-len(later) :]
        assert len(later) == pytest.approx(0.2 * len(days), rel=0.02)
        few = folder(tmp_path / "few", some[:100])
        with pytest.raises(FolderError, match="expected a few years of prices"):
            kdd17.run(few, real, tmp_path / "out.csv", Run(progress))
    bad = folder(tmp_path / "bad", some.with_columns(close=pl.lit(0.0)))
    with pytest.raises(FolderError, match="row 1: expected prices above 0"):
        kdd17.read(bad)
    twice = folder(tmp_path / "twice", pl.concat([some, some]))
    with pytest.raises(FolderError, match="one row a ticker and date"):
        kdd17.read(twice)
