"""What came of a conversion, from raw to clean: counts, and what was decided on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from monitor.errors import StartupError


@dataclass(slots=True)
class Report:
    """Rows ``read`` and ``kept``, others by the reason why they were set aside, and remarks on rows that were kept.

    ``notes`` say what the data do not tell and what was assumed instead, a sentence each.
    """

    read: int = 0
    kept: int = 0
    aside: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def choose(wanted: Collection[str], known: Collection[str], where: Path) -> None:
    """Check that all of ``wanted`` are ``known``.

    Raises
    ------
    StartupError
        One is not in the set; the sentence lists some that are.
    """
    if unknown := sorted(set(wanted) - set(known)):
        some = ", ".join(sorted(known)[:40]) + (", …" if len(known) > 40 else "")
        raise StartupError(f"{where} has no {', '.join(unknown)}; it has {some}.")


def require(data: Path, *names: str) -> None:
    """Check that ``data`` holds what a set of this kind has.

    Raises
    ------
    StartupError
        A file is missing.
    """
    missing = [name for name in names if not (data / name).exists()]
    if missing:
        raise StartupError(f"{data} has no {', '.join(missing)}; name the folder that holds {', '.join(names)}.")
