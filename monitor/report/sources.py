"""What a recording holds of alerts: the very messages that they rest on, the ticks around them, and the news."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

from monitor.recordings import Message, Recording
from schemas import codec
from schemas.alerts import Alert, Input
from schemas.errors import BadMessage
from schemas.frames import Frame
from schemas.records import News
from schemas.topics import MARKET_INPUTS

#: What is known of a message that an alert names.
State = Literal["verified", "differs", "not in this recording", "the monitor's own"]
#: Offsets that lie closer together are read in one go.
_APART = 4_096
_Record = TypeVar("_Record")
#: How long before it happened a tick may be available, ns: clocks differ.
REACH_NS = 5 * 10**9
#: Pins of news that a plot shows of one instrument.
MOST_NEWS = 300


class Place(NamedTuple):
    """Where a message lay: topic without prefix, partition, offset."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """The messages that alerts rest on, as far as a recording holds them."""

    messages: Mapping[Place, Message] = field(default_factory=dict)

    @classmethod
    def find(cls, recording: Recording, alerts: Iterable[Alert]) -> Evidence:
        """Look up the inputs of ``alerts`` by partition and offset.

        Raises
        ------
        RecordingError
            A file cannot be read.
        """
        wanted: dict[tuple[str, int], set[int]] = defaultdict(set)
        for alert in alerts:
            for one in alert.evidence.inputs:
                if one.topic in recording.topics:
                    wanted[one.topic, one.partition].add(one.offset)
        found = {}
        for (topic, partition), offsets in sorted(wanted.items()):
            for run in _runs(sorted(offsets)):
                for message in recording.partition(topic, partition, run[0]):
                    if message.offset > run[-1]:
                        break
                    if message.offset in offsets:
                        found[Place(topic, partition, message.offset)] = message
        return cls(found)

    def state(self, one: Input) -> State:
        """Tell whether the recording's message is the one that the alert rests on, by its SHA-256."""
        message = self.messages.get(_place(one))
        if message is None:
            # What stages tell one another no feed ever sent.
            return "the monitor's own" if one.topic in MARKET_INPUTS else "not in this recording"
        return "verified" if hashlib.sha256(message.value).hexdigest() == one.sha256 else "differs"

    def verified(self, alert: Alert, topic: str) -> list[Message]:
        """Return the messages of a topic that an alert rests on and that are what it says, newest first."""
        inputs = [one for one in alert.evidence.inputs if one.topic == topic and self.state(one) == "verified"]
        held = [self.messages[_place(one)] for one in inputs]
        return sorted(held, key=lambda message: (message.ts_available, message.offset), reverse=True)


def _place(one: Input) -> Place:
    return Place(one.topic, one.partition, one.offset)


def _runs(offsets: Sequence[int]) -> Iterator[list[int]]:
    """Cut ascending offsets where more than `_APART` lie between two."""
    run = offsets[:1]
    for offset in offsets[1:]:
        if offset - run[-1] > _APART:
            yield list(run)
            run = []
        run = [*run, offset]
    if run:
        yield list(run)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of an instrument's ticks, half-open in ``ts_event``, int64 ns UTC."""

    instrument: str
    from_ns: int
    to_ns: int


class Tape:
    """Keeps the frames that fall into windows, while messages pass by; each with the message's place."""

    def __init__(self, windows: Iterable[Window]) -> None:
        self._windows: dict[bytes, list[Window]] = defaultdict(list)
        for window in windows:
            self._windows[window.instrument.encode()].append(window)
        self._kept: dict[Window, list[tuple[Place, Frame]]] = defaultdict(list)

    def watch(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Pass messages of the topic ``frames`` on, keeping what the windows ask for."""
        for message in messages:
            windows = [w for w in self._windows.get(message.key, ()) if w.from_ns - REACH_NS <= message.ts_available]
            if windows:
                self._keep(message, windows)
            yield message

    def _keep(self, message: Message, windows: Sequence[Window]) -> None:
        for _, frame in usable([message], Frame):
            for window in windows:
                if ((frame.ts_event >= window.from_ns) & (frame.ts_event < window.to_ns)).any():
                    place = Place(message.topic, message.partition, message.offset)
                    self._kept[window].append((place, frame))

    def ticks(self, window: Window) -> list[tuple[Place, Frame]]:
        """Return the frames that were kept for a window, in order of arrival; their rows may reach beyond it."""
        return self._kept[window]


def news(messages: Iterable[Message], instruments: Iterable[str]) -> dict[str, list[News]]:
    """Return what was written of each of ``instruments``, in order of ``ts_event``, at most `MOST_NEWS` each.

    Where there is more, news go before posts and the latest before the first.
    """
    wanted = {name.encode() for name in instruments}
    found: dict[str, list[News]] = defaultdict(list)
    for message, one in usable((m for m in messages if m.key in wanted), News):
        found[message.key.decode()].append(one)
    return {name: sorted(_most(held), key=lambda one: one.ts_event) for name, held in found.items()}


def _most(held: list[News]) -> list[News]:
    return sorted(held, key=lambda one: (one.channel == "news", one.ts_event), reverse=True)[:MOST_NEWS]


def usable(messages: Iterable[Message], kind: type[_Record]) -> Iterator[tuple[Message, _Record]]:
    """Yield messages with the record, or the frame, in each; what is none was a dead letter in the replay."""
    for message in messages:
        try:
            found = codec.decode(message.topic, message.key, message.value, message.ts_available // 1_000_000 + 1)
        except BadMessage:
            continue
        if isinstance(found, kind):
            yield message, found
