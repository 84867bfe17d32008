"""The control topic: rules and promotions, published to a running monitor, and read whole by every worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from engines.rule_text import RulesError
from monitor import kafka
from monitor.errors import StartupError
from monitor.recordings import Recording
from monitor.rulebook import Rulebook
from monitor.rules import rules_of
from monitor.settings import Settings
from schemas import control
from schemas.control import Change, Promotion, RuleChange
from schemas.errors import UNREADABLE
from schemas.journal import Rules

log = structlog.get_logger(__name__)
TOPIC = "control"
#: All of it is in one partition: what is published has one order.
PARTITION = 0
#: How often a worker looks for what is new, s.
EVERY_S = 1.0


class Published(NamedTuple):
    """A change of rules with its place in the topic, or (None) the reason why it is none."""

    offset: int
    change: RuleChange | None
    reason: str = ""

    @property
    def rules(self) -> Rules:
        """As journals hold them."""
        assert self.change is not None
        return Rules(effective_ns=self.change.effective_ns, offset=self.offset, text=self.change.text)


class Promoted(NamedTuple):
    """A promotion with its place in the topic."""

    offset: int
    promotion: Promotion


def key_of(change: Change) -> bytes:
    """Return the key of a change's message: of each, so that compaction takes none away."""
    match change:
        case RuleChange():
            return f"rules/{change.version}".encode()
        case Promotion():
            return f"models/{change.model}/{change.published_ns}".encode()


async def published(settings: Settings, consumer: AIOKafkaConsumer, start: int) -> AsyncIterator[Published | Promoted]:
    """Yield what stands in the topic from an offset on, as far as it goes now."""
    topic = kafka.full_name(settings.prefix, TOPIC)
    end = (await kafka.end_offsets(consumer, topic, [PARTITION]))[PARTITION]
    async for record in kafka.read_partition(consumer, topic, PARTITION, start, end):
        if record.value is not None:
            yield _published(record.offset, record.value)


def _published(offset: int, value: bytes) -> Published | Promoted:
    try:
        match control.decode(value):
            case Promotion() as promotion:
                return Promoted(offset, promotion)
            case change:
                return Published(offset, change)
    except UNREADABLE as error:
        return Published(offset, None, f"it is no record of the control topic ({error})")


async def read(settings: Settings, *, required: bool = True) -> list[Published]:
    """Return all rules that stand in the control topic, and what is no record of it.

    Raises
    ------
    StartupError
        There is no such topic, unless it is not ``required``, or no broker.
    """
    return _rules(await _read(settings, required=required))


async def promotions(settings: Settings) -> list[Promoted]:
    """Return all promotions that stand in the control topic, in their order.

    Raises
    ------
    StartupError
        There is no such topic, or no broker.
    """
    return [one for one in await _read(settings, required=True) if isinstance(one, Promoted)]


def _rules(found: Iterable[Published | Promoted]) -> list[Published]:
    return [one for one in found if isinstance(one, Published)]


async def _read(settings: Settings, *, required: bool) -> list[Published | Promoted]:
    if problems := await kafka.check_topics(settings, (TOPIC,)):
        if not required:
            return []
        raise StartupError(" ".join(problems))
    async with kafka.reader(settings) as consumer:
        return [found async for found in published(settings, consumer, 0)]


async def publish(settings: Settings, change: Change) -> int:
    """Send a change, and return its offset once it stands there."""
    producer = AIOKafkaProducer(**kafka.client_options(settings), acks="all", enable_idempotence=True)
    await kafka.start(producer, settings)
    try:
        topic, value = kafka.full_name(settings.prefix, TOPIC), control.encode(change)
        sent = await producer.send_and_wait(topic, value, key=key_of(change), partition=PARTITION)
        return int(sent.offset)
    finally:
        await producer.stop()


