"""Volatility after calls: folders are read in either layout, and no forecast knows what came after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("sklearn", reason="training needs scikit-learn: install the extra `train`")

from rich.console import Console
from rich.progress import Progress

from engines.bundle import Metric
from engines.calls import VOICE
from engines.training.leaks import LeakError
from engines.training.tasks import Run, maec
from engines.training.tasks.tables import FolderError

COUNT = 420
COMPANIES = 60
WEEKS = np.datetime64("2015-01-05") + 7 * np.arange(100)


def run(train: Path, test: Path, out: Path) -> dict[str, Metric]:
    return maec.run(train, test, out, Run(Progress(console=Console(quiet=True), disable=True))).metrics


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    """Calls whose company has a volatility of its own, before and after, with closes up to each and what is said."""
    rng = np.random.default_rng(0)
    own = rng.normal(-4, 0.4, COMPANIES)
    rows = []
    for at in range(COUNT):
        company = at % COMPANIES
        date = WEEKS[at * len(WEEKS) // COUNT] + np.timedelta64(company % 5, "D")
        returns = rng.normal(0, np.exp(own[company]), 60)
        after = returns[30:] - returns[30:].mean()
        closes = 20 * np.cumprod(np.concatenate([[1.0], 1 + returns[:30]]))
        before = returns[:30] - returns[:30].mean()
        past = {f"past_logvol_{k}": 0.5 * np.log((before[: 30 - k] ** 2).mean()) for k in range(30)}
        target = {f"target_logvol_{n}d": 0.5 * np.log((after[:n] ** 2).mean()) for n in maec.HORIZONS}
        said = " ".join(rng.choice(["loans", "drugs", "ships", "coal", "chips"], 20))
        rows.append({"call_id": f"{str(date).replace('-', '')}_T{company}", "text": said, "closes": closes.tolist()})
        rows[-1] |= past | target | {"current_adjclose_price": closes[-1]}
    return pl.DataFrame(rows)


def write(folder: Path, table: pl.DataFrame, *, targets: bool = True, closes: bool = False) -> Path:
    folder.mkdir()
    labels = table.select("call_id", pl.col(maec.PAST), "current_adjclose_price", pl.col(maec.TARGETS))
    if closes:
        written = table["closes"].list.eval(pl.element().cast(pl.String)).list.join(";")
        labels = labels.drop(*maec.PAST, "current_adjclose_price").with_columns(past_close_30=written)
    labels = labels if targets else labels.drop(maec.TARGETS)
    labels.write_csv(folder / "any.csv.gz", compression="gzip")
    table.select("call_id", "text").sample(fraction=1.0, shuffle=True, seed=1).write_parquet(folder / "a.parquet")
    rng = np.random.default_rng(2)
    names = np.repeat(table["call_id"].to_numpy(), 3)
    sounds = {name: rng.normal(size=len(names)) for name in VOICE}
    pl.DataFrame({"call_id": names, "sent_idx": np.arange(len(names)) % 3} | sounds).write_parquet(folder / "b.parquet")
    return folder


@pytest.fixture(scope="module")
def folders(table: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The first 300 calls and the others."""
    at = tmp_path_factory.mktemp("maec")
    return write(at / "train", table[:300]), write(at / "test", table[300:])


def test_the_past_tells_more_than_the_mean_and_trailing_volatility(folders: tuple[Path, Path], tmp_path: Path) -> None:
    told = run(*folders, tmp_path / "new" / "out.csv")
    assert told["tocsin mse"].value < told["mean mse"].value
    assert told["tocsin mse"].value < told["trailing 30 days mse"].value
    assert told["tocsin mse"].value == pytest.approx(
        np.mean([told[f"tocsin mse_{n}d"].value for n in maec.HORIZONS]), abs=1e-4
    )
    # Chance has said and voiced everything here.
    assert abs(told["gain by text mse"].value) < 0.01
    assert abs(told["gain by audio of other companies mse"].value) < 0.01


