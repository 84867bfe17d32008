"""Numbers as a person reads them: estimates with their intervals, durations, counts."""

from __future__ import annotations

from collections.abc import Callable

from engines.backtest.results import Estimate

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


def between(one: Estimate, said: Callable[[float | None], str], to: str = " to ") -> str:
    """Return the interval of an estimate, its ends as ``said``, or nothing.

    Example
    -------
    >>> between(Estimate(60.0, 30.0, 7_200.0), duration)
    '30 s to 2 h'
    """
    return "" if one.low is None or one.high is None else f"{said(one.low)}{to}{said(one.high)}"


def interval(one: Estimate, form: str = ".2f") -> str:
    """Return the interval of an estimate as numbers, or nothing."""
    return between(one, lambda value: number(value, form))


def estimate(one: Estimate, form: str = ".2f") -> str:
    """Return an estimate with its interval.

    Example
    -------
    >>> estimate(Estimate(0.5, 0.25, 0.75))
    '0.50 (0.25 to 0.75)'
    """
    span = interval(one, form)
    return number(one.value, form) + (f" ({span})" if span else "")


def duration(s: float | None, *, signed: bool = False) -> str:
    """Return a duration in seconds as a person says it; one that is ``signed`` with its plus too.

    Example
    -------
    >>> duration(-95.0), duration(5_400), duration(9_000, signed=True)
    ('-95 s', '90 min', '+2.5 h')
    """
    if s is None:
        return NONE
    form = "+.3g" if signed else ".3g"
    for limit, unit, size in ((120, "s", 1), (7_200, "min", 60), (172_800, "h", 3_600)):
        if abs(s) < limit:
            return f"{s / size:{form}} {unit}"
    return f"{s / 86_400:{form}} d"
