"""What a terminal shows of a backtest."""

from __future__ import annotations

import msgspec
import pytest

from engines.backtest.results import Estimate
from monitor.backtest_view import paper, show
from tests.backtests import a_backtest
from tests.engines.backtest.made import label


def test_names_of_others_are_shown_letter_for_letter(capsys: pytest.CaptureFixture[str]) -> None:
    found = a_backtest([], [label("e", 0, 60, "[/]", typology="[bold]pump[/x]")], 0, 10**15)
    show(paper(), found)
    shown = capsys.readouterr().out
    assert "[bold]pump[/x]" in shown
    assert "[/]" in shown


def test_large_numbers_leave_room_for_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    found = a_backtest([], [], 0, 10**15)
    own = msgspec.structs.replace(found.contenders[0], cost=Estimate(2e15), alerts_per_day=Estimate(4_321.0))
    show(paper(), msgspec.structs.replace(found, contenders=[own, *found.contenders[1:]]))
    shown = capsys.readouterr().out
    assert "2e+15" in shown
    assert "4,321 alarms a day" in shown
    assert "precision" in shown
