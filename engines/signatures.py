"""Who vouches for a bundle: Ed25519 signatures (RFC 8032) of its manifest, which digests every other file.

What is signed is one line, so that any tool can sign or verify it:

    tocsin bundle manifest SHA-256 <the digest of manifest.json, in hex>⏎

Signatures lie beside the manifest in ``signatures.json``, one a key: a bundle may bear an old key's and a new one's.
Keys are PEM files, as ``openssl genpkey -algorithm ed25519`` writes them; a key is called by the first sixteen hex
digits of the SHA-256 of its 32 public bytes. The bundle that ships needs none: its digest is in the code
(`engines.shipped`).
"""

from __future__ import annotations

import hashlib
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from engines.bundle import SIGNATURES, SIGNATURES_PART, Bundle, BundleError
from engines.shipped import MANIFEST_SHA256
from schemas.errors import UNREADABLE

#: What `signer` says of the bundle that ships.
SHIPPED = "the release"
#: A file of signatures holds a line of 150 bytes a key; a file of keys, 120.
MAX_BYTES = 65_536
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.S)

#: Public keys by what they are called.
Keys = Mapping[str, Ed25519PublicKey]


class SignatureError(BundleError):
    """A key that cannot be read, or a bundle that nobody vouches for who is trusted; the message says which."""


class _File(msgspec.Struct, frozen=True):
    """Signatures in base64, by what their keys are called."""

    signatures: dict[str, str]


def key_id(key: Ed25519PublicKey) -> str:
    """Return what a key is called: sixteen hex digits."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def make_key(path: Path) -> tuple[Path, str]:
    """Write a private key that only its owner may read, the public one beside it as ``.pem``, and say where and its id.

    Raises
    ------
    SignatureError
        One of the files is there already, or cannot be written.
    """
    public = path.with_suffix(".pem")
    if public == path or path.exists() or public.exists():
        raise SignatureError(f"{path} or {public} is there already: name another file, such as release.key")
    private = Ed25519PrivateKey.generate()
    kept = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    told = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(kept)
        public.write_bytes(told)
    except OSError as error:
        raise SignatureError(f"{path} cannot be written ({error})") from error
    return public, key_id(private.public_key())


def read_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key of a file; raise `SignatureError` where it holds none of Ed25519 without a password."""
    content = _content(path)
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"{path} holds no private key ({error}): `tocsin bundle keygen` makes one") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path} holds a key of another kind: expected Ed25519, as `tocsin bundle keygen` makes")
    return key


def read_keys(path: Path) -> Keys:
    """Return the public keys of a PEM file, of which it may hold several, or of the ``*.pem`` of a folder.

    Raises
    ------
    SignatureError
        There is none, or one that is not of Ed25519.
    """
    found: dict[str, Ed25519PublicKey] = {}
    for file in sorted(path.glob("*.pem")) if path.is_dir() else [path]:
        for block in _PEM.findall(_content(file)):
            try:
                key = serialization.load_pem_public_key(block)
            except (ValueError, UnsupportedAlgorithm) as error:
                raise SignatureError(f"{file} holds a public key that is damaged ({error})") from error
            if not isinstance(key, Ed25519PublicKey):
                raise SignatureError(f"{file} holds a public key of another kind: expected Ed25519")
            found[key_id(key)] = key
    if not found:
        raise SignatureError(f"{path} holds no public key: expected PEM, a file or a folder of *.pem")
    return found


def sign(bundle: Bundle, key: Ed25519PrivateKey) -> str:
    """Put a key's signature beside those that a bundle bears, and return what the key is called."""
    name = key_id(key.public_key())
    signed = _read(bundle) | {name: b64encode(key.sign(_signed(bundle))).decode()}
    path = bundle.path / SIGNATURES
    part = path.with_name(SIGNATURES_PART)
    part.unlink(missing_ok=True)
    with part.open("xb") as file:  # a link that lay there is not followed
        file.write(msgspec.json.format(msgspec.json.encode(_File(signed)), indent=1) + b"\n")
    part.replace(path)
    return name


def signer(bundle: Bundle, trusted: Keys) -> str:
    """Return who vouches for a bundle: what a trusted key is called, or `SHIPPED`.

    Raises
    ------
    SignatureError
        Nobody does who is trusted: it bears no signature, none by a trusted key, or one that does not fit.

    Example
    -------
    >>> signer(Bundle.load("bundles/default"), {})
    'the release'
    """
    if bundle.digest == MANIFEST_SHA256:
        return SHIPPED
    signed = _read(bundle)
    if not signed:
        raise SignatureError(f"{bundle.path} bears no signature")
    mine = [name for name in signed if name in trusted]
    for name in mine:
        with suppress(InvalidSignature, ValueError):  # no base64
            trusted[name].verify(b64decode(signed[name], validate=True), _signed(bundle))
            return name
    if mine:
        raise SignatureError(f"{bundle.path} is not what {mine[0]} signed: its manifest or the signature was changed")
    trusts = f"trusted is {', '.join(trusted)}" if trusted else "no key is trusted"
    raise SignatureError(f"{bundle.path} is signed by {', '.join(signed)}, and {trusts}")


def _signed(bundle: Bundle) -> bytes:
    return f"tocsin bundle manifest SHA-256 {bundle.digest}\n".encode()


def _read(bundle: Bundle) -> dict[str, str]:
    path = bundle.path / SIGNATURES
    if not path.exists():
        return {}
    content = _content(path)
    try:
        return msgspec.json.decode(content, type=_File).signatures
    except UNREADABLE as error:
        raise SignatureError(
            f"{path} is no file of signatures ({error}): remove it, and sign the bundle anew"
        ) from error


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SignatureError(f"{path} cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise SignatureError(f"{path} has more than {MAX_BYTES:,} bytes: it is no file of keys or signatures")
    return content
