"""`tocsin rules` as a compliance officer calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app

EXAMPLE = Path(__file__).parents[2] / "examples" / "rules.yaml"


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["rules", *arguments])
    return result.exit_code, result.stdout, result.stderr


def changed(tmp_path: Path, *changes: tuple[str, str]) -> str:
    text = EXAMPLE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return str(path)


def test_the_example_is_in_order() -> None:
    code, told, _ = run("check", str(EXAMPLE))
    assert code == 0
    assert told == (
        "✓ version 2026-12-01: typologies changed: 2, scenarios: 2, sessions: 1, in effect from 2026-12-01 08:00:00 UTC"
        " of event time\n"
    )


def test_every_mistake_is_a_line_with_its_place(tmp_path: Path) -> None:
    path = changed(tmp_path, ("open: 0.45", "open: 4.5"), ("rise: 0.03", "rize: 0.03"))
    code, told, _ = run("check", path)
    assert code == 1
    assert told.splitlines() == [
        f"✗ {path}:8:11: typologies.pump_and_dump.open: expected a number of at least 0 and of at most 1, found 4.5;"
        " give one in range.",
        f"✗ {path}:11:7: typologies.pump_and_dump.parameters: expected one of window, reference, reference_lag,"
        " warm_up, rise, high, breakout, buying, orders, order_rate, found parameter rize; rise is meant?",
    ]


def test_a_scenario_for_nobody_is_told(tmp_path: Path) -> None:
    code, told, _ = run("check", changed(tmp_path, ("[XTOC]", "[XNYS]")))
    assert code == 0
    assert "scenario pump_with_words is for none of the" in told


def test_a_scenario_that_no_stage_could_judge_is_refused_by_every_command(tmp_path: Path) -> None:
    path = changed(tmp_path, ("adverse_text: ", "structuring: "))
    code, told, _ = run("check", path)
    assert code == 1
    sentence = (
        f"{path}:22:7: scenarios[0].weights: expected typologies of instruments alone or of accounts alone, found"
        " market_anomaly, pump_and_dump of instruments and structuring of accounts; make a scenario of each."
    )
    assert told == f"✗ {sentence}\n"
    for arguments in (("explain", path), ("diff", str(EXAMPLE), path), ("publish", path, "--reason", "x")):
        code, _, error = run(*arguments)
        assert code == 2
        assert sentence in " ".join(error.split())


def test_a_scenario_of_accounts_is_for_every_account_and_no_instrument(tmp_path: Path) -> None:
    code, told, _ = run("explain", str(EXAMPLE), "--scenario", "laundering")
    assert code == 0
    assert "every account" in told
    code, told, _ = run("explain", str(EXAMPLE), "--instrument", "ACME.XTOC")
    assert "scenario_laundering" not in told


def test_a_file_that_is_not_there_is_told() -> None:
    code, _, error = run("check", "no/such.yaml")
    assert code == 2
    assert "no/such.yaml cannot be read" in error


def test_what_applies_to_an_instrument_is_explained(tmp_path: Path) -> None:
    code, told, _ = run("explain", str(EXAMPLE), "--instrument", "ACME.XTOC")
    assert code == 0
    assert "ACME.XTOC: venue XTOC" in told
    assert "is open" not in told
    assert "scenario_pump_with_words@2026-12-01: A pump, and words that go with it" in told
    rows = [line.split() for line in told.splitlines()]
    assert ["window", "2", "min", "1", "min"] in rows
    assert ["enabled", "no", "yes"] in rows
    code, told, _ = run("explain", str(EXAMPLE), "--instrument", "ACME.XNYS")
    assert "no scenario is for it" in told
    assert "XNYS is open 09:30 to 16:00 America/New_York" in told


def test_one_typology_is_explained_with_what_its_parameters_mean() -> None:
    code, told, _ = run("explain", str(EXAMPLE), "--typology", "pump_and_dump")
    assert code == 0
    assert "taker buys in the window over the trailing notional" in told
    assert "adverse_text" not in told


@pytest.mark.parametrize("option", ["--typology", "--scenario"])
def test_what_is_not_there_cannot_be_explained(option: str) -> None:
    code, _, error = run("explain", str(EXAMPLE), option, "pump")
    assert code == 2
    assert f"{option}: expected one of" in error


def test_a_difference_is_told_in_words_and_which_ids_change(tmp_path: Path) -> None:
    new = changed(
        tmp_path,
        ('2026-12-01"', '2026-12-02"'),
        ("open: 0.45", "open: 0.5"),
        ("adverse_text: 0.3", "adverse_text: 0.2"),
        ('close: "16:00"', 'close: "13:00"'),
    )
    code, told, _ = run("diff", str(EXAMPLE), new)
    assert code == 1
    assert "· pump_and_dump: open 0.45 → 0.5\n" in told
    assert "· scenario pump_with_words: weights pump_and_dump × 0.7, adverse_text × 0.3" in told
    zone = "America/New_York"
    assert f"· session of XNYS: hours 09:30 to 16:00 {zone} → 09:30 to 13:00 {zone}\n" in told
    assert "Every episode that opens under them has another id" in told


def test_comments_change_nothing(tmp_path: Path) -> None:
    code, told, _ = run("diff", str(EXAMPLE), changed(tmp_path, ("# of the price", "# share of the price")))
    assert code == 0
    assert "They judge alike.\nNo alert id changes" in told
