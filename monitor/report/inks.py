"""The colours of a page: each has a value on light paper and one on dark, at least 4.5:1 where text or a line is drawn.

Figures are made with the light values; in the dark the page's script puts the other in the place of each.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.alerts import Severity


class Ink(NamedTuple):
    """A colour as #rrggbb on light paper and on dark."""

    light: str
    dark: str


PAPER = Ink("#f6f7f8", "#0d1115")
PANEL = Ink("#ffffff", "#151b21")
TEXT = Ink("#1a2027", "#e7ebef")
MUTED = Ink("#56616c", "#a2aeba")
LINE = Ink("#d6dce2", "#2d3640")
GRID = Ink("#e8ecf0", "#232b33")
ACCENT = Ink("#0b6a8e", "#5dbbdc")
SOFT = Ink("#d3e6ee", "#1b3947")
CRITICAL = Ink("#b4231c", "#ff857d")
WARNING = Ink("#955600", "#f3b55e")
INFO = Ink("#2a62a4", "#86bbf5")
GOOD = Ink("#187546", "#67d09c")
RANDOM = Ink("#6d5b9c", "#b9abe4")
PLAIN = Ink("#636c76", "#9aa5b0")
HARM = Ink("#f6dcda", "#4a2422")
BENIGN = Ink("#dcefe4", "#1d3b2b")
CAUTION = Ink("#fcf1dc", "#33280f")
VOLUME = Ink("#a9b8c4", "#485866")
MARKED = Ink("#ffe08a", "#6b5310")

#: CSS variable → ink.
INKS: dict[str, Ink] = {
    "paper": PAPER,
    "panel": PANEL,
    "text": TEXT,
    "muted": MUTED,
    "line": LINE,
    "grid": GRID,
    "accent": ACCENT,
    "soft": SOFT,
    "critical": CRITICAL,
    "warning": WARNING,
    "info": INFO,
    "good": GOOD,
    "random": RANDOM,
    "plain": PLAIN,
    "harm": HARM,
    "benign": BENIGN,
    "caution": CAUTION,
    "volume": VOLUME,
    "marked": MARKED,
}
SEVERITY_INKS: dict[Severity, Ink] = {"info": INFO, "warning": WARNING, "critical": CRITICAL}
#: Plotly's names of the shapes that tell severities apart where colours do not.
SEVERITY_SHAPES: dict[Severity, str] = {"info": "circle", "warning": "triangle-up", "critical": "square"}
