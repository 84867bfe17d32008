"""A recording replayed once more without a modality: what an ablation holds against the whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from agents.fusion import PLACES
from monitor.errors import StartupError
from monitor.recordings import Recording
from monitor.replay_format import Origin
from monitor.replay_history import market_of
from monitor.replay_logs import recorded
from monitor.replay_output import Replay
from monitor.replay_range import Range, offsets_of
from monitor.replay_run import Watch, brought, history, journals, load, marked, metrics, published
from monitor.replay_writer import ReplayWriter
from monitor.replayed import Replayed, Sink, breathe
from monitor.settings import Settings
from monitor.stage import Stages

#: Modality → the topic that brings it.
TOPICS = {"ticks": "frames"} | {modality: topic for modality, (topic, _) in PLACES.items()}


def rerun(
    settings: Settings,
    recording: Recording,
    whole: Replay,
    out: Path,
    *,
    without: str,
    others: Sequence[Path] = (),
    show: Callable[[float, float | None], None] = lambda done, of: None,
) -> Replay:
    """Replay what another replay is of into a folder, in its order, without the messages of a modality.

    Of journals the rest is applied as it was live; what opens then reaches the market in canonical order, for its own
    journal tells of what opened with all modalities.

    Parameters
    ----------
    others
        Further bundles that the journals name.

    Raises
    ------
    StartupError
        The bundle cannot be loaded, or the recording not be read, or the whole replay was decided by other settings.
    ReplayError
        ``out`` exists.
    """
    told = whole.manifest
    watch, rules = Watch(), asyncio.run(published(settings, recording))
    loaded = load(brought(settings, recording), others, rules)
    about = loaded.stages.about
    for name, now, then in (("bundle", about["bundle"], told.bundle), ("configuration", about["config"], told.config)):
        if now != then:
            raise StartupError(
                f"{whole.path} was replayed with {name} {then[:12]}, without {without} it would be with {now[:12]}: "
                "name those that it was replayed with by --bundle and --config."
            )
    less = replace(
        loaded,
        stages=_without(loaded.stages, TOPICS[without]),
        others=[_without(other, TOPICS[without]) for other in loaded.others],
    )
    wanted = Range(
        from_ns=told.from_ns,
        to_ns=told.to_ns,
        warm_up_ns=told.warm_up_ns,
        instruments=frozenset(told.instruments),
        offsets=offsets_of(told.offsets),
    )

    async def beat(clock_ns: int) -> None:
        show(max(0, clock_ns - wanted.start_ns), wanted.to_ns - wanted.start_ns)
        await breathe(clock_ns)

    async def replayed(sink: Sink) -> Replayed:
        if told.source == "history":
            return await history(recording, less.stages, wanted, sink=sink, beat=beat, level=told.level)
        partitions = recording.partitions("journal")
        found = await journals(recorded(recording), partitions, less, wanted, sink=sink, beat=beat, market=False)
        if not wanted.instruments:
            await market_of(found, less.stages)
        return found

    with ReplayWriter(out, specs=less.stages.specs, canonical=told.source == "history") as writer:
        rest = asyncio.run(replayed(writer))
        rest.alerts = marked(rest.alerts, wanted.from_ns)
        found = watch.told(
            less,
            wanted,
            rest,
            source=told.source,
            origin=Origin(path=recording.path, digest=recording.digest),
            moments=writer.moments,
            stamps=[*told.stamps, f"Without {without}: nothing of {TOPICS[without]} was applied."],
            level=told.level,
        )
        writer.finish(rest.alerts, found, metrics(less, rest, found))
    return Replay.open(out)


def _without(stages: Stages, topic: str) -> Stages:
    topics = tuple(one for one in stages.instrument.topics if one != topic)
    return replace(stages, instrument=replace(stages.instrument, topics=topics))
