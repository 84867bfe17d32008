"""What was said in calls before a day, apart by whether turmoil followed: what a label of texts is learnt from.

A call counts where what followed it was known before the day (`monitor.converters.maec.known_ns`); its segments are
those of a recording, so that what is learnt is what a replay hears.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path

from agents.text import words
from engines.bundle import Source, sha256_of
from engines.lineage import begin_ns, day_of
from monitor.converters import maec
from monitor.converters.conversion import Report
from monitor.errors import StartupError
from schemas import codec
from schemas.records import TranscriptSegment

FILES = ("calls_text.parquet", "labels.csv.gz")
#: The share of segments of calm calls that may ring: of the two dozen of a call about one in nine calls does by chance.
#: Chosen before anything was tested.
BUDGET = 0.005
#: Every so many segments of a call one is learnt from: encoding them is what takes the time.
EVERY = 2


@dataclass(slots=True)
class Said:
    """Segments of calls in the order in which they came, and the calls of each kind."""

    followed: list[str] = field(default_factory=list)
    calm: list[str] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    turmoils: set[str] = field(default_factory=set)
    first_ns: int = 0
    last_ns: int = 0

    def source(self, folder: Path) -> Source:
        """Return what a label learnt from it says of itself."""
        return Source(
            name="maec",
            stage="training",
            origin="Earnings-Call-Dataset/MAEC, labels of hankniu01/KeFVP",
            licence="CC BY-SA 4.0; of the labels none: to be tested with, not to be shipped",
            may_train_what_ships=False,
            window=f"{day_of(self.first_ns)} to {day_of(self.last_ns)}",
            sha256={name: sha256_of(folder / name) for name in FILES},
            note=f"{len(self.followed):,} segments of {len(self.turmoils):,} calls that turmoil followed, against"
            f" {len(self.calm):,} of {len(self.calls - self.turmoils):,} others.",
        )


def before(folder: Path, day: date) -> Said:
    """Return what was said in the calls of MAEC whose aftermath was known before ``day`` (UTC).

    Raises
    ------
    StartupError
        The folder is no such set, or has no labels.
    """
    made = maec.read(folder, (), None, Report())
    if made.labels is None:
        raise StartupError(f"{folder} lacks labels.csv.gz: what followed a call is what is to be learnt.")
    turmoils = {label.event_id for label in made.labels}
    found, until_ns = Said(), begin_ns(day)
    known_ns = cache(maec.known_ns)
    for message in made.messages:
        segment = codec.decode(message.topic, message.key, message.value, message.timestamp_ms)
        assert isinstance(segment, TranscriptSegment)
        over_ns = known_ns(str(date.fromisoformat(segment.call_id[:8])))
        if over_ns >= until_ns or segment.segment % EVERY:
            continue
        found.calls.add(segment.call_id)
        found.first_ns = found.first_ns or segment.ts_event
        found.last_ns = max(found.last_ns, over_ns)
        if segment.call_id in turmoils:
            found.turmoils.add(segment.call_id)
            found.followed.append(words(segment))
        else:
            found.calm.append(words(segment))
    return found
