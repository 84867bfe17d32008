"""A challenger in the champion's shadow: the same inputs, read by a group of its own, and topics of its own.

    tocsin.frames, orders, news, … ─┬─► champion      group tocsin                  ─► tocsin.alerts, scores, …
                                    └─► challenger    group tocsin.shadow.december  ─► tocsin.shadow.december.alerts, …

It is the same daemon, in processes of its own, so that nothing that it does can hold the champion up.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import msgspec
import structlog

from monitor import kafka, reading
from monitor.errors import StartupError
from monitor.registry import registry_of
from monitor.settings import Settings
from schemas.alerts import Alert, AlertEvent, Evidence, Explanation
from schemas.records import Score

log = structlog.get_logger(__name__)


async def prepared(settings: Settings, topics: Collection[str]) -> Settings:
    """Return the settings by which a shadow's worker serves its model, after making the topics that are its own.

    Raises
    ------
    StartupError
        No registry is named, the model is not there whole, or the inputs are not there.
    """
    registry = registry_of(settings)
    model = registry.find(settings.shadow)
    fetched = registry.fetch(model.id, settings.cache)
    shadow = settings.model_copy(
        update={"shadow": model.name, "bundle": fetched.bundle, "labels": fetched.labels or settings.labels}
    )
    partitions = await kafka.require_topics(settings, [name for name in topics if name in kafka.SHARED])
    own = {name for name in topics if name not in kafka.SHARED}
    theirs = settings.model_copy(update={"prefix": shadow.own_prefix, "partitions": partitions})
    created = await kafka.create_topics(theirs, own)
    if created.made:
        log.info("topics of the shadow were made", prefix=shadow.own_prefix, topics=len(created.made))
    if (there := await kafka.require_topics(theirs, own)) != partitions:
        raise StartupError(
            f"Topics {shadow.own_prefix}* have {there} partitions, the inputs {partitions}: delete those of the shadow."
        )
    return shadow


@dataclass(frozen=True, slots=True)
class Heard:
    """From when to when a worker heard of the market, by its own topics (int64 ns UTC).

    ``began_ns`` is when its oldest journal entry was written, by the wall clock.
    """

    first_ns: int
    last_ns: int
    began_ns: int


async def heard(settings: Settings) -> Heard:
    """Return what a worker of these settings has heard: the champion, or a shadow.

    Raises
    ------
    StartupError
        They are not there, or hold no score yet.
    """
    own = settings.model_copy(update={"prefix": settings.own_prefix})
    if problems := await kafka.check_topics(own, ("alerts", "scores", "journal")):
        remedy = f" `tocsin models shadow {settings.shadow}` makes and fills them." if settings.shadow else ""
        raise StartupError(f"{' '.join(problems)}{remedy}")
    partitions = (await kafka.partition_counts(own))[kafka.full_name(own.prefix, "scores")]
    times_ns: list[int] = []
    began_ns: list[int] = []
    async with kafka.reader(own) as consumer:
        for partition in range(partitions):
            told = await kafka.outermost(consumer, kafka.full_name(own.prefix, "scores"), partition)
            times_ns += [_score(record.value).ts_available for record in told]
            written = await kafka.outermost(consumer, kafka.full_name(own.prefix, "journal"), partition)
            began_ns += [record.timestamp * 1_000_000 for record in written]
    if not times_ns:
        raise StartupError(f"{own.prefix}scores holds nothing: nothing was heard of the market yet.")
    return Heard(min(times_ns), max(times_ns), min(began_ns, default=0))


async def rang(settings: Settings, from_ns: int, to_ns: int) -> list[Alert]:
    """Return the alerts of a worker of episodes that began in ``[from_ns, to_ns)``, up to its end.

    They are without explanation and evidence, which are nine tenths of them: what is held grows with the alarms of the
    time that is asked for, and with the episodes that are open when it begins, whatever else the topic holds.
    """
    own = settings.model_copy(update={"prefix": settings.own_prefix})
    kept: list[Alert] = []
    before = set[str]()
    async with kafka.reader(own) as consumer:
        async for event in reading.records(consumer, own, "alerts", AlertEvent):
            alert = event.data
            if alert.times.available_at < from_ns:
                # One that closed says nothing more.
                (before.discard if alert.activity == "close" else before.add)(alert.episode_id)
            elif alert.times.available_at < to_ns and alert.episode_id not in before:
                evidence = Evidence(first_seen=alert.evidence.first_seen, last_seen=alert.evidence.last_seen, count=0)
                kept.append(msgspec.structs.replace(alert, explanation=Explanation(), evidence=evidence))
    return kept


_score = msgspec.json.Decoder(Score).decode
