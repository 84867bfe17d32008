"""What all parts of the monitor share about Kafka: names, partitions, clients that fail with a sentence, topics."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    KafkaError,
    for_code,
)
from aiokafka.partitioner import murmur2

from monitor import credentials
from monitor.errors import StartupError
from monitor.retention import retention_ms
from monitor.settings import Settings
from schemas.topics import BY_NAME, HISTORY_INPUTS, TOPICS, Topic

#: Largest message of the topics whose values are not small, in bytes. Producers of these topics use it too.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_LARGE = {"frames", "orders", "audio", "charts", "checkpoints", "market.checkpoints", "accounts.checkpoints"}
#: What the daemon reads and does not write: a shadow reads the same.
SHARED = frozenset({*HISTORY_INPUTS, "control"})
#: By its next heartbeat a member hears that another one came or went. Until all have, nobody has what was given back.
HEARTBEAT_MS = 500
#: How long compaction leaves checkpoints alone: a reader still needs the state before an incomplete checkpoint.
_SETTLED_MS = 600_000


class _Client(Protocol):
    async def start(self) -> None: ...


def full_name(prefix: str, topic: str) -> str:
    """Return the topic's name on the broker; raise KeyError if the table of topics does not have it."""
    return prefix + BY_NAME[topic].name


def name_of(settings: Settings, topic: str) -> str:
    """Return a topic's name on the broker as a worker reads or writes it: what it shares with no other is its own.

    Example
    -------
    >>> december = Settings(prefix="tocsin.", shadow="december")
    >>> name_of(december, "news"), name_of(december, "alerts")
    ('tocsin.news', 'tocsin.shadow.december.alerts')
    """
    return full_name(settings.prefix if topic in SHARED else settings.own_prefix, topic)


@lru_cache(maxsize=65_536)
def partition_for(key: str, partitions: int) -> int:
    """Return the partition of ``key`` among ``partitions``, as aiokafka's and Kafka's own producers choose it.

    Example
    -------
    >>> partition_for("ACME.XNYS", 8)
    1
    """
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def client_options(settings: Settings) -> dict[str, Any]:
    """Return what every aiokafka client of this process is built with."""
    return {"bootstrap_servers": settings.bootstrap, **credentials.options(settings)}


_write = AIOKafkaConnection.send


def _send(connection: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:
    """Send a request as aiokafka does, and fail as it expects where the connection was closed a moment ago.

    asyncio drops what is written then; uvloop raises a RuntimeError, which nothing in aiokafka catches: its task that
    keeps metadata would end of it, and everything that waits for metadata, the group's membership too, would hang.
    """
    try:
        return _write(connection, request, expect_response)
    except KafkaError:  # a RuntimeError too, and expected
        raise
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} broken: {error}") from error


AIOKafkaConnection.send = _send


