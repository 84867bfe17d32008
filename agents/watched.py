"""What triage keeps of whatever it watches: an instrument, an account or the market."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import msgspec

from agents.flow import Arrival
from engines.alert_budget import Spent
from engines.episodes import Episode
from engines.scenarios import Kept as Peaks
from engines.tracks import Seen
from schemas.alerts import Drifting, Missing, Modality

Document = TypeVar("Document", int, str)

#: Inputs that an alert can name as evidence; older ones are counted.
INPUTS_KEPT = 16
#: Documents whose ids are remembered, so that one that was sent twice is heard once.
DOCUMENTS_KEPT = 256
HISTORY_KEPT = 32


def noted(documents: list[Document], document: Document) -> bool:
    """Note a document among the latest; False where it is one of them."""
    if document in documents:
        return False
    documents.append(document)
    del documents[:-DOCUMENTS_KEPT]
    return True


def seen_of(item: Arrival) -> Seen:
    """Return an arrival as evidence names it."""
    return Seen(item.topic, item.partition, item.offset, item.ts_available, item.sha256)


class OpenEpisode(msgspec.Struct):
    """An episode with its identity; ``first_input`` counts the instrument's inputs up to its opening."""

    episode: Episode
    episode_id: str = ""
    window_start: int = 0
    first_input: int = 0
    history: list[tuple[int, float]] = []


class Bar(NamedTuple):
    """A closed bar, as far as an alert tells of it; ``end`` 0 where there is none."""

    ts_available: int
    end: int
    anomaly: float


#: Whose episode it is: a track's head and its account, "" where it names none.
Scope = tuple[str, str]


class Watched(ABC):
    """What triage keeps of whatever it watches: episodes by typology and account, and the latest inputs.

    ``spent`` is how the thresholds stand that follow a budget, by head.
    """

    __slots__ = ("episodes", "inputs", "inputs_count", "spent")
    #: How many inputs an alert can name.
    inputs_kept = INPUTS_KEPT
    #: Whether inputs are frames: a moment in one may be earlier than what was remembered before its last row.
    framed = False

    def __init__(self) -> None:
        self.episodes: dict[Scope, OpenEpisode] = {}
        self.spent: dict[str, Spent] = {}
        self.inputs: list[Seen] = []
        self.inputs_count = 0

    def remember(self, seen: Seen, again: bool = False) -> None:
        """Keep an input as possible evidence; one that comes ``again``, with another part, takes its own place.

        Of too many the oldest goes of the topic that has most: many ticks do not push out the text beside them.
        """
        if again:
            self.inputs = [one for one in self.inputs if one[:3] != seen[:3]]
            self.inputs_count -= 1
        self.inputs.append(seen)
        self.inputs_count += 1
        if len(self.inputs) > self.inputs_kept:
            topics = [one.topic for one in self.inputs]
            del self.inputs[topics.index(max(topics, key=topics.count))]

    @property
    @abstractmethod
    def watermark_ns(self) -> int:
        """Before which nothing more is expected, ns."""

    @property
    @abstractmethod
    def late(self) -> int:
        """How much came too late."""

    @property
    def missing(self) -> list[Missing]:
        """Which fields were missing, of how much, and for whom."""
        return []

    def drifting(self, now_ns: int) -> list[Drifting]:
        """Return what was detected shortly before ``now_ns`` to be no longer as it was."""
        return []

    @property
    def newest_bar(self) -> Bar:
        """The last closed bar."""
        return Bar(0, 0, 0.0)

    def modalities(self, bar: Bar, now_ns: int, model: str) -> dict[str, Modality]:
        """Return what stood beside ``bar`` at ``now_ns``, by modality; ``model`` is the bundle."""
        return {}

    def sources_of(self, weights: Mapping[str, float]) -> list[Seen]:
        """Return the inputs that are kept of the modalities that have a share in a score."""
        return []


class Mortal(Watched):
    """What is forgotten when long silent, and what scenarios are judged at.

    ``latest_ns`` is the greatest ``ts_available`` of what came; ``peaks`` are the scores that scenarios remember.
    """

    __slots__ = ("latest_ns", "peaks")

    def __init__(self) -> None:
        super().__init__()
        self.latest_ns = 0
        self.peaks: Peaks = {}

    @property
    def waits(self) -> bool:
        """Whether something of it waits for the passing of time."""
        return bool(self.episodes)