def refusal(found: Published, texts: Mapping[str, str]) -> str:
    """Return why what was published is no rules, "" where it is; ``texts`` are those of the versions before it."""
    change = found.change
    if change is None:
        return found.reason
    if texts.get(change.version, change.text) != change.text:
        return f"version {change.version} was published with another text; publish it under a new version"
    try:
        if (version := rules_of(found.rules).version) != change.version:
            return f"its text is of version {version}, not {change.version}; publish it with `tocsin rules publish`"
    except RulesError as error:
        return f"its text has mistakes: {error}"
    return ""


def judged(found: Iterable[Published]) -> Iterator[tuple[Published, str]]:
    """Yield what was published, each with the reason why no worker follows it, "" where they do."""
    texts: dict[str, str] = {}
    for one in found:
        reason = refusal(one, texts)
        if not reason and one.change is not None:
            texts[one.change.version] = one.change.text
        yield one, reason


def recorded(recording: Recording) -> Iterator[Published]:
    """Yield the rules that a recording's control topic holds, and what is no record of it."""
    messages = recording.partition(TOPIC, PARTITION) if TOPIC in recording.topics else ()
    yield from _rules(_published(message.offset, message.value) for message in messages)


class Follower:
    """Keeps a rulebook up to what is published, and hands promotions on.

    Parameters
    ----------
    check
        Raises a ValueError where the stages cannot follow rules.
    changed
        Is called when the rulebook has grown.
    promoted
        Takes each promotion, those that stood there before too.
    """

    def __init__(
        self,
        settings: Settings,
        rulebook: Rulebook,
        check: Callable[[Rules], object],
        changed: Callable[[], None],
        promoted: Callable[[Promoted], None],
    ) -> None:
        self._settings = settings
        self._rulebook = rulebook
        self._check = check
        self._changed = changed
        self._promoted = promoted
        self._next = 0
        self._texts: dict[str, str] = {}

    async def keep(self, caught_up: asyncio.Event) -> None:
        """Read what is there, say so, and go on until cancelled; while the broker is away, nothing is new."""
        async with kafka.reader(self._settings) as consumer:
            while True:
                try:
                    async for found in published(self._settings, consumer, self._next):
                        self._next = found.offset + 1
                        match found:
                            case Promoted():
                                self._promoted(found)
                            case Published():
                                self._take(found)
                    caught_up.set()
                except KafkaError as error:
                    log.warning("the control topic cannot be read now", reason=kafka.told(error))
                await asyncio.sleep(EVERY_S)

    def _take(self, found: Published) -> None:
        if reason := refusal(found, self._texts) or self._unfit(found):
            log.error("a change of rules is refused, those before stay in effect", offset=found.offset, reason=reason)
            return
        assert found.change is not None
        self._texts[found.change.version] = found.change.text
        self._rulebook.add(found.rules)
        told = msgspec.structs.asdict(found.change)
        log.info("rules published", offset=found.offset, **{name: told[name] for name in told if name != "text"})
        self._changed()

    def _unfit(self, found: Published) -> str:
        try:
            self._check(found.rules)
        except ValueError as error:
            return f"it cannot be followed here: {error}"
        return ""


def change_of(text: str, version: str, *, effective_ns: int, now_ns: int, author: str, reason: str) -> RuleChange:
    """Return a change to publish; without a time of its own it is of now."""
    return RuleChange(
        version=version,
        effective_ns=effective_ns or now_ns - now_ns % 1_000_000_000,
        published_ns=now_ns,
        author=author,
        reason=reason,
        text=text,
    )


def refuse(change: RuleChange, before: list[Published]) -> None:
    """Raise `StartupError` where a change would change nothing: its version was there, or later rules are in effect."""
    known = [found.change for found in before if found.change is not None]
    if any(one.version == change.version for one in known):
        raise StartupError(
            f"Version {change.version} was published already: give these rules a version of their own, for alerts are"
            " known by it."
        )
    later = [one for one in known if change.effective_ns < one.effective_ns <= change.published_ns]
    if later:
        one = max(later, key=lambda one: one.effective_ns)
        raise StartupError(
            f"Version {one.version} is in effect from a later time: these rules never would be; give a later"
            " effective_from."
        )
