"""What people tell the running monitor: records of the control topic, which every worker reads whole."""

from __future__ import annotations

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


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(RuleChange).decode
