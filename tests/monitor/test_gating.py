"""The gate's policy as a file, and what it prints."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from engines.backtest.gate import Policy, checks
from engines.backtest.shadow import DAY_NS, shadowed
from monitor.errors import StartupError
from monitor.gating import Judged, read_policy, show_judged
from tests.engines.backtest.made import HOUR, alert, label

EXAMPLE = Path(__file__).parents[2] / "examples" / "policy.yaml"


def test_the_example_is_what_is_asked_where_no_policy_is_given() -> None:
    assert read_policy(EXAMPLE) == read_policy(None) == Policy()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("recal_loss: 0.1", "unknown field `recal_loss`"),
        ("target: speed", "Invalid enum value 'speed'"),
        ("days: -1", "Expected `float` >= 0"),
        ("- days", "Expected `object`, got `array`"),
        ("days: [", "expected the node content"),
    ],
)
def test_what_is_no_policy_is_one_sentence(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(
        StartupError, match=r"holds no policy \(.*expected a mapping of severity, days, labels"
    ) as error:
        read_policy(path)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_both_are_shown_side_by_side_with_what_only_one_rang_for() -> None:
    labels = [label(f"e{hour}", hour * HOUR, hour * HOUR + 60) for hour in range(1, 4)]
    mine = [alert(hour * HOUR, episode=f"a{hour}") for hour in (1, 2)]
    theirs = [alert(hour * HOUR, episode=f"b{hour}") for hour in (1, 3)]
    found = shadowed(mine, theirs, labels, from_ns=0, to_ns=DAY_NS, live_ns=0)
    paper = Console(file=io.StringIO(), width=200, highlight=False, markup=False)
    show_judged(paper, Judged(found, checks(found, Policy())), "december")
    told = paper.file.getvalue()  # type: ignore[attr-defined]
    lines = {line.split("  ")[0].strip(): line.split() for line in told.splitlines() if line.strip()}
    assert lines["alarms"][1:] == ["2", "2"]
    assert lines["latency p99"][-2:] == ["–", "–"]
    assert "only champion" in told
    assert "only december" in told
    assert "✗ labels: 3 harmful labels, expected 10" in told
    assert "✓ alarms a day: 2.00, the champion's 2.00, within 20%" in told
