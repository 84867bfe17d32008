"""Coverage on streams of the test's own: what is looked at when, and what the page says of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import msgspec
import numpy as np
import pytest

from engines.conformal import BudgetError
from engines.training import pictures
from engines.training.coverage import Coverage, Span, Stream, coverage, within
from engines.training.evaluate import Result, page

FIRST = (date(2020, 1, 1) - date(1970, 1, 1)).days
AUGUST, OCTOBER = 213, 274


def stream(instruments: int = 60, delay: int = 3) -> Stream:
    """Scores of instruments that rise and fall together, to November; judged from August on. A tenth is loud."""
    rng = np.random.default_rng(0)
    level = np.cumsum(rng.normal(0, 0.3, 335))
    day = np.repeat(np.arange(335), instruments)
    score = level[day] + rng.normal(0, 1, len(day))
    quiet = rng.random(len(day)) > 0.1
    score[~quiet] += 1.0
    return Stream(FIRST + day, FIRST + day + delay, score, quiet, day >= AUGUST, day // 7)


@pytest.fixture(scope="module")
def found() -> Coverage:
    return coverage(stream(), 0)


def test_following_covers_month_by_month_what_a_fixed_set_does_not(found: Coverage) -> None:
    assert [span.name for span in found.spans] == ["2020-08", "2020-09", "2020-10", "2020-11"]
    assert max(abs(span.covered["fixed"][0] - 0.9) for span in found.spans) > 0.05
    assert within(found.spans, "following", 0, noisy=False) == len(found.spans)
    assert within(found.spans, "following", 1, noisy=False) == len(found.spans)
    low, high = found.pooled["following"][0].low, found.pooled["following"][0].high
    assert low <= found.pooled["following"][0].value <= high
    assert found.pooled["following"][0].value == pytest.approx(0.9, abs=0.005)
    # A score that is one spread above the others is among them a rare one more often than a quiet one is.
    assert found.rang["following"][0] > 0.2
    assert 0.6 < found.auc["following"] < 0.9


def test_nothing_is_known_before_its_day_and_no_label_before_it_settles(found: Coverage) -> None:
    """All that is told or settles from the middle of the later part on is changed: no month before it moves."""
    whole = stream()
    cut = FIRST + OCTOBER
    rng = np.random.default_rng(1)
    score = np.where(whole.day >= cut, rng.normal(0, 9, len(whole.day)), whole.score)
    quiet = np.where(whole.day >= cut, rng.random(len(whole.day)) < 0.7, whole.quiet)
    changed = coverage(replace(whole, score=score, quiet=quiet), 0)
    assert changed.spans[:2] == found.spans[:2]
    assert changed.spans[2] != found.spans[2]
    # A label that is not settled by then can change what its own month counts, and no p-value.
    unsettled = (whole.settles >= cut) & (whole.day < cut)
    loud = coverage(replace(whole, score=score, quiet=quiet & ~unsettled), 0)
    assert loud.spans[0] == found.spans[0]
    assert loud.chosen == changed.chosen == found.chosen


def test_rows_may_come_in_any_order(found: Coverage) -> None:
    whole = stream()
    order = np.argsort(-whole.day, kind="stable")
    columns = {name: getattr(whole, name)[order] for name in ("day", "settles", "score", "quiet", "later", "block")}
    assert coverage(Stream(**columns), 0).spans == found.spans


def test_quarters_are_told_where_months_are_thin() -> None:
    spans = coverage(stream(instruments=8), 0).spans
    assert [span.name for span in spans] == ["2020-Q3", "2020-Q4"]


def test_errors_are_not_known_on_their_day() -> None:
    """Errors that treble on the first judged day are met unprepared until the first of them have settled."""
    whole = stream(delay=40)
    grown = np.where(whole.later, 3.0, 1.0) * np.abs(np.random.default_rng(5).normal(0, 1, len(whole.day)))
    errors = replace(whole, score=grown, quiet=np.ones(len(grown), np.bool_), of_errors=True)
    found = coverage(errors, 0)
    assert found.spans[0].covered["following"][0] < 0.6  # 40 days later it is September
    assert found.spans[-1].covered["following"][0] > 0.85
    assert (found.rang, found.auc) == ({}, {})


def test_a_budget_that_the_quiet_scores_before_are_too_few_for_is_refused() -> None:
    whole = stream()
    with pytest.raises(BudgetError, match=r"1\.00% false alarms takes 99 calibration scores, there are"):
        coverage(replace(whole, quiet=whole.later | (np.arange(len(whole.day)) < 50)), 0)


def test_noise_and_nearness_by_hand() -> None:
    spans = [Span("2020-01", 400, {"a": [0.925, 0.98]}), Span("2020-02", 10_000, {"a": [0.905, 0.989]})]
    assert spans[0].noise(0.1) == pytest.approx(1.96 * 0.3 / 20)
    assert (within(spans, "a", 0, noisy=False), within(spans, "a", 0, noisy=True)) == (1, 2)
    assert (within(spans, "a", 1, noisy=False), within(spans, "a", 1, noisy=True)) == (2, 2)


def test_the_page_tells_coverage_or_why_there_is_none_and_reads_older_results(
    found: Coverage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    old = b'{"task":"stocknet","command":"c","date":"d","seconds":1.0,"rows":2,"own":{},"every":{},"classes":[]}'
    result = msgspec.json.decode(old, type=Result)
    assert (result.coverage, result.refused) == (None, "")
    assert "covered" not in page([result], "at").split("## stocknet")[1]
    told = page([msgspec.structs.replace(result, coverage=found)], "at")
    for span in found.spans:
        assert f"| {span.name} | {span.rows:,} | " in told
    assert "![stocknet: coverage](at/stocknet-coverage.svg)" in told
    assert "not measured: too few." in page([msgspec.structs.replace(result, refused="too few")], "at")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Coverage) == found
    picture = tmp_path_factory.mktemp("pictures") / "coverage.svg"
    pictures.coverage(found, picture)
    assert b"<svg" in picture.read_bytes()
