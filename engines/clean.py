"""Raw to clean: which rows of a frame count, and how many were set aside for which reason.

| reason | what is set aside |
|---|---|
| duplicate | a source_offset not beyond the last one, a trade_id among the last `RECENT`, a restatement said before |
| bad_print | no positive finite price and size, or a price off the last good one by more than `factor` |
| crossed_quote | bid above ask, or one of them not positive and finite |
| book_update | a level of the book: nothing here is built from it yet |
| restated_set_aside | a correction or cancel of a trade_id that was set aside or cancelled: no bar holds it |

A price far off is believed when `CONFIRM` such prints stand within `confirm_within` of each other: from the last of
them on it is the level. Between a halt and a resumption trades count, but are not scored. Most frames have nothing of
this and are passed by a few comparisons; the others are walked row by row. Either way the outcome depends on the rows
and their order alone.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import deque
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.frames import Frame, Kind

RECENT = 64
CONFIRM = 3
#: As plain numbers: looking a member of an enum up takes longer than the comparison.
_TRADE, _QUOTE, _BOOK = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.BOOK)


class CleanConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``factor`` between a print and the last good price; ``confirm_within`` relative, between confirming prints."""

    factor: float = 2.0
    confirm_within: float = 0.02


@dataclass(slots=True, eq=False)
class Sieve:
    """What cleaning remembers of an instrument. ``recent`` holds the last trade ids, a ring of int64 (RECENT,).

    ``aside`` and ``late`` hold the last trade ids (int64) that no bar has: bad prints and cancelled trades, and those
    too late for a tick or volume bar, which the engine notes; ``restated`` the last restatements, as `_digest` gives.
    """

    last_offset: int = -1
    recent: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(RECENT, dtype=np.int64))
    cursor: int = 0
    largest: int = 0  # of all trade ids so far
    last_good: float = 0.0
    suspects: list[float] = field(default_factory=list)
    halted: bool = False
    aside: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))
    late: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))
    restated: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))


class Cleaned(msgspec.Struct, frozen=True, eq=False):
    """Masks of shape (n,): ``keep`` None is all, ``halted`` None is none. ``counts`` says why rows were left out."""

    keep: npt.NDArray[np.bool_] | None
    halted: npt.NDArray[np.bool_] | None
    counts: dict[str, int]


def clean(config: CleanConfig, sieve: Sieve, frame: Frame) -> Cleaned:
    """Return which rows of ``frame`` count; ``sieve`` is brought up to date in place."""
    offset, books = frame.source_offset.item(-1), 0
    if np.count_nonzero(frame.kind):
        trade = frame.kind == _TRADE
        book = frame.kind == _BOOK
        books = int(np.count_nonzero(book))
        others = _quotes_are_plain(frame, (~(trade | book)).nonzero()[0])
        prices, sizes, ids = frame.price[trade], frame.size[trade], frame.trade_id[trade]
    else:
        others, prices, sizes, ids = True, frame.price, frame.size, frame.trade_id
    if not (others and _order_is_plain(sieve, frame) and _trades_are_plain(config, sieve, prices, sizes, ids)):
        return _walk(config, sieve, frame)
    sieve.last_offset = max(sieve.last_offset, offset)
    n = len(prices)
    if n:
        sieve.last_good = prices.item(-1)
        if ids.item(-1):
            sieve.largest = max(sieve.largest, int(ids.max()))
            _remember(sieve, ids[-RECENT:], n)
    return Cleaned(~book, None, {"book_update": books}) if books else Cleaned(None, None, {})


def _remember(sieve: Sieve, ids: npt.NDArray[np.int64], n: int) -> None:
    """Put the last ``ids`` of ``n`` new ones into the ring, where walking row by row would have put them."""
    cursor = (sieve.cursor + n) % RECENT
    start = cursor - len(ids)
    if start < 0:
        sieve.recent[start:] = ids[:-start]
        ids, start = ids[-start:], 0
    sieve.recent[start:cursor] = ids
    sieve.cursor = cursor


def _quotes_are_plain(frame: Frame, rows: npt.NDArray[np.intp]) -> bool:
    """Say whether these rows, neither trades nor of the book, are quotes, and none of them crossed."""
    if not len(rows):
        return True
    bid, ask = frame.bid[rows], frame.ask[rows]
    return bool((frame.kind[rows] == _QUOTE).all() and ((bid > 0.0) & (bid <= ask) & (ask < np.inf)).all())


def _order_is_plain(sieve: Sieve, frame: Frame) -> bool:
    """Say whether no row can have come before, by its offset, and no state calls for a second look."""
    if sieve.halted or sieve.suspects:
        return False
    offsets = frame.source_offset
    first = offsets.item(0)
    if first >= 0:
        return first > sieve.last_offset and _only_grow(offsets)
    return not offsets.max() >= 0


def _only_grow(numbers: npt.NDArray[np.int64]) -> bool:
    return int(np.count_nonzero(numbers[1:] > numbers[:-1])) == len(numbers) - 1


