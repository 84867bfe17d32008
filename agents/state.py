"""What is kept of one instrument, and its bytes in a checkpoint."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from engines.episodes import Episode
from engines.state import TickState
from engines.tracks import Embedding

#: Inputs that an alert can name as evidence; older ones are counted.
INPUTS_KEPT = 16
#: Documents whose ids are remembered, so that one that was sent twice is heard once.
DOCUMENTS_KEPT = 64
HISTORY_KEPT = 32


class Seen(NamedTuple):
    """An input as evidence names it."""

    topic: str
    partition: int
    offset: int
    ts_available: int
    sha256: bytes


class OpenEpisode(msgspec.Struct):
    """An episode with its identity; ``first_input`` counts the instrument's inputs up to its opening."""

    episode: Episode
    episode_id: str = ""
    window_start: int = 0
    first_input: int = 0
    history: list[tuple[int, float]] = []


class InstrumentState:
    """One instrument: its ticks, the embeddings kept by modality, its episodes by typology, its latest inputs.

    ``bar`` holds the features of the last closed bar (float32, little-endian), empty before the first.
    """

    __slots__ = (
        "bar",
        "bar_anomaly",
        "bar_end",
        "documents",
        "episodes",
        "inputs",
        "inputs_count",
        "kept",
        "ticks",
    )

    def __init__(self, ticks: TickState) -> None:
        self.ticks = ticks
        self.kept: dict[str, Embedding] = {}
        self.episodes: dict[str, OpenEpisode] = {}
        self.inputs: list[Seen] = []
        self.inputs_count = 0
        self.documents: list[int] = []
        self.bar = b""
        self.bar_end = 0
        self.bar_anomaly = 0.0

    def remember(self, seen: Seen) -> None:
        """Keep an input as possible evidence."""
        self.inputs.append(seen)
        self.inputs_count += 1
        if len(self.inputs) > INPUTS_KEPT:
            del self.inputs[0]

    def first_time(self, document: int) -> bool:
        """Note a document; False where it was noted before."""
        if document in self.documents:
            return False
        self.documents.append(document)
        if len(self.documents) > DOCUMENTS_KEPT:
            del self.documents[0]
        return True

    def pack(self) -> bytes:
        """Return the state as bytes, at most a few kB more than its ticks'."""
        return _encode(
            _Packed(
                self.ticks.pack(),
                self.kept,
                self.episodes,
                self.inputs,
                self.inputs_count,
                self.documents,
                self.bar,
                self.bar_end,
                self.bar_anomaly,
            )
        )

    @staticmethod
    def unpack(data: bytes) -> InstrumentState:
        """Return the state that `pack` wrote.

        Raises
        ------
        ValueError
            The bytes are not such a state, or of another version.
        """
        packed = _decode(data)
        state = InstrumentState(TickState.unpack(packed.ticks))
        state.kept, state.episodes, state.inputs = packed.kept, packed.episodes, packed.inputs
        state.inputs_count, state.documents = packed.inputs_count, packed.documents
        state.bar, state.bar_end, state.bar_anomaly = packed.bar, packed.bar_end, packed.bar_anomaly
        return state


class _Packed(msgspec.Struct, array_like=True):
    ticks: bytes
    kept: dict[str, Embedding]
    episodes: dict[str, OpenEpisode]
    inputs: list[Seen]
    inputs_count: int
    documents: list[int]
    bar: bytes
    bar_end: int
    bar_anomaly: float


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode
