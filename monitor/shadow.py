"""A challenger in the champion's shadow: the same inputs, read by a group of its own, and topics of its own.

    tocsin.frames, orders, news, … ─┬─► champion      group tocsin                  ─► tocsin.alerts, scores, …
                                    └─► challenger    group tocsin.shadow.december  ─► tocsin.shadow.december.alerts, …

It is the same daemon, in processes of its own, so that nothing that it does can hold the champion up.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from monitor import kafka
from monitor.errors import StartupError
from monitor.registry import registry_of
from monitor.replay import alerts_on_broker
from monitor.settings import Settings
from schemas.alerts import Alert
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
    """What a worker's own topics hold: alerts, and from when to when it heard of the market (int64 ns UTC).

    ``began_ns`` is when its oldest journal entry was written, by the wall clock.
    """

    alerts: Sequence[Alert]
    first_ns: int
    last_ns: int
    began_ns: int


async def heard(settings: Settings) -> Heard:
    """Return what the topics of a worker of these settings hold: the champion's, or a shadow's.

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
    alerts = [alert for partition in range(partitions) for alert in await alerts_on_broker(own, partition)]
    return Heard(alerts, min(times_ns), max(times_ns), min(began_ns, default=0))


_score = msgspec.json.Decoder(Score).decode
