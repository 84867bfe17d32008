"""Labels: what is known to have happened in a stretch of market data, to judge alerts by."""

from __future__ import annotations

import msgspec


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One event that a monitor should (or, where ``benign``, should not) ring for. Times are int64 ns UTC.

    ``start_ns`` to ``end_ns`` is the whole of it, preparation included; delays are counted from ``onset_ns``, when
    harm begins (the burst, the jump, the article). ``public_ns`` is when the public could first read of it, 0 never.
    ``strength`` is relative to the typology's usual size (1); ``disguise`` in [0, 1] is the share of it that was
    hidden among ordinary flow. ``known_ns`` is when somebody found it, 0 where only a usual delay can be supposed;
    ``weight`` is for how many such events it stands, more than 1 where it was found in a sample.
    """

    event_id: str
    typology: str
    start_ns: int
    onset_ns: int
    end_ns: int
    instruments: list[str]
    accounts: list[str] = []
    strength: float = 1.0
    disguise: float = 0.0
    public_ns: int = 0
    benign: bool = False
    known_ns: int = 0
    weight: float = 1.0
