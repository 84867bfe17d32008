"""Ids by their first digits: how a person names one of many."""

from __future__ import annotations

from collections.abc import Mapping

from monitor.errors import StartupError


def named(wanted: str, ids: Mapping[str, str], what: str, *, where: str, listing: str) -> str:
    """Return what the one id stands for that begins with ``wanted``.

    Parameters
    ----------
    ids
        Each id that can be named → what it stands for: an alert's → its episode's.
    what
        What there is, one of it: "alert or episode".
    where, listing
        Where they are, and what lists them, for errors.

    Raises
    ------
    StartupError
        There is none, or there are several.

    Example
    -------
    >>> named("3f", {"3f2a": "episode 1", "3f2b": "episode 1", "41aa": "episode 2"}, "alert", where="day", listing="")
    'episode 1'
    """
    if not wanted.strip():
        raise StartupError(f"Expected the first digits of an id, found nothing: {listing} lists them.")
    found = {stands for one, stands in ids.items() if one.startswith(wanted)}
    if not found:
        raise StartupError(f"No {what} begins with {wanted!r} in {where}; {listing} lists them.")
    if len(found) > 1:
        some = ", ".join(sorted(found)[:3])
        raise StartupError(f"{wanted!r} begins {len(found)} ids in {where} ({some}): give more digits.")
    return found.pop()
