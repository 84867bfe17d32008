"""What is kept of one instrument, and its bytes in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agents.watched import Bar, Mortal, OpenEpisode, noted
from engines.alert_budget import Spent
from engines.drift.streams import DriftState
from engines.exploration import Explored
from engines.order_state import OrderState
from engines.scenarios import Kept as Peaks
from engines.signals import SignalState
from engines.state import TickState
from engines.tracks import Embedding, Seen
from schemas.alerts import Drifting, Missing, Modality

#: Accounts and traders that are known by another name since the last change of keys.
RENAMED_KEPT = 4_096
#: How reasons begin by which the order engine counts what a typology could not judge: "no_account: spoofing".
LACKS = "no_"
#: What an alert tells of, in this order.
MODALITIES = ("ticks", "text", "calls", "chart", "audio")


class InstrumentState(Mortal):
    """One instrument: its ticks, the embeddings kept by modality and their inputs, its episodes, its latest inputs.

    ``bar`` holds the features of the last closed bar (float32, little-endian), empty before the first; ``orders`` is
    there from the first order event on. ``unjudged`` counts order events that a typology could not judge for want of a
    field, by "no_FIELD: TYPOLOGY".
    """

    __slots__ = (
        *("bar", "bar_anomaly", "bar_end", "documents", "drift", "explored", "kept", "orders", "signals", "sources"),
        *("renamed", "ticks", "unjudged"),
    )
    framed = True

    def __init__(self, ticks: TickState) -> None:
        super().__init__()
        self.ticks = ticks
        self.kept: dict[str, Embedding] = {}
        self.sources: dict[str, Seen] = {}
        self.documents: list[int] = []
        self.bar = b""
        self.bar_end = 0
        self.bar_anomaly = 0.0
        self.signals = SignalState()
        self.orders: OrderState | None = None
        self.unjudged: dict[str, int] = {}
        self.explored = Explored()
        self.drift = DriftState()
        self.renamed: dict[str, str] = {}

    def drifting(self, now_ns: int) -> list[Drifting]:
        """Return the drifts that an alert of a moment names."""
        return self.drift.drifting(now_ns)

    def rekey(self, moved: Mapping[str, str]) -> None:
        """Move what is kept of accounts and traders to other names, and remember these: of too many, the newest.

        What is kept of one that has episodes or peaks under both names stays where it is.
        """
        there = {account for _, account in self.episodes} | self.peaks.keys()
        named = {old: name for old, name in moved.items() if name not in there}
        self.episodes = {(head, named.get(account, account)): one for (head, account), one in self.episodes.items()}
        self.explored.drawn = [(head, named.get(account, account), one) for head, account, one in self.explored.drawn]
        self.peaks = {named.get(account, account): one for account, one in self.peaks.items()}
        if self.orders is not None:
            self.orders.rekey(moved)
        self.renamed |= moved
        for old in [*self.renamed][:-RENAMED_KEPT]:
            del self.renamed[old]

    def in_use(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names under which accounts or traders are kept; the same ones where none was moved."""
        return tuple(self.renamed.get(name, name) for name in names) if self.renamed else names

    @property
    def deadlines_ns(self) -> tuple[int, int]:
        """The clocks, ns, at which something is due of ticks and of orders; 0: nothing is."""
        return self.ticks.deadline_ns, self.orders.deadline_ns if self.orders else 0

    def remember(self, seen: Seen, again: bool = False) -> None:
        """Keep an input as possible evidence."""
        super().remember(seen, again)
        self.latest_ns = max(self.latest_ns, seen.ts_available)

    @property
    def waits(self) -> bool:
        """Whether a bar, an order or an episode waits for the passing of time."""
        return super().waits or any(self.deadlines_ns)

    @property
    def watermark_ns(self) -> int:
        """Before which no tick is expected, ns."""
        return self.ticks.watermark_ns

    @property
    def late(self) -> int:
        """How many ticks came after their bar had closed."""
        return self.ticks.late

    def lack(self, counts: Mapping[str, int]) -> None:
        """Add what the order engine could not judge."""
        for reason, events in counts.items():
            if reason.startswith(LACKS) and ": " in reason:
                self.unjudged[reason] = self.unjudged.get(reason, 0) + events

    @property
    def missing(self) -> list[Missing]:
        """Which fields order events lacked, of how many, and the typologies that could not judge those."""
        fields: dict[str, list[tuple[int, str]]] = {}
        for reason, events in sorted(self.unjudged.items()):
            field, _, typology = reason.removeprefix(LACKS).partition(": ")
            fields.setdefault(field, []).append((events, typology))
        return [
            Missing(field=field, events=max(found)[0], typologies=[name for _, name in found])
            for field, found in fields.items()
        ]

    @property
    def newest_bar(self) -> Bar:
        """The last closed bar."""
        return Bar(0, self.bar_end, self.bar_anomaly)

    def modalities(self, bar: Bar, now_ns: int, model: str) -> dict[str, Modality]:
        """Return the kept embeddings with their age, and ``bar``; what was never there is absent."""
        found = {
            name: Modality(
                present=True,
                age_ns=max(0, now_ns - embedding.ts_event),
                score=embedding.score,
                model=embedding.bundle or model,
            )
            for name, embedding in self.kept.items()
        }
        if bar.end:
            found["ticks"] = Modality(present=True, age_ns=max(0, now_ns - bar.end), score=bar.anomaly)
        return {name: found.get(name, Modality(present=False)) for name in MODALITIES}

    def keep(self, modality: str, embedding: Embedding, source: Seen) -> None:
        """Keep an embedding, and which input it is of, unless a newer one of its modality is there."""
        if (before := self.kept.get(modality)) is None or embedding.ts_event >= before.ts_event:
            self.kept[modality] = embedding
            self.sources[modality] = source

    def sources_of(self, weights: Mapping[str, float]) -> list[Seen]:
        """Return the inputs that are kept of the modalities that have a share in a score."""
        return [self.sources[name] for name, share in weights.items() if share and name in self.sources]

    def first_time(self, document: int) -> bool:
        """Note a document; False where it was noted before."""
        return noted(self.documents, document)

    def pack(self) -> bytes:
        """Return the state as bytes, at most some 15 kB more than its ticks', its orders' and what drift is told by."""
        return _encode(
            _Packed(
                self.ticks.pack(),
                self.kept,
                {head: running for (head, account), running in self.episodes.items() if not account},
                self.inputs,
                self.inputs_count,
                self.documents,
                self.bar,
                self.bar_end,
                self.bar_anomaly,
                self.latest_ns,
                self.signals,
                self.sources,
                self.orders.pack() if self.orders else b"",
                [(*scope, running) for scope, running in self.episodes.items() if scope[1]],
                self.peaks,
                self.unjudged,
                self.explored,
                self.spent,
                self.drift.pack(),
                self.renamed,
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
        state.kept, state.inputs = packed.kept, packed.inputs
        state.episodes = {(head, ""): running for head, running in packed.episodes.items()}
        state.episodes |= {(head, account): running for head, account, running in packed.accounts}
        state.orders = OrderState.unpack(packed.orders) if packed.orders else None
        state.inputs_count, state.documents = packed.inputs_count, packed.documents
        state.bar, state.bar_end, state.bar_anomaly = packed.bar, packed.bar_end, packed.bar_anomaly
        state.latest_ns = packed.latest_ns or max((seen.ts_available for seen in packed.inputs), default=0)
        state.signals, state.sources, state.peaks = packed.signals, packed.sources, packed.peaks
        state.unjudged, state.explored, state.spent = packed.unjudged, packed.explored, packed.spent
        state.renamed = packed.renamed
        if packed.drift:
            state.drift = DriftState.unpack(packed.drift)
        else:
            state.drift.first_ns = state.latest_ns  # not new, only unwatched so far
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
    latest_ns: int = 0  # 0.1.0 did not write it
    signals: SignalState = msgspec.field(default_factory=SignalState)  # nor this
    sources: dict[str, Seen] = msgspec.field(default_factory=dict)  # nor this
    orders: bytes = b""  # nor this
    accounts: list[tuple[str, str, OpenEpisode]] = []  # nor this: head, account and episode
    peaks: Peaks = msgspec.field(default_factory=dict)  # nor this
    unjudged: dict[str, int] = msgspec.field(default_factory=dict)  # nor this
    explored: Explored = msgspec.field(default_factory=Explored)  # nor this
    spent: dict[str, Spent] = msgspec.field(default_factory=dict)  # nor this
    drift: bytes = b""  # nor this
    renamed: dict[str, str] = msgspec.field(default_factory=dict)  # nor this


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode
