"""Dead letters whose content is encrypted: AES-256-GCM (NIST SP 800-38D), by a key that is mounted as a file."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engines.redaction import redacted
from monitor.errors import StartupError
from monitor.settings import Settings
from schemas.pseudonyms import NAMING
from schemas.records import DeadLetter

#: Characters of a value that a sealed letter shows.
EXCERPT_CHARS = 200
_NONCE_BYTES = 12


class _Content(msgspec.Struct, array_like=True):
    key: bytes
    value: bytes
    headers: dict[str, str]


_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_Content).decode


class Seal:
    """Closes letters with the first of some keys of 32 bytes, and opens those that any of them closed; none: neither.

    Letters of topics that name accounts show nothing of their values where they are to be ``bare``.
    """

    def __init__(self, keys: Sequence[bytes] = (), *, bare: bool = False) -> None:
        self._bare = bare
        self._ciphers = {hashlib.sha256(key).hexdigest()[:8]: AESGCM(key) for key in keys}

    @classmethod
    def of(cls, settings: Settings) -> Seal:
        """Return the seal of the file of keys that settings name: in base64, one a line, the newest first.

        Raises
        ------
        StartupError
            It cannot be read, or holds something else.
        """
        path = settings.deadletter_key_file
        if path is None:
            return cls()
        try:
            keys = [base64.b64decode(line, validate=True) for line in path.read_text("ascii").split()]
        except (OSError, UnicodeDecodeError, binascii.Error) as error:
            raise StartupError(f"TOCSIN_DEADLETTER_KEY_FILE cannot be read ({error}): {_EXPECTED}") from error
        if not keys or any(len(key) != 32 for key in keys):
            raise StartupError(f"TOCSIN_DEADLETTER_KEY_FILE holds {[len(key) for key in keys]} bytes: {_EXPECTED}")
        return cls(keys, bare=settings.pseudonym_keys_file is not None)

    def close(self, letter: DeadLetter) -> DeadLetter:
        """Return the letter with its content encrypted, bound to where it stood; as it is where there is no key."""
        if not self._ciphers:
            return letter
        name, cipher = next(iter(self._ciphers.items()))
        nonce, content = os.urandom(_NONCE_BYTES), _encode(_Content(letter.key, letter.value, letter.headers))
        shown = redacted(letter.value[: 4 * EXCERPT_CHARS].decode("utf-8", "replace"))[:EXCERPT_CHARS]
        return msgspec.structs.replace(
            letter,
            detail=redacted(letter.detail),
            key=b"",
            value=b"",
            headers={},
            excerpt="" if self._bare and letter.topic in NAMING else shown,
            sealed=nonce + cipher.encrypt(nonce, content, _place(letter)),
            sealed_by=name,
        )

    def open(self, letter: DeadLetter) -> DeadLetter:
        """Return the letter as it was; one that was not closed, or by another key or is damaged, as it is."""
        cipher = self._ciphers.get(letter.sealed_by)
        if cipher is None:
            return letter
        nonce, closed = letter.sealed[:_NONCE_BYTES], letter.sealed[_NONCE_BYTES:]
        try:
            content = _decode(cipher.decrypt(nonce, closed, _place(letter)))
        except (InvalidTag, ValueError):
            return letter
        return msgspec.structs.replace(
            letter, key=content.key, value=content.value, headers=content.headers, sealed=b"", sealed_by=""
        )


_EXPECTED = "expected keys of 32 bytes in base64, one a line (`openssl rand -base64 32` makes one)."


def _place(letter: DeadLetter) -> bytes:
    return f"{letter.topic}/{letter.partition}/{letter.offset}".encode()
