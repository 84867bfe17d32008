"""What flows between agents: arrivals in the journal's order, and what each agent makes of them for the next."""

from __future__ import annotations

import msgspec

from engines.tracks import Embedding, TickUpdate, Track
from schemas.frames import Frame
from schemas.journal import RULES_ONLY, TEXT_AND_TICKS, Clock, Fallback, Ladder
from schemas.order_frames import OrderFrame
from schemas.records import (
    AudioSegment,
    ChartSnapshot,
    Drift,
    News,
    Opening,
    Review,
    Score,
    Signal,
    Statement,
    TranscriptSegment,
    Transfer,
)

SECOND_NS = 1_000_000_000
#: The level of the ladder at which a modality is left out; ticks never are.
SHED_AT = {
    "ticks": RULES_ONLY + 1,
    "text": RULES_ONLY,
    "calls": RULES_ONLY,
    "chart": TEXT_AND_TICKS,
    "audio": TEXT_AND_TICKS,
}
Value = Frame | OrderFrame | News | TranscriptSegment | AudioSegment | ChartSnapshot | Opening | Transfer | Statement


class Arrival(msgspec.Struct, frozen=True, eq=False):
    """A message that could be used, at its place in the order. ``ordinal`` counts the partition's messages.

    ``again`` says that a part of it came before: a replay slices frames where something else falls inside them.
    """

    topic: str
    partition: int
    offset: int
    key: str
    ts_available: int
    ordinal: int
    value: Value
    sha256: bytes
    embedding: Embedding | None = None
    trace: str = ""
    again: bool = False


class Ticked(msgspec.Struct, frozen=True, eq=False):
    """What a frame, or the passing of time (``arrival`` None), changed for an instrument."""

    key: str
    update: TickUpdate
    arrival: Arrival | None = None


class Lapsed(msgspec.Struct, frozen=True, eq=False):
    """What one step of the clock changed, an instrument each. Fusion scores their bars together, and parts them."""

    ticked: tuple[Ticked, ...]


class Heard(msgspec.Struct, frozen=True, eq=False):
    """A text, a chart or sound of an instrument was scored and its embedding kept under ``modality``."""

    key: str
    modality: str
    embedding: Embedding
    arrival: Arrival


class Scored(msgspec.Struct, frozen=True, eq=False):
    """A track that triage is to judge, and the arrival that completed it (None: the passing of time)."""

    key: str
    track: Track
    arrival: Arrival | None


class Settled(msgspec.Struct, frozen=True):
    """All that there is for now has been given: what waits for more of one message's has it all."""


_MODALITIES: dict[type, str] = {News: "text", TranscriptSegment: "calls", ChartSnapshot: "chart", AudioSegment: "audio"}
Said = Score | Signal | Review | Opening | Drift
Item = Arrival | Clock | Ladder | Fallback | Ticked | Lapsed | Heard | Scored | Said | Settled


def modality_of(value: Value) -> str:
    """Return the modality of what an encoder takes, "" for the rest.

    Example
    -------
    >>> modality_of(News(ts_event=1, ts_available=1, instrument="A", document_id="1", headline="", source=""))
    'text'
    """
    return _MODALITIES.get(type(value), "")


def first_clock(ns: int) -> int:
    """Return the first clock at or after a moment, ns: the journal's clock moves in whole seconds.

    Example
    -------
    >>> first_clock(1_500_000_000), first_clock(2_000_000_000)
    (2000000000, 2000000000)
    """
    return ns - ns % -SECOND_NS
