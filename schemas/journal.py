"""The journal: one partition's record of what was applied, in order, and of all else that changed a decision.

A worker that takes a partition over writes a `Claim`; the claim's offset is its epoch. An entry is void unless its
epoch is the offset of the last claim before it, so what a frozen predecessor still writes changes nothing.
"""

from __future__ import annotations

import msgspec


class Run(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """The next ``count`` messages of ``topic``, the first of which has ``offset``."""

    topic: str
    count: int
    offset: int


class Clock(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """Time has come to ``now_ns``: what waits for the passing of time may be decided."""

    now_ns: int


#: The ladder's levels beyond 0, where all is done: charts and sound are left out; no learned model is asked.
TEXT_AND_TICKS = 1
RULES_ONLY = 2


class Ladder(msgspec.Struct, frozen=True, array_like=True, tag="l"):
    """The monitor stepped to ``level`` (0 full, 1 text and ticks, 2 rules only) because of ``reason``."""

    level: int
    reason: str


class Fallback(msgspec.Struct, frozen=True, array_like=True, tag="f"):
    """Back end ``failed`` ran a ``member`` of the bundle no more, for ``reason``; ``serves`` does from here on."""

    member: str
    failed: str
    serves: str
    reason: str


class Decides(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """From here on ``bundle`` decides, by the decision configuration of digest ``config``: an author's first step.

    It stands again where the author swapped its bundle. A stage in which no model has a say has no bundle ("").
    """

    bundle: str
    config: str


class Rules(msgspec.Struct, frozen=True, array_like=True, tag="u"):
    """From here on the rules of ``text`` are in effect; "" are none.

    They were to be from ``effective_ns`` of event time on, and stand at ``offset`` of the control topic: -1 are those
    that the author was started with, -2 none.
    """

    effective_ns: int = 0
    offset: int = -2
    text: str = ""


Step = Run | Clock | Ladder | Fallback | Decides | Rules


class Entry(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """Steps in the order in which they are applied. ``ordinal`` is the number of the first one's first record."""

    epoch: int
    ordinal: int
    steps: list[Step]


class Claim(msgspec.Struct, frozen=True, array_like=True, tag="claim"):
    """A worker owns the partition from here on."""

    owner: str
    version: int = 1


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Entry | Claim).decode
