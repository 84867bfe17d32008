"""Splices say where they change, stable streams do not, and dummies get what they deserve."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks.drift import Always, Never, Row, figures, found, median, missed, once, streams
from benchmarks.drift_streams import BEFORE, FORMS, HORIZON, RAMP, TURNS, Source, apart, spliced, stable

BEFORE_IT, AFTER_IT = np.zeros(50), np.ones(40)
SOURCE = Source("made", 8, [BEFORE_IT], [(BEFORE_IT, AFTER_IT)])


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_an_abrupt_splice_is_of_one_regime_and_then_of_the_other() -> None:
    values, [(start, end)] = spliced("abrupt", BEFORE_IT, AFTER_IT, 8, rng())
    assert BEFORE[0] <= start < BEFORE[1]
    assert len(values) == end == start + HORIZON
    assert not values[:start].any()
    assert values[start:].all()


def test_a_gradual_splice_comes_little_by_little() -> None:
    values, [(start, _)] = spliced("gradual", BEFORE_IT, AFTER_IT, 8, rng())
    assert not values[:start].any()
    assert values[start : start + RAMP].mean() == pytest.approx(0.5, abs=0.1)
    assert values[start + RAMP :].all()


def test_a_recurring_splice_goes_to_and_fro() -> None:
    values, changes = spliced("recurring", BEFORE_IT, AFTER_IT, 8, rng())
    assert len(changes) == TURNS
    assert [values[start:end].mean() for start, end in changes] == [1, 0, 1]


def test_a_stable_stream_is_made_of_stretches_of_its_pool() -> None:
    values = np.array(list(islice(stable(np.arange(100.0), 20, rng()), 5000)))
    followed = (np.diff(values) % 100 == 1).mean()
    assert followed == pytest.approx(1 - 1 / 20, abs=0.02)
    assert set(values) == set(range(100))


def test_equal_seeds_make_equal_streams() -> None:
    first, second = ([list(islice(stream, 50)) for stream in islice(streams(SOURCE, [BEFORE_IT], 1), 2)] for _ in "ab")
    assert first == second


def test_dummies_miss_everything_and_are_never_late() -> None:
    for form in FORMS:
        turns = TURNS if form == "recurring" else 1
        assert list(found(Never(), SOURCE, form, 0)) == [math.inf] * turns
        assert list(found(Always(), SOURCE, form, 0)) == [1] * turns


def test_a_miss_counts_as_the_horizon() -> None:
    assert median([1, math.inf, math.inf]) == HORIZON
    assert missed([1, math.inf, math.inf, 7]) == 0.5


def test_regimes_that_are_alike_are_no_splice() -> None:
    same, other = np.arange(100.0), np.arange(100.0) + 80
    assert len(apart([(same, same + 5), (same, other)])) == 1


def test_the_closing_line_tells_the_form_in_which_ours_does_worst() -> None:
    delays = {"abrupt": [4.0, 6.0], "gradual": [50.0, math.inf], "recurring": [5.0, 5.0]}
    ours = Row("days", "surprises", 1.0, delays, 11, 10.0)  # type: ignore[arg-type]
    theirs = Row("days", "adwin", 1.0, {form: [20.0, 20.0] for form in FORMS}, 9, 10.0)
    told = figures([ours, theirs])
    assert told["median_delay_ratio_to_adwin: abrupt"] == 0.25
    assert told["missed"] == told["missed: gradual"] == 0.5
    assert told["false_alarm_ratio"] == 1.1


def test_a_row_that_is_kept_is_not_made_again(tmp_path: Path) -> None:
    row = Row("days", "adwin, default", 0.002, {form: [3.0, math.inf] for form in FORMS}, 4, 5.0)
    made: list[tuple[str, str]] = []

    def judged(source: str, name: str) -> Row:
        made.append((source, name))
        return row

    assert [once(tmp_path, judged, "days", "adwin, default") for _ in range(2)] == [row, row]
    assert made == [("days", "adwin, default")]
