"""Exploration: which windows below a threshold are looked at all the same, drawn by a hash.

Analysts learn of what rang, and so nobody learns what never does. A window that stayed below its typology's threshold
is drawn with a probability that grows with its highest score: near the threshold a risk was missed more often, and
below it never with none. The draw is a hash of typology, key, window and decision configuration, so that a replay
draws the same ones, and which window it will be can be known before it is over: all others cost nothing.
"""

from __future__ import annotations

import hashlib

import msgspec

#: The share of the rate at which a window is drawn that scored next to nothing.
LEAST = 0.1


class Exploration(msgspec.Struct, frozen=True, kw_only=True):
    """Windows of ``window_ns`` are drawn at up to ``rate``, and of an instrument ``most_a_day`` at most."""

    rate: float = 0.0
    window_ns: int = 3_600_000_000_000
    most_a_day: int = 4


class Drawn(msgspec.Struct, array_like=True):
    """A window that may be looked at: its highest ``score``, when that was (``ts``, ns), and whether anything rang."""

    score: float = 0.0
    ts: int = 0
    rang: bool = False


class Explored(msgspec.Struct, array_like=True):
    """What is kept of one instrument: the ``window`` that is open (start, ns), and which of its scopes may be drawn.

    ``told`` windows were drawn on ``day``, in days since 1970. A scope is a head and an account.
    """

    window: int = 0
    day: int = 0
    told: int = 0
    drawn: list[tuple[str, str, Drawn]] = []

    def of(self, head: str, account: str) -> Drawn | None:
        """Return what is kept of a scope's window."""
        return next((drawn for h, a, drawn in self.drawn if (h, a) == (head, account)), None)


def chance(*window: str | int) -> float:
    """Return a number in [0, 1) that stands for a window: it is drawn where this is below its propensity.

    Example
    -------
    >>> round(chance("spoofing@1", "A.X", "", 0, "config"), 6)
    0.269796
    """
    digest = hashlib.sha256("\x1f".join(map(str, window)).encode()).digest()
    return (int.from_bytes(digest[:8]) >> 11) / 2**53


def propensity(config: Exploration, score: float, threshold: float) -> float:
    """Return with what probability a window of this highest score is drawn.

    Example
    -------
    >>> propensity(Exploration(rate=0.01), 0.25, 0.5), propensity(Exploration(rate=0.01), 0.0, 0.5)
    (0.005, 0.001)
    """
    return config.rate * max(LEAST, min(1.0, score / threshold))
