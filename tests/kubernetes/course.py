"""A stream that goes through a release while something is done to it, and the account of it all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from tests.integration.daemon import Account, Feed, Watch, account, day, until
from tests.kubernetes.cluster import Release, Waits, waits

RATE = 200.0


class Course(NamedTuple):
    """What came of it."""

    waits: Waits
    account: Account
    #: From when something was begun until it was done; from when the first message was sent, s of the wall clock.
    done_after_s: float
    began_s: float


def through(installed: Release, disturb: Callable[[Feed, Watch], object], days: int = 1, rate: float = RATE) -> Course:
    """Feed days, do something to the release on the way, drain it, and account for every message and alert."""
    settings, stream = installed.settings, day(days)
    watch, fed_s = Watch(settings), time.time()
    with Feed(settings, stream, rate=rate) as feed:
        until(lambda: watch.end("scores") > 0, 60, "a first score")
        began_s = time.monotonic()
        disturb(feed, watch)
        done_after_s = time.monotonic() - began_s
        sent = feed.finish()
    until(lambda: watch.acknowledged() == sent, 240, f"{sent} messages acknowledged")
    watch.close()
    installed.scale(0)
    waited, found = waits(settings), account(settings)
    assert (waited.lost, waited.doubled) == (0, 0)
    found.check(messages=len(stream))
    return Course(waited, found, done_after_s, fed_s)
