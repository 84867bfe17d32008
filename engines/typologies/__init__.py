"""Named patterns of misconduct, one a file, and what triage needs to know of each."""

from __future__ import annotations

import msgspec

from schemas.alerts import Severity


class TypologySpec(msgspec.Struct, frozen=True, kw_only=True):
    """How scores of a typology become episodes.

    ``open``, ``critical`` and ``close`` are scores in [0, 1]: an episode opens at ``open``, turns critical at
    ``critical`` and closes when scores stayed below ``close`` for ``hold_ns`` of event time (ns). ``opens_as`` is its
    severity until then: what a desk should only know of opens as "info". ``regulation`` names the articles that the
    pattern may breach. Where ``momentary``, a moment above ``close`` is over at once, as a text is: the hold runs from
    it.
    """

    name: str
    version: str
    title: str
    regulation: tuple[str, ...] = ()
    open: float
    critical: float
    close: float
    hold_ns: int
    opens_as: Severity = "warning"
    momentary: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.close <= self.open <= self.critical <= 1 and self.open > 0):
            raise ValueError(
                f"{self.name}: expected 0 <= close <= open <= critical <= 1 and open > 0, "
                f"found {self.close}, {self.open}, {self.critical}"
            )
