"""`tocsin train` and `tocsin evaluate` on folders that are small enough to learn at once."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import numpy as np
import polars as pl
import torch
from typer.testing import CliRunner

from engines.training.tasks import texts
from monitor.cli import app
from tests.engines.training.checkpoints import small_bert

pytestmark = pytest.mark.slow


def tocsin(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner(env={"COLUMNS": "200", "TOCSIN_DATA": ""}).invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sentences of three classes, of which every fifth word says which; and queues with a burst in each."""
    folder = tmp_path / "data"
    phrases, queues = folder / "financial_phrasebank", folder / "nab" / "data" / "queues"
    phrases.mkdir(parents=True)
    queues.mkdir(parents=True)
    words = ("falls", "stays", "rises")
    rows = [
        (f"The share of company {i} of group {i * 7919 % 997} {words[i % 3]} today", words[i % 3]) for i in range(150)
    ]
    pl.DataFrame(rows, schema=["sentence", "label"], orient="row").write_csv(phrases / "sentences.csv")
    for number in range(3):
        values = np.random.default_rng(number).normal(size=700)
        values[560:570] += 20
        at = np.datetime64("2024-01-01T00:00:00") + np.arange(700) * np.timedelta64(300, "s")
        stamps = [str(moment).replace("T", " ") for moment in at]
        pl.DataFrame({"timestamp": stamps, "value": values}).write_csv(queues / f"s{number}.csv")
    windows = ", ".join(f'"queues/s{n}.csv": [["{stamps[555]}", "{stamps[575]}"]]' for n in range(3))
    (folder / "nab" / "windows.json").write_text(f"{{{windows}}}")
    return folder


def test_a_trained_model_lies_in_its_folder_with_its_curve_and_goes_on_from_there(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "PARTS", (2, 2))
    monkeypatch.setattr(texts, "side_by_side", lambda jobs, progress: [job(progress) for job in jobs])
    out = tmp_path / "model"
    arguments = ("train", "financial_phrasebank", "--data", str(data), "--out", str(out), "--epochs", "1")
    arguments += ("--encoder", str(small_bert(tmp_path / "small")))
    how = ("--adversary", "fgm", "--optimizer", "adam", "--augment", "synonyms", "--device", "cpu")
    code, said, told = tocsin(*arguments, *how)
    assert code == 0, told
    names = {"checkpoint.pt", "curve.svg", "encoder.onnx", "tokenizer.json"}
    for member in range(2):
        assert {path.name for path in (out / f"member-{member}").iterdir()} == names
    assert (out / "predictions.csv").is_file()
    assert "tocsin macro_f1" in said
    assert "epoch 1" in told
    assert "Under attack: one encoder on" in said
    assert "encoder, PGD at 0.3 macro_f1" in said
    again, repeated, told = tocsin(*arguments, *how)
    assert (again, repeated) == (0, said)
    assert "epoch 1" not in told
    code, _, told = tocsin(*arguments, "--augment", "synonyms")
    assert code == 2
    assert "is of a run with optimizer adam, this one has adamw" in told


def test_a_page_is_written_from_all_results_and_one_can_be_renewed(data: Path, tmp_path: Path) -> None:
    page = tmp_path / "docs" / "evaluation.md"
    code, said, told = tocsin("evaluate", "nab", "--data", str(data), "--out", str(page))
    assert code == 0, told
    assert "1 of " in said
    assert "| tocsin | " in page.read_text()
    assert "## financial_phrasebank" not in page.read_text()
    assert (page.parent / "evaluation" / "nab.json").is_file()


def test_mistakes_are_sentences(data: Path, tmp_path: Path) -> None:
    phrases = ("train", "financial_phrasebank", "--data", str(data), "--out", str(tmp_path))
    for arguments, sentence in (
        (("train", "nab", *phrases[2:], "--augment", "synonyms"), "leave out --augment"),
        ((*phrases, "--back-translate", str(data), str(data)), "data is no Marian checkpoint: expected config.json"),
        (("train", "tea_leaves", "--data", str(data), "--out", str(tmp_path)), "'tea_leaves' is not one of"),
        (("train", "nab", "--data", str(data), "--out", str(tmp_path), "--epochs", "2"), "leave out --epochs"),
        (("train", "nab", "--data", str(tmp_path / "no"), "--out", str(tmp_path)), "no is no folder"),
        (("evaluate", "tea_leaves", "--data", str(data)), "'tea_leaves' is not one of"),
        (("evaluate", "fomc", "--data", str(data), "--out", str(tmp_path / "e.md")), "fomc is no folder"),
    ):
        code, _, told = tocsin(*arguments)
        assert code == 2
        assert sentence in told


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(data: Path, tmp_path: Path) -> None:
    code, _, told = tocsin("train", "fomc", "--data", str(data), "--out", str(tmp_path), "--device", "cuda")
    assert code == 2
    assert "--device cuda: cuda is asked for and torch sees no GPU: take cpu, or auto" in told


def test_a_folder_to_predict_that_lies_earlier_is_refused(data: Path, tmp_path: Path) -> None:
    rows = pl.read_csv(data / "financial_phrasebank" / "sentences.csv")
    for name, first in (("later", 2010), ("earlier", 2000)):
        (tmp_path / name).mkdir()
        rows.with_columns(year=first + pl.int_range(pl.len()) // 30).write_csv(tmp_path / name / "sentences.csv")
    code, _, told = tocsin(
        *("train", "fomc", "--data", str(tmp_path / "later"), "--test", str(tmp_path / "earlier"), "--out"),
        str(tmp_path / "out"),
    )
    assert code == 2
    assert "150 of 150 rows to learn from reach into the time of those to tell, which begins on 2000-01-01" in told
