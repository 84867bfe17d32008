"""What people write for a moment or a length of time, int64 ns."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from monitor.errors import StartupError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _length_ns(text: str) -> int | None:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    return int(found[1]) * _UNITS_S[found[2]] * 1_000_000_000 if found else None


def duration_ns(text: str, option: str) -> int:
    """Return a length of time such as ``90s``, ``15m``, ``1h`` or ``7d``, ns.

    Raises
    ------
    StartupError
        It is none; ``option`` is what the sentence begins with.

    Example
    -------
    >>> duration_ns("15m", "--warm-up")
    900000000000
    """
    found_ns = _length_ns(text)
    if found_ns is None:
        raise StartupError(f"{option}: expected a length of time such as 90s, 15m, 1h or 7d, found {text!r}.")
    return found_ns


def since_ns(text: str, now_ns: int | None = None, option: str = "--since") -> int:
    """Return the moment that ``text`` names, ns UTC: `beginning`, an age such as `90s`, `15m`, `1h`, `7d`, or ISO 8601.

    Raises
    ------
    StartupError
        It is none of these, or no time that 64 bits of ns hold; ``option`` is what the sentence begins with.

    Example
    -------
    >>> since_ns("1h", now_ns=7_200_000_000_000)
    3600000000000
    """
    if text == "beginning":
        return 0
    if (age_ns := _length_ns(text)) is not None:
        return max(0, (time.time_ns() if now_ns is None else now_ns) - age_ns)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise StartupError(
            f"{option}: expected `beginning`, an age such as 15m, 1h or 7d, or a time in ISO 8601, found {text!r}."
        ) from None
    ns = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1) * 1000
    if not 0 <= ns < 2**63:
        raise StartupError(f"{option}: expected a time from 1970 to 2262, found {text!r}.")
    return ns
