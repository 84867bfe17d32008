"""The report and the dossiers in a real browser: drawn, zoomed, read by keyboard, in the dark, on a phone, attacked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from monitor import report
from monitor.report import dossier, page
from tests import browser
from tests.monitor.report import made

pytestmark = [
    pytest.mark.skipif(browser.find() is None, reason="no browser: install chromium, or set TOCSIN_BROWSER to one"),
    pytest.mark.slow,
]
#: The plots that share their time axis.
TIMED = ".plot[data-group=time]"
#: Pictures of every page, written while it is looked at: what a person should see once.
SHOTS = Path(__file__).parents[3] / "build" / "screenshots"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.launched() as found:
        yield found


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report, a dossier of every modality, and one with a book of orders, as files."""
    folder = tmp_path_factory.mktemp("report")
    held = made.recording(folder / "day")
    page.write(report.compose(made.material(held)), folder / "report.html")
    told = made.alerts()
    dossier.write_page(dossier.gather(made.hostile_alert(), told, held), "day", folder / "dossier.html")
    spoofed, alert = made.misconduct_recording(folder / "spoofed", "spoofing"), made.spoofing_alert()
    dossier.write_page(dossier.gather(alert, [alert], spoofed), "spoofed", folder / "book.html")
    SHOTS.mkdir(parents=True, exist_ok=True)
    return {name: folder / f"{name}.html" for name in ("report", "dossier", "book")}


def ranges(seen: Page, group: str = "time") -> list[list[float]]:
    """Return what part of time each plot of a group shows, in ms."""
    found: list[list[float]] = seen.evaluate(
        """(group) => [...document.querySelectorAll(`.plot[data-group=${group}]`)].map((plot) => {
            const axis = plot._fullLayout.xaxis;
            return axis.range.map(axis.r2l);
        })""",
        group,
    )
    return found


def drag(seen: Page, plot: str, start: float, end: float) -> None:
    """Draw the mouse over a plot, from one share of its width to another."""
    place = seen.locator(f"#{plot} .nsewdrag").first
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    seen.mouse.move(box["x"] + start * box["width"], y)
    seen.mouse.down()
    seen.mouse.move(box["x"] + (start + end) / 2 * box["width"], y, steps=4)
    seen.mouse.move(box["x"] + end * box["width"], y, steps=4)
    seen.mouse.up()
    seen.wait_for_timeout(400)


@pytest.mark.parametrize("which", ["report", "dossier", "book"])
@pytest.mark.parametrize(("size", "dark"), [(browser.DESKTOP, False), (browser.PHONE, True)])
def test_every_plot_is_drawn_without_an_error_or_a_request(
    chromium: Browser, shown: dict[str, Path], which: str, size: tuple[int, int], dark: bool
) -> None:
    with browser.look(chromium, shown[which], size=size, dark=dark) as (seen, wrong):
        browser.draw(seen)
        empty = seen.evaluate(
            """[...document.querySelectorAll(".plot")].filter((plot) => {
                const marks = plot.querySelectorAll(
                    ".scatterlayer .trace path, .scatterlayer .trace .point, .barlayer .point path, .heatmaplayer image"
                );
                return ![...marks].some((mark) => mark.getBoundingClientRect().width > 0);
            }).map((plot) => plot.id)"""
        )
        plots = seen.locator(".plot").count()
        wide = seen.evaluate("document.documentElement.scrollWidth - innerWidth")
        seen.screenshot(path=SHOTS / f"{which}-{size[0]}-{'dark' if dark else 'light'}.png", full_page=True)
    assert plots >= {"report": 15, "dossier": 5, "book": 3}[which]
    assert (empty, wrong, wide) == ([], [], 0)


def test_who_zooms_one_price_zooms_all_and_a_double_click_shows_all(chromium: Browser, shown: dict[str, Path]) -> None:
    with browser.look(chromium, shown["report"]) as (seen, wrong):
        browser.draw(seen, TIMED)
        whole = ranges(seen)
        assert len(whole) == 3
        heights = seen.evaluate("document.getElementById('plot-price-0')._fullLayout.yaxis.range")
        drag(seen, "plot-price-0", 0.5, 0.7)
        near = ranges(seen)
        for (low, high), (first, last) in zip(near, whole, strict=True):
            assert first < low < high < last
            assert (high - low) / (last - first) == pytest.approx(0.2, abs=0.02)
            assert (low, high) == pytest.approx(near[0])
        # The price's own axis fits what is left of it.
        assert seen.evaluate("document.getElementById('plot-price-0')._fullLayout.yaxis.range") != heights
        place = seen.locator("#plot-price-1 .nsewdrag").first
        place.dblclick()
        seen.wait_for_timeout(500)
        assert ranges(seen) == whole
        assert wrong == []


def test_who_zooms_the_book_zooms_its_ticks_and_each_order_is_drawn_where_it_stood(
    chromium: Browser, shown: dict[str, Path]
) -> None:
    with browser.look(chromium, shown["book"]) as (seen, wrong):
        browser.draw(seen)
        whole = ranges(seen, "alert-time")
        drag(seen, "plot-alert-book", 0.4, 0.6)
        ticks, book = ranges(seen, "alert-time")
        assert ticks == pytest.approx(book)
        assert book[1] - book[0] == pytest.approx(0.2 * (whole[1][1] - whole[1][0]), rel=0.05)
        drawn = seen.evaluate(
            """document.getElementById("plot-alert-book")._fullData.map((one) => [one.name, one.x?.length ?? 0])"""
        )
        spans = dict(drawn)
        assert spans["its buy orders, large"] == spans["its sell orders"] == 3 * 3  # from, to, a gap
        assert spans["its sells filled"] == 3
        assert wrong == []


