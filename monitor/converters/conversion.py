"""The frame of every conversion: a set is read, cleaned and counted by its module, and written as a recording here."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from engines.labels import Label
from engines.lineage import begin_ns
from monitor.errors import StartupError
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Message

_TEXTS = frozenset({"news", "transcripts"})


@dataclass(slots=True)
class Report:
    """What came of a conversion, from raw to clean.

    Rows ``read`` and ``kept``, others by the reason why they were set aside, and remarks on rows that were kept.

    ``notes`` say what the data do not tell and what was assumed instead, a sentence each.
    """

    read: int = 0
    kept: int = 0
    aside: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a set became.

    ``messages`` stand in order of ``ts_available``, the last of them at ``last_ns``; ``parameters`` say how much of
    the set they are; ``labels`` what is known to have happened; ``symbols`` is a symbol master as CSV, if there is one.
    """

    messages: Iterable[Message]
    last_ns: int
    parameters: dict[str, str | int | float]
    labels: Sequence[Label] | None = None
    symbols: str = ""


def convert(
    kind: str,
    data: Path,
    out: Path,
    *,
    events: Collection[str] = (),
    limit: int | None = None,
    texts_from: date | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Report:
    """Write a recording of a set.

    Parameters
    ----------
    kind
        A module beside this one, whose ``read(data, events, limit, report)`` reads its set.
    events, limit
        Which of the set's events, calls, companies or symbols to take (all if empty), and how many at most; the
        module says which they are.
    texts_from
        The UTC day before which news and transcripts are left out: a replay needs months of prices to warm up, and of
        texts, each of which takes as long as thousands of ticks, days.

    Raises
    ------
    StartupError
        The folder is no such set, or something named is not in it.
    """
    report = Report()
    made: Made = importlib.import_module(f"monitor.converters.{kind}").read(data, events, limit, report)
    first_text_ns = 0
    parameters = made.parameters
    if texts_from is not None:
        first_text_ns = begin_ns(texts_from)
        parameters = parameters | {"texts_from": texts_from.isoformat()}
    with RecordingWriter(out, source=kind, parameters=parameters) as writer:
        first_ns = 0
        for message in made.messages:
            first_ns = first_ns or message.ts_available
            if message.ts_available < first_text_ns and message.topic in _TEXTS:
                report.kept -= 1
                report.aside[f"texts before {texts_from}"] += 1
                continue
            writer.append(message)
            progress((message.ts_available - first_ns) / max(1, made.last_ns - first_ns))
        if made.labels is not None:
            writer.add_labels(made.labels)
        if made.symbols:
            writer.bring("symbols", made.symbols)
    return report


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
