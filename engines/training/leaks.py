"""Refuses splits in which rows to learn from know of rows to tell: windows that overlap, groups on both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Dates = npt.NDArray[np.datetime64]

#: Rows that a message names.
NAMED = 3


class LeakError(ValueError):
    """Rows to learn from know of rows to tell; the message says which, from when on, and what to do."""


class Span(NamedTuple):
    """When rows are told at the earliest, and when their labels are known at the latest; (row,) each.

    What a row sees ends where its label begins, so a label's window is half-open: ``(told, known]``.
    """

    told: Dates
    known: Dates


def of_years(year: Ints) -> Span:
    """Return the span of rows of which only the year (row,) is known."""
    begins = (year - 1970).astype("datetime64[Y]")
    return Span(begins.astype("datetime64[D]"), (begins + 1).astype("datetime64[D]"))


def check(
    learn: Ints,
    asked: Ints,
    span: Span | None = None,
    group: Ints | None = None,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Refuse rows to learn whose label is not known before the first row asked for is told, and groups in both parts.

    That a row asked for looks back on what was learnt from is no leak: it was known by then. Rows that come after those
    asked for are refused too, since what they see holds the labels asked for (purging; López de Prado, *Advances in
    Financial Machine Learning*, 2018, chapter 7).

    Parameters
    ----------
    learn, asked
        Numbers of rows, (n,) and (m,).
    span
        Of every row, where rows have a time.
    group
        The group of every row, (row,), where near copies, or what is said by one person, have to stay together.
    tell
        What is given the message instead of raising it: for folders that somebody else has split.

    Raises
    ------
    LeakError
        There are such rows.

    Example
    -------
    >>> days = np.arange("2024-01-01", "2024-01-07", dtype="datetime64[D]")
    >>> check(np.arange(3), np.arange(3, 6), Span(days, days + 2))
    Traceback (most recent call last):
        ...
    engines.training.leaks.LeakError: 1 of 3 rows to learn from reach into the time of those to tell, which begins on \
2024-01-04: the labels of rows 2 are known on 2024-01-05 at the latest; leave them out, or tell later rows
    """
    found = []
    if span is not None and len(asked):
        begins = span.told[asked].min()
        late = learn[(span.known[learn] > begins) | (span.told[learn] >= begins)]
        if len(late):
            found.append(
                f"{len(late):,} of {len(learn):,} rows to learn from reach into the time of those to tell, which begins"
                f" on {begins}: the labels of rows {_some(late)} are known on {span.known[late].max()} at the latest;"
                " leave them out, or tell later rows"
            )
    of = np.arange(max(learn.max(initial=0), asked.max(initial=0)) + 1) if group is None else group
    both = asked[np.isin(of[asked], of[learn])]
    if len(both):
        found.append(
            f"{len(both):,} of {len(asked):,} rows to tell are in the rows to learn from, or have one of their group"
            f" there: rows {_some(both)}; keep what belongs together in one part"
        )
    for message in found:
        if tell is None:
            raise LeakError(message)
        tell(message)


def _some(rows: Ints) -> str:
    return ", ".join(map(str, rows[:NAMED])) + (", …" if len(rows) > NAMED else "")
