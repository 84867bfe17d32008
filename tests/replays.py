"""A replay's folder as a replay writes it, of records that a test gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monitor.replay_format import Counts, Origin, Told
from monitor.replay_writer import ReplayWriter
from schemas.alerts import Alert
from schemas.records import Drift, Review


def written(folder: Path, records: Sequence[Drift | Review], alerts: Sequence[Alert], at_ns: int) -> Path:
    """Write what a replay of one moment found besides its alerts, and these, and return the folder."""
    told = Told(
        code_version="0", source="history", recording=Origin(path="day"), from_ns=at_ns, to_ns=at_ns + 1, bundle="",
        config="", digest="", counts=Counts(),
    )  # fmt: skip
    with ReplayWriter(folder, specs={}, floor=0.1) as writer:
        for one in records:
            writer.take(one)
        writer.finish([*alerts], told, [])
    return folder
