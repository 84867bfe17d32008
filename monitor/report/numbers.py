"""Numbers as a person reads them: estimates with their intervals, durations, counts."""

from __future__ import annotations

from engines.backtest.results import Estimate
from monitor.report.page import Cell

NONE = "–"


def number(value: float | None, form: str = ".2f") -> str:
    """Return a number, or a dash where there is none."""
    return NONE if value is None else format(value, form)


def count(value: float) -> str:
    """Return a count; a fraction (of a mean over many detectors) with one digit."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def plural(number: int, noun: str) -> str:
    """Return a number with its noun.

    Example
    -------
    >>> plural(1, "day"), plural(2, "day")
    ('1 day', '2 days')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def money(value: float | None) -> str:
    """Return a cost in its own unit."""
    return NONE if value is None else f"{value:,.0f}" if abs(value) >= 10 else f"{value:,.2g}"


def interval(one: Estimate, form: str = ".2f") -> str:
    """Return the interval of an estimate, or nothing."""
    return "" if one.low is None or one.high is None else f"{one.low:{form}} to {one.high:{form}}"


def cell(one: Estimate, form: str = ".2f") -> Cell:
    """Return an estimate of what is not negative as a table's cell, its interval below it."""
    return Cell(text=number(one.value, form), under=interval(one, form).replace(" to ", "\N{EN DASH}"))


def time_cell(one: Estimate) -> Cell:
    """Return an estimate of a duration in seconds as a table's cell, its interval below it."""
    known = one.low is not None and one.high is not None
    return Cell(text=duration(one.value), under=f"{duration(one.low)} to {duration(one.high)}" if known else "")


def estimate(one: Estimate, form: str = ".2f") -> str:
    """Return an estimate with its interval.

    Example
    -------
    >>> estimate(Estimate(0.5, 0.25, 0.75))
    '0.50 (0.25 to 0.75)'
    """
    span = interval(one, form)
    return number(one.value, form) + (f" ({span})" if span else "")


def duration(s: float | None) -> str:
    """Return a duration in seconds as a person says it.

    Example
    -------
    >>> duration(-95.0), duration(5_400), duration(9_000)
    ('-95 s', '90 min', '2.5 h')
    """
    if s is None:
        return NONE
    for limit, unit, size in ((120, "s", 1), (7_200, "min", 60), (172_800, "h", 3_600)):
        if abs(s) < limit:
            return f"{s / size:.3g} {unit}"
    return f"{s / 86_400:.3g} d"
