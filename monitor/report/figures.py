"""Figures in one style: what every plot of a page begins with, and how times, prices and texts are put into it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from monitor.report import inks
from monitor.report.inks import Ink
from schemas.alerts import Times

#: Characters of a text of others that a plot shows.
MOST_CHARS = 140
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', Arial, sans-serif"


def figure(traces: Sequence[Any], *, x: str = "", y: str = "", **layout: Any) -> go.Figure:
    """Return a figure of ``traces`` with axes named ``x`` and ``y``; ``layout`` is Plotly's."""
    made = go.Figure(
        data=list(traces),
        layout={
            "template": go.layout.Template(),
            "font": {"family": FONT, "size": 12, "color": inks.MUTED.light},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 52, "r": 14, "t": 34, "b": 40},
            "hoverlabel": {
                "bgcolor": inks.PANEL.light,
                "bordercolor": inks.LINE.light,
                "font": {"color": inks.TEXT.light, "family": FONT, "size": 12},
                "align": "left",
            },
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0, "bgcolor": "rgba(0,0,0,0)"},
            "hovermode": "closest",
            "dragmode": "zoom",
            "xaxis": axis(title={"text": x, "standoff": 8}),
            "yaxis": axis(title={"text": y, "standoff": 8}),
        },
    )
    made.update_layout(**layout)
    return made


def axis(**settings: Any) -> dict[str, Any]:
    """Return an axis in the one style; ``settings`` are Plotly's."""
    return {
        "gridcolor": inks.GRID.light,
        "zerolinecolor": inks.LINE.light,
        "linecolor": inks.LINE.light,
        "tickcolor": inks.LINE.light,
        "automargin": True,
        **settings,
    }


def upright(x: float, ink: Ink, dash: str = "solid", width: float = 1.5) -> dict[str, Any]:
    """Return a line at ``x`` (of times ms) from the bottom of a figure to its top."""
    line = {"color": ink.light, "width": width, "dash": dash}
    return {"type": "line", "xref": "x", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": line}


def level(y: float, ink: Ink) -> dict[str, Any]:
    """Return a dashed line at ``y`` from the left of a figure to its right."""
    line = {"color": ink.light, "width": 1.5, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": line}


def flag(text: str, ink: Ink, **where: Any) -> dict[str, Any]:
    """Return small words at a place, which is above the figure unless ``where`` (Plotly's) says otherwise."""
    font = {"color": ink.light, "size": 11}
    return {"y": 1, "yref": "paper", "yanchor": "bottom", "text": text, "showarrow": False, "font": font, **where}


def moments(times: Times, *, height_px: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return lines for when an alert's window begins, when its cause was complete and when it could be known.

    Beside them come their names, one above the other over a figure of ``height_px``.
    """
    lines = (
        ("begins", times.event_start, inks.MUTED, "dot"),
        ("complete", times.event_end, inks.TEXT, "solid"),
        ("available", times.available_at, inks.ACCENT, "dash"),
    )
    return (
        [upright(ns / 1e6, ink, dash) for _, ns, ink, dash in lines],
        [
            flag(label, ink, x=ns / 1e6, xanchor="left", y=1 + 22 / height_px * row)
            for row, (label, ns, ink, _) in enumerate(lines)
        ],
    )


def milliseconds(ns: npt.NDArray[np.int64] | Sequence[int]) -> npt.NDArray[np.float64]:
    """Return times in int64 ns UTC as Plotly takes them: ms since 1970."""
    return np.asarray(ns, np.int64) / 1e6


def small(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return numbers to be drawn in half their bytes: seven digits are more than a screen shows."""
    return np.asarray(values, np.float32)


def said(text: str, most: int = MOST_CHARS) -> str:
    """Return a text of others as Plotly shows it letter for letter: neither its markup nor control characters.

    Example
    -------
    >>> said("a <b>bold</b> claim & more")
    'a &lt;b&gt;bold&lt;/b&gt; claim &amp; more'
    """
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return html.escape(flat if len(flat) <= most else flat[: most - 1] + "…", quote=False)


def wrapped(text: str, width: int = 60, most: int = MOST_CHARS) -> str:
    """Return a text of others as `said` does, broken into lines of about ``width`` characters."""
    lines, line = [], ""
    for word in said(text, most).split(" "):
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "<br>".join([*lines, line])