def _are_new(sieve: Sieve, ids: npt.NDArray[np.int64]) -> bool:
    """Say whether ids that do not only grow, as of prints that overtook each other, are all there and all new."""
    ordered = np.sort(ids)
    if not ordered.item(0) > 0 or not _only_grow(ordered):
        return False
    seen = (*sieve.recent.tolist(), *sieve.aside)
    return not np.count_nonzero(np.isin(ordered, np.array(seen, np.int64)))


def _trades_are_plain(
    config: CleanConfig,
    sieve: Sieve,
    price: npt.NDArray[np.float64],
    size: npt.NDArray[np.float64],
    ids: npt.NDArray[np.int64],
) -> bool:
    """Say whether no id can have come before and prices and sizes are sound, each within the factor of the last."""
    if not len(price):
        return True
    if first := ids.item(0):
        if (first <= sieve.largest or not _only_grow(ids)) and not _are_new(sieve, ids):
            return False
    elif np.count_nonzero(ids):
        return False
    lowest, highest, factor = float(price.min()), float(price.max()), config.factor
    if not (lowest > 0.0 and highest < math.inf and size.min() > 0.0 and size.max() < math.inf):
        return False
    last = sieve.last_good
    if last and not last / factor <= price.item(0) <= last * factor:
        return False
    # The whole frame well within the factor is common, and cheaper to see than step by step.
    if highest < 0.99 * factor * lowest:
        return True
    before, after = price[:-1], price[1:]
    return bool(((before / factor <= after) & (after <= before * factor)).all())


def _walk(config: CleanConfig, sieve: Sieve, frame: Frame) -> Cleaned:
    n = len(frame)
    keep = np.ones(n, dtype=np.bool_)
    halted = np.zeros(n, dtype=np.bool_)
    counts: dict[str, int] = {}
    columns = (
        frame.kind, frame.source_offset, frame.trade_id, frame.price, frame.size, frame.bid, frame.ask, frame.bid_size
    )  # fmt: skip
    for i, (kind, offset, trade_id, price, size, bid, ask, bid_size) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        reason = ""
        if 0 <= offset <= sieve.last_offset:
            reason = "duplicate"
        else:
            sieve.last_offset = max(sieve.last_offset, offset)
            if kind == Kind.TRADE:
                reason = _judge_trade(config, sieve, trade_id, price, size)
            elif kind == Kind.QUOTE:
                reason = "" if 0.0 < bid <= ask < np.inf else "crossed_quote"
            elif kind == Kind.BOOK:
                reason = "book_update"
            elif kind in (Kind.CORRECTION, Kind.CANCEL):
                reason = _judge_restatement(
                    sieve, trade_id, () if kind == Kind.CANCEL else (price, size, bid, bid_size)
                )
            elif kind in (Kind.HALT, Kind.RESUME):
                sieve.halted = kind == Kind.HALT
        halted[i] = sieve.halted
        if reason:
            keep[i] = False
            counts[reason] = counts.get(reason, 0) + 1
    return Cleaned(keep, halted, counts)


def _judge_trade(config: CleanConfig, sieve: Sieve, trade_id: int, price: float, size: float) -> str:
    if trade_id and trade_id in sieve.recent:
        return "duplicate"
    # Nothing in `aside` is beyond the largest id, so that plain frames need not look there.
    sieve.largest = max(sieve.largest, trade_id)
    reason = _judge_print(config, sieve, trade_id, price, size)
    if trade_id and trade_id in sieve.aside:
        sieve.aside.remove(trade_id)
    if trade_id and reason:
        sieve.aside.append(trade_id)
    return reason


def _judge_print(config: CleanConfig, sieve: Sieve, trade_id: int, price: float, size: float) -> str:
    if not (0.0 < price < np.inf and 0.0 < size < np.inf):
        return "bad_print"
    if trade_id:
        sieve.recent[sieve.cursor] = trade_id
        sieve.cursor = (sieve.cursor + 1) % RECENT
    last = sieve.last_good
    if not last or last / config.factor <= price <= last * config.factor:
        sieve.last_good = price
        sieve.suspects.clear()
        return ""
    near = 1.0 + config.confirm_within
    if any(not other / near <= price <= other * near for other in sieve.suspects):
        sieve.suspects.clear()
    sieve.suspects.append(price)
    if len(sieve.suspects) < CONFIRM:
        return "bad_print"
    sieve.last_good = price
    sieve.suspects.clear()
    return ""


def _judge_restatement(sieve: Sieve, trade_id: int, said: tuple[float, ...]) -> str:
    """Judge a restatement: a correction is known by its trade and what it ``said``, a cancel by its trade alone."""
    if not trade_id:
        return ""
    digest = _digest(trade_id, said)
    if digest in sieve.restated:
        return "duplicate"
    sieve.restated.append(digest)
    if trade_id in sieve.aside:
        return "restated_set_aside"
    # Only of a trade that came: beyond the largest id `aside` stays empty.
    if not said and trade_id <= sieve.largest:
        sieve.aside.append(trade_id)
    return ""


def _digest(trade_id: int, said: tuple[float, ...]) -> int:
    """Return an int64 that stands for a restatement, the same in every process."""
    data = struct.pack(f"<q{len(said)}d", trade_id, *said)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little", signed=True)
