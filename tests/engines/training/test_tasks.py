"""Tasks on small folders of the test's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.progress import Progress

from engines.training.tasks import TASKS, Run, load_task
from engines.training.tasks.tables import FolderError, read_table
from engines.training.tasks.texts import Texts, _fitting, _folds, plan, read, run, start
from tests.engines.training.checkpoints import small_mpnet

SAID = {
    "up": ("profit rose", "sales grew", "the outlook was raised"),
    "down": ("profit fell", "sales shrank", "the outlook was cut"),
    "flat": ("nothing changed", "the meeting took place", "the office moved"),
}


def write(folder: Path, per_class: int, labels: bool = True, name: str = "any.csv") -> pl.DataFrame:
    """Write texts of three classes, mixed, each with a number of its own."""
    rows = [
        {"text": f"Company {i} said that {said[i % 3]} in year {i * 7 % 90}", "label": label}
        for i in range(per_class)
        for label, said in SAID.items()
    ]
    table = pl.DataFrame(rows)
    folder.mkdir(exist_ok=True)
    (table if labels else table.drop("label")).write_csv(folder / name)
    return table


def test_every_task_can_be_loaded() -> None:
    assert all(callable(load_task(name)) for name in TASKS)


def test_a_table_is_found_by_its_columns_whatever_its_name(tmp_path: Path) -> None:
    pl.DataFrame({"other": [1]}).write_csv(tmp_path / "a.csv")
    pl.DataFrame({"text": ["x"], "label": ["up"]}).write_parquet(tmp_path / "b.parquet")
    assert read_table(tmp_path, "text", "label")["text"].to_list() == ["x"]


def test_a_folder_without_the_columns_is_refused_with_what_is_there(tmp_path: Path) -> None:
    pl.DataFrame({"other": [1]}).write_csv(tmp_path / "a.csv")
    with pytest.raises(FolderError, match=r"expected .* the columns text, label; found a\.csv"):
        read_table(tmp_path, "text", "label")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,label\n1,caf\xe9\n".encode("latin-1")),
        ("a.csv", b'text,label\n1,a,b\n"x\n'),
        ("a.csv.gz", b"\x1f\x8b\x08 cut off"),
        ("a.parquet", b"PAR1 broken PAR1"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    pl.DataFrame({"text": ["x"]}).write_csv(tmp_path / "b.csv")
    with pytest.raises(FolderError, match=rf"{name}: expected a table"):
        read_table(tmp_path, "text")


def test_an_empty_file_is_left_alone_and_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(FolderError, match=r"columns text; found a\.csv"):
        read_table(tmp_path, "text")
    (tmp_path / "b.csv").write_text("text\n")
    with pytest.raises(FolderError, match="expected rows in the table of text, found none"):
        read_table(tmp_path, "text")
    pl.DataFrame({"text": ["x"]}).write_csv(tmp_path / "c.csv")
    assert read_table(tmp_path, "text")["text"].to_list() == ["x"]


def test_years_are_whole_numbers_and_texts_may_be_numbers(tmp_path: Path) -> None:
    pl.DataFrame({"text": [7, None], "year": [2001.0, 2002.0]}).write_csv(tmp_path / "a.csv")
    texts = read(tmp_path, labelled=False)
    assert texts.text == ["7", ""]
    assert texts.year is not None
    assert texts.year.tolist() == [2001, 2002]
    pl.DataFrame({"text": ["a", "b"], "year": ["2001", "MMII"]}).write_csv(tmp_path / "a.csv")
    with pytest.raises(FolderError, match="year of row 2: expected a whole number, found 'MMII'"):
        read(tmp_path, labelled=False)


def test_texts_without_labels_cannot_be_trained_on(tmp_path: Path) -> None:
    write(tmp_path, 2, labels=False)
    assert read(tmp_path, labelled=False).label == []
    with pytest.raises(FolderError, match="expected a label in every row"):
        read(tmp_path, labelled=True)


def test_what_is_folds_is_later_where_there_are_years() -> None:
    dated = Texts([f"text {i}" for i in range(10)], ["up"] * 10, np.arange(2000, 2010))
    ((fit, held),) = _folds(dated, 1)
    assert (fit.tolist(), held.tolist()) == (list(range(8)), [8, 9])
    assert [(fit.tolist(), held.tolist()) for fit, held in _folds(dated, 2)] == [
        (list(range(8)), [8]),
        (list(range(9)), [9]),
    ]


def test_without_years_every_text_is_folds_once_and_no_copy_is_on_both_sides() -> None:
    copies = [f"{word} is what the company number {word} has said" for word in ("one", "two", "six", "ten") * 30]
    folds = _folds(Texts(copies, ["up"] * len(copies), None), 5)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(120))
    for fit, held in folds:
        assert sorted([*fit, *held]) == list(range(120))
        assert not {copies[i] for i in fit} & {copies[i] for i in held}


def test_as_many_members_learn_as_two_cores_have_time_for() -> None:
    # A member learns from 5/6 of the texts, or as much less as it takes, in at most 420 s; two learn at a time.
    assert plan(10, 99) == (6, 6)
    assert plan(250, 99) == (6, 4)
    assert plan(500, 99) == (6, 2)
    assert plan(520, 99) == (5, 2)
    assert plan(550, 99) == (4, 2)
    assert plan(900, 99) == plan(10_000, 99) == (2, 2)
    assert plan(10, 4) == (4, 4)


def test_less_is_learnt_where_half_of_the_texts_take_too_long(tmp_path: Path) -> None:
    begun, schedule = start(str(small_mpnet(tmp_path / "small")), "cpu")

    def thinned(tokens: int, **changes: object) -> tuple[int, int, tuple[str, ...]]:
        found, _ = _fitting(begun, replace(schedule, **changes), 100, tokens, changes)  # type: ignore[arg-type]
        return found.epochs, found.batch, found.freeze

    # A token takes this small one 0.2 ms in an epoch: two epochs over half of 2.4 million are 480 s.
    still = ("word", "position", "norm", "layers.0.", "distance")
    assert thinned(2_300_000) == (2, 16, ())
    assert thinned(2_500_000) == (1, 32, still)
    assert thinned(2_500_000, epochs=3) == (3, 32, still)
    assert thinned(2_500_000, freeze=("word",), batch=8) == (1, 8, ("word",))


@pytest.mark.slow
def test_texts_are_told_apart_and_rows_keep_their_order(tmp_path: Path) -> None:
    write(tmp_path / "train", 30)
    asked = write(tmp_path / "test", 12, labels=False)
    with Progress(disable=True) as progress:
        measures = run(
            tmp_path / "train",
            tmp_path / "test",
            tmp_path / "out" / "predictions.csv",
            Run(progress, encoder="minilm"),
        ).metrics
    told = pl.read_csv(tmp_path / "out" / "predictions.csv")
    assert measures == {}
    assert told.columns == ["label", "p_down", "p_flat", "p_up"]
    assert np.allclose(told.select("p_down", "p_flat", "p_up").to_numpy().sum(1), 1)
    assert np.mean(told["label"].to_numpy() == asked["label"].to_numpy()) > 0.9
