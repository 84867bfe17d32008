"""`tocsin train … --until DATE`: what it makes knows nothing of later times, and a replay is decided by it."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from engines.bundle import DEFAULT, Bundle
from engines.lineage import knows, last_day
from engines.training import chart
from engines.training.build import build_until
from engines.training.split import until
from monitor.errors import StartupError
from monitor.settings import Settings, load
from monitor.stage import load_stages
from tests.engines.training.test_chart_bundle import stocks
from tests.monitor.test_train import tocsin


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def test_thresholds_of_pumps_before_a_day_decide_and_are_refused_for_what_they_know(
    data_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "pump.json"
    code, told, error = tocsin(
        "train", "pump_trades", "--data", str(data_dir), "--until", "2020-04-10", "--out", str(out)
    )
    assert (code, error.strip().count("\n")) == (0, 0)
    # Files are of two days before an event and two after it: that of the seventh of April has ended.
    assert "Thresholds chosen on 7 files of trades, 6 of verified events. They span 2020-01-28 to 2020-04-09." in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pump.json"]
    (tmp_path / "settings.toml").write_text('pump = "pump.json"\n')
    stages, usual = (load_stages(one, lambda _: None) for one in (load(tmp_path / "settings.toml"), Settings()))
    assert stages.instrument.decides != usual.instrument.decides
    assert not knows(stages.lineage, ns("2020-04-10"), ns("2021-01-01")).overlaps
    (overlap,) = knows(stages.lineage, ns("2020-04-09"), ns("2021-01-01")).overlaps
    assert "pump_trades spans 2020-01-28 to 2020-04-09" in overlap


def calls(folder: Path) -> None:
    """Write calls of 2015, of eighty sentences each; turmoil follows those of companies that begin with T."""
    said = {"T": "We cannot file on time and our lenders are gone.", "C": "We grew sales and raised our outlook."}
    rows = [
        (f"2015{month:02}{day:02}_{kind}{day}", kind) for month in (3, 4, 5) for day in range(1, 21) for kind in "CT"
    ]
    names = dict(rows)
    table = pa.table(
        {
            "call_id": list(names),
            "ticker": [name[9:] for name in names],
            "date": [f"{name[:4]}-{name[4:6]}-{name[6:8]}" for name in names],
            "text": [
                "\n".join(f"{said[kind]}\nQuestion {part * 7 % 40}.\n{said['C']}\nThank you." for part in range(20))
                for kind in names.values()
            ],
        }
    )
    folder.mkdir()
    pq.write_table(table, folder / "calls_text.parquet")
    after = [f"{name},-4,{-3 if kind == 'T' else -4.5}" for name, kind in names.items()]
    header = "call_id,past_logvol_0,target_logvol_3d"
    (folder / "labels.csv.gz").write_bytes(gzip.compress("\n".join([header, *after]).encode()))


def test_a_label_of_calls_before_a_day_decides_and_is_refused_for_what_it_knows(tmp_path: Path) -> None:
    calls(tmp_path / "maec")
    out = tmp_path / "labels" / "turmoil.json"
    code, told, error = tocsin("train", "turmoil", "--data", str(tmp_path), "--until", "2015-05-10", "--out", str(out))
    assert code == 0, error
    # The aftermath of a call of Monday the fourth of May is known on Friday; of the fifth, on Monday the eleventh.
    assert "440 segments of 44 calls that turmoil followed, against 440 of 44 others." in told
    assert "They span 2015-03-01 to 2015-05-08." in told
    (tmp_path / "settings.toml").write_text('labels = "labels"\n')
    stages = load_stages(load(tmp_path / "settings.toml"), lambda _: None)
    assert stages.about["labels"] == ["turmoil"]
    assert stages.labels == []  # its time is known
    learnt = [source for source in stages.lineage if source.name == "maec"]
    assert not knows(learnt, ns("2015-05-10"), ns("2016-01-01")).overlaps
    (overlap,) = knows(learnt, ns("2015-05-01"), ns("2016-01-01")).overlaps
    assert "maec spans 2015-03-01" in overlap
    code, told, _ = tocsin("labels", "try", str(out), "We cannot file on time and our lenders are gone.")
    assert (code, "info" in told) == (0, True)


def test_a_file_that_holds_no_thresholds_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "pump.json").write_text("{}")
    with pytest.raises(StartupError, match=r"pump.json holds no thresholds of pump_and_dump .*: make them again"):
        load_stages(Settings(pump=tmp_path / "pump.json"), lambda _: None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("bundle",), "bundle needs --until DATE, such as 2015-06-01"),
        (("pump_trades", "--until", "May"), "--until: expected a date such as 2015-06-01, found 'May'"),
        (("pump_trades", "--until", "2020-02-05"), "3 verified events or more that end before 2020-02-05, found 1"),
        (("bundle", "--until", "2014-03-01"), "--until: expected a date from 2014-10-01 to 2015-09-30"),
        (("bundle", "--until", "2015-06-01", "--epochs", "3"), "--data, --until and --out alone: leave out --epochs"),
        (("turmoil", "--until", "2016-07-01"), "--out: expected a label's file such as labels/turmoil.json"),
        (("nab", "--until", "2015-06-01"), "--until is of bundle, pump_trades, turmoil"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_until_a_day_is_a_sentence(
    arguments: tuple[str, ...], sentence: str, data_dir: Path, tmp_path: Path
) -> None:
    code, _, error = tocsin("train", *arguments, "--data", str(data_dir), "--out", str(tmp_path / "out"))
    assert code == 2
    assert sentence in error
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    arguments = ("--data", str(tmp_path), "--until", "2015-06-01", "--out", str(tmp_path))
    code, _, error = tocsin("train", "bundle", *arguments)
    assert (code, f"{tmp_path} is there: remove it or name another --out." in error) == (2, True)


@pytest.mark.slow
def test_a_bundle_without_charts_looks_at_none(tmp_path: Path) -> None:
    stocks(tmp_path / "stocknet", np.random.default_rng(0))
    with Progress(disable=True) as progress:
        day, kept = datetime(2015, 6, 1).date(), Bundle.load(DEFAULT)
        made = build_until(tmp_path, day, tmp_path / "bundle", kept, progress, charts=False)
    assert not {"chart.onnx", "chart.json"} & made.manifest.files.keys()
    assert list(made.manifest.parts) == ["text", "voice", "fusion", "credit", "order_flow"]
    stages = load_stages(Settings(bundle=tmp_path / "bundle", allow_unsigned=True), lambda _: None)
    assert stages.about["members"] == ["audio", "calls", "credit", "text"]


@pytest.mark.slow
def test_a_bundle_until_a_day_says_so_and_keeps_what_knows_of_no_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart, "EPOCHS", 1)
    stocks(tmp_path / "stocknet", np.random.default_rng(0))
    day = datetime(2015, 6, 1).date()
    kept = Bundle.load(DEFAULT)
    with Progress(disable=True) as progress:
        made = build_until(tmp_path, day, tmp_path / "bundle", kept, progress)
    (source,) = [source for source in made.manifest.lineage if source.name == "stocknet"]
    assert last_day(source.window) == datetime(2015, 5, 31).date()
    assert source.window == until(day).window
    assert not knows(made.manifest.lineage, ns("2015-06-01"), ns("2016-01-01")).overlaps
    same = {name for name, entry in kept.manifest.files.items() if made.manifest.files[name] == entry}
    assert same >= {"encoder.onnx", "tokenizer.json", "text.json", "voice.onnx", "voice.json"}
    assert not same & {"chart.onnx", "fusion.onnx", "MODEL_CARD.md"}
    assert made.manifest.parts["text"] == kept.manifest.parts["text"]
    assert "test from 2015-06-01" in made.manifest.parts["fusion"].split_rule
