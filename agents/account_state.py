"""What is kept of one account, and its bytes in a checkpoint."""

from __future__ import annotations

import msgspec

from agents.watched import Mortal, OpenEpisode
from engines.accounts import Account
from engines.scenarios import Kept as Peaks
from engines.statements import Rating
from engines.tracks import Seen


class AccountState(Mortal):
    """One account: its episodes, its latest transfers (or what is usual in a currency, see `engines.transfers`).

    ``rating`` is what its statements said. Under a pseudonym that is not in use any more nothing is kept but ``moved``,
    the one that is.
    """

    __slots__ = ("account", "moved", "rating")

    def __init__(self, account: Account) -> None:
        super().__init__()
        self.account = account
        self.rating = Rating()
        self.moved = ""

    @classmethod
    def of_moved(cls, name: str, latest_ns: int) -> AccountState:
        """Return what stays under an account's former name."""
        kept = cls(Account())
        kept.moved, kept.latest_ns = name, latest_ns
        return kept

    @property
    def watermark_ns(self) -> int:
        """Its newest transfer or statement, ns: a later one may still be behind it."""
        return max(self.account.newest_ns, self.rating.newest_ns)

    @property
    def late(self) -> int:
        """How many transfers and statements came too late to be judged, or twice."""
        return self.account.late + self.rating.late

    def pack(self) -> bytes:
        """Return the state as bytes: some 2 kB, at most some 15 kB, and 12 more of what scenarios remember."""
        episodes = {head: running for (head, _), running in self.episodes.items()}
        return _encode(
            _Packed(
                *(self.account, episodes, self.inputs, self.inputs_count),
                *(self.latest_ns, self.rating, self.peaks, self.moved),
            )
        )

    @staticmethod
    def unpack(data: bytes) -> AccountState:
        """Return the state that `pack` wrote.

        Raises
        ------
        ValueError
            The bytes are not such a state.
        """
        packed = _decode(data)
        state = AccountState(packed.account)
        state.episodes = {(head, ""): running for head, running in packed.episodes.items()}
        state.inputs, state.inputs_count, state.latest_ns = packed.inputs, packed.inputs_count, packed.latest_ns
        state.rating, state.peaks, state.moved = packed.rating, packed.peaks, packed.moved
        return state


class _Packed(msgspec.Struct, array_like=True):
    account: Account
    episodes: dict[str, OpenEpisode]
    inputs: list[Seen]
    inputs_count: int
    latest_ns: int
    rating: Rating = msgspec.field(default_factory=Rating)  # 0.1.0 did not write it
    peaks: Peaks = msgspec.field(default_factory=dict)  # nor this
    moved: str = ""  # nor this


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode
