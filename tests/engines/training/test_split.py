"""Splits of days by time: what is before a date is learnt from, what follows is not."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from engines.bundle import Source
from engines.lineage import knows
from engines.training.split import END, FIRST, SHIPPED, SplitError, until


def test_a_day_is_of_one_part() -> None:
    days = ("2013-12-31", "2014-01-01", "2015-02-28", "2015-03-01", "2015-05-31", "2015-06-01", "2015-10-01")
    assert [SHIPPED.part(day) for day in days] == ["", "train", "train", "stop", "stop", "test", ""]


def test_until_the_first_day_of_the_shipped_bundles_test_is_the_shipped_split() -> None:
    assert until(date(2015, 6, 1)) == SHIPPED


@pytest.mark.parametrize("day", [date(2014, 10, 1), date(2015, 5, 31), date(2015, 9, 30)])
def test_the_window_ends_the_day_before_and_a_test_from_that_day_on_is_no_overlap(day: date) -> None:
    split = until(day)
    assert FIRST == split.train < split.stop < split.test == day < split.end == END
    source = Source(name="s", stage="training", origin="", licence="", may_train_what_ships=True, window=split.window)
    at = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**9
    assert not knows([source], at, at + 1).overlaps
    assert knows([source], at - 1, at + 1).overlaps


@pytest.mark.parametrize("day", [date(2014, 9, 30), END])
def test_too_little_to_learn_from_or_nothing_to_judge_by_is_refused(day: date) -> None:
    with pytest.raises(SplitError, match="expected a date from 2014-10-01 to 2015-09-30"):
        until(day)
