"""How an account is written that is not named: ``~KEY.CODE``, the id of the key and a code of 32 hexadecimal digits.

While a key takes over from the one before it, both are written, the newer first: ``~k2.CODE~k1.CODE``. No id of a
producer is taken for one but what has this form, which stays as it is.
"""

from __future__ import annotations

import hmac
import re
from functools import lru_cache

#: Bytes of the keyed hash that are kept: two accounts of a billion get the same with a chance below 1e-20.
CODE_BYTES = 16
KEY_ID = r"[A-Za-z0-9-]{1,16}"
_ONE = rf"~{KEY_ID}\.[0-9a-f]{{32}}"
_FORM = re.compile(rf"(?P<name>{_ONE})(?P<before>{_ONE})?")
#: topic → the fields of its records that name an account or a person who trades for one; the first is its key's, but
#: of orders, whose key is the instrument.
NAMING: dict[str, tuple[str, ...]] = {
    "orders": ("account", "trader"),
    "transfers": ("account", "counterparty"),
    "statements": ("account",),
}


def pseudonym(key_id: str, key: bytes, account: str) -> str:
    """Return an account's pseudonym by a key: HMAC-SHA-256 (RFC 2104), its first 128 bits.

    Example
    -------
    >>> pseudonym("k1", bytes(32), "A-17")
    '~k1.2ff54be20d785da0ac66956dcca1dfa8'
    """
    return f"~{key_id}.{hmac.digest(key, account.encode(), 'sha256')[:CODE_BYTES].hex()}"


def is_pseudonym(name: str) -> bool:
    """Return whether a name is a pseudonym, or two."""
    return name.startswith("~") and _FORM.fullmatch(name) is not None


def split(name: str) -> tuple[str, str]:
    """Return the pseudonym that is in use and the one before it; "" where there is none.

    Example
    -------
    >>> one, two = pseudonym("k1", bytes(32), "A-17"), pseudonym("k2", bytes(32), "A-17")
    >>> split(two + one) == (two, one), split(two) == (two, ""), split("A-17")
    (True, True, ('A-17', ''))
    """
    if not name.startswith("~") or (found := _FORM.fullmatch(name)) is None:
        return name, ""
    return found["name"], found["before"] or ""


@lru_cache(maxsize=256)
def split_all(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return the names as they are in use, and of those that had another before that one and the new one."""
    if "~" not in "".join(names):  # a fifth of the time, where accounts have no pseudonyms
        return names, ()
    pairs = [split(name) for name in names]
    return tuple(name for name, _ in pairs), tuple((before, name) for name, before in pairs if before)
