"""Whether a bundle may serve: signed by a key of TOCSIN_BUNDLE_TRUST, the one that ships, or allowed by a setting."""

from __future__ import annotations

from pathlib import Path

import structlog

from engines.bundle import Bundle, BundleError
from engines.signatures import Keys, SignatureError, read_key, read_keys, sign, signer
from monitor.errors import StartupError
from monitor.settings import Settings

log = structlog.get_logger(__name__)
#: What /readyz says of a bundle that nobody vouches for, and that serves.
UNSIGNED = "nobody (TOCSIN_ALLOW_UNSIGNED)"


def trusted(settings: Settings) -> Keys:
    """Return the keys that settings trust; raise `StartupError` where they cannot be read."""
    if settings.bundle_trust is None:
        return {}
    try:
        return read_keys(settings.bundle_trust)
    except SignatureError as error:
        raise StartupError(f"TOCSIN_BUNDLE_TRUST: {error}.") from error


def doubted(bundle: Bundle, settings: Settings) -> str:
    """Return why nobody vouches for a bundle who is trusted, "" where someone does; raises as `trusted` does."""
    try:
        signer(bundle, trusted(settings))
    except SignatureError as error:
        return str(error)
    return ""


def vouched(bundle: Bundle, settings: Settings) -> str:
    """Return who vouches for a bundle that is to serve, after a warning where nobody does and settings allow it.

    Raises
    ------
    StartupError
        Nobody does who is trusted; the sentence says what to do.
    """
    try:
        return signer(bundle, trusted(settings))
    except SignatureError as error:
        doubt = str(error)
    if settings.allow_unsigned:
        log.warning("a bundle serves that nobody vouches for: TOCSIN_ALLOW_UNSIGNED is set", reason=doubt)
        return UNSIGNED
    raise StartupError(
        f"{doubt}: sign it (`tocsin bundle sign {bundle.path} --key KEY`, of a registry `tocsin models sign`; `tocsin"
        " bundle keygen` makes a key) and name the public key by TOCSIN_BUNDLE_TRUST, or set"
        " TOCSIN_ALLOW_UNSIGNED=true."
    )


def signed(bundle: Path, settings: Settings) -> str:
    """Sign the bundle in a folder by the key that settings name, and return what the key is called.

    Raises
    ------
    StartupError
        None is named, it cannot be read, or the bundle is not whole or cannot be written to.
    """
    if settings.bundle_key_file is None:
        raise StartupError(
            "No key is named to sign by: set TOCSIN_BUNDLE_KEY_FILE, or --key; `tocsin bundle keygen` makes one."
        )
    try:
        return sign(Bundle.load(bundle), read_key(settings.bundle_key_file))
    except (BundleError, OSError) as error:
        raise StartupError(f"{error}.") from error