def test_targets_of_the_calls_asked_for_are_not_needed_and_not_used(
    table: pl.DataFrame, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    train, test = folders
    run(train, test, tmp_path / "with.csv")
    assert run(train, write(tmp_path / "bare", table[300:], targets=False), tmp_path / "without.csv") == {}
    assert (tmp_path / "with.csv").read_text() == (tmp_path / "without.csv").read_text()
    told = pl.read_csv(tmp_path / "with.csv")
    assert told.columns == ["call_id", *maec.TARGETS]
    assert told["call_id"].to_list() == table["call_id"][300:].to_list()


def test_closes_tell_what_the_volatilities_of_their_windows_tell(
    table: pl.DataFrame, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    train, test = folders
    run(train, test, tmp_path / "volatilities.csv")
    run(train, write(tmp_path / "closes", table[300:], closes=True), tmp_path / "closes.csv")
    one, other = (pl.read_csv(tmp_path / f"{name}.csv") for name in ("volatilities", "closes"))
    np.testing.assert_allclose(one.drop("call_id").to_numpy(), other.drop("call_id").to_numpy(), rtol=1e-5)


def test_calls_with_nothing_but_words_are_forecast_too(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    pl.DataFrame({"call_id": ["20161205_NEW", "20161206_T1"], "text": ["coal", "ships"]}).write_csv(
        tmp_path / "words" / "said.csv"
    )
    run(folders[0], tmp_path / "words", tmp_path / "out.csv")
    told = pl.read_csv(tmp_path / "out.csv").drop("call_id").to_numpy()
    assert np.isfinite(told).all()
    assert np.abs(told + 4).max() < 0.6


def test_of_one_folder_the_later_calls_are_forecast_without_what_comes_after(
    table: pl.DataFrame, tmp_path: Path
) -> None:
    """Targets that are not over by 1 November 2016 are changed: no forecast of a call before December is."""
    run(write(tmp_path / "one", table), tmp_path / "one", tmp_path / "one.csv")
    late = pl.col("call_id").str.head(8) >= "20161020"
    changed = table.with_columns(pl.when(late).then(9.0).otherwise(pl.col(name)).alias(name) for name in maec.TARGETS)
    run(write(tmp_path / "two", changed), tmp_path / "two", tmp_path / "two.csv")
    one, two = (pl.read_csv(tmp_path / f"{name}.csv") for name in ("one", "two"))
    assert len(one) == pytest.approx(COUNT * 2 / 3, abs=20)
    before = one["call_id"].str.head(8) < "20161201"
    assert before.sum() > 200
    assert one.filter(before).equals(two.filter(before))


def test_calls_of_the_same_time_are_forecast_from_other_companies(table: pl.DataFrame, tmp_path: Path) -> None:
    half = table["call_id"].str.ends_with("0") | table["call_id"].str.ends_with("5")
    train, test = write(tmp_path / "train", table.filter(~half)), write(tmp_path / "test", table.filter(half))
    told = run(train, test, tmp_path / "out.csv")
    assert told["tocsin mse"].value < told["mean mse"].value


def test_folders_that_overlap_in_time_are_refused_where_that_is_asked_for(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    strict = Run(Progress(console=Console(quiet=True), disable=True), strict=True)
    train, test = folders
    maec.run(train, test, tmp_path / "out.csv", strict)
    with pytest.raises(LeakError, match=r"120 of 120 rows to learn from reach into .* begins on 2015-01-05"):
        maec.run(test, train, tmp_path / "out.csv", strict)


def test_folders_that_cannot_be_learnt_from_are_refused(table: pl.DataFrame, tmp_path: Path) -> None:
    few = write(tmp_path / "few", table[:50])
    with pytest.raises(FolderError, match="at least 100 calls with targets, found 50"):
        run(few, write(tmp_path / "test", table[50:]), tmp_path / "out.csv")
    (tmp_path / "odd").mkdir()
    pl.DataFrame({"call_id": ["T1"]}).write_csv(tmp_path / "odd" / "odd.csv")
    with pytest.raises(FolderError, match="20150225_LMAT"):
        maec.read(tmp_path / "odd")
    pl.DataFrame({"call_id": ["20151345_T1"]}).write_csv(tmp_path / "odd" / "odd.csv")
    with pytest.raises(FolderError, match="expected call_id to begin with a day"):
        maec.read(tmp_path / "odd")


@pytest.mark.long
def test_real_calls(data_dir: Path, tmp_path: Path) -> None:
    told = run(data_dir / "maec", data_dir / "maec", tmp_path / "out.csv")
    assert told["tocsin mse"].value < 0.175
    assert told["tocsin mse"].high < told["trailing before the day mse"].value
