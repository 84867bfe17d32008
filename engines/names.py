"""Names of accounts beside names of a sanctions list: which resemble each other, and how closely.

The list is the user's own. Accounts are CSV with a header: ``account,name`` and, where known, ``country`` and
``last_active`` (ISO 8601 date: the day of its last transfer before the stream begins). Listed are CSV with ``name`` and
``aliases``, separated by semicolons, as one makes of OFAC's or the EU's consolidated list.

Where accounts have pseudonyms, what is found names the list's entry by its place: the name would be the client's.

Names are compared without accents, case, punctuation and legal forms, their words sorted: 100 times one less the number
of letters to change, add, drop or swap over those of the longer name (optimal string alignment; by rapidfuzz).
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

from rapidfuzz import process
from rapidfuzz.distance import OSA

from schemas.pseudonyms import is_pseudonym

#: Names that resemble each other less are not remembered.
LEAST_SIMILARITY = 70.0
_FORMS = frozenset(
    (
        *("ab", "ag", "as", "bv", "co", "company", "corp", "gmbh", "inc", "limited", "llc", "ltd", "nv", "oao", "ooo"),
        *("oy", "pjsc", "plc", "sa", "spa", "srl", "the", "zao"),
    )
)
_NOTHING: Mapping[str, Match] = MappingProxyType({})
_NEVER: Mapping[str, int] = MappingProxyType({})


class Match(NamedTuple):
    """An account's name resembles a listed one; ``similarity`` in [0, 100]."""

    name: str
    listed: str
    similarity: float


class Names(NamedTuple):
    """By account: ``matches`` with the list, and ``last_ns``, when it was last active before the stream, ns UTC.

    ``digest`` is that of both files.
    """

    matches: Mapping[str, Match] = _NOTHING
    last_ns: Mapping[str, int] = _NEVER
    digest: str = ""


NOBODY = Names()


def plain(name: str) -> str:
    """Return a name as it is compared.

    Example
    -------
    >>> plain("Müller-Béton, GmbH")
    'beton muller'
    """
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).casefold()
    words = re.sub(r"[\W_]+", " ", bare).split()
    return " ".join(sorted([word for word in words if word not in _FORMS] or words))


def read(accounts: bytes, listed: bytes) -> Names:
    """Return what two CSV files say; either may be empty.

    Raises
    ------
    ValueError
        A file is no such CSV; the text names the line.

    Example
    -------
    >>> read(b"account,name\\nA1,Ivan Petrow\\nA2,Jane Doe\\n", b"name,aliases\\nPETROV Ivan,\\n").matches
    {'A1': Match(name='Ivan Petrow', listed='PETROV Ivan', similarity=90.9)}
    """
    known: dict[str, str] = {}
    places: dict[str, int] = {}
    for number, row in enumerate(_rows(listed, "name", "sanctions list"), 1):
        for alias in (row["name"], *(row.get("aliases") or "").split(";")):
            if compared := plain(alias):
                known.setdefault(compared, row["name"])
                places.setdefault(compared, number)
    matches: dict[str, Match] = {}
    last_ns: dict[str, int] = {}
    for number, row in enumerate(_rows(accounts, "account", "accounts"), 2):
        account, name = row["account"], row.get("name") or ""
        if active := row.get("last_active"):
            try:
                last_ns[account] = int(datetime.fromisoformat(active).replace(tzinfo=UTC).timestamp()) * 1_000_000_000
            except ValueError:
                raise ValueError(f"accounts, line {number}: last_active is {active!r}, expected YYYY-MM-DD") from None
        found = process.extractOne(
            plain(name), known.keys(), scorer=OSA.normalized_similarity, score_cutoff=LEAST_SIMILARITY / 100
        )
        if name and found is not None:
            told = f"entry {places[found[0]]} of the list" if is_pseudonym(account) else known[found[0]]
            matches[account] = Match(name, told, round(100 * found[1], 1))
    return Names(matches, last_ns, hashlib.sha256(accounts + b"\x00" + listed).hexdigest())


def _rows(data: bytes, key: str, what: str) -> Iterator[dict[str, str]]:
    if not data:
        return
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig")), strict=True)
        if key not in (reader.fieldnames or ()):
            raise ValueError(f"{what}: expected a header with a column {key!r}, found {reader.fieldnames}")
        for row in reader:
            if not row[key] or None in row:
                width = len(reader.fieldnames or ())
                raise ValueError(f"{what}, line {reader.line_num}: expected a value of {key} and {width} columns")
            yield row
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{what}: not CSV in UTF-8 ({error})") from error
