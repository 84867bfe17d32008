"""One example of each typology of orders, at full strength after an hour of quiet, and what is nearly one.

Each begins at `AT`; ``who`` are the accounts that must be found.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from tests.order_flow import DEPTH, Market

#: Seconds of quiet before, and after.
AT, AFTER = 3_600, 120


class Case(NamedTuple):
    """A market in which ``who`` did something; nobody where it was nearly something."""

    market: Market
    who: frozenset[str]


Act = Callable[[Market, float], None]
ACTS: dict[str, tuple[Act, frozenset[str]]] = {}
NEARLY: dict[str, dict[str, Act]] = {}


def misconduct(name: str, *who: str) -> Callable[[Act], Act]:
    """Register an example of a typology."""

    def register(act: Act) -> Act:
        ACTS[name] = act, frozenset(who)
        return act

    return register


def nearly(name: str, why: str) -> Callable[[Act], Act]:
    """Register what lacks one condition of a typology."""

    def register(act: Act) -> Act:
        NEARLY.setdefault(name, {})[why] = act
        return act

    return register


@cache
def market(act: Act) -> Market:
    """Return an hour of quiet, then the act, then two minutes more."""
    made = Market()
    mid = made.quiet(AT)
    act(made, mid)
    made.quiet(AFTER, seed=1, begin=AT, mid=mid)
    return made


def _spoof(market: Market, mid: float, *, size: float, wanted: float, other_side: float = 0.0) -> None:
    for k in range(3):
        at = AT + 20.0 * k
        wished = market.place(at, "spoofer", -1, mid + 0.01, wanted)
        leaning = market.place(at + 1, "spoofer", +1, mid - 0.02, size)
        if other_side:
            also = market.place(at + 1, "spoofer", -1, mid + 0.05, other_side)
            market.cancel(at + 5, also)
        if wanted > 0.1:
            market.take(at + 3, "taker-1", wished, wanted)
        market.cancel(at + 4, leaning)


@misconduct("spoofing", "spoofer")
def spoofing(market: Market, mid: float) -> None:
    """Three times an offer of half the depth is taken while a bid of six depths stands."""
    _spoof(market, mid, size=6 * DEPTH, wanted=DEPTH / 2)


@nearly("spoofing", "small")
def _(market: Market, mid: float) -> None:
    _spoof(market, mid, size=1.5 * DEPTH, wanted=DEPTH / 2)


@nearly("spoofing", "two-sided")
def _(market: Market, mid: float) -> None:
    _spoof(market, mid, size=6 * DEPTH, wanted=DEPTH / 2, other_side=6 * DEPTH)


@nearly("spoofing", "nothing filled")
def _(market: Market, mid: float) -> None:
    _spoof(market, mid, size=6 * DEPTH, wanted=0.1)


def _flood(market: Market, mid: float, *, rate: int, seconds: int, filled: int = 0) -> None:
    for k in range(rate * seconds):
        at = AT + k / rate
        order = market.place(at, "flooder", +1, mid - 0.05, 1.0)
        if filled and k % filled == 0:
            market.take(at + 0.3 / rate, "taker-2", order, 1.0)
        else:
            market.cancel(at + 0.5 / rate, order)


@misconduct("excessive_messages", "flooder")
def excessive_messages(market: Market, mid: float) -> None:
    """Two hundred orders come and go in each of a hundred seconds."""
    _flood(market, mid, rate=40, seconds=100)


@nearly("excessive_messages", "busy as makers are")
def _(market: Market, mid: float) -> None:
    _flood(market, mid, rate=4, seconds=100)


@nearly("excessive_messages", "it trades")
def _(market: Market, mid: float) -> None:
    _flood(market, mid, rate=40, seconds=100, filled=5)
