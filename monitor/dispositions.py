"""Dispositions: what analysts found, on the topic or in a file, and the alerts and reviews that they speak of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer

from monitor import kafka, reading
from monitor.errors import StartupError
from monitor.ids import named
from monitor.recordings import Recording
from monitor.replay_output import Replay, is_replay
from monitor.settings import Settings
from schemas.alerts import Alert, AlertEvent
from schemas.errors import UNREADABLE
from schemas.records import Disposition, Review, Verdict

TOPIC, REVIEWS = "dispositions", "reviews"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What can be disposed of: an episode, told by its revisions, or a review, without ``alert_id``.

    ``alert_id`` is the first revision's, ``event_start`` to ``event_end`` (ns) all that they cover, ``score`` the
    highest of them.
    """

    episode_id: str
    alert_id: str
    typology: str
    instrument: str
    account: str
    event_start: int
    event_end: int
    score: float
    propensity: float = 1.0

    def found(self, value: Verdict, *, author: str, note: str, at_ns: int) -> Disposition:
        """Return what an author found of it at a time (ns)."""
        about = msgspec.structs.asdict(self)
        return Disposition(ts_event=at_ns, ts_available=at_ns, value=value, author=author, note=note, **about)


class Known:
    """Episodes and reviews by their ids, each of a few hundred bytes, and the ids of all alerts."""

    def __init__(self) -> None:
        self.subjects: dict[str, Subject] = {}
        self._alerts: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._alerts) + sum(not subject.alert_id for subject in self.subjects.values())

    def alert(self, alert: Alert) -> None:
        """Take in a revision of an episode, in any order."""
        mine = Subject(
            episode_id=alert.episode_id,
            alert_id=alert.alert_id,
            typology=alert.finding.typology,
            instrument=alert.subject.instrument,
            account=alert.subject.account,
            event_start=alert.times.event_start,
            event_end=alert.times.event_end,
            score=alert.finding.score,
        )
        self._alerts[alert.alert_id] = alert.episode_id
        if before := self.subjects.get(alert.episode_id):
            first = mine if alert.activity == "create" else before
            end, score = max(before.event_end, mine.event_end), max(before.score, mine.score)
            mine = msgspec.structs.replace(first, event_end=end, score=score)
        self.subjects[alert.episode_id] = mine

    def review(self, review: Review) -> None:
        """Take in a review."""
        self.subjects[review.review_id] = Subject(
            episode_id=review.review_id,
            alert_id="",
            typology=review.typology,
            instrument=review.instrument,
            account=review.account,
            event_start=review.window_start,
            event_end=review.window_end,
            score=review.score,
            propensity=review.propensity,
        )

    def counts(self, reviews: bool) -> Counter[str]:
        """Return how many episodes, or reviews, there are of each typology, without its version."""
        return Counter(
            one.typology.partition("@")[0] for one in self.subjects.values() if bool(one.alert_id) != reviews
        )

    def find(self, wanted: str, where: str) -> Subject:
        """Return the one whose id, or an alert's id of which, begins with ``wanted``.

        Raises
        ------
        StartupError
            There is none, or there are several; ``where`` is what was searched.
        """
        ids = self._alerts | {episode_id: episode_id for episode_id in self.subjects}
        listing = "`tocsin alerts --since beginning`"
        return self.subjects[named(wanted, ids, "alert, episode or review", where=where, listing=listing)]


async def on_topics(settings: Settings, since_ns: int, told: Callable[[int], None]) -> Known:
    """Return what the topics of alerts and reviews hold since a time (ns); ``told`` is told how much as it goes.

    Raises
    ------
    StartupError
        There is no topic of alerts, or no broker.
    """
    known = Known()
    async with kafka.reader(settings) as consumer:
        async for event in reading.records(consumer, settings, "alerts", AlertEvent, since_ns):
            known.alert(event.data)
            told(len(known))
        # A broker on which topics were created by an earlier version has no such topic yet.
        if not await kafka.check_topics(settings, (REVIEWS,)):
            async for review in reading.records(consumer, settings, REVIEWS, Review, since_ns):
                known.review(review)
                told(len(known))
    return known


