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


def rate(value: float | None) -> str:
    """Return how often something is, with three digits where it is not in the thousands.

    Example
    -------
    >>> rate(0.01234), rate(4_321.0)
    ('0.0123', '4,321')
    """
    return NONE if value is None else f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def plural(number: int, noun: str) -> str:
    """Return a number with its noun.

    Example
    -------
    >>> plural(1, "day"), plural(2, "day")
    ('1 day', '2 days')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def money(value: float | None) -> str:
    """Return a cost in its own unit.

    Example
    -------
    >>> money(1.25), money(12_345.0), money(2.5e15)
    ('1.2', '12,345', '2.5e+15')
    """
    if value is None:
        return NONE
    size = abs(value)
    return format(value, ".2g" if size < 10 else ",.0f" if size < 1e9 else ".4g")


def interval(one: Estimate, form: str = ".2f") -> str:
    """Return the interval of an estimate, or nothing."""
    return "" if one.low is None or one.high is None else f"{one.low:{form}} to {one.high:{form}}"


def cell(one: Estimate, form: str = ".2f") -> Cell:
    """Return an estimate of what is not negative as a table's cell, its interval below it."""
    return Cell(text=number(one.value, form), under=interval(one, form).replace(" to ", "\N{EN DASH}"))


def rate_cell(one: Estimate) -> Cell:
    """Return an estimate of a rate as a table's cell, its interval below it."""
    return Cell(text=rate(one.value), under="" if one.low is None else f"{rate(one.low)}\N{EN DASH}{rate(one.high)}")


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
