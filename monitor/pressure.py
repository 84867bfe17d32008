"""The ladder's steps: down while messages wait for long, up again when they do not."""

from __future__ import annotations

from schemas.journal import RULES_ONLY, Ladder

#: How long messages must have waited for too long before a step down, and not have before a step up, s.
DOWN_AFTER_S, UP_AFTER_S = 2.0, 5.0


class Pressure:
    """Decides when a lane takes a step of the ladder.

    Parameters
    ----------
    down_s
        How long the oldest message may wait, s; a step up needs a quarter of it. 0: there are no steps down.

    Example
    -------
    >>> pressure = Pressure(10.0)
    >>> [pressure.step(12.0, level=0, now_s=now_s) for now_s in (0.0, 2.0)]
    [None, None]
    >>> pressure.step(13.0, level=0, now_s=2.1)
    Ladder(level=1, reason='messages have waited for 13.0 s')
    """

    def __init__(self, down_s: float) -> None:
        self._down_s = down_s
        self._since_s: float | None = None

    def step(self, waited_s: float, *, level: int, now_s: float) -> Ladder | None:
        """Return a step from ``level`` that is due now, given how long the oldest message has waited, s."""
        pressed = waited_s > self._down_s > 0 and level < RULES_ONLY
        relieved = waited_s <= self._down_s / 4 and level > 0
        if not pressed and not relieved:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now_s
        elif now_s - self._since_s > (DOWN_AFTER_S if pressed else UP_AFTER_S):
            self._since_s = None
            return Ladder(level + (1 if pressed else -1), f"messages have waited for {waited_s:.1f} s")
        return None
