"""What people tell the running monitor: records of the control topic, which every worker reads whole."""

from __future__ import annotations

from typing import Literal

import msgspec


class RuleChange(msgspec.Struct, frozen=True, kw_only=True, tag="rules"):
    """Rules of a ``version`` that are to be in effect from ``effective_ns`` of event time on, in whole seconds.

    ``text`` is the rule file. Of two changes that are in effect the one with the later ``effective_ns`` counts, of
    equal ones the one that was published later. A version is published once.
    """

    version: str
    effective_ns: int
    published_ns: int
    author: str
    reason: str
    text: str


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the gate that a model stood before: what was held against what, in words with figures."""

    name: str
    passed: bool
    told: str


class Promotion(msgspec.Struct, frozen=True, kw_only=True, tag="promotion"):
    """From here on ``model`` of the registry is the champion: ``change`` "promotion", or "rollback" to one before.

    ``model`` and ``previous``, which was champion until then, are ids; "" is what each worker was started with. Workers
    take it up as they read it, each between two turns; the journal says where that was. ``gate`` is what it passed and
    what not; it is ``forced`` where it did not pass all.
    """

    model: str
    name: str
    change: Literal["promotion", "rollback"]
    previous: str
    published_ns: int
    author: str
    reason: str
    gate: list[Check] = []
    forced: bool = False


Change = RuleChange | Promotion

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Change).decode
