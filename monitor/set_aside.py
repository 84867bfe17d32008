"""What engines count of rows that they could not use, in words: one sentence a reason.

A reason is a word (`unknown_order`), or with a colon also whom it concerns: the typology that could not judge rows for
want of a field (`no_account: spoofing`), the venue whose clock is ahead (`clock_ahead: XTOC`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import structlog

log = structlog.get_logger(__name__)

#: Reason → what was set aside, mended or found late.
SAYS: dict[str, str] = {
    "duplicate": "ticks that came before, by their number or source offset",
    "bad_print": "trades without a positive price and size, or far off the last good price",
    "crossed_quote": "quotes whose bid is above the ask, or not positive and finite",
    "book_update": "levels of the book, of which nothing is built here",
    "late": "trades whose bar had closed",
    "late_correction": "corrections and cancels of trades whose bar had closed",
    "correction": "corrections of trades, applied to their open bar",
    "cancel": "cancels of trades, taken out of their open bar",
    "restated_set_aside": "corrections and cancels of trades that no bar holds",
    "out_of_sequence": "order events older than the newest before them by more than the lateness that is allowed",
    "unknown_order": "changes, fills and cancels of orders that nobody placed, or that are closed",
    "order_twice": "placings of orders that are open already",
    "order_forgotten": "open orders beyond the number that is remembered, the oldest first",
    "overfilled": "fills beyond what was left of their order, cut to that",
    "negative_size": "order events with a negative size",
    "negative_price": "order events with a negative price",
    "no_size": "placings and fills without a size",
    "no_price": "fills without a price",
    "to_itself": "transfers from an account to itself",
    "late_or_twice": "transfers that came too late to be judged, or twice",
    "clock_ahead": "ticks and order events that claim to have happened after they were known: a venue's clock is ahead",
    "no_account": "order events without an account",
    "no_trader": "placings without a trader",
    "no_trade": "fills without the trade's number",
    "no_quote": "order events before the first quote of their instrument",
    "drift_not_finite": "values of a stream, watched for drift, that are no numbers, or beyond single precision",
    "drift_constant": "values of a stream, watched for drift, that has long been constant",
    "no_session": "order events of a venue whose hours are not known (rules give them under `sessions`)",
}


def sentences(counts: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence on each reason, whom it concerns in one.

    Example
    -------
    >>> print(*sentences({"no_trade: wash_trading": 3, "no_trade: circular_trading": 3, "unknown_order": 1}), sep="\\n")
    no_trade: 3 fills without the trade's number: not judged by circular_trading, wash_trading
    unknown_order: 1 changes, fills and cancels of orders that nobody placed, or that are closed
    """
    concerned: dict[str, list[str]] = {}
    most: dict[str, int] = {}
    for reason, count in sorted(counts.items()):
        word, _, whom = reason.partition(": ")
        concerned.setdefault(word, []).extend([whom] if whom else [])
        most[word] = max(most.get(word, 0), count)
    for word, names in concerned.items():
        what = f"{most[word]:,} {SAYS.get(word, 'rows')}"
        unjudged = "not judged by " if word.startswith("no_") else ""
        yield f"{word}: {what}: {unjudged}{', '.join(names)}" if names else f"{word}: {what}"


def once(count: Callable[[dict[str, int]], None]) -> Callable[[dict[str, int]], None]:
    """Return what counts as ``count`` does, and logs a sentence when a reason is there for the first time."""
    known: set[str] = set()

    def counted(found: dict[str, int]) -> None:
        count(found)
        if new := found.keys() - known:
            known.update(new)
            for sentence in sentences({reason: found[reason] for reason in new}):
                log.warning("rows set aside, for the first time", what=sentence)

    return counted
