"""A page: sections of blocks, written as one HTML file that loads nothing and shows tables where scripts are off.

plotly.js lies within, packed (1.5 MB of gzip for 4.8 MB). A content security policy forbids every request and every
script but the two that belong to the page, so that no text of others can become one.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from monitor.folders import Folder
from monitor.report.inks import INKS

_FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A table's cell that is more than text.

    ``href`` leads to a place within the page, ``mark`` is a severity or a verdict that has a sign of its own, ``code``
    is for digests and ids, ``title`` is the whole of what ``text`` shortens, ``under`` stands small below it. What is
    ``quoted`` was written by others: it is broken into lines.
    """

    text: str
    under: str = ""
    href: str = ""
    mark: str = ""
    code: bool = False
    quoted: bool = False
    title: str = ""


#: Rows that a table of what happened lists at most.
MOST_ROWS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a head; columns of numbers (``numeric``, from 0) stand to the right."""

    kind: ClassVar[str] = "table"
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    numeric: frozenset[int] = frozenset()
    more: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A figure of Plotly's that zooms.

    ``alt`` says in a sentence what is to be seen, ``table`` holds the numbers. Plots of one ``group`` share their time
    axis: who zooms one zooms all.
    """

    kind: ClassVar[str] = "plot"
    name: str
    figure: Any  # plotly.graph_objects.Figure; Plotly has no types
    alt: str
    height_px: int = 340
    table: Table | None = None
    group: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph; one that ``warns`` is set apart."""

    kind: ClassVar[str] = "note"
    text: str
    warns: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they are; those that are empty are left out."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, str | Cell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A figure that a page opens with: its value, its interval, and what others reach, all on one scale in [0, 1].

    ``at`` is (value, low, high) as shares of the scale, ``others`` are (name, share, text); without ``at`` no scale is
    drawn.
    """

    title: str
    value: str
    interval: str = ""
    at: tuple[float, float, float] | None = None
    others: Sequence[tuple[str, float | None, str]] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Cards:
    """Cards side by side."""

    kind: ClassVar[str] = "cards"
    cards: Sequence[Card]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A text of others, the places that carried weight marked: pieces of (text, weight or None)."""

    kind: ClassVar[str] = "words"
    title: str
    pieces: Sequence[tuple[str, float | None]]
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture, the columns that carried weight marked: (left, width, weight), the first two as shares in [0, 1]."""

    kind: ClassVar[str] = "picture"
    title: str
    data: str
    alt: str
    width_px: int
    height_px: int
    marks: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A sound to listen to; ``data`` is a data URL."""

    kind: ClassVar[str] = "sound"
    title: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Blocks that open at a click, under a heading of their own."""

    kind: ClassVar[str] = "fold"
    anchor: str
    title: str
    blocks: Sequence[Block]
    mark: str = ""
    aside: str = ""
    open: bool = False


Block = Table | Plot | Note | Facts | Cards | Words | Picture | Sound | Fold


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a page; ``lead`` says in a sentence how it is to be read."""

    anchor: str
    title: str
    lead: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page says: ``facts`` tell what was looked at, ``warnings`` are sentences that nobody may miss."""

    kicker: str
    title: str
    subtitle: str
    facts: Facts
    warnings: Sequence[str]
    sections: Sequence[Section]
    foot: str


def write(page: Page, out: Path) -> None:
    """Write a page to ``out``, whole or not at all."""
    Folder(out.parent).write(out.name, render(page).encode())


def render(page: Page) -> str:
    """Return a page as HTML. All text is escaped; the same page is the same bytes."""
    script = (_FOLDER / "page.js").read_text()
    swaps = msgspec.json.encode([[ink.light, ink.dark] for ink in INKS.values()]).decode()
    script = script.replace("/*inks*/[]", swaps)
    plotly, packed = _plotly()
    return _environment().get_template("page.html").render(
        page=page,
        inks=INKS,
        policy=(
            f"default-src 'none'; script-src {_hash(script)} {_hash(plotly)}; style-src 'unsafe-inline'; "
            "img-src data: blob:; media-src data:; base-uri 'none'; form-action 'none'"
        ),
        style=Markup((_FOLDER / "page.css").read_text()),
        script=Markup(script),
        plotly=Markup(packed),
        described=_described,
    )  # fmt: skip


def data_url(payload: bytes, media_type: str) -> str:
    """Return bytes as a URL that holds them."""
    return f"data:{media_type};base64,{base64.b64encode(payload).decode()}"


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(_FOLDER)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@cache
def _plotly() -> tuple[str, str]:
    """Return plotly.js, and the same as base64 of gzip."""
    from plotly.offline import get_plotlyjs

    source: str = get_plotlyjs()
    return source, base64.b64encode(gzip.compress(source.encode(), 9, mtime=0)).decode()


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _described(plot: Plot) -> Markup:
    """Return a figure as JSON that no end of a script element can hide in."""
    text: str = plot.figure.to_json()
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
