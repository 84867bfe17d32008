"""A recording replayed once more without a modality: what an ablation holds against the whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agents.fusion import PLACES
from monitor.errors import StartupError
from monitor.recordings import Recording
from monitor.replay import breathe
from monitor.replay_format import Origin
from monitor.replay_output import Replay
from monitor.replay_range import Range
from monitor.replay_run import Watch, brought, history, load, marked, metrics
from monitor.replay_writer import ReplayWriter
from monitor.settings import Settings

#: Modality → the topic that brings it.
TOPICS = {"ticks": "frames"} | {modality: topic for modality, (topic, _) in PLACES.items()}


def rerun(
    settings: Settings,
    recording: Recording,
    whole: Replay,
    out: Path,
    *,
    without: str,
    show: Callable[[float, float | None], None] = lambda done, of: None,
) -> Replay:
    """Replay the range of another replay into a folder, without the messages of a modality.

    Raises
    ------
    StartupError
        The bundle cannot be loaded, or the recording not be read, or the whole replay was decided by other settings.
    ReplayError
        ``out`` exists.
    """
    told = whole.manifest
    watch, loaded = Watch(), load(brought(settings, recording))
    about = loaded.stages.about
    for name, now, then in (("bundle", about["bundle"], told.bundle), ("configuration", about["config"], told.config)):
        if now != then:
            raise StartupError(
                f"{whole.path} was replayed with {name} {then[:12]}, without {without} it would be with {now[:12]}: "
                "name those that it was replayed with by --bundle and --config."
            )
    instrument = loaded.stages.instrument
    topics = tuple(topic for topic in instrument.topics if topic != TOPICS[without])
    stages = replace(loaded.stages, instrument=replace(instrument, topics=topics))
    wanted = Range(
        from_ns=told.from_ns,
        to_ns=told.to_ns,
        warm_up_ns=told.warm_up_ns,
        instruments=frozenset(told.instruments),
    )

    async def beat(clock_ns: int) -> None:
        show(max(0, clock_ns - wanted.start_ns), wanted.to_ns - wanted.start_ns)
        await breathe(clock_ns)

    with ReplayWriter(out, specs=stages.specs) as writer:
        replayed = asyncio.run(history(recording, stages, wanted, sink=writer, beat=beat))
        replayed.alerts = marked(replayed.alerts, wanted.from_ns)
        found = watch.told(
            loaded,
            wanted,
            replayed,
            source="history",
            origin=Origin(path=recording.path, digest=recording.digest),
            moments=writer.moments,
            stamps=[f"Without {without}: nothing of {TOPICS[without]} was applied."],
        )
        writer.finish(replayed.alerts, found, metrics(loaded, replayed, found))
    return Replay.open(out)
