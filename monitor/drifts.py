"""Drift signals: those that the topic holds, a replay's folder, or a recording of the topic."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from monitor import kafka, reading
from monitor.errors import StartupError
from monitor.recordings import Recording
from monitor.replay_output import Replay, is_replay
from monitor.settings import Settings
from schemas.records import Drift

TOPIC = "drift"


async def on_topic(settings: Settings, since_ns: int) -> list[Drift]:
    """Return the signals that became available since a time (ns), in order; one that came twice once.

    Raises
    ------
    StartupError
        There is no such topic, or no broker.
    """
    async with kafka.reader(settings) as consumer:
        found = [one async for one in reading.records(consumer, settings, TOPIC, Drift, since_ns)]
    return ordered(one for one in found if one.ts_available >= since_ns)


def in_folder(path: Path) -> list[Drift]:
    """Return the signals of a replay's folder, or of a recording that holds their topic.

    Raises
    ------
    StartupError
        It cannot be read, or is a recording without them.
    """
    if is_replay(path):
        return ordered(msgspec.convert(Replay.open(path).table(TOPIC).to_pylist(), list[Drift]))
    recording = Recording.open(path)
    if TOPIC not in recording.topics:
        raise StartupError(
            f"{path} holds no drift signals, only {', '.join(recording.topics)}: replay it, `tocsin replay {path} --out"
            " DIR`, and name that folder."
        )
    return ordered(msgspec.json.decode(message.value, type=Drift) for message in recording.messages([TOPIC]))


def ordered(found: Iterable[Drift]) -> list[Drift]:
    """Return signals in the order in which they became available, each once."""
    return sorted({one.drift_id: one for one in found}.values(), key=lambda one: (one.ts_available, one.drift_id))
