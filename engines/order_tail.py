"""What an account did last in one instrument: its newest order events, packed, as a sequence model is to see them.

An event is kept without a name and without a clock: how far its price was from the last one traded, its size, how long
the order had lived and how much of it was filled. `Ask` is a moment at which a model is to be asked.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

import numpy as np

from engines.order_state import Account, Order, OrderState
from engines.sessions import SECOND_NS

#: Events of an account that a model sees, the newest.
EVENTS = 48
#: A model is asked at the 8th event of an account and each 16th after it, but not again within `PAUSE_NS`.
EVERY, FIRST, PAUSE_NS = 16, 8, 5 * SECOND_NS
#: An event as it is kept: ts (int64 ns), price over the last one traded (0: at the market's), that price, size (units),
#: life of the order (s), share of it that was filled, and its action with 4 added for a buy.
EVENT = np.dtype(
    [("ts", "<i8"), ("price", "<f4"), ("last", "<f4"), ("size", "<f4"), ("life", "<f4"), ("met", "<f4"), ("code", "u1")]
)
_pack = struct.Struct("<qfffffB").pack
_CUT = EVENTS * EVENT.itemsize
_MOST = 3 * _CUT // 2
#: What stands beside the events: see `_beside`.
BESIDE = ("opening", "closing", "share of the volume", "one-sided", "messages over the busiest", "burst over the crowd")


class Ask(NamedTuple):
    """A moment of an account, ns: its last ``events``, packed, and what stands ``beside`` them (float).

    ``depth`` (units) and ``minute_sd`` are the instrument's usual ones of that moment.
    """

    account: Account
    number: int
    ts_event: int
    ts_available: int
    events: bytes
    beside: tuple[float, ...]
    depth: float
    minute_sd: float


def note(state: OrderState, account: Account, action: int, order: Order, price: float, size: float) -> bool:
    """Keep an event of an account's; return whether a model is to be asked."""
    now_ns = state.newest_ns
    last = state.last_price or price or 1.0
    tail = account.tail
    tail += _pack(
        now_ns,
        price / last,
        last,
        size,
        1e-9 * (now_ns - order.placed_ns),
        order.filled / order.size if order.filled else 0.0,
        action + 4 if order.side else action,
    )
    if len(tail) > _MOST:
        del tail[: len(tail) - _CUT]
    account.told = told = account.told + 1
    return told % EVERY == FIRST and now_ns - account.asked_ns >= PAUSE_NS


def ask(state: OrderState, account: Account, available_ns: int) -> Ask | None:
    """Return a moment to ask a model about, None while it is not known what is usual."""
    if math.inf in (state.depth, state.minute_sd) or not account.tail:
        return None
    now_ns = account.asked_ns = state.newest_ns
    events = bytes(account.tail[-_CUT:])
    return Ask(
        account, account.told, now_ns, available_ns, events, _beside(state, account), state.depth, state.minute_sd
    )


def _beside(state: OrderState, account: Account) -> tuple[float, ...]:
    stretch, (sold, bought) = state.stretch, account.traded
    inside = stretch.start_ns <= state.newest_ns < stretch.end_ns
    both = sold + bought
    return (
        float(inside and not stretch.closing),
        float(inside and stretch.closing),
        math.log1p(both / state.traded) if state.traded else 0.0,
        abs(bought - sold) / both if both else 0.0,
        math.log1p(account.messages / state.busy),
        math.log1p(account.burst / state.crowded),
    )