def in_file(path: Path) -> Known:
    """Return what a replay's folder, a recording, or a file of alerts and reviews in JSON, one a line, holds.

    Raises
    ------
    StartupError
        It cannot be read, a line is none of these, or a recording has no topic of alerts.
    """
    known = Known()
    for one in _told(path):
        if isinstance(one, Review):
            known.review(one)
        else:
            known.alert(one)
    return known


async def openings(settings: Settings, source: Path | None, episodes: Collection[str]) -> list[Alert]:
    """Return the first alert of each of some episodes: of the topic, or of such a file or folder as `in_file` takes."""

    def asked(alert: Alert) -> bool:
        return alert.activity == "create" and alert.episode_id in episodes

    if source is not None:
        return [one for one in _told(source) if isinstance(one, Alert) and asked(one)]
    async with kafka.reader(settings) as consumer:
        events = reading.records(consumer, settings, "alerts", AlertEvent)
        return [event.data async for event in events if asked(event.data)]


def _told(path: Path) -> Iterator[Alert | Review]:
    if is_replay(path):
        replay = Replay.open(path)
        yield from replay.alerts()
        yield from replay.reviews()
        return
    for number, line in _recorded(Recording.open(path)) if path.is_dir() else _lines(path):
        try:
            yield _decode_any(line)
        except UNREADABLE as error:
            raise StartupError(
                f"{path}, line {number}: expected an alert or a review in JSON, as `tocsin alerts --json` prints them"
                f" ({error})."
            ) from error


def _decode_any(line: bytes) -> Alert | Review:
    keys = msgspec.json.decode(line, type=dict[str, msgspec.Raw]).keys()
    if "data" in keys:
        return msgspec.json.decode(line, type=AlertEvent).data
    return msgspec.json.decode(line, type=Review) if "review_id" in keys else msgspec.json.decode(line, type=Alert)


def _recorded(recording: Recording) -> Iterator[tuple[int, bytes]]:
    topics = [topic for topic in ("alerts", REVIEWS) if topic in recording.topics]
    if not topics:
        raise StartupError(
            f"{recording.path} holds no alerts, only {', '.join(recording.topics)}: replay it and name that folder."
        )
    yield from ((message.offset, message.value) for message in recording.messages(topics))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except OSError as error:
        raise StartupError(f"{path} cannot be read ({error.strerror}).") from error


class Store:
    """Where dispositions are: the topic, or a file of them in JSON, one a line."""

    def __init__(self, settings: Settings, file: Path | None) -> None:
        self._settings = settings
        self._file = file

    async def read(self) -> list[Disposition]:
        """Return all that was found, in the order in which it was told.

        Raises
        ------
        StartupError
            There is no such topic, no broker, or the file cannot be read.
        """
        if self._file is None:
            async with kafka.reader(self._settings) as consumer:
                return [one async for one in reading.records(consumer, self._settings, TOPIC, Disposition)]
        found = []
        for number, line in _lines(self._file) if self._file.exists() else ():
            try:
                found.append(msgspec.json.decode(line, type=Disposition))
            except UNREADABLE as error:
                raise StartupError(f"{self._file}, line {number}: expected a disposition in JSON ({error}).") from error
        return found

    async def add(self, found: Disposition) -> None:
        """Add what was found, and wait until it stands there."""
        value = msgspec.json.encode(found)
        if self._file is not None:
            with self._file.open("ab") as file:
                file.write(value + b"\n")
            return
        producer = AIOKafkaProducer(**kafka.client_options(self._settings), acks="all", enable_idempotence=True)
        await kafka.start(producer, self._settings)
        try:
            await producer.send_and_wait(
                kafka.full_name(self._settings.prefix, TOPIC), value, key=found.episode_id.encode(), partition=0
            )
        finally:
            await producer.stop()
