"""A report of a year stays small, says what it leaves out, and has no room for nights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from monitor import report
from monitor.report import page
from monitor.report.material import Material
from monitor.report.nights import Nights, between
from monitor.report.page import Fold, Note, Page, Plot
from tests.browser import find, launched, look
from tests.monitor.report import year
from tests.monitor.report.year import DAY_NS, FROM_NS, HOUR_NS

#: Of which plotly.js is two.
MOST_MB = 7.0


@pytest.fixture(scope="module")
def material() -> Material:
    return year.material()


@pytest.fixture(scope="module")
def composed(material: Material) -> Page:
    return report.compose(material)


def fold(composed: Page, number: int) -> Fold:
    section = next(section for section in composed.sections if section.anchor == "prices")
    found = section.blocks[number]
    assert isinstance(found, Fold)
    return found


def price(composed: Page, number: int = 0) -> Plot:
    found = fold(composed, number).blocks[0]
    assert isinstance(found, Plot)
    return found


def test_a_busy_year_stays_small(material: Material, composed: Page) -> None:
    assert len(material.alerts) > 15_000
    assert len(page.render(composed)) / 1e6 < MOST_MB


def test_what_is_not_drawn_is_told(composed: Page) -> None:
    assert len([trace for trace in price(composed).figure.data if trace.name in ("warning", "critical")]) == 2
    drawn = sum(len(trace.x) for trace in price(composed).figure.data if trace.name in ("warning", "critical"))
    assert drawn == 200
    notes = [block.text for block in fold(composed, 0).blocks if isinstance(block, Note)]
    assert len(notes) == 1
    assert "episodes the 200 of the highest severity and score are drawn." in notes[0]
    assert price(composed).figure.layout.annotations == ()
    assert "large_move" in fold(composed, 0).aside
    assert fold(composed, 0).aside.endswith(" times")


@pytest.mark.parametrize("daily", [False, True])
def test_nights_and_weekends_have_no_room_and_hide_nothing(daily: bool) -> None:
    made = year.material(alerts_a_day=1, daily=daily)
    figure = price(report.compose(made)).figure
    left_out = [(at, at + one.dvalue) for one in figure.layout.xaxis.rangebreaks for at in one["values"]]
    assert len(left_out) == (52 if daily else 260)
    starts, ends = np.array(sorted(left_out)).T
    for trace in figure.data:
        x = np.array([at for at in trace.x if at is not None], float)
        place = np.searchsorted(starts, x, "right") - 1
        assert not ((place >= 0) & (x < ends[place])).any(), trace.name
    news = next(trace for trace in figure.data if trace.name == "news")
    assert len(news.x) == 183


def test_a_pause_of_one_instrument_and_a_day_alone_are_no_night() -> None:
    day = np.array([0, 8 * HOUR_NS])
    assert len(between(day, day + HOUR_NS, 0, DAY_NS).start) == 0
    others = np.array([0, 0, 20 * HOUR_NS])
    assert len(between(others, np.array([1, 19, 40]) * HOUR_NS, 0, 2 * DAY_NS).start) == 0


def test_without_nights_times_are_what_they_are() -> None:
    none = np.empty(0, np.int64)
    assert Nights(none, none).axis() == {}
    assert Nights(none, none).milliseconds([5_000_000]).tolist() == [5.0]


def test_the_band_of_prices_has_no_height_in_a_gap(composed: Page) -> None:
    high, low, close = price(composed).figure.data[:3]
    gaps = np.isnan(close.y)
    assert gaps.sum() == 0 or np.array_equal(high.y[gaps], low.y[gaps])


@pytest.mark.skipif(find() is None, reason="no browser here")
def test_a_browser_shows_it_and_zooms_all_of_it(material: Material, tmp_path: Path) -> None:
    few = dataclasses.replace(material, bars=dict(list(material.bars.items())[:2]))
    out = tmp_path / "year.html"
    page.write(report.compose(few), out)
    begin, end = (FROM_NS + 61 * DAY_NS) // 1_000_000, (FROM_NS + 72 * DAY_NS) // 1_000_000
    with launched() as browser, look(browser, out) as (seen, wrong):
        for number in (0, 1):
            seen.evaluate(f"document.getElementById('plot-price-{number}').scrollIntoView()")
            seen.wait_for_selector(f"#plot-price-{number}[data-drawn]", timeout=120_000)
        seen.evaluate(f"Plotly.relayout('plot-price-0', {{'xaxis.range': [{begin}, {end}]}})")
        other = "document.getElementById('plot-price-1')._fullLayout.xaxis"
        seen.wait_for_function(f"Math.abs({other}.r2l({other}.range[0]) - {begin}) < 1000", timeout=120_000)
        # A Friday's close and a Monday's open stand side by side.
        width = seen.evaluate(f"{other}.d2p('2014-03-10 14:00') - {other}.d2p('2014-03-07 21:00')")
        assert abs(width) < 1
        assert wrong == []
