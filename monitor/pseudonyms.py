"""Accounts are named by a keyed hash before anything is done with a message: see docs/security.md.

A message of a topic that names accounts is rewritten where it is read from Kafka, by the worker, by a replay of what is
on the broker, and by `tocsin record`; so a recording holds pseudonyms and replays without a key. What was rewritten
stays as it is when it is rewritten again.

The keys stand in a file, a line each: id, from which event time on, until which one the key before it is named beside
it, and 32 bytes in base64::

    k1  -                     -                     BASE64
    k2  2026-12-01T00:00:00Z  2027-01-01T00:00:00Z  BASE64
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import csv
import hashlib
import io
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from monitor.errors import StartupError
from monitor.settings import Settings, stamp
from schemas import codec, order_frames
from schemas.errors import BadMessage
from schemas.pseudonyms import KEY_ID, NAMING, is_pseudonym, pseudonym
from schemas.records import OrderEvent, Statement, Transfer

log = structlog.get_logger(__name__)
#: Names whose pseudonym is kept, and tables of names of order frames, by the time of a key each.
KEPT, KEPT_TABLES = 65_536, 1_024
#: How often the file is looked at, s.
LOOK_S = 5.0
KEY_BYTES = 32
#: What stands in a recording for a message that cannot be read: it is refused like that one.
UNREADABLE, UNREADABLE_FRAME = b"?", order_frames.MAGIC

_FIELDS: dict[str, tuple[str, ...]] = {
    "orders": OrderEvent.__struct_fields__,
    "transfers": Transfer.__struct_fields__,
    "statements": Statement.__struct_fields__,
}
_EXPECTED = (
    "expected a line a key: its id, from which event time on (ISO 8601 with a zone; - of the first), until which one"
    " the key before it is named beside it (- of the first), and 32 bytes in base64 (`openssl rand -base64 32`)."
)


class Key(NamedTuple):
    """A key in use from an event time on, beside the one before it until another; ns UTC, 0 of the first."""

    id: str
    from_ns: int
    until_ns: int
    secret: bytes


class Era(NamedTuple):
    """What is named how from an event time (ns) on, by the newest key and, in an overlap, by the one before it.

    ``ids`` are theirs, with their bytes; ``name`` returns an account's pseudonym, ``table`` an order frame's first
    message with the names in it replaced.
    """

    from_ns: int
    ids: tuple[tuple[str, bytes], ...]
    name: Callable[[str], str]
    table: Callable[[bytes, bytes], bytes]


class Pseudonyms:
    """Names accounts by the keys of a file, which is looked at again while it is in use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp, self.keys = stamp(path), read_keys(path)
        self._eras = _eras(self.keys)
        self._newest_ns = 0

    @classmethod
    def of(cls, settings: Settings) -> Pseudonyms | None:
        """Return what names accounts by the settings' keys; None where they stay as they are.

        Raises
        ------
        StartupError
            The file cannot be read or holds something else, or dead letters would hold accounts as they came.
        """
        if settings.pseudonym_keys_file is None:
            return None
        if settings.deadletter_key_file is None:
            raise StartupError(
                "TOCSIN_PSEUDONYM_KEYS_FILE is set and TOCSIN_DEADLETTER_KEY_FILE is not: messages that cannot be read"
                " would lie in dead letters with the accounts that they name; set both."
            )
        return cls(settings.pseudonym_keys_file)

    def name(self, account: str, ts_event: int) -> str:
        """Return an account's pseudonym at an event time, ns; what is one, and what is empty, stays as it is."""
        return self._at(ts_event).name(account)

    def message(self, topic: str, key: bytes | None, value: bytes | None) -> tuple[bytes, bytes] | None:
        """Return key and value of a message of ``topic`` with its accounts named; None where it cannot be read.

        Fields that no record has are left out: nobody knows what they hold. Of an order frame all is named by the time
        of its first row.
        """
        if topic not in NAMING:
            return key or b"", value or b""
        if not value or len(value) > codec.LIMITS.frame_bytes:
            return None
        if topic == "orders" and value.startswith(order_frames.MAGIC):
            return self._frame(key or b"", value)
        return self._record(topic, key or b"", value)

    def for_recording(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int
    ) -> tuple[bytes, bytes]:
        """Return what a recording holds of a message, of one that cannot be used bytes that cannot be either.

        So it is where its topic names accounts: what is wrong with a message may be where an account stands in it.
        """
        found = self.message(topic, key, value)
        if found is not None and topic not in NAMING:
            return found
        with contextlib.suppress(BadMessage):
            if found is not None:
                codec.decode(topic, *found, timestamp_ms)
                return found
        return b"", UNREADABLE_FRAME if value and value.startswith(order_frames.MAGIC) else UNREADABLE if value else b""

    def csv(self, data: bytes, column: str) -> bytes:
        """Return a CSV file with a column of accounts named: a line for each key that may name it in an event.

        Raises
        ------
        ValueError
            It is no CSV, or has no such column.
        """
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig")), strict=True)
        if column not in (fields := reader.fieldnames or []):
            raise ValueError(f"expected a header with a column {column!r}, found {list(fields)}")
        out = io.StringIO()
        writer = csv.DictWriter(out, fields, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for row in reader:
            account = row[column] or ""
            plain = not account or is_pseudonym(account)
            for name in [account] if plain else [pseudonym(key.id, key.secret, account) for key in self.keys]:
                writer.writerow(row | {column: name})
        return out.getvalue().encode()

    def look(self) -> bool:
        """Read the file again if it has changed; return whether other keys are in use now.

        What cannot be used, and what would name accounts otherwise than it was done already, is logged and left alone.
        """
        seen = stamp(self._path)
        if seen == self._stamp:
            return False
        self._stamp = seen
        try:
            keys = read_keys(self._path)
            eras = _eras(keys)
            if self._newest_ns and _at(eras, self._newest_ns).ids != self._at(self._newest_ns).ids:
                raise self._renamed(self._newest_ns)
        except StartupError as error:
            log.error("keys of pseudonyms refused, the old ones serve on", reason=str(error))
            return False
        if keys == self.keys:
            return False
        self.keys, self._eras = keys, eras
        log.info("keys of pseudonyms read anew", keys=[key.id for key in keys])
        return True

    def reached(self, ts_ns: int) -> None:
        """Note that events available at this time were named: other keys may not be used for what was before."""
        self._newest_ns = max(self._newest_ns, ts_ns + codec.LIMITS.ahead_ns)

    def named_by(self, ts_ns: int) -> tuple[str, ...]:
        """Return a mark of each key that names what is available at this time, for who goes on from there."""
        return tuple(map(_mark, self._at(ts_ns + codec.LIMITS.ahead_ns).ids))

    def go_on(self, ts_ns: int, named_by: Sequence[str]) -> None:
        """Note that events available at this time (ns, 0: none) were named, by keys of these marks; none: nobody knows.

        Raises
        ------
        StartupError
            The file has these keys, and others for that time: accounts that are kept would not be known again.
        """
        if not ts_ns:
            return  # nothing came
        self.reached(ts_ns)
        known = {_mark((key.id, key.secret)) for key in self.keys}
        if not known >= set(named_by):
            log.warning(
                "what is kept has pseudonyms by keys that TOCSIN_PSEUDONYM_KEYS_FILE does not hold any more: accounts"
                " of which nothing came since begin anew",
                available_ns=ts_ns,
            )
        elif named_by and self.named_by(ts_ns) != tuple(named_by):
            raise self._renamed(ts_ns)

    def _renamed(self, ts_ns: int) -> StartupError:
        return StartupError(
            f"TOCSIN_PSEUDONYM_KEYS_FILE names another key for {ts_ns} ns, and events as late were named already: state"
            " a time that none has reached."
        )

    def _at(self, ts_event: int) -> Era:
        return _at(self._eras, ts_event)

    def _frame(self, key: bytes, value: bytes) -> tuple[bytes, bytes] | None:
        end = 8 + int.from_bytes(value[4:8], "little")
        columns = order_frames.LAYOUT.as_written_here(value, end)
        try:
            if columns is not None:
                return key, self._at(int(columns[0][0])).table(value[:end], key) + value[end:]
            frame = order_frames.decode(value, key)
        except BadMessage:
            return None
        name = self._at(int(frame.ts_event[0])).name
        accounts, traders = tuple(map(name, frame.accounts)), tuple(map(name, frame.traders))
        return key, order_frames.encode(msgspec.structs.replace(frame, accounts=accounts, traders=traders))

    def _record(self, topic: str, key: bytes, value: bytes) -> tuple[bytes, bytes] | None:
        try:
            value.decode()
            held = msgspec.json.decode(value)
            ts_event = held["ts_event"]
            if isinstance(ts_event, str):
                ts_event = codec.nanoseconds("ts_event", ts_event)
            name = self._at(int(ts_event)).name
            found = {field: held[field] for field in _FIELDS[topic] if field in held}
            for field in NAMING[topic]:
                if field in found:
                    found[field] = name(found[field])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, BadMessage):
            return None
        if topic != "orders":
            key = name(key.decode("utf-8", "backslashreplace")).encode()
        return key, msgspec.json.encode(found)


