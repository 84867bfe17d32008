from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.commands.check_config import unknown


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    given = {f"TOCSIN_{name.upper()}": value for name, value in environment.items()} | {"COLUMNS": "200"}
    result = CliRunner(env=given).invoke(app, ["check-config", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_misspelt_setting_is_named_with_what_was_meant() -> None:
    (sentence,) = unknown({"TOCSIN_BOOTSRAP": "x", "TOCSIN_PREFIX": "y", "TOCSIN_TEST_BOOTSTRAP": "z", "PATH": ""})
    assert sentence == "TOCSIN_BOOTSRAP is no setting; TOCSIN_BOOTSTRAP is meant?"


def test_every_setting_is_shown_with_its_source(tmp_path: Path) -> None:
    symbols = tmp_path / "symbols.csv"
    symbols.write_text("symbol,venue\nACME,XTOC\n")
    _, output, _ = run(symbols=str(symbols), group="desk")
    rows = {line.split()[0]: line.split()[1:3] for line in output.splitlines() if line.startswith("TOCSIN_")}
    assert rows["TOCSIN_GROUP"] == ["desk", "environment"]
    assert rows["TOCSIN_FRAME_TICKS"] == ["500", "default"]
    assert all(len(line.split()) > 3 for line in output.splitlines() if line.startswith("TOCSIN_"))


def test_a_bad_symbol_master_is_a_sentence(tmp_path: Path) -> None:
    symbols = tmp_path / "symbols.csv"
    symbols.write_text("symbol,venue\nACME,nowhere at all\n")
    code, output, _ = run(symbols=str(symbols))
    assert code == 1
    assert "TOCSIN_SYMBOLS: " in output
    assert "line 2" in output


def test_a_changed_bundle_is_a_sentence_that_names_the_folder(tmp_path: Path) -> None:
    code, output, _ = run(bundle=str(tmp_path))
    assert code == 1
    assert "TOCSIN_BUNDLE: " in output
    assert str(tmp_path) in output


@pytest.mark.parametrize(
    ("setting", "value"), [("http_port", "x"), ("frame_ticks", "0"), ("log_level", "loud"), ("clock", "sun")]
)
def test_a_bad_setting_is_one_sentence_that_names_the_variable(setting: str, value: str) -> None:
    code, _, error = run(**{setting: value})
    assert code == 2
    assert error.startswith(f"tocsin: TOCSIN_{setting.upper()} is {value!r}: input should be ")
    assert error.count("\n") == 1


def test_an_absent_broker_is_a_sentence_when_asked_for() -> None:
    code, output, _ = run("--online", bootstrap="127.0.0.1:1")
    assert code == 1
    assert "No Kafka broker answers at 127.0.0.1:1" in output
