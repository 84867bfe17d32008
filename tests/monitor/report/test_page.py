"""A page loads nothing, runs nothing of others, and says all that it shows in words too."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import pytest

from monitor.report import figures, page
from monitor.report.inks import INKS
from monitor.report.page import (
    Block,
    Card,
    Cards,
    Cell,
    Facts,
    Fold,
    Note,
    Page,
    Picture,
    Plot,
    Section,
    Sound,
    Table,
    Words,
)
from tests.monitor.report.made import HOSTILE


class Parsed(HTMLParser):
    """What of a page a browser would act on: its elements, what they would load, the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.policy = ""
        self._script: tuple[str | None, list[str]] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.elements.append(tag)
        self.ids += [told["id"] or ""] if "id" in told else []
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data", "poster")
        ]
        self.handlers += [name for name in told if name.startswith("on")]
        if told.get("http-equiv") == "Content-Security-Policy":
            self.policy = told["content"] or ""
        if tag == "script":
            self._script = (told.get("type"), [])

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self._script[1].append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script" and self._script is not None:
            self.scripts.append((self._script[0], "".join(self._script[1])))
            self._script = None


def every_block(text: str) -> list[Block]:
    """Return a block of every kind, ``text`` wherever words of others may stand."""
    table = Table(caption=text, head=[text, text], rows=[[text, Cell(text=text, title=text, under=text, quoted=True)]])
    plot = Plot(
        name="one",
        figure=figures.figure([go.Scatter(x=[1], y=[2], name=text, hovertext=[text])], x=text),
        alt=text,
        table=table,
        group="time",
    )
    return [
        table,
        plot,
        Note(text, warns=True),
        Facts([(text, text), (text, Cell(text=text, code=True)), ("empty", "")]),
        Cards(
            [Card(title=text, value=text, interval=text, at=(0.5, 0.2, 0.9), others=[("random", 0.1, text)], note=text)]
        ),
        Words(title=text, pieces=[(text, None), (text, 0.5)], source=text),
        Picture(title=text, data="data:image/png;base64,", alt=text, width_px=9, height_px=9, marks=[(0.1, 0.2, 0.3)]),
        Sound(title=text, data="data:audio/wav;base64,"),
        Fold(anchor="fold", title=text, aside=text, mark="warning", blocks=[Note(text)]),
    ]


def rendered(text: str = "plain") -> str:
    return page.render(
        Page(
            kicker=text,
            title=text,
            subtitle=text,
            facts=Facts([(text, text)]),
            warnings=[text],
            sections=[Section(anchor="all", title=text, lead=text, blocks=every_block(text))],
            foot=text,
        )
    )


def test_nothing_is_loaded_from_anywhere() -> None:
    found = Parsed(rendered())
    assert found.loads
    assert [one for one in found.loads if not one.startswith(("data:", "#"))] == []
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(found.elements)
    style = re.search(r"<style>(.*?)</style>", rendered(), re.S)
    assert style
    assert not re.search(r"@import|url\(", style[1])


def test_the_policy_lets_two_scripts_run_and_no_request_leave() -> None:
    found = Parsed(rendered())
    rules = dict(rule.strip().split(" ", 1) for rule in found.policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    assert not any(name in rules for name in ("connect-src", "frame-src", "font-src", "worker-src"))  # 'none', then
    run = [text for kind, text in found.scripts if kind is None]
    packed = next(text for kind, text in found.scripts if kind == "application/octet-stream")
    assert len(run) == 1
    plotly = page.gzip.decompress(base64.b64decode(packed)).decode()
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in (run[0], plotly)}
    assert set(rules["script-src"].split()) == hashes


def test_words_of_others_make_no_element_no_handler_and_no_script() -> None:
    plain, attacked = Parsed(rendered("plain")), Parsed(rendered(HOSTILE))
    assert attacked.elements == plain.elements
    assert attacked.handlers == []
    assert [kind for kind, _ in attacked.scripts] == [kind for kind, _ in plain.scripts]
    assert "<script>document.title" not in rendered(HOSTILE)


@pytest.mark.parametrize("text", ["</script><b>", "<!--<script>", "a & b", "\u2028"])
def test_a_figure_cannot_end_its_script(text: str) -> None:
    (described,) = [body for kind, body in Parsed(rendered(text)).scripts if kind == "application/json"]
    assert "<" not in described
    assert page.msgspec.json.decode(described)["data"][0]["name"] == text


def test_the_same_page_is_the_same_bytes_and_nothing_half_written_is_left(tmp_path: Path) -> None:
    page.write(
        Page(kicker="", title="t", subtitle="", facts=Facts([]), warnings=[], sections=[], foot=""),
        tmp_path / "a" / "p",
    )
    assert [one.name for one in (tmp_path / "a").iterdir()] == ["p"]
    assert rendered() == rendered()


def test_a_plot_says_in_words_and_in_a_table_what_it_shows() -> None:
    text = rendered("seen")
    assert 'aria-label="seen"' in text
    assert "<figcaption>seen</figcaption>" in text
    assert "As a table: seen" in text


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", ["text", "muted", "accent", "critical", "warning", "info", "good", "random", "plain"])
@pytest.mark.parametrize("ground", ["panel", "paper"])
@pytest.mark.parametrize("mode", [0, 1])
def test_inks_stand_out_from_paper(name: str, ground: str, mode: int) -> None:
    light, dark = sorted((luminance(INKS[name][mode]), luminance(INKS[ground][mode])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_no_two_inks_are_the_same_on_light_paper() -> None:
    # In the dark each is told from the others by its light value.
    assert len({ink.light for ink in INKS.values()}) == len(INKS)