def test_plots_are_zoomed_by_keyboard(chromium: Browser, shown: dict[str, Path]) -> None:
    with browser.look(chromium, shown["report"]) as (seen, wrong):
        browser.draw(seen, TIMED)
        whole = ranges(seen)
        seen.focus("#plot-price-2")
        seen.keyboard.press("+")
        seen.wait_for_timeout(300)
        near = ranges(seen)
        seen.keyboard.press("ArrowRight")
        seen.wait_for_timeout(300)
        moved = ranges(seen)
        seen.keyboard.press("0")
        seen.wait_for_timeout(300)
        width = whole[0][1] - whole[0][0]
        assert near[0][1] - near[0][0] == pytest.approx(0.6 * width, rel=0.01)
        assert moved[1][0] - near[1][0] == pytest.approx(0.12 * width, rel=0.01)
        assert ranges(seen) == whole
        assert wrong == []


def test_the_dark_comes_while_a_plot_is_zoomed_and_leaves_it_so(chromium: Browser, shown: dict[str, Path]) -> None:
    line = "getComputedStyle(document.querySelector('#plot-price-0 .scatterlayer .js-line:last-child')).stroke"
    with browser.look(chromium, shown["report"]) as (seen, wrong):
        browser.draw(seen, TIMED)
        drag(seen, "plot-price-0", 0.2, 0.5)
        near, light = ranges(seen), seen.evaluate(line)
        paper = seen.evaluate("getComputedStyle(document.body).backgroundColor")
        seen.emulate_media(color_scheme="dark")
        seen.wait_for_timeout(800)
        assert seen.evaluate(line) != light
        assert seen.evaluate("getComputedStyle(document.body).backgroundColor") != paper
        for one, other in zip(ranges(seen), near, strict=True):
            assert one == pytest.approx(other)
        assert wrong == []


@pytest.mark.parametrize("which", ["report", "dossier"])
def test_words_of_others_are_shown_and_never_run(chromium: Browser, shown: dict[str, Path], which: str) -> None:
    with browser.look(chromium, shown[which]) as (seen, wrong):
        texts: list[str] = seen.evaluate(
            """[...document.querySelectorAll("blockquote, q")].map((quoted) => {
                const copy = quoted.cloneNode(true);
                for (const weight of copy.querySelectorAll("sup")) weight.remove();
                return copy.textContent;
            })"""
        )
        seen.wait_for_timeout(500)
        assert any(text.startswith(made.HOSTILE) for text in texts)
        assert "Tocsin" in seen.title()
        assert seen.locator("img[src='x']").count() == 0
        assert wrong == []


def test_a_pin_says_a_headline_letter_for_letter(chromium: Browser, shown: dict[str, Path]) -> None:
    with browser.look(chromium, shown["report"]) as (seen, wrong):
        browser.draw(seen, TIMED)
        hover: list[str] = seen.evaluate(
            """[...document.querySelectorAll(".plot[data-group=time]")].flatMap((plot) => {
                const [trace, point] = plot._fullData.flatMap((one) =>
                    (one.hovertext || []).map?.((text, at) => [one, at]) || []
                ).find(([one, at]) => one.hovertext[at].includes("owned")) || [];
                if (!trace) return [];
                Plotly.Fx.hover(plot, [{ curveNumber: trace.index, pointNumber: point }], ["xy3"]);
                return [plot.querySelector(".hoverlayer")?.textContent || ""];
            })"""
        )
        assert len(hover) == 1
        assert "<script>document.title='owned'</script>" in hover[0]
        assert "Tocsin" in seen.title()
        assert wrong == []


@pytest.mark.parametrize("which", ["report", "dossier", "book"])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_that_keeps_a_reader_out(
    chromium: Browser, shown: dict[str, Path], which: str, dark: bool
) -> None:
    with browser.look(chromium, shown[which], dark=dark) as (seen, _):
        browser.draw(seen)
        found: dict[str, Any] = Axe().run(seen).response
        told = [
            f"{one['id']}: {node['target']} {node.get('failureSummary', '')[:200]}"
            for one in found["violations"]
            for node in one["nodes"][:3]
        ]
        assert told == []
        assert len(found["passes"]) > 20


def test_a_link_of_the_table_unfolds_its_dossier(chromium: Browser, shown: dict[str, Path]) -> None:
    with browser.look(chromium, shown["report"]) as (seen, wrong):
        link = seen.locator("#alarms td a, #alarms th a").first
        target = (link.get_attribute("href") or "")[1:]
        fold = seen.locator(f"[id='{target}']")
        assert fold.get_attribute("open") is None
        link.click()
        expect(fold).to_have_attribute("open", "")  # hashchange, which unfolds it, is heard after the click returns
        seen.locator(f"[id='{target}'] .plot[data-drawn]").first.wait_for()
        assert wrong == []


def test_without_scripts_the_numbers_are_there(chromium: Browser, shown: dict[str, Path]) -> None:
    with browser.look(chromium, shown["report"], scripts=False) as (seen, _):
        assert "Scripts are off" in seen.inner_text("noscript")
        assert seen.locator("#brief table tbody tr").count() == 4
        assert seen.locator(".numbers table tbody tr").count() > 50


def test_it_prints_on_light_paper_with_its_plots(chromium: Browser, shown: dict[str, Path], tmp_path: Path) -> None:
    with browser.look(chromium, shown["report"], dark=True) as (seen, wrong):
        browser.draw(seen)
        seen.emulate_media(media="print", color_scheme="dark")
        assert seen.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--text').trim()") == (
            "#1a2027"
        )
        seen.pdf(path=tmp_path / "report.pdf")
        assert (tmp_path / "report.pdf").stat().st_size > 100_000
        assert wrong == []
