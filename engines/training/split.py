"""How days of stocknet are split by time: what is learnt from, what stops and calibrates, what is only judged on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

#: The first day that posts cover, and the day after the last.
FIRST, END = date(2014, 1, 1), date(2015, 10, 1)
#: Months before the tested days by which training stops.
STOP_MONTHS = 3
#: Fewer months to learn from would hold too few large days.
LEAST_MONTHS = 6


class SplitError(ValueError):
    """A date that leaves too little to learn from, or nothing to judge by."""


@dataclass(frozen=True, slots=True)
class Split:
    """The first day of the parts "train", "stop" and "test", and the day after the last."""

    train: date
    stop: date
    test: date
    end: date

    @property
    def parts(self) -> dict[str, date]:
        """The first day of each part, in order; "" is what lies after all."""
        return {"train": self.train, "stop": self.stop, "test": self.test, "": self.end}

    def part(self, day: str) -> str:
        """Return the part of a day (YYYY-MM-DD), "" outside of all."""
        return next((name for name, first in reversed(self.parts.items()) if day >= first.isoformat()), "")

    @property
    def window(self) -> str:
        """What a manifest says of it: see `engines.lineage`."""
        return f"{self.train} to {_before(self.stop)}; calibration to {_before(self.test)}"

    @property
    def dates(self) -> str:
        """The parts in words."""
        return (
            f"train to {_before(self.stop)}, stop from {self.stop} to {_before(self.test)}, test from {self.test} to "
            f"{_before(self.end)}"
        )


#: Of the bundle that ships. Its test part holds the published dev part, from 2015-08-01.
SHIPPED = Split(FIRST, date(2015, 3, 1), date(2015, 6, 1), END)


def until(day: date) -> Split:
    """Return the split that knows nothing of ``day`` and what follows; the three months before stop and calibrate.

    Raises
    ------
    SplitError
        Less than six months are left to learn from, or no day to judge by.

    Example
    -------
    >>> until(date(2015, 5, 1)).window
    '2014-01-01 to 2015-01-31; calibration to 2015-04-30'
    """
    stop = _months_before(day, STOP_MONTHS)
    if _months_before(stop, LEAST_MONTHS) < FIRST or day >= END:
        least = _months_before(date(FIRST.year + 1, FIRST.month, 1), 12 - STOP_MONTHS - LEAST_MONTHS)
        raise SplitError(f"expected a date from {least} to {_before(END)}, as posts cover {FIRST} to {_before(END)}")
    return Split(FIRST, stop, day, END)


def _months_before(day: date, months: int) -> date:
    at = day.year * 12 + day.month - 1 - months
    return date(at // 12, at % 12 + 1, min(day.day, 28))


def _before(day: date) -> date:
    return day - timedelta(days=1)
