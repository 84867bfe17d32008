"""What a bundle's lineage says of time: whether its models may know what they are tested on.

A source tells its window in words (see `engines.bundle.Source`): dates, "unknown", or "none: …". Of dates the first and
the last count, so that what was used to calibrate or to stop is in the window too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from engines.bundle import Source

_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_NONE = re.compile(r"none\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What of a lineage concerns a tested range: a sentence for each source that knows of it, and for each unknown."""

    overlaps: tuple[str, ...]
    unknown: tuple[str, ...]


def last_day(window: str) -> date | None:
    """Return the last day of a window, None where its words name no date.

    Example
    -------
    >>> last_day("2014-01-01 to 2015-02-28; calibration to 2015-05-31")
    datetime.date(2015, 5, 31)
    >>> last_day("unknown") is None
    True
    """
    days = []
    for found in _DATE.findall(window):
        try:
            days.append(date.fromisoformat(found))
        except ValueError:
            return None
    return max(days, default=None)


def knows(lineage: Iterable[Source], from_ns: int, to_ns: int) -> Knowledge:
    """Return what a lineage may know of ``[from_ns, to_ns)``, int64 ns UTC.

    A window that ends after the range began is knowledge of the future, even if it begins after the range's end.

    Example
    -------
    >>> source = Source(name="s", stage="training", origin="", licence="", may_train_what_ships=True,
    ...                 window="2014-01-01 to 2014-12-31")
    >>> knows([source], begin_ns(date(2015, 1, 1)), begin_ns(date(2016, 1, 1)))
    Knowledge(overlaps=(), unknown=())
    >>> knows([source], begin_ns(date(2014, 12, 31)), begin_ns(date(2016, 1, 1))).overlaps
    ('training on s spans 2014-01-01 to 2014-12-31, which reaches into or past the tested 2014-12-31 to 2015-12-31',)
    """
    overlaps, unknown = [], []
    tested = f"{day_of(from_ns)} to {day_of(to_ns - 1)}"
    for source in lineage:
        if _NONE.match(source.window):
            continue
        last = last_day(source.window)
        if last is None:
            unknown.append(f"the window of its {source.stage} on {source.name} is unknown")
        elif from_ns < begin_ns(last + timedelta(days=1)):
            overlaps.append(
                f"{source.stage} on {source.name} spans {source.window}, which reaches into or past the tested {tested}"
            )
    return Knowledge(tuple(overlaps), tuple(unknown))


def begin_ns(day: date) -> int:
    """Return when a day begins, int64 ns UTC.

    Example
    -------
    >>> begin_ns(date(1970, 1, 2))
    86400000000000
    """
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**9


def day_of(ns: int) -> date:
    """Return the UTC day of a time, int64 ns."""
    return datetime.fromtimestamp(ns // 10**9, UTC).date()
