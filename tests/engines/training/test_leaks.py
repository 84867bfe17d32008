"""A split in which what is learnt from knows of what is told is refused; one in the order of time is not."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

from rich.progress import Progress

from engines.training.leaks import LeakError, Span, check, of_years
from engines.training.tasks import kdd17, stocknet, texts

DAYS = np.arange("2024-01-01", "2024-01-11", dtype="datetime64[D]")
#: Ten days whose labels are known two days later.
SPAN = Span(DAYS, DAYS + 2)


def test_labels_that_are_known_when_the_first_row_is_told_may_be_learnt() -> None:
    check(np.arange(4), np.arange(5, 10), SPAN)


def test_labels_that_reach_into_what_is_told_are_refused_with_rows_dates_and_remedy() -> None:
    sentence = (
        "1 of 4 rows to learn from reach into the time of those to tell, which begins on 2024-01-05: the labels of rows"
        " 3 are known on 2024-01-06 at the latest; leave them out, or tell later rows"
    )
    with pytest.raises(LeakError, match=sentence):
        check(np.arange(4), np.arange(4, 10), SPAN)


def test_what_comes_after_is_refused_too() -> None:
    with pytest.raises(LeakError, match=r"3 of 3 rows .* the labels of rows 7, 8, 9 are known on 2024-01-12"):
        check(np.arange(7, 10), np.arange(4), SPAN)


def test_every_scrambled_split_is_refused() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = rng.permutation(10)
        learn, asked = np.sort(rows[:5]), np.sort(rows[5:])
        if learn.max() + 2 > asked.min():
            with pytest.raises(LeakError):
                check(learn, asked, SPAN)


def test_of_a_year_nothing_is_known_before_its_end() -> None:
    years = of_years(np.array([2007, 2008, 2008, 2009]))
    check(np.array([0]), np.array([1, 2]), years)
    with pytest.raises(LeakError, match="which begins on 2008-01-01: the labels of rows 1 are known on 2009-01-01"):
        check(np.array([0, 1]), np.array([2, 3]), years)


def test_a_group_on_both_sides_is_refused_and_so_is_a_row() -> None:
    group = np.array([0, 0, 1, 2])
    check(np.array([0, 1]), np.array([2, 3]), group=group)
    with pytest.raises(LeakError, match="1 of 2 rows to tell are in the rows to learn from, or have one of their"):
        check(np.array([0, 2]), np.array([1, 3]), group=group)
    with pytest.raises(LeakError, match="rows 3; keep what belongs together in one part"):
        check(np.array([0, 3]), np.array([3]))


def test_of_folders_that_somebody_else_has_split_it_is_told() -> None:
    said: list[str] = []
    check(np.arange(4), np.arange(4, 10), SPAN, tell=said.append)
    assert [line[:23] for line in said] == ["1 of 4 rows to learn fr"]


def days(count: int) -> stocknet.Days:
    """Days of one stock that has a price on each."""
    day, none = np.arange(count), np.zeros((count, 1))
    large = (day % 5 == 0).astype(np.int64)
    return stocknet.Days(["A"] * count, [str(n) for n in day], day, day + 1, none, none, ["x"] * count, none, large)


def test_scrambled_days_of_a_stock_are_refused_before_anything_is_learnt() -> None:
    rows = np.random.default_rng(1).permutation(200)
    with Progress(disable=True) as progress, pytest.raises(LeakError, match="of 150 rows to learn from reach into"):
        stocknet.predict(days(200).take(rows[:150]), days(200).take(rows[150:]), progress)


def test_a_scrambled_walk_over_prices_is_refused_and_the_real_one_is_not() -> None:
    day = np.tile(np.arange(100), 2)
    span = Span(day.astype("datetime64[D]"), (day + 20).astype("datetime64[D]"))
    for before, after in kdd17.walk(day, day + 20):
        check(before, after, span)
        mixed = np.random.default_rng(2).permutation(np.concatenate([before, after]))
        with pytest.raises(LeakError):
            check(mixed[: len(before)], mixed[len(before) :], span)


def test_texts_of_one_year_are_in_one_part() -> None:
    dated = texts.Texts([f"text {i}" for i in range(12)], ["up"] * 12, np.repeat(np.arange(2000, 2004), 3))
    for fit, held in texts._folds(dated, 2):
        check(fit, held, of_years(np.repeat(np.arange(2000, 2004), 3)))
        with pytest.raises(LeakError):
            check(np.append(fit, held[0]), held[1:], of_years(np.repeat(np.arange(2000, 2004), 3)))
