"""Trading sessions: when a venue opens and closes, and the stretches around that in which prices are watched."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec

SECOND_NS = 1_000_000_000
NEVER_NS = 2**62

TimeOfDay = Annotated[
    str,
    msgspec.Meta(
        pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$",
        extra={"told": 'a time of day in quotes, as "09:30"'},
        extra_json_schema={"examples": ["09:30"]},
    ),
]
Zone = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$",
        extra={"told": "a time zone, as America/New_York"},
        extra_json_schema={"examples": ["America/New_York"]},
    ),
]


class Session(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A venue's hours of continuous trading, by the clocks of its ``zone``, summer time included.

    Raises
    ------
    ValueError
        It does not open before it closes, or there is no such zone.
    """

    open: TimeOfDay
    close: TimeOfDay
    zone: Zone = "UTC"

    def __post_init__(self) -> None:
        if self.open >= self.close:
            raise ValueError(
                f"expected an opening before the close of the same day, found {self.open} and {self.close}; give the"
                " zone in which they are"
            )
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"expected a time zone as America/New_York, found {self.zone}; correct it") from error

    def on(self, day: date) -> tuple[int, int]:
        """Return opening and close of a day, ns.

        Example
        -------
        >>> from datetime import UTC
        >>> new_york = Session(open="09:30", close="16:00", zone="America/New_York")
        >>> [str(datetime.fromtimestamp(at // SECOND_NS, UTC).time()) for at in new_york.on(date(2026, 12, 1))]
        ['14:30:00', '21:00:00']
        """
        zone = ZoneInfo(self.zone)
        opened, closed = (datetime.combine(day, time.fromisoformat(at), zone) for at in (self.open, self.close))
        return int(opened.timestamp()) * SECOND_NS, int(closed.timestamp()) * SECOND_NS


class Stretch(msgspec.Struct, array_like=True):
    """Time around an opening or a close, ``[start_ns, end_ns)``, and what was traded in it so far.

    ``took`` are aggressive units of all accounts, (sell, buy). ``leader`` is the account that took most.
    ``session`` is of whose hours it is.
    """

    start_ns: int = NEVER_NS
    end_ns: int = 0
    closing: bool = False
    took: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0])
    session: Session | None = None
    leader: int = -1


def stretch_at(session: Session, now_ns: int, opening_ns: int, closing_ns: int) -> Stretch:
    """Return the stretch that ``now_ns`` lies in or that comes next: ``opening_ns`` from the opening, or the last
    ``closing_ns`` to the close.

    Example
    -------
    >>> from datetime import UTC
    >>> noon_ns = 12 * 3_600 * SECOND_NS
    >>> stretch = stretch_at(Session(open="08:00", close="16:30"), noon_ns, 600 * SECOND_NS, 600 * SECOND_NS)
    >>> str(datetime.fromtimestamp(stretch.start_ns // SECOND_NS, UTC).time()), stretch.closing
    ('16:20:00', True)
    """
    today = datetime.fromtimestamp(now_ns // SECOND_NS, ZoneInfo(session.zone)).date()
    for day in (today, today + timedelta(days=1)):
        open_ns, close_ns = session.on(day)
        if now_ns < open_ns + opening_ns:
            return Stretch(open_ns, open_ns + opening_ns, session=session)
        if now_ns < close_ns:
            return Stretch(close_ns - closing_ns, close_ns, closing=True, session=session)
    raise AssertionError("unreachable: the second day's opening lies ahead")
