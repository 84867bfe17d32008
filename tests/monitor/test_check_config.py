from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engines.windows import BarSpec
from monitor.cli import app
from monitor.commands.check_config import unknown
from monitor.errors import StartupError
from monitor.settings import load


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
    ("setting", "value", "expected"),
    [
        ("http_port", "x", "input should be a valid integer"),
        ("frame_ticks", "0", "input should be greater than or equal to 1"),
        ("log_level", "loud", "input should be 'debug', 'info', 'warning' or 'error'"),
        ("clock", "sun", "input should be 'wall' or 'data'"),
        ("group", "", "string should have at least 1 character"),
        ("bootstrap", "", "string should have at least 1 character"),
        ("bootstrap", "a:9092, b:9092", "input should be HOST:PORT, several by commas without blanks"),
        ("grace_ms", "7000", "input should be a multiple of 5000"),
        ("grace_ms", "35000", "input should be less than or equal to 30000"),
        ("frame_ms", "inf", "input should be a finite number"),
        ("ladder_down_s", "nan", "input should be a finite number"),
    ],
)
def test_a_bad_setting_is_one_sentence_that_names_the_variable(setting: str, value: str, expected: str) -> None:
    code, _, error = run(**{setting: value})
    assert code == 2
    assert error.startswith(f"tocsin: TOCSIN_{setting.upper()} is {value!r}: {expected}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("bar_s", [1, 5, 86_400])
@pytest.mark.parametrize("bars", [0, 0.5, 1, 5.9, 6, 6.5, 7, 30])
def test_every_lateness_that_may_be_set_is_one_that_bars_can_have(bar_s: int, bars: float) -> None:
    grace_ms = round(bars * bar_s * 1_000)

    def allowed(make: Callable[[], object]) -> bool:
        try:
            make()
        except (StartupError, ValueError):
            return False
        return True

    spec = {"width_ns": bar_s * 1_000_000_000, "grace_ns": grace_ms * 1_000_000}
    assert allowed(lambda: load(bar_s=bar_s, grace_ms=grace_ms)) == allowed(lambda: BarSpec(**spec))


def test_a_wider_bar_asks_for_a_lateness_of_its_own() -> None:
    code, _, error = run(bar_s="86400")
    assert code == 2
    expected = "tocsin: TOCSIN_GRACE_MS is 5000: input should be a multiple of 86400000, the width of bars (bar_s)"
    assert error.startswith(expected)
    code, output, _ = run(bar_s="86400", grace_ms="0")
    assert (code, "TOCSIN_BAR_S" in output) == (0, True)


def test_an_absent_broker_is_a_sentence_when_asked_for() -> None:
    code, output, _ = run("--online", bootstrap="127.0.0.1:1")
    assert code == 1
    assert "No Kafka broker answers at 127.0.0.1:1" in output


def test_credentials_a_key_of_dead_letters_and_a_shadow_that_cannot_be_used_are_a_sentence_each(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("c2hvcnQ=\n")
    code, output, _ = run(
        deadletter_key_file=str(key), sasl_username="me", registry=str(tmp_path), shadow="december", cache=str(tmp_path)
    )
    told = " ".join(output.split()).split("✗ ")[1:]
    assert code == 1
    assert [one.split()[0] for one in told] == ["TOCSIN_SHADOW:", "TOCSIN_SASL_USERNAME", "TOCSIN_DEADLETTER_KEY_FILE"]
    assert "holds no model december" in told[0]
    assert "TOCSIN_SECURITY_PROTOCOL is PLAINTEXT" in told[1]
    assert "holds [5] bytes: expected keys of 32 bytes" in told[2]