def read_keys(path: Path) -> tuple[Key, ...]:
    """Return the keys of a file, in order of their times.

    Raises
    ------
    StartupError
        It cannot be read, or holds something else.
    """

    def refuse(found: str) -> StartupError:
        return StartupError(f"TOCSIN_PSEUDONYM_KEYS_FILE {found}: {_EXPECTED}")

    try:
        lines = [line.split() for line in path.read_text("ascii").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(f"cannot be read ({error})") from error
    keys: list[Key] = []
    for number, words in enumerate(lines, 1):
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 4:
            raise refuse(f"has {len(words)} words in line {number}")
        name, *times, secret = words
        if not re.fullmatch(KEY_ID, name):
            # Not quoted: a key may stand in its place.
            raise refuse(f"has no id in line {number}, which is up to 16 letters, digits and hyphens")
        if any(name == key.id for key in keys):
            raise refuse(f"has two keys of the id {name}")
        try:
            from_ns, until_ns = (0 if at == "-" else codec.nanoseconds("a time", at) for at in times)
        except BadMessage as error:
            found = "a time without its zone" if error.reason == "no_zone" else "no time"
            raise refuse(f"has {found} in line {number}") from None
        try:
            held = base64.b64decode(secret, validate=True)
        except binascii.Error:
            held = b""
        if len(held) != KEY_BYTES:
            raise refuse(f"has a key of {len(held)} bytes in line {number}")
        keys.append(Key(name, from_ns, until_ns, held))
    if not keys:
        raise refuse("holds no key")
    for before, key in pairwise(keys):
        if not max(before.from_ns, before.until_ns) < key.from_ns < key.until_ns:
            raise refuse(
                f"has times of {before.id} and {key.id} that overlap or stand in the wrong order; each key begins after"
                " the overlap of the one before it, and before its own ends"
            )
        if any(key.secret == other.secret for other in keys if other is not key):
            raise refuse(f"has the key {key.id} twice, under another id")
    return tuple(keys)


def _eras(keys: tuple[Key, ...]) -> tuple[Era, ...]:
    """Return what is named how, in order of time; the first is of all before it too."""
    eras = [_era(0, keys[:1])]
    for before, key in pairwise(keys):
        eras += [_era(key.from_ns, (key, before)), _era(key.until_ns, (key,))]
    return tuple(eras)


def _era(from_ns: int, keys: tuple[Key, ...]) -> Era:
    @lru_cache(KEPT)
    def name(account: str) -> str:
        if not account or is_pseudonym(account):
            return account
        if len(account) > order_frames.MAX_NAME:
            raise ValueError("an account that no record takes, and that is not to be kept")
        return "".join(pseudonym(key.id, key.secret, account) for key in keys)

    def table(first: bytes, key: bytes) -> bytes:
        instrument, accounts, traders = order_frames.names_of(first, key)
        return order_frames.schema_message(instrument, tuple(map(name, accounts)), tuple(map(name, traders)))

    kept = lru_cache(KEPT_TABLES)(table)
    ids = tuple((key.id, key.secret) for key in keys)
    return Era(
        from_ns, ids, name, lambda first, key: (kept if len(first) <= order_frames.CACHED_BYTES else table)(first, key)
    )


def _mark(key: tuple[str, bytes]) -> str:
    """Return what tells a key from others, and nothing of it."""
    name, secret = key
    return f"{name}.{hashlib.sha256(secret).hexdigest()[:8]}"


def _at(eras: tuple[Era, ...], ts_event: int) -> Era:
    return eras[max(0, bisect_right(eras, ts_event, key=lambda era: era.from_ns) - 1)]
