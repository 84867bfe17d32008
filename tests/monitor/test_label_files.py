"""Labels out of CSV and Parquet: what is right is read alike, what is wrong is named with its remedy."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.labels import Label
from monitor.label_files import LabelError, Labels, known, read

CSV = """\
event_id,typology,start_ns,onset_ns,end_ns,instruments,accounts,public_ns,benign
b,pump_and_dump,20,30,40,B.X A.X,,35,
a,news_shock,1,2,3,A.X,ACC-1 ACC-2,0,true
"""
A = Label(
    event_id="a",
    typology="news_shock",
    start_ns=1,
    onset_ns=2,
    end_ns=3,
    instruments=["A.X"],
    accounts=["ACC-1", "ACC-2"],
    benign=True,
)
B = Label(
    event_id="b",
    typology="pump_and_dump",
    start_ns=20,
    onset_ns=30,
    end_ns=40,
    instruments=["B.X", "A.X"],
    public_ns=35,
)


def written(tmp_path: Path, text: str, name: str = "events.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_csv_and_parquet_give_the_same_labels_in_order_of_their_onset(tmp_path: Path) -> None:
    of_csv = read(written(tmp_path, CSV))
    assert of_csv.labels == (A, B)
    parquet = tmp_path / "events.parquet"
    pq.write_table(pa.Table.from_pylist([msgspec.to_builtins(B), msgspec.to_builtins(A)]), parquet)
    assert read(parquet).labels == (A, B)
    assert of_csv.digest != read(parquet).digest


def test_an_empty_line_is_no_row(tmp_path: Path) -> None:
    assert read(written(tmp_path, CSV + "\n\n")).labels == (A, B)


def test_columns_that_have_a_default_may_be_left_out(tmp_path: Path) -> None:
    short = "event_id,typology,start_ns,onset_ns,end_ns,instruments\nx,y,1,1,1,A.X\n"
    (label,) = read(written(tmp_path, short)).labels
    assert (label.public_ns, label.benign, label.strength) == (0, False, 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            CSV.replace("public_ns", "announced"),
            r"events.csv has a column announced that no label has: rename or remove",
        ),
        (CSV.replace("onset_ns,", ""), r"lacks onset_ns: expected event_id, typology, start_ns"),
        (CSV.replace("public_ns", "end_ns"), r"has a column twice"),
        (CSV.replace(",20,", ",soon,"), r"row 1: Expected `int`.*\$.start_ns.*int64 ns UTC"),
        (CSV.replace("20,30,40", "20,50,40"), r"row 1: expected start_ns <= onset_ns <= end_ns, found 20, 50, 40"),
        (CSV.replace("A.X,ACC-1", ",ACC-1"), r"row 2: .*instruments"),
        (CSV.replace("\na,", "\nb,"), r"row 2: event_id 'b' is that of row 1 too"),
        (CSV + "c,x\n", r"row 3: expected 9 cells, one for each column, found 2"),
        ("", r"lacks end_ns, event_id, instruments, onset_ns, start_ns and 1 more"),
        ("\x00\xff", r"column \x00ÿ that no label has|is no CSV"),
    ],
)
def test_what_is_wrong_is_named_with_its_row_and_what_was_expected(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(LabelError, match=said):
        read(written(tmp_path, text))


def test_what_is_no_file_or_no_parquet_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="is no file: --labels expects CSV or Parquet"):
        read(tmp_path / "none.csv")
    with pytest.raises(LabelError, match="cannot be read"):
        read(written(tmp_path, "no parquet", "events.parquet"))


def test_unknown_instruments_are_refused_by_name_unless_they_are_to_be_skipped() -> None:
    found = Labels((A, B), "events.csv", "")
    with pytest.raises(LabelError, match=r"events.csv labels A.X, of which nothing was heard in day.*skip"):
        known(found, {"B.X"}, skip=False, where="day")
    kept, unknown, skipped = known(found, {"B.X"}, skip=True, where="day")
    assert [(label.event_id, label.instruments) for label in kept] == [("b", ["B.X"])]
    assert (unknown, skipped) == (["A.X"], [A])
    assert known(found, {"A.X", "B.X"}, skip=False, where="day") == ([A, B], [], [])


def test_more_labels_than_a_file_may_hold_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.parquet"
    pq.write_table(pa.Table.from_pylist([msgspec.to_builtins(A)]), path)
    monkeypatch.setattr("monitor.label_files.MOST_BYTES", 20)
    for one in (path, written(tmp_path, CSV)):
        with pytest.raises(LabelError, match=r"more than 1,000,000 rows, or 0 MiB: split it"):
            read(one)
