"""Tasks on tables: borrowers, releases and days, each on small folders of the test's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.progress import Progress

from engines.bundle import Metric
from engines.credit import GERMAN_CODES, GERMAN_NUMBERS, TAIWAN, taiwan
from engines.training.stacking import Floats, grouped_folds, later_folds, pair, stacked
from engines.training.tasks import Run, credit, litigation, load_task, stocknet
from engines.training.tasks.litigation import LABEL, Releases, masked
from engines.training.tasks.tables import FolderError


def told_by(task: str, train: Path, test: Path, out: Path) -> tuple[pl.DataFrame, dict[str, Metric]]:
    with Progress(disable=True) as progress:
        found = load_task(task)(train, test, out, Run(progress)).metrics
    return pl.read_csv(out), found


def cards(count: int, seed: int) -> pl.DataFrame:
    """Card holders of whom the late ones default, mostly."""
    rng = np.random.default_rng(seed)
    late = rng.integers(-1, 3, count)
    columns = {name: rng.integers(1_000, 50_000, count) for name in TAIWAN}
    columns |= {"PAY_0": late, "EDUCATION": rng.integers(1, 4, count), "LIMIT_BAL": rng.integers(5, 50, count) * 10_000}
    columns |= {name: rng.integers(-1, 2, count) for name in TAIWAN if name[:5] in {"PAY_2", "PAY_3", "PAY_4", "PAY_5"}}
    columns |= {"SEX": rng.integers(1, 3, count), "AGE": rng.integers(20, 70, count)}
    columns["default.payment.next.month"] = (rng.random(count) < np.where(late > 0, 0.8, 0.1)).astype(np.int64)
    return pl.DataFrame(columns)


def loans(count: int, seed: int) -> pl.DataFrame:
    """Loans of which those with an overdrawn account go bad, mostly."""
    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {
        name: [f"A{code}" for code in rng.choice(codes, count)] for name, codes in GERMAN_CODES.items()
    }
    columns |= {name: rng.integers(1, 40, count) for name in GERMAN_NUMBERS}
    overdrawn = rng.random(count) < 0.4
    columns["STATUS_ACCOUNT"] = np.where(overdrawn, "A11", "A14")
    columns["PERSONAL_STATUS_AND_SEX"] = [f"A{code}" for code in rng.integers(91, 96, count)]
    columns["CLASSIFICATION"] = (rng.random(count) > np.where(overdrawn, 0.8, 0.1)).astype(np.int64)
    return pl.DataFrame(columns)


@pytest.fixture(scope="module")
def borrowers(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, dict[str, Metric]]:
    train, test = tmp_path_factory.mktemp("train"), tmp_path_factory.mktemp("test")
    cards(400, 0).write_parquet(train / "cards.parquet")
    loans(400, 1).write_csv(train / "loans.data", separator=" ")
    cards(60, 2).write_csv(test / "any.csv")
    loans(50, 3).drop("CLASSIFICATION", "PERSONAL_STATUS_AND_SEX").write_csv(test / "some.data", separator=" ")
    return told_by("credit", train, test, test / "new" / "predictions.csv")


@pytest.mark.slow
def test_rows_of_both_tables_of_borrowers_are_numbered_through(
    borrowers: tuple[pl.DataFrame, dict[str, Metric]],
) -> None:
    table, _ = borrowers
    assert table.columns == ["row", "p_default", "table"]
    assert table["row"].to_list() == list(range(110))
    assert table["table"].to_list() == ["taiwan"] * 60 + ["german"] * 50


@pytest.mark.slow
def test_borrowers_who_default_are_told_and_only_labelled_tables_are_measured(
    borrowers: tuple[pl.DataFrame, dict[str, Metric]],
) -> None:
    table, found = borrowers
    risk = table["p_default"].to_numpy()
    overdrawn = loans(50, 3)["STATUS_ACCOUNT"].to_numpy() == "A11"
    assert risk[60:][overdrawn].min() > risk[60:][~overdrawn].max()
    assert found["taiwan tocsin auc"].value > 0.75
    assert found["taiwan prevalence auc"].value == 0.5
    assert "taiwan tocsin sex=female accepted_payers" in found
    assert not any(name.startswith("german") for name in found)


def test_sex_marital_status_age_and_citizenship_change_no_feature() -> None:
    for book in credit.BOOKS.values():
        assert not set(book.barred) & set(book.columns)


def test_the_limit_in_use_and_what_was_newly_spent_are_told() -> None:
    columns = {name: np.zeros(1) for name in TAIWAN}
    columns |= {"LIMIT_BAL": np.array([100_000.0]), "BILL_AMT1": np.array([50_000.0])}
    columns |= {"BILL_AMT2": np.array([20_000.0]), "PAY_AMT1": np.array([20_000.0])}
    features = taiwan(columns)[0]
    assert np.isclose(features, 0.2).any()  # 20,000 of 100,000 in use the month before
    assert np.isclose(features, 0.5).sum() >= 2  # 50,000 in use now, all of it newly spent: 50 - 20 + 20


def test_borrowers_without_labels_cannot_be_learnt_from(tmp_path: Path) -> None:
    cards(200, 0).drop("default.payment.next.month").write_parquet(tmp_path / "a.parquet")
    with pytest.raises(FolderError, match="expected taiwan with 100 labels"):
        told_by("credit", tmp_path, tmp_path, tmp_path / "out.csv")


def test_borrowers_in_a_file_that_cannot_be_read_are_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 broken PAR1")
    with pytest.raises(FolderError, match=r"a\.parquet: expected a table"):
        told_by("credit", tmp_path, tmp_path, tmp_path / "out.csv")


def test_releases_are_labelled_0_or_1(tmp_path: Path) -> None:
    pl.DataFrame({"lt_no": [1, 2], "text": ["a", "b"], LABEL: [True, False]}).write_csv(tmp_path / "a.csv")
    found = litigation.read(tmp_path).about
    assert found is not None
    assert found.tolist() == [1, 0]
    pl.DataFrame({"lt_no": [1, 2], "text": ["a", "b"], LABEL: [1, 2]}).write_csv(tmp_path / "a.csv")
    with pytest.raises(FolderError, match=rf"{LABEL} to be 0 or 1, found \[1, 2\]"):
        litigation.read(tmp_path)


def test_a_stack_follows_the_member_that_knows() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 600)
    chance: Floats = np.where(truth, 0.75, 0.25)
    guess: Floats = rng.random(600)
    rows = np.arange(400)
    told = stacked(
        {"knows": lambda _, at: chance[at], "guesses": lambda _, at: guess[at]},
        truth,
        rows,
        np.arange(400, 600),
        grouped_folds(rows, rows, 4, seed=0),
    ).told
    assert np.array_equal(told["tocsin"].argmax(1), truth[400:])
    assert np.abs(told["tocsin"][:, 1] - truth[400:]).max() < 0.1  # it has seen that "knows" errs never


def test_folds_keep_groups_together_and_later_ones_are_told_by_earlier_ones() -> None:
    rows = np.arange(10, 30)
    for learn, told in grouped_folds(rows, np.repeat(np.arange(5), 4), 3, seed=0):
        assert not set((learn - 10) // 4) & set((told - 10) // 4)
        assert sorted([*learn, *told]) == rows.tolist()
    time = np.repeat(np.arange(10), 2)
    folds = later_folds(rows, time, time + 1, 2)
    assert [(time[learn - 10].max(), *np.unique(time[told - 10])) for learn, told in folds] == [(4, 5, 6), (6, 7, 8, 9)]
    # What is known only two days later is learnt from two days before.
    assert [time[learn - 10].max() for learn, _ in later_folds(rows, time, time + 2, 2)] == [3, 5]


def releases(years: range, per_year: int, labels: bool = True) -> pl.DataFrame:
    """Releases a third of which are about insider trading, and say so in words that are cut out too."""
    rng = np.random.default_rng(years.start)
    kinds = ("bought options before the merger was announced, tipped by a friend", "sold unregistered notes to farmers")
    rows = []
    for i, year in enumerate(year for year in years for _ in range(per_year)):
        about = int(rng.random() < 0.4)
        filler = " ".join(f"w{word}" for word in rng.integers(0, 400, 60))
        text = f"b\\r\\n The defendant {kinds[1 - about]}. {filler}"
        rows.append({"lt_no": str(years.start * 100 + i), "yr": year, "title": "nan", "text": text, LABEL: about})
    table = pl.DataFrame(rows)
    return table if labels else table.drop(LABEL, "yr")


def test_the_words_that_a_release_is_labelled_by_are_cut_out() -> None:
    said = masked(
        "b\\r\\r----- He tipped her, and a tippee's tips were material, non- public information: insider trading, or "
        "insider-trading on inside information. Nonpublic. The tip of his boat and Tipton's stock."
    )
    left = "He her, and a s were information: , or on . . The of his boat and Tipton s stock."
    assert " ".join(said.split()) == left
    said = masked("A pump-and-dump: he manipulated the market by wash sales and matched orders, then dumped his stock.")
    assert " ".join(said.split()) == "A : he the market by and , then his stock."


@pytest.mark.slow
def test_releases_are_told_by_earlier_ones(tmp_path: Path) -> None:
    releases(range(2004, 2012), 40).write_parquet(tmp_path / "any.parquet")
    table, found = told_by("sec_litigation", tmp_path, tmp_path, tmp_path / "out.csv")
    expected = releases(range(2004, 2012), 40).filter(pl.col("yr") > 2008)["lt_no"]
    assert table["lt_no"].cast(pl.String).to_list() == expected.to_list()
    assert found["tocsin auc"].value > 0.99
    assert found["prevalence auc"].value == 0.5
    (tmp_path / "later").mkdir()
    later = releases(range(2013, 2014), 30, labels=False)
    later.write_csv(tmp_path / "later" / "b.csv")
    table, found = told_by("sec_litigation", tmp_path, tmp_path / "later", tmp_path / "out.csv")
    assert table["lt_no"].cast(pl.String).to_list() == later["lt_no"].to_list()
    assert found == {}


def test_releases_that_were_read_judge_beside_the_lexicon_and_the_search() -> None:
    read = pl.read_csv(litigation.READ, schema_overrides={"lt_no": pl.String})
    assert len(read) >= 200
    assert read["lt_no"].is_unique().all()
    kinds = {"insider", "manipulation", "investors", "disclosure", "other"}
    assert all(set(read[column]) == kinds for column in ("a_first", "a_second", "a", "b", "label"))
    # Where two readers agree nothing else counts.
    assert read.filter(pl.col("a") == pl.col("b"))["label"].equals(read.filter(pl.col("a") == pl.col("b"))["a"])
    insider = [label == "insider" for label in read["label"]]
    # The releases say what the label says; the lexicon and the search find it, the dummy does not.
    said = ["He traded on inside information, insider trading." if one else "He sold notes." for one in insider]
    about = np.array(insider, np.int64)
    releases = Releases([*read["lt_no"], "unread"], [*said, ""], [*said, ""], None, np.append(about, 0))
    told = {"tocsin": pair(np.append(about, 0.0)), "TF-IDF": pair(np.full(len(read) + 1, 0.2))}
    found = litigation.measured(litigation.INSIDER, releases, told)
    for contender in ("tocsin", "lexicon", "search"):
        assert found[f"read, insider trading: {contender} average_precision"].value == 1.0
    assert found["read, insider trading: TF-IDF auc"].value == 0.5
    assert found["read, insider trading: gain over lexicon average_precision"].value == 0.0
    assert litigation.measured(litigation.INSIDER, releases.take(np.array([len(read)])), told) == {}


def stock(ticker: str, count: int, jumps: list[int], seed: int) -> pl.DataFrame:
    """Daily bars of a calm stock that jumps by a tenth on some rows."""
    rng = np.random.default_rng(seed)
    moves = rng.uniform(-0.01, 0.01, count)
    moves[jumps] = 0.1
    close = 50 * np.exp(np.cumsum(moves))
    dates = [str(day) for day in np.busday_offset("2014-01-02", np.arange(count), roll="forward")]
    columns = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "adj_close": close}
    return pl.DataFrame({"ticker": [ticker] * count, "date": dates, **columns, "volume": [1e6] * count})


def test_a_day_is_large_by_the_sixty_before_it_and_its_post_is_known_at_its_close() -> None:
    prices = stock("AB", 90, [70, 80], 0).with_columns(pl.col("date").str.to_date())
    day = prices["date"][69]
    table = stocknet.of_bars(prices)
    assert np.flatnonzero(table["large"].fill_null(False)).tolist() == [69, 79]
    assert table["large"].is_null().to_list() == [True] * 60 + [False] * 29 + [True]
    posts = pl.DataFrame({"ticker": ["AB", "AB"], "date": [day, day], "late": [True, False]}).with_columns(
        text=pl.Series(["earnings tomorrow", "hello"]), created_at=pl.Series([2, 1])
    )
    said = stocknet.of_posts(table.select("ticker", "date"), posts)
    assert said["text"][69] == "hello \n earnings tomorrow"
    assert said["post_reports"][69] == pytest.approx(np.log(2))
    assert said["text"].null_count() == 89


def test_posts_from_four_in_new_york_on_are_the_next_days(tmp_path: Path) -> None:
    stock("AB", 70, [], 0).write_csv(tmp_path / "p.csv")
    times = ["2014-03-07T20:59:59Z", "2014-03-07T21:00:00Z", "2014-03-10T19:59:59Z", "2014-03-10T20:00:00Z"]
    pl.DataFrame({"ticker": "AB", "created_at": times, "text": list("abcd")}).write_csv(tmp_path / "t.csv")
    _, posts = stocknet.read(tmp_path)
    # On Sunday the 9th the clocks went forward: 21:00 UTC was the close before, 20:00 after.
    assert posts["date"].cast(pl.String).to_list() == ["2014-03-07", "2014-03-08", "2014-03-10", "2014-03-11"]
    said = stocknet.days(stocknet.read(tmp_path)[0], posts)
    assert dict(zip(said.date, said.text, strict=True)) == {
        "2014-03-07": "a",
        "2014-03-10": "b \n c",
        "2014-03-11": "d",
    }


@pytest.mark.slow
def test_later_days_are_predicted_with_what_was_before_them(tmp_path: Path) -> None:
    (train := tmp_path / "train").mkdir()
    (test := tmp_path / "test").mkdir()
    jumps = list(range(75, 250, 5))
    names = [f"S{i}" for i in range(8)]
    whole = pl.concat([stock(name, 260, [j + i for j in jumps], i) for i, name in enumerate(names)])
    dates = whole["date"].unique().sort().to_list()
    announced = [
        (name, f"{dates[j + i - 1]}T15:00:00Z", "earnings tomorrow") for i, name in enumerate(names) for j in jumps
    ]
    plain = [(name, f"{date}T15:30:00Z", "nothing new") for name in names for date in dates]
    posts = pl.DataFrame([*announced, *plain], schema=["ticker", "created_at", "text"], orient="row")
    for folder, low, high in ((train, "0", dates[200]), (test, dates[201], "9")):
        whole.filter(pl.col("date").is_between(pl.lit(low), pl.lit(high))).write_parquet(folder / "bars.parquet")
        posts.filter(pl.col("created_at").is_between(pl.lit(low), pl.lit(high + "Z"))).write_csv(folder / "said.csv")
    table, found = told_by("stocknet", train, test, tmp_path / "out.csv")
    assert table.columns == ["ticker", "date", "p_move"]
    assert table["date"].unique().sort().to_list() == dates[201:]
    assert len(table) == 8 * 59
    assert found["tocsin auc"].value > found["bars auc"].value
    assert found["posts auc"].value > 0.95
    assert found["prevalence auc"].value == 0.5


@pytest.mark.slow
def test_one_stock_is_asked_for_and_others_only_lend_their_past(tmp_path: Path) -> None:
    (train := tmp_path / "train").mkdir()
    (test := tmp_path / "test").mkdir()
    whole = pl.concat([stock(f"S{i}", 200, list(range(75, 190, 5)), i) for i in range(3)])
    posts = whole.select("ticker", created_at=pl.col("date") + "T15:30:00Z", text=pl.lit("nothing new"))
    whole.write_parquet(train / "bars.parquet")
    posts.write_csv(train / "said.csv")
    days = whole["date"].unique().sort()[150:]
    one = pl.col("ticker") == "S1"
    asked = whole.filter(one, pl.col("date").is_in(days.to_list()))
    asked.with_columns(pl.col("volume").cast(pl.Int64), pl.col("date").str.to_datetime()).write_parquet(
        test / "x.parquet"
    )
    posts.filter(one, pl.col("created_at").str.slice(0, 10).is_in(days.to_list())).write_csv(test / "y.csv")
    table, _ = told_by("stocknet", train, test, tmp_path / "out.csv")
    assert table["ticker"].unique().to_list() == ["S1"]
    assert table["date"].to_list() == days.to_list()
