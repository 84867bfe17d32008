"""Trading sessions: when a venue opens and closes, and the stretches around that in which prices are watched."""

from __future__ import annotations

import msgspec

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
NEVER_NS = 2**62


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A venue's hours of continuous trading: ``open_s`` and ``close_s`` are seconds of the UTC day."""

    open_s: int
    close_s: int

    def __post_init__(self) -> None:
        if not 0 <= self.open_s < self.close_s <= 86_400:
            raise ValueError(
                f"session: expected 0 <= open_s < close_s <= 86400, found {self.open_s} and {self.close_s}; "
                "a session over midnight UTC is two"
            )


class Stretch(msgspec.Struct, array_like=True):
    """Time around an opening or a close, ``[start_ns, end_ns)``, and what was traded in it so far.

    ``price`` is the last one before a close's stretch, the first one in an opening's; 0 while there is none. ``took``
    are aggressive units of all accounts, (sell, buy).
    """

    start_ns: int = NEVER_NS
    end_ns: int = 0
    closing: bool = False
    price: float = 0.0
    took: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0])


def stretch_at(session: Session, now_ns: int, opening_ns: int, closing_ns: int) -> Stretch:
    """Return the stretch that ``now_ns`` lies in or that comes next: ``opening_ns`` from the opening, or the last
    ``closing_ns`` to the close.

    Example
    -------
    >>> session = Session(open_s=52_200, close_s=75_600)
    >>> stretch_at(session, 60_000 * SECOND_NS, 600 * SECOND_NS, 600 * SECOND_NS).start_ns // SECOND_NS
    75000
    """
    day_ns = now_ns - now_ns % DAY_NS
    for midnight_ns in (day_ns, day_ns + DAY_NS):
        open_ns, close_ns = (midnight_ns + at * SECOND_NS for at in (session.open_s, session.close_s))
        if now_ns < open_ns + opening_ns:
            return Stretch(open_ns, open_ns + opening_ns)
        if now_ns < close_ns:
            return Stretch(close_ns - closing_ns, close_ns, closing=True)
    raise AssertionError("unreachable: the second day's opening lies ahead")
