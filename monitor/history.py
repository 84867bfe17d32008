"""History: recorded messages as they became available, row by row, and an error where one is asked for too early.

A recording holds whole frames, each at its last row's ``ts_available``; but a text that arrived between two ticks must
find the ones and not the others, and a bar that the clock closed must not have waited for ticks that came before. So a
frame, of ticks or of orders, is sliced where something that its instrument hears falls inside it, and at a second at
which its instrument waits for the clock. How ticks and orders were packed then changes nothing:

    ticks of A          1 2 3 4      5 6 7
    recorded                  [1234]     [567]
    a text about A          t
    applied               [12]t[34]      [567]
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from agents.flow import Value, modality_of
from monitor.arrivals import header_texts, pending
from monitor.errors import StartupError
from monitor.recordings import Message, order
from monitor.sequencer import SECOND_NS, Pending
from schemas.alerts import Alert
from schemas.journal import Clock
from schemas.order_frames import AnyFrame
from schemas.topics import FRAMED

#: A frame that spans more is not looked into from far enough ahead: it is applied where it stands.
HORIZON_NS = 60 * SECOND_NS
#: Inputs of one topic and instrument of which is remembered when they began to be known: as many as evidence names.
REMEMBERED = 16


class LookAheadError(StartupError):
    """Something was read, or said, before it could be known; the text names the record."""


@dataclass(frozen=True, slots=True)
class Given:
    """A message, or the part of a frame whose turn it is: the ``first``, the ``last``, or one between."""

    message: Message
    found: Pending
    first: bool = True
    last: bool = True


@dataclass(slots=True, eq=False)
class _Waiting:
    """A message in the window; ``start`` is the first tick that was not applied yet, ``first_ns`` when it was known."""

    message: Message
    found: Pending
    first_ns: int
    start: int = 0

    def frame(self) -> AnyFrame:
        assert isinstance(self.found.value, AnyFrame)
        return self.found.value


@dataclass(frozen=True, slots=True)
class Place:
    """How far a stream has been applied: all of it before ``from_ns`` (of its rows' ``ts_available``) was.

    Of the messages at ``from_ns`` the first ``applied`` were too; ``begun`` maps the number of a message, counted from
    the first that was not, to its frame's first tick that was not. ``clock_ns`` is where the clock stands.
    """

    from_ns: int = 0
    applied: int = 0
    begun: Mapping[int, int] = field(default_factory=dict)
    clock_ns: int = 0


BEGINNING = Place()


class History:
    """Iterates over messages given in canonical order, and over the clock's seconds between them.

    Parameters
    ----------
    messages
        In order of ``ts_available``.
    topics
        Those that count; others are left out.
    waits
        Tells whether an instrument may wait for the clock to come to a second (ns). What it says counts when all that
        was yielded has been applied.
    end_ns
        What is available from then on is left out, of a frame its ticks; 0: nothing.
    sliced
        Whether frames are sliced: a lane of the daemon applies them whole, as they come.
    heard
        Tells whether a record can change what is said at its moment, so that frames must be sliced there.
    begin
        Is told of each message when it is read, up to `HORIZON_NS` before its turn.
    since
        Where the messages begin, if something was applied before: of those that count, the ones at its ``from_ns`` are
        all given again.

    Raises
    ------
    LookAheadError
        By iterating: a message stands behind a later one, or says that it was available after what its row says.
    """

    def __init__(
        self,
        messages: Iterable[Message],
        topics: Collection[str],
        waits: Callable[[str, int], bool] = lambda key, second_ns: False,
        end_ns: int = 0,
        *,
        sliced: bool = True,
        heard: Callable[[Value], bool] = lambda value: bool(modality_of(value)),
        begin: Callable[[Pending], None] = lambda found: None,
        since: Place = BEGINNING,
    ) -> None:
        self._messages = messages
        self._sliced = sliced
        self._since = since
        self._read_count = -since.applied
        self._popped = (since.from_ns, since.applied)
        self._end_ns = end_ns
        self._heard = heard
        self._begin = begin
        self._topics = topics
        self._waits = waits
        self._window: deque[_Waiting] = deque()
        self._frames: dict[str, deque[_Waiting]] = {}
        self._begun: list[tuple[int, int, _Waiting]] = []  # a heap by first_ns
        self._count = 0
        self.clock_ns = since.clock_ns

    def place(self, clock_ns: int) -> Place | None:
        """Return how far the stream has come with all applied but the clock that was yielded last, None at its end.

        ``clock_ns`` is the one before it, ns.
        """
        if not self._window:
            return None
        begun = {number: waiting.start for number, waiting in enumerate(self._window) if waiting.start}
        from_ns = self._window[0].message.ts_available
        at_ns, applied = self._popped
        return Place(from_ns, applied if at_ns == from_ns else 0, begun, clock_ns)

    def __iter__(self) -> Iterator[Given | Clock]:
        last: Message | None = None
        for message in self._messages:
            if message.topic not in self._topics:
                continue
            if last is not None and message.ts_available < last.ts_available:
                raise LookAheadError(
                    f"{_named(message)} is available at {message.ts_available} and stands behind {_named(last)} of "
                    f"{last.ts_available}: that one would be known too early; put the stream into the order of "
                    "ts_available, as `tocsin record` does."
                )
            last = message
            self._read_count += 1
            if self._read_count <= 0:
                continue
            if self._end_ns and message.ts_available >= self._end_ns:
                if message.ts_available >= self._end_ns + HORIZON_NS:
                    break
                if message.topic in FRAMED:
                    self._read_beginning(message)
                continue
            self._read(message)
            while self._window[0].message.ts_available < message.ts_available - HORIZON_NS:
                yield from self._pop()
        # The beginnings of frames that end too late have their places among the last.
        self._window = deque(sorted(self._window, key=lambda one: order(one.message)))
        while self._window:
            yield from self._pop()

    def _read_beginning(self, message: Message) -> None:
        """Take the ticks of a frame that are available before the end, if there are any."""
        found = self._pending(message)
        frame = found.value
        if isinstance(frame, AnyFrame) and (
            n := int(np.maximum.accumulate(frame.ts_available).searchsorted(self._end_ns))
        ):
            found = _part(found, frame[:n])
            self._wait(replace(message, ts_available=found.ts_available), found)

    def _read(self, message: Message) -> None:
        self._wait(message, self._pending(message))

    @staticmethod
    def _pending(message: Message) -> Pending:
        headers = header_texts(message.headers)
        found = pending(message.topic, message.offset, message.key, message.value, message.timestamp_ms, headers)
        if found.ts_available > message.ts_available:
            raise LookAheadError(
                f"{_named(message)} stands at {message.ts_available} and says that it was available at "
                f"{found.ts_available}: it would be known too early; record it again."
            )
        return found

    def _wait(self, message: Message, found: Pending) -> None:
        self._begin(found)
        waiting = _Waiting(message, found, found.ts_available)
        self._window.append(waiting)
        if isinstance(found.value, AnyFrame) and len(found.value):
            waiting.first_ns = found.value.ts_available.item(0)
            if start := self._since.begun.get(self._read_count - 1, 0):
                waiting.start, waiting.first_ns = start, int(found.value.ts_available[: start + 1].max())
            if self._sliced and (waiting.start or waiting.first_ns < found.ts_available):
                self._frames.setdefault(found.key, deque()).append(waiting)
                self._push(waiting, waiting.first_ns)

    def _pop(self) -> Iterator[Given | Clock]:
        waiting = self._window[0]
        found = waiting.found
        second_ns = found.ts_available - found.ts_available % SECOND_NS
        if second_ns > self.clock_ns:
            yield from self._before(second_ns)
            self.clock_ns = second_ns
            yield Clock(second_ns)
        self._window.popleft()
        at_ns, applied = self._popped
        row_ns = waiting.message.ts_available
        self._popped = row_ns, applied + 1 if row_ns == at_ns else 1
        frames = self._frames.get(found.key)
        if frames and frames[0] is waiting:
            frames.popleft()
            if not frames:
                del self._frames[found.key]
            if waiting.start:
                found = _part(found, waiting.frame()[waiting.start :])
            waiting.first_ns = -1  # it is done with
        elif frames and found.value is not None and self._heard(found.value):
            for frame in frames:
                if frame.first_ns <= found.ts_available:
                    yield from self._cut(frame, found.ts_available, inclusive=True)
        yield Given(waiting.message, found, first=not waiting.start)

    def _before(self, second_ns: int) -> Iterator[Given | Clock]:
        """Yield what came before a second of those frames whose instrument waits for the clock, second by second."""
        still: list[_Waiting] = []
        while self._begun and self._begun[0][0] < second_ns:
            _, _, waiting = heapq.heappop(self._begun)
            if waiting.first_ns < 0:
                continue
            if waiting.first_ns >= second_ns or not self._waits(waiting.found.key, second_ns):
                still.append(waiting)
                continue
            own_ns = waiting.first_ns - waiting.first_ns % SECOND_NS
            if own_ns > self.clock_ns:
                self.clock_ns = own_ns
                yield Clock(own_ns)
            yield from self._cut(waiting, own_ns + SECOND_NS, inclusive=False)
            self._push(waiting, waiting.first_ns)
        for waiting in still:
            self._push(waiting, max(waiting.first_ns, second_ns))

    def _push(self, waiting: _Waiting, at_ns: int) -> None:
        self._count += 1
        heapq.heappush(self._begun, (at_ns, self._count, waiting))

    @staticmethod
    def _cut(waiting: _Waiting, at_ns: int, *, inclusive: bool) -> Iterator[Given]:
        if waiting.first_ns > at_ns or (waiting.first_ns == at_ns and not inclusive):
            return
        frame = waiting.frame()
        known = np.maximum.accumulate(frame.ts_available)
        end = int(known.searchsorted(at_ns, side="right" if inclusive else "left"))
        end = min(end, len(frame) - 1)  # the last one stays: it has its place in the stream
        if end > waiting.start:
            first, part = not waiting.start, frame[waiting.start : end]
            waiting.start, waiting.first_ns = end, known.item(end)
            yield Given(waiting.message, _part(waiting.found, part), first=first, last=False)


def _part(found: Pending, frame: AnyFrame) -> Pending:
    return Pending(
        found.offset,
        found.key,
        int(frame.ts_available.max()),
        frame,
        found.sha256,
        size=found.size,
        headers=found.headers,
        sent_ms=found.sent_ms,
    )


def _named(message: Message) -> str:
    key = message.key.decode("utf-8", "replace")
    return f"The message of {key} at {message.topic}/{message.partition}, offset {message.offset},"


class Witness:
    """Remembers when inputs began to be known, and holds alerts against it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], deque[tuple[int, int, int]]] = {}

    def note(self, topic: str, found: Pending, partition: int) -> None:
        """Remember an input that is about to be applied."""
        value = found.value
        first_ns = value.ts_available.item(0) if isinstance(value, AnyFrame) and len(value) else found.ts_available
        known = self._known.get((found.key, topic))
        if known is None:
            known = self._known[found.key, topic] = deque(maxlen=REMEMBERED)
        if not (known and known[-1][:2] == (partition, found.offset)):  # a later part was known no earlier
            known.append((partition, found.offset, first_ns))

    def check(self, alert: Alert, topics: Collection[str]) -> None:
        """Raise `LookAheadError` where an alert was available before what it stands on."""
        at_ns, key = alert.times.available_at, alert.subject.instrument
        for seen in alert.evidence.inputs:
            if seen.topic not in topics:
                continue
            for partition, offset, first_ns in self._known.get((key, seen.topic), ()):
                if (partition, offset) == (seen.partition, seen.offset) and first_ns > at_ns:
                    raise LookAheadError(
                        f"Alert {alert.alert_id} ({alert.finding.typology} of {key}) is available at {at_ns} and stands"
                        f" on {seen.topic}/{seen.partition}, offset {seen.offset}, of {first_ns}, which could not be"
                        f" known then; frames that span more than {HORIZON_NS // SECOND_NS} s of ts_available must be"
                        " cut, all else is a defect to be reported."
                    )
