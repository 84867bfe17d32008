"""Cross-product manipulation: one account makes a price on one venue for its orders that wait on another.

Definition. An account's orders rest on one venue of a product; meanwhile its marketable orders on another venue of the
same product move the price there towards them; and they are filled or withdrawn soon. Neither half is much by itself:
each instrument tells the market's stage of **halves**, and what one account did in two instruments of a product, on
opposite sides and at the same time, is told of the instrument in which its orders rested. Instruments are of one
product if they have one ISIN, or one symbol (`engines.instruments.SymbolMaster.product`).

Regulation. MAR (EU) 596/2014 Art. 12(1)(a) and (b), 12(2)(c); Delegated Regulation (EU) 2016/522 Annex II Section 1,
points 2(c), "inter-trading venues manipulation", and 2(d), "cross-product manipulation".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from engines.sessions import SECOND_NS
from engines.tracks import Seen
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions
from schemas.records import Half

SCOPE = "market"
SPEC = TypologySpec(
    name="cross_product",
    version="1",
    title="Suspected cross-product manipulation",
    regulation=(
        "MAR Art. 12(1)(a)",
        "MAR Art. 12(1)(b)",
        "MAR Art. 12(2)(c)",
        "Delegated Regulation (EU) 2016/522 Annex II Section 1",
    ),
    open=0.5,
    critical=0.8,
    close=0.3,
    hold_ns=1_800_000_000_000,
    momentary=True,
)
#: Halves that are remembered at most, of all instruments.
KEPT = 4_096


class CrossProductConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | rested | median depths | of what waits on one venue, on one side, with what was filled of it |
    | one_sided | share | of that: at most so much on the other side |
    | took | median depths | of what is taken on the other venue |
    | moved | standard deviations of such a time | of the price there |
    | span_ns | ns | from the first of all this to the last, at most |
    | again | multiple | of the move, after which the same push is told again |
    """

    rested: float = 1.5
    one_sided: float = 0.25
    took: float = 0.4
    moved: float = 2.0
    span_ns: int = 300_000_000_000
    again: float = 1.25


class Kept(NamedTuple):
    """A half that was told of an instrument, and the message that told of it."""

    instrument: str
    half: Half
    seen: Seen


class Pair(NamedTuple):
    """Two halves of one account."""

    rested: Kept
    pushed: Kept


def join(config: CrossProductConfig, kept: list[Kept], new: Kept, product: Callable[[str], str]) -> Iterator[Pair]:
    """Keep a half, unless it is there, and yield the pairs that it makes; what is older than the span is let go.

    Example
    -------
    >>> pushed = Half(account="a", act="pushed", side=1, start_ns=5, end_ns=9, depths=1.0, moved=3.0)
    >>> rested = Half(account="a", act="rested", side=-1, start_ns=1, end_ns=12, depths=4.0)
    >>> kept: list[Kept] = []
    >>> seen = Seen("market", 0, 1, 20, bytes(32))
    >>> told = [Kept("ACME.XTOD", pushed, seen), Kept("ACME.XTOC", rested, seen)]
    >>> [[pair.rested.instrument for pair in join(CrossProductConfig(), kept, one, lambda _: "ACME")] for one in told]
    [[], ['ACME.XTOC']]
    """
    if any(one.instrument == new.instrument and one.half == new.half for one in kept):
        return
    newest_ns = max(new.half.end_ns, *(one.half.end_ns for one in kept)) if kept else new.half.end_ns
    kept[:] = [one for one in (*kept, new) if one.half.end_ns >= newest_ns - config.span_ns][-KEPT:]
    for other in kept[:-1] if kept[-1] is new else ():
        pair = Pair(new, other) if new.half.act == "rested" else Pair(other, new)
        rested, pushed = pair.rested.half, pair.pushed.half
        if (
            other.half.account == new.half.account
            and other.half.act != new.half.act
            and rested.side == -pushed.side
            and rested.start_ns <= pushed.end_ns
            and pushed.start_ns <= rested.end_ns
            and other.instrument != new.instrument
            and product(other.instrument) == product(new.instrument)
        ):
            yield pair


def start_ns(pair: Pair) -> int:
    """Return when the first of a pair began."""
    return min(pair.rested.half.start_ns, pair.pushed.half.start_ns)


def end_ns(pair: Pair) -> int:
    """Return when the last of a pair ended."""
    return max(pair.rested.half.end_ns, pair.pushed.half.end_ns)


def measure(config: CrossProductConfig, pair: Pair) -> Conditions:
    """Return what two halves amount to; the names of conditions tell their instruments."""
    rested, pushed = pair.rested.half, pair.pushed.half
    span_s = (end_ns(pair) - start_ns(pair)) / SECOND_NS
    return (
        Condition(f"resting on {pair.rested.instrument}", rested.depths, config.rested, "median depths"),
        Condition(f"taken on {pair.pushed.instrument}", pushed.depths, config.took, "median depths"),
        Condition(f"price moved on {pair.pushed.instrument}", pushed.moved, config.moved, "standard deviations"),
        Condition("from the first to the last", span_s, config.span_ns / SECOND_NS, "s", at_most=True),
    )
