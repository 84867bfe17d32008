"""Whether a configuration looks ahead: everything after a moment is scrambled, and nothing before it may change.

The future of a cut is made anew by a seed: other prices and words at other times, some messages lost, some malformed.
What was said of the time before the cut (alerts, scores and signals, by their ``ts_available``) must be what the whole
stream says of it, in every field that the digest compares.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from monitor.agreement import body_of
from monitor.converters.messages import frame_messages, record_message
from monitor.errors import StartupError
from monitor.history import HORIZON_NS
from monitor.recordings import Message, order
from monitor.replay_history import by_history
from monitor.stage import Stages
from schemas import codec
from schemas.alerts import Alert
from schemas.errors import BadMessage
from schemas.order_frames import AnyFrame
from schemas.records import DeadLetter, Drift, News, Score, Signal, TranscriptSegment
from schemas.topics import FRAMED

S = 1_000_000_000
#: How much of what follows a cut is made anew. What came later has less of a way back.
FUTURE_NS = 600 * S
#: A cut lies so long after something was found: while it is being settled, what follows would show.
_AFTER_NS = (1, S // 2, 3 * S // 2, 12 * S)
_DIRE = "{} collapses as fraud is admitted, trading to be suspended"

#: Reads messages available in ``[start, end)``, ns, in canonical order; 0: no bound.
Reader = Callable[[int, int], Iterable[Message]]


@dataclass(frozen=True, slots=True)
class Cut:
    """A moment (ns), how many things were said before it, and the first that changes with the future, if any does."""

    at_ns: int
    said: int
    changed: str


def before(read: Reader, at_ns: int) -> Iterator[Message]:
    """Yield what was available before a moment; of a frame that spans it, its ticks."""
    tails: list[Message] = []
    for message in read(at_ns, at_ns + HORIZON_NS):
        if message.topic in FRAMED and (n := _known(record := _read(message), at_ns)):
            tails += frame_messages(record[:n])
    return heapq.merge(read(0, at_ns), sorted(tails, key=order), key=order)


def after(read: Reader, at_ns: int, until_ns: int) -> list[Message]:
    """Return what became available from a moment on, in order; of a frame that spans it, its ticks."""
    found: list[Message] = []
    for message in read(at_ns, until_ns):
        if message.topic in FRAMED and (n := _known(record := _read(message), at_ns)):
            found += frame_messages(record[n:])
        else:
            found.append(message)
    return sorted(found, key=order)


def _known(record: Any, at_ns: int) -> int:
    if not isinstance(record, AnyFrame) or record.ts_available.item(0) >= at_ns:
        return 0
    return int(np.maximum.accumulate(record.ts_available).searchsorted(at_ns))


def _read(message: Message) -> Any:
    try:
        return codec.decode(message.topic, message.key, message.value, message.timestamp_ms)
    except BadMessage:
        return None


def scrambled(rng: random.Random, messages: Iterable[Message], at_ns: int) -> Iterator[Message]:
    """Yield another future of the same kind: other prices and words at other times, some lost, some malformed."""
    pace = rng.choice((0.1, 1.0, 2.0))
    for message in messages:
        fate = rng.random()
        if fate < 0.2:
            continue
        record = None if fate < 0.25 else _read(message)
        if record is None:
            yield replace(message, value=message.value[: len(message.value) // 2])
        elif isinstance(record, AnyFrame):
            times = {name: _moved(getattr(record, name), at_ns, pace) for name in ("ts_event", "ts_available")}
            price = record.price * rng.choice((0.5, 0.97, 1.0, 1.04, 1.5))
            side = np.full(len(record), rng.choice((-1, 1)), np.int8)
            yield from frame_messages(msgspec.structs.replace(record, price=price, side=side, **times))
        else:
            changes = {name: _moved(getattr(record, name), at_ns, pace) for name in ("ts_event", "ts_available")}
            if isinstance(record, News):
                changes |= {"headline": _DIRE.format(record.instrument), "body": ""}
            elif isinstance(record, TranscriptSegment):
                changes |= {"text": _DIRE.format(record.instrument)}
            yield record_message(message.topic, msgspec.structs.replace(record, **changes))


def _moved(ts: Any, at_ns: int, pace: float) -> Any:
    """Return times after a moment moved away from it or nearer; those before it stay."""
    if isinstance(ts, np.ndarray):
        return np.where(ts < at_ns, ts, at_ns + ((ts - at_ns) * pace).astype(np.int64))
    return ts if ts < at_ns else at_ns + int((ts - at_ns) * pace)


@dataclass(slots=True)
class Said:
    """What a replay said, as (ts_available, fingerprint, name); it is a `monitor.replayed.Sink`."""

    before_ns: int = 0
    things: list[tuple[int, bytes, str]] = field(default_factory=list)

    def begin_stage(self) -> None:
        """Take notice of the next stage."""

    def refuse(self, letter: DeadLetter) -> None:
        """Take a dead letter: what cannot be used says nothing."""

    def take(self, output: object) -> None:
        """Note an alert, a score, a signal or a drift."""
        if isinstance(output, Alert):
            at_ns, body = output.times.available_at, body_of(output)
            name = f"{output.finding.typology} {output.activity} of {output.subject.named}"
        elif isinstance(output, Score | Signal):
            at_ns, body = output.ts_available, output
            name = f"a {type(output).__name__.lower()} of {output.instrument}"
        elif isinstance(output, Drift):
            at_ns, body, name = output.ts_available, output, f"a drift of {output.subject}"
        else:
            return
        if not self.before_ns or at_ns < self.before_ns:
            encoded = msgspec.json.encode(body, order="deterministic")
            self.things.append((at_ns, hashlib.sha256(encoded).digest()[:12], f"{name}, available at {at_ns}"))


def said(messages: Iterable[Message], stages: Stages, before_ns: int = 0) -> Said:
    """Return what a stream says of the time before a moment, of all time where it is 0."""
    found = Said(before_ns)
    asyncio.run(by_history(messages, stages, sink=found))
    return found


def moments(rng: random.Random, whole: Said, first_ns: int, last_ns: int, count: int) -> list[int]:
    """Return where to cut: every other time soon after an alert, else anywhere."""
    found = [at_ns for at_ns, _, name in whole.things if not name.startswith("a ")]
    settling = sorted({at_ns + after_ns for at_ns in found for after_ns in _AFTER_NS if at_ns + after_ns <= last_ns})
    return [
        rng.choice(settling) if settling and n % 2 else rng.randint(first_ns + 1, max(first_ns + 1, last_ns))
        for n in range(count)
    ]


def check(
    read: Reader,
    stages: Stages,
    *,
    first_ns: int,
    last_ns: int,
    cuts: int,
    seed: int,
    progress: Callable[[], None] = lambda: None,
) -> Iterator[Cut]:
    """Cut a stream at several moments, scramble what follows, and yield of each what came of it.

    Parameters
    ----------
    first_ns, last_ns
        The ``ts_available`` of the first and the last message, ns.
    progress
        Is called after each replay; there are ``cuts`` + 1.

    Raises
    ------
    LookAheadError
        A replay says something before what it stands on.
    StartupError
        It says nothing at all, which would prove nothing.
    """
    whole = said(read(0, 0), stages)
    if not whole.things:
        raise StartupError(
            "Nothing is said of this stretch, no alert, score or signal, so nothing can look ahead: name a longer one,"
            " or other instruments."
        )
    progress()
    for n, at_ns in enumerate(moments(random.Random(seed), whole, first_ns, last_ns, cuts)):
        rng = random.Random(f"{seed}/{n}")
        future = sorted(scrambled(rng, after(read, at_ns, at_ns + FUTURE_NS), at_ns), key=order)
        expected = [thing for thing in whole.things if thing[0] < at_ns]
        found = said(chain(before(read, at_ns), future), stages, at_ns)
        progress()
        yield Cut(at_ns, len(expected), _first(expected, found.things))


def _first(expected: Sequence[tuple[int, bytes, str]], found: Sequence[tuple[int, bytes, str]]) -> str:
    there, here = Counter(expected), Counter(found)
    changed = [(thing, "is no longer said") for thing in there - here] + [
        (thing, "is said instead") for thing in here - there
    ]
    if not changed:
        return ""
    (_, _, name), how = min(changed)
    return f"{name}, {how}; {len(changed)} such"
