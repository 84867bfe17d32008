"""Steps of the ladder wait until messages have waited for long enough, and take one level at a time."""

from __future__ import annotations

from monitor.pressure import Pressure
from schemas.journal import RULES_ONLY


def levels(down_s: float, waited_s: list[float], level: int = 0) -> list[int]:
    """Return the level after each second, of which the oldest message has waited so long."""
    pressure, found = Pressure(down_s), []
    for second, waited in enumerate(waited_s):
        step = pressure.step(waited, level=level, now_s=second)
        level = step.level if step is not None else level
        found.append(level)
    return found


def test_a_step_down_takes_more_than_two_seconds_of_waiting_and_each_its_own() -> None:
    assert levels(10.0, [11.0] * 9) == [0, 0, 0, 1, 1, 1, 1, RULES_ONLY, RULES_ONLY]


def test_a_moment_without_pressure_begins_the_count_anew() -> None:
    assert levels(10.0, [11.0, 11.0, 11.0, 9.0, 11.0, 11.0, 11.0]) == [0] * 7


def test_a_step_up_takes_more_than_five_seconds_at_a_quarter_of_it() -> None:
    assert levels(10.0, [2.5] * 7, level=1) == [1] * 6 + [0]
    assert levels(10.0, [2.6] * 20, level=1) == [1] * 20


def test_there_are_no_steps_down_where_none_are_asked_for() -> None:
    assert levels(0.0, [1e9] * 9) == [0] * 9
