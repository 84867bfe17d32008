"""Files of labels: what is known to have happened, as CSV or Parquet, checked once and named where it is wrong.

Columns are the fields of `engines.labels.Label`; those without a default must be there. In CSV, times are integers
(ns UTC), lists are separated by spaces, an empty cell is the default.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from engines.labels import Label
from monitor.errors import StartupError

_STRINGS = pa.list_(pa.string())
#: Labels as a recording holds them.
RECORDED = pa.schema(
    [
        ("event_id", pa.string()),
        ("typology", pa.string()),
        ("start_ns", pa.int64()),
        ("onset_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("instruments", _STRINGS),
        ("accounts", _STRINGS),
        ("strength", pa.float64()),
        ("disguise", pa.float64()),
        ("public_ns", pa.int64()),
        ("benign", pa.bool_()),
    ]
)
#: As somebody found them.
FOUND = RECORDED.append(pa.field("known_ns", pa.int64())).append(pa.field("weight", pa.float64()))
_FIELDS = {field.name: field for field in msgspec.structs.fields(Label)}
_REQUIRED = tuple(name for name, field in _FIELDS.items() if field.required)
_LISTS = frozenset({"instruments", "accounts"})
#: Labels of a file, and bytes of it once they are unfolded.
MOST_ROWS, MOST_BYTES = 1_000_000, 256 << 20
#: Names that an error lists.
_NAMED = 5


class LabelError(StartupError):
    """Labels cannot be used; the text says which file, row and column, what was expected, and what to do."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels in order of their onset, ``where`` they are from, and the SHA-256 of that file."""

    labels: tuple[Label, ...]
    where: str
    digest: str


def table(labels: Sequence[Label], schema: pa.Schema) -> pa.Table:
    """Return labels as a table of the columns of ``schema``, a row each."""
    return pa.Table.from_pylist([msgspec.to_builtins(label) for label in labels], schema=schema)


def read(path: Path) -> Labels:
    """Return the labels of a CSV or Parquet file.

    Raises
    ------
    LabelError
        It cannot be read, has a column that no label has or lacks one that each must have, or a row makes no sense.
    """
    if not path.is_file():
        raise LabelError(f"{path} is no file: --labels expects CSV or Parquet with the columns {_columns()}.")
    rows = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    labels = [_label(path, number, row) for number, row in enumerate(rows, 1)]
    return checked(labels, str(path), hashlib.sha256(path.read_bytes()).hexdigest())


def checked(labels: Sequence[Label], where: str, digest: str) -> Labels:
    """Return labels that make sense; ``where`` is the file that they are from.

    Raises
    ------
    LabelError
        One does not: its times are not in order, it names no instrument, stands for none, or two share an event_id.
    """
    seen: dict[str, int] = {}
    for number, label in enumerate(labels, 1):
        if not label.start_ns <= label.onset_ns <= label.end_ns:
            raise LabelError(
                f"{where}, row {number}: expected start_ns <= onset_ns <= end_ns, found {label.start_ns}, "
                f"{label.onset_ns}, {label.end_ns}."
            )
        if not label.instruments:
            raise LabelError(
                f"{where}, row {number}: expected one instrument or more (in CSV separated by spaces), found none."
            )
        if not 1 <= label.weight < math.inf:
            raise LabelError(f"{where}, row {number}: expected a weight of at least 1, found {label.weight:g}.")
        if (before := seen.setdefault(label.event_id, number)) != number:
            raise LabelError(
                f"{where}, row {number}: event_id {label.event_id!r} is that of row {before} too: give each event its "
                "own."
            )
    return Labels(tuple(sorted(labels, key=lambda label: (label.onset_ns, label.event_id))), where, digest)


def known(
    found: Labels, instruments: Collection[str], *, skip: bool, where: str
) -> tuple[list[Label], list[str], list[Label]]:
    """Return labels with the instruments that are known, the names that are not, and the labels that had no other.

    Parameters
    ----------
    instruments
        Of which anything was heard.
    skip
        Whether the rest is to be used without them.
    where
        What was searched for them, for the error.

    Raises
    ------
    LabelError
        An instrument is unknown and ``skip`` is false.
    """
    kept, skipped = [], []
    unknown: dict[str, None] = {}
    for label in found.labels:
        mine = [name for name in label.instruments if name in instruments]
        if len(mine) < len(label.instruments):
            unknown |= dict.fromkeys(name for name in label.instruments if name not in instruments)
        if mine:
            kept.append(msgspec.structs.replace(label, instruments=mine))
        else:
            skipped.append(label)
    if unknown and not skip:
        raise LabelError(
            f"{found.where} labels {_some(unknown)}, of which nothing was heard in {where}: name instruments as the "
            "recording does (SYMBOL.VENUE), or judge by the others with --unknown-instruments skip."
        )
    return kept, sorted(unknown), skipped


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names)
            held = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
            if file.metadata.num_rows > MOST_ROWS or held > MOST_BYTES:
                raise _too_large(path)
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group).to_pylist():
                    yield {name: value for name, value in row.items() if value is not None}
    except (pa.ArrowException, OSError) as error:
        raise LabelError(f"{path} cannot be read ({str(error).splitlines()[0]}); write it again.") from error


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            if os.fstat(file.fileno()).st_size > MOST_BYTES:
                raise _too_large(path)
            rows = csv.reader(file, strict=True)
            names = next(rows, [])
            _check_columns(path, names)
            for number, cells in enumerate(rows, 1):
                if not cells:
                    continue  # an empty line
                if len(cells) != len(names):
                    raise LabelError(
                        f"{path}, row {number}: expected {len(names)} cells, one for each column, found {len(cells)}."
                    )
                yield {
                    name: cell.split() if name in _LISTS else cell
                    for name, cell in zip(names, cells, strict=True)
                    if cell.strip()
                }
    except (csv.Error, UnicodeDecodeError) as error:
        raise LabelError(f"{path} is no CSV in UTF-8 ({error}): write it again, or as Parquet.") from error


def _too_large(path: Path) -> LabelError:
    return LabelError(
        f"{path} has more than {MOST_ROWS:,} rows, or {MOST_BYTES >> 20} MiB: split it, and judge by part."
    )


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in _FIELDS]:
        raise LabelError(
            f"{path} has {'columns' if len(unknown) > 1 else 'a column'} {_some(unknown)} that no label has: rename or "
            f"remove; expected {_columns()}."
        )
    if lacking := [name for name in _REQUIRED if name not in names]:
        raise LabelError(f"{path} lacks {_some(lacking)}: expected {_columns()}.")
    if len(set(names)) < len(names):
        raise LabelError(f"{path} has a column twice: expected {_columns()}.")


def _label(path: Path, number: int, row: dict[str, Any]) -> Label:
    try:
        return msgspec.convert(row, Label, strict=False)
    except msgspec.ValidationError as error:
        raise LabelError(f"{path}, row {number}: {error}; times are int64 ns UTC.") from error


def _columns() -> str:
    return ", ".join(name if name in _REQUIRED else f"[{name}]" for name in _FIELDS)


def _some(names: Iterable[str]) -> str:
    told = sorted(names)
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return ", ".join(told[:_NAMED]) + more