def heartbeat_ms(settings: Settings) -> int:
    """Return how often a member of a group tells that it lives, ms.

    Example
    -------
    >>> heartbeat_ms(Settings()), heartbeat_ms(Settings(session_timeout_ms=1_200))
    (500, 400)
    """
    return min(settings.session_timeout_ms // 3, HEARTBEAT_MS)


def failure(tasks: Iterable[asyncio.Task[Any] | None]) -> BaseException | None:
    """Return what the first of a client's own tasks to fail has ended with, None while they live."""
    for task in tasks:
        if task is not None and task.done() and not task.cancelled() and (error := task.exception()) is not None:
            return error
    return None


def told(error: BaseException) -> str:
    """Return what an error of Kafka's says, and which setting is at fault where one is."""
    if isinstance(error, InvalidSessionTimeoutError):
        return (
            f"{error}: TOCSIN_SESSION_TIMEOUT_MS is outside what the broker allows, its group.min.session.timeout.ms to"
            " group.max.session.timeout.ms"
        )
    return str(error) or repr(error)


async def start(client: _Client, settings: Settings) -> None:
    """Start an aiokafka client.

    Raises
    ------
    StartupError
        No broker answers, or lets the client in; the sentence says which.
    """
    try:
        await client.start()
    except (KafkaConnectionError, OSError, TimeoutError) as error:
        raise StartupError(await credentials.refusal(settings)) from error


@asynccontextmanager
async def admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield a started admin client, and close it. Raises StartupError if no broker answers."""
    client = AIOKafkaAdminClient(**client_options(settings))
    try:
        await start(client, settings)
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def reader(settings: Settings, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a started consumer without a group, for `end_offsets` and `read_partition`, and stop it."""
    consumer = AIOKafkaConsumer(
        **client_options(settings), enable_auto_commit=False, **{"auto_offset_reset": "earliest", **options}
    )
    try:
        await start(consumer, settings)
        # Stopped before its tasks have run once, aiokafka's consumer takes their cancellation for its caller's.
        await asyncio.sleep(0)
        yield consumer
    finally:
        await consumer.stop()


async def partition_counts(settings: Settings) -> dict[str, int]:
    """Return how many partitions each topic of the broker has, by full name, and create none by asking."""
    async with admin(settings) as client:
        return {topic["topic"]: len(topic["partitions"]) for topic in await client.describe_topics()}


async def end_offsets(consumer: AIOKafkaConsumer, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """Return the offset after the last message of each partition of ``topic`` (full name).

    It is made known first: of a topic that aiokafka does not know it asks again after 0.1 s.
    """
    await consumer._client.add_topic(topic)
    tps = [TopicPartition(topic, partition) for partition in partitions]
    return {tp.partition: offset for tp, offset in (await consumer.end_offsets(tps)).items()}


async def read_partition(
    consumer: AIOKafkaConsumer, topic: str, partition: int, start: int, end: int
) -> AsyncIterator[ConsumerRecord]:
    """Yield the messages of one partition with ``start <= offset < end``.

    What retention has deleted is not there: reading then begins with the first message that is left. ``consumer`` is
    one of `reader`, and serves one such iteration at a time.
    """
    if start >= end:
        return  # assigned and then stopped at once, aiokafka's consumer may lose its own cancellation, and hangs
    tp = TopicPartition(topic, partition)
    consumer.assign([tp])
    consumer.seek(tp, start)
    position = start
    while position < end:
        for record in (await consumer.getmany(tp, timeout_ms=500)).get(tp, ()):
            if record.offset >= end:
                return
            yield record
        position = await consumer.position(tp)


async def outermost(consumer: AIOKafkaConsumer, topic: str, partition: int) -> list[ConsumerRecord]:
    """Return the first and the last message of a partition of ``topic`` (full name), as far as they are there."""
    tp = TopicPartition(topic, partition)
    first, end = (await consumer.beginning_offsets([tp]))[tp], (await consumer.end_offsets([tp]))[tp]
    places = sorted({first, max(first, end - 1)}) if first < end else ()
    return [record for place in places async for record in read_partition(consumer, topic, partition, place, place + 1)]


def topic_config(topic: Topic, retention: str = "") -> dict[str, str]:
    """Return the broker's configuration of a topic, for `tocsin topics create` and `check`.

    ``retention`` is the setting of that name.
    """
    config = {"message.timestamp.type": "CreateTime"}
    if topic.compacted:
        config |= {
            "cleanup.policy": "compact",
            # A checkpoint is read to its closing record: what it is made of must outlive the reading.
            "min.compaction.lag.ms": str(_SETTLED_MS),
            "segment.ms": str(_SETTLED_MS),
        }
    else:
        config |= {"cleanup.policy": "delete", "retention.ms": str(retention_ms(topic, retention))}
    if topic.name in _LARGE:
        config["max.message.bytes"] = str(MAX_MESSAGE_BYTES)
    return config


@dataclass(frozen=True)
class Created:
    """What `create_topics` did: names made now, names that were there, and whether by the embedded broker's way."""

    made: list[str]
    there: list[str]
    embedded: bool


async def create_topics(settings: Settings, wanted: Collection[str] = tuple(BY_NAME)) -> Created:
    """Create the topics that are missing, with partitions, retention and limits of the table of topics.

    ``wanted`` are names without prefix; all of the table if not given.

    A broker without an admin interface (librdkafka's embedded one) makes topics when they are first asked for, with
    its own number of partitions; there they are asked for.

    Raises
    ------
    StartupError
        The broker refuses, with its reason.
    """
    counts = await partition_counts(settings)
    names = {settings.prefix + topic.name: topic for topic in TOPICS if topic.name in wanted}
    missing = [name for name in names if name not in counts]
    there = [name for name in names if name in counts]
    if not missing:
        return Created([], there, embedded=False)
    async with admin(settings) as client:
        if await _is_embedded(client):
            await _touch(settings, missing)
            return Created(missing, there, embedded=True)
        response = await client.create_topics(
            [
                NewTopic(
                    name,
                    names[name].partitions or settings.partitions,
                    settings.replication,
                    topic_configs=topic_config(names[name], settings.retention),
                )
                for name in missing
            ]
        )
    for name, code, *message in response.topic_errors:
        # 36: someone else created it at the same moment.
        if code not in (0, 36):
            text = message[0] if message and message[0] else for_code(code).__name__
            raise StartupError(f"The broker at {settings.bootstrap} did not create topic {name}: {text}.")
    # The controller has answered; the broker that serves metadata learns of it a moment later, and tells nobody.
    while not set(missing) <= set(await partition_counts(settings)):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return Created(missing, there, embedded=False)


async def cluster_id(settings: Settings) -> str:
    """Return the id that the cluster gave itself."""
    async with admin(settings) as client:
        return str((await client.describe_cluster())["cluster_id"])


async def _is_embedded(client: AIOKafkaAdminClient) -> bool:
    """Say whether this is librdkafka's broker: it names a controller that is none of its nodes."""
    cluster = await client.describe_cluster()
    return cluster["controller_id"] not in {broker["node_id"] for broker in cluster["brokers"]}


async def is_embedded(settings: Settings) -> bool:
    """Say whether the broker is librdkafka's embedded one: no admin interface, no offsets by time."""
    async with admin(settings) as client:
        return await _is_embedded(client)


async def _touch(settings: Settings, names: Iterable[str]) -> None:
    producer = AIOKafkaProducer(**client_options(settings))
    await start(producer, settings)
    try:
        for name in names:
            await producer.partitions_for(name)
    finally:
        await producer.stop()


@dataclass(frozen=True)
class TopicState:
    """One topic as it is: ``partitions`` 0 where it is missing, ``problems`` a sentence each, with the remedy."""

    name: str
    partitions: int
    config: dict[str, str]
    problems: list[str]


async def check_topics(settings: Settings, names: Collection[str]) -> list[str]:
    """Return what is wrong with the topics ``names`` (without prefix), a sentence each; none if all is well.

    Missing topics, and copartitioned topics whose numbers of partitions differ, keep a worker from starting.
    """
    return _problems(settings, names, await partition_counts(settings))


def _problems(settings: Settings, names: Collection[str], counts: dict[str, int]) -> list[str]:
    problems = []
    missing = [settings.prefix + name for name in names if settings.prefix + name not in counts]
    if missing:
        problems.append(
            f"Missing on {settings.bootstrap}: {', '.join(missing)}; run `tocsin topics create` (prefix"
            f" {settings.prefix!r}, TOCSIN_PREFIX)."
        )
    usual, uneven = _uneven(settings, names, counts)
    if uneven:
        odd = ", ".join(f"{name} has {counts[name]}" for name in uneven)
        problems.append(
            f"Topics that meet per instrument need equally many partitions: {odd}, others {usual}; delete and"
            f" recreate the odd ones (`tocsin topics create`), since adding partitions moves keys."
        )
    return problems


def _uneven(settings: Settings, names: Collection[str], counts: dict[str, int]) -> tuple[int, list[str]]:
    """Return the number of partitions that most copartitioned topics have, and the topics that differ from it."""
    keyed = [settings.prefix + name for name in names if BY_NAME[name].copartitioned]
    keyed = [name for name in keyed if name in counts]
    usual = Counter(counts[name] for name in keyed).most_common(1)[0][0] if keyed else 0
    return usual, [name for name in keyed if counts[name] != usual]


async def require_topics(settings: Settings, names: Collection[str]) -> int:
    """Return the number of partitions that the copartitioned among ``names`` have.

    Raises
    ------
    StartupError
        No broker answers, a topic is missing, or the numbers differ; a topic that must have another number has not.
    """
    counts = await partition_counts(settings)
    problems = _problems(settings, names, counts)
    if not problems and (wrong := _fixed(settings, names, counts)) and not await is_embedded(settings):
        problems = wrong
    if problems:
        raise StartupError(" ".join(problems))
    return max(counts[settings.prefix + name] for name in names if BY_NAME[name].copartitioned)


def _fixed(settings: Settings, names: Collection[str], counts: dict[str, int]) -> list[str]:
    """Return a sentence on each topic that must have a number of partitions of its own, and has another."""
    found = [(BY_NAME[name].partitions, settings.prefix + name) for name in names if BY_NAME[name].partitions]
    return [
        f"{name} has {counts[name]} partitions, and what it holds is in one order only in {wanted}: delete and recreate"
        " it (`tocsin topics create`)."
        for wanted, name in found
        if counts[name] != wanted
    ]


def unlike(settings: Settings, partitions: int) -> str:
    """Return a sentence where the topics have another number of partitions than the settings were given, else ""."""
    if "partitions" not in settings.model_fields_set or partitions == settings.partitions:
        return ""
    return (
        f"The keyed topics have {partitions} partitions, TOCSIN_PARTITIONS is {settings.partitions}: topics that are"
        " there keep their number; set it to that, and let no more workers run."
    )


async def topic_states(settings: Settings) -> list[TopicState]:
    """Return every topic of the table as it is on the broker, compared with what `create_topics` would have made.

    The configuration and numbers of partitions are not compared with the table on a broker that cannot tell the one
    and chooses the other itself (the embedded one).
    """
    counts = await partition_counts(settings)
    there = [settings.prefix + topic.name for topic in TOPICS if settings.prefix + topic.name in counts]
    configs = await _configs(settings, there)
    usual, uneven = _uneven(settings, list(BY_NAME), counts)
    states = []
    for topic in TOPICS:
        name = settings.prefix + topic.name
        if name not in counts:
            states.append(TopicState(name, 0, {}, ["missing: run `tocsin topics create`"]))
            continue
        problems = []
        if name in uneven:
            problems.append(f"{counts[name]} partitions, others {usual}: delete and recreate it")
        elif configs and topic.partitions not in (0, counts[name]):
            problems.append(f"{counts[name]} partitions, expected {topic.partitions}: delete and recreate it")
        found = configs.get(name, {})
        for key, value in topic_config(topic, settings.retention).items():
            if found and found.get(key) != value:
                problems.append(f"{key} is {found.get(key)}, expected {value}: set it with kafka-configs.sh")
        states.append(TopicState(name, counts[name], found, problems))
    return states


async def _configs(settings: Settings, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    async with admin(settings) as client:
        try:
            responses = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, n) for n in names])
        except IncompatibleBrokerVersion:
            return {}
        except KafkaError as error:
            raise StartupError(f"{settings.bootstrap} does not tell its topics' settings: {error}.") from error
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for response in responses
        for resource in response.resources
    }
