"""What is kept of the market, and its bytes in a checkpoint."""

from __future__ import annotations

import msgspec

from agents.watched import INPUTS_KEPT, OpenEpisode, Watched, noted
from engines.signals import Opinion
from engines.tracks import Seen
from engines.typologies.cross_product import Kept
from engines.typologies.market_wide import Crowd


class Moving(msgspec.Struct):
    """Instruments of the market, or of a sector, that drifted lately, and when that was told last (ns)."""

    crowd: Crowd = msgspec.field(default_factory=Crowd)
    told_ns: int = 0


class Spoke(msgspec.Struct):
    """What is being said of a sector, and the ids of the latest texts: one that names several of it is heard once."""

    opinion: Opinion = msgspec.field(default_factory=Opinion)
    documents: list[str] = []

    def first_time(self, document: str) -> bool:
        """Note a text; False where it was noted before."""
        return noted(self.documents, document)


class MarketState(Watched):
    """The market: where something began, halves, drifts and texts of sectors, and the market's own episodes.

    What was done in several instruments is an episode of one of them, with a state of its own: ``newest_ns`` is then
    the newest moment of it.
    """

    __slots__ = ("crowd", "halves", "moving", "newest_ns", "spoke")
    #: A crowd is its own evidence.
    inputs_kept = 4 * INPUTS_KEPT

    def __init__(self) -> None:
        super().__init__()
        self.crowd = Crowd()
        self.halves: list[Kept] = []
        self.moving: dict[str, Moving] = {}  # by sector, "" of the market
        self.spoke: dict[str, Spoke] = {}  # by sector
        self.newest_ns = 0

    @property
    def watermark_ns(self) -> int:
        """The newest opening, ns: each instrument has a watermark of its own."""
        return max(self.crowd.newest_ns, self.newest_ns)

    @property
    def late(self) -> int:
        """How many openings came after their window had passed."""
        return self.crowd.late

    def pack(self) -> bytes:
        """Return the state as bytes."""
        crowds = {head: running for (head, account), running in self.episodes.items() if not account}
        others = [(*scope, running) for scope, running in self.episodes.items() if scope[1]]
        return _encode(
            _Packed(
                self.crowd,
                crowds,
                self.inputs,
                self.inputs_count,
                others,
                self.halves,
                self.newest_ns,
                dict(sorted(self.moving.items())),
                dict(sorted(self.spoke.items())),
            )
        )

    @staticmethod
    def unpack(data: bytes) -> MarketState:
        """Return the state that `pack` wrote.

        Raises
        ------
        ValueError
            The bytes are not such a state.
        """
        packed = _decode(data)
        state = MarketState()
        state.crowd, state.inputs = packed.crowd, packed.inputs
        state.episodes = {(head, ""): running for head, running in packed.episodes.items()}
        state.episodes |= {(head, account): running for head, account, running in packed.accounts}
        state.inputs_count, state.halves, state.newest_ns = packed.inputs_count, packed.halves, packed.newest_ns
        state.moving, state.spoke = packed.moving, packed.spoke
        return state


class _Packed(msgspec.Struct, array_like=True):
    crowd: Crowd
    episodes: dict[str, OpenEpisode]
    inputs: list[Seen]
    inputs_count: int
    accounts: list[tuple[str, str, OpenEpisode]] = []  # 0.1.0 did not write it
    halves: list[Kept] = []  # nor this
    newest_ns: int = 0  # nor this
    moving: dict[str, Moving] = {}  # nor this
    spoke: dict[str, Spoke] = {}  # nor this


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode
