"""Named points at which a test lets a worker die; without ``TOCSIN_CRASH_AT`` passing one does nothing.

``TOCSIN_CRASH_AT=states-written:3`` kills the process (SIGKILL: nothing is flushed) when it passes for the third time.
"""

from __future__ import annotations

import os
import signal
from typing import Literal

Point = Literal["journal-sent", "effects-sent", "states-written", "closing-written", "committed"]

_at, _, _passes = os.environ.get("TOCSIN_CRASH_AT", "").partition(":")
_left = int(_passes or 1)


def passing(point: Point) -> None:
    """Die here, if this is the point and the time."""
    global _left
    if point == _at:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
