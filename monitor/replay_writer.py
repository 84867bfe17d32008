"""Writing the folder of a replay (`monitor.replay_format`), DIR.part until it is whole.

Rows go out in row groups as they come, so that a day costs no more memory than an hour; only alerts are kept to the
end, for they are few and sorted.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from agents.flow import Scored, Ticked
from agents.fusion import SCORES
from agents.triage import PATIENCE_NS
from engines.thinning import SECOND_NS, Moment, Thinner, floor_of
from engines.tracks import Track
from engines.typologies import TypologySpec
from monitor.folders import Folder, Sink, settle
from monitor.replay_format import (
    DRIFT,
    FLAT,
    LAYOUT,
    LINES,
    MANIFEST,
    REVIEWS,
    TABLES,
    FileEntry,
    Manifest,
    Metric,
    ReplayError,
    Told,
)
from schemas.alerts import Alert
from schemas.journal import Clock
from schemas.records import DeadLetter, Drift, Review, Score, Signal
from schemas.topics import ACCOUNT_INPUTS, ACCOUNTS

_GROUP_ROWS = 16_384
_DICTIONARY = frozenset(
    ("instrument", "account", "head", "bundle", "sector", "typology", "activity", "severity", "ladder", "name")
)

#: What a part of a replay leaves for the folder: the content of some of its files by their names.
Pieces = dict[str, bytes]


class _File:
    """One file of the folder being written."""

    def __init__(self, sink: Sink) -> None:
        self.rows = 0
        self._sink = sink

    def close(self) -> FileEntry:
        """Write what is left, make the file durable, and return what the manifest says of it."""
        self._sink.keep()
        return FileEntry(sha256=self._sink.sha256, size=self._sink.size, rows=self.rows)

    def discard(self) -> None:
        """Leave nothing of the file."""
        self._sink.discard()


class _Lines(_File):
    """JSON lines."""

    def append(self, line: bytes) -> None:
        self._sink.write(line + b"\n")
        self.rows += 1


class _Rows(_File):
    """Parquet, a row group at a time."""

    def __init__(self, sink: Sink, schema: pa.Schema) -> None:
        super().__init__(sink)
        self._schema = schema
        self._writer = pq.ParquetWriter(
            sink, schema, compression="zstd", use_dictionary=[n for n in schema.names if n in _DICTIONARY]
        )
        self._pending: list[Sequence[Any]] = []

    def append(self, row: Sequence[Any]) -> None:
        self.extend([row])

    def extend(self, rows: Iterable[Sequence[Any]]) -> None:
        self._pending.extend(rows)
        if len(self._pending) >= _GROUP_ROWS:
            self._flush()

    def take(self, table: pa.Table) -> None:
        """Write rows that are in columns already."""
        self._flush()
        self._writer.write_table(table.cast(self._schema), row_group_size=_GROUP_ROWS)
        self.rows += len(table)

    def _flush(self) -> None:
        if not self._pending:
            return
        columns = zip(*self._pending, strict=True)
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self.rows += len(self._pending)
        self._pending = []

    def close(self) -> FileEntry:
        self._flush()
        self._writer.close()
        return super().close()

    def discard(self) -> None:
        with suppress(OSError):  # a full disk, of which the caller knows
            self._writer.close()
        super().discard()


class ReplayWriter:
    """Writes a replay into ``PATH.part`` and gives it its name when it is whole.

    Leaving the ``with`` block by an exception, or without `finish`, removes what was written.

    Parameters
    ----------
    path
        Folder to make; it must not exist.
    specs
        A track's head → its typology.
    floor
        Thresholds are looked for from here up; no spec's are below it.
    thinner
        What goes on to thin the tracks of a replay that comes in parts.
    canonical
        Of history: a moment has seen the clock of its own second, however far other instruments had moved it on.

    Raises
    ------
    ReplayError
        If ``path`` exists, or cannot be made.
    """

    def __init__(
        self,
        path: Path,
        *,
        specs: Mapping[str, TypologySpec],
        floor: float | None = None,
        thinner: Thinner | None = None,
        canonical: bool = False,
    ) -> None:
        if path.exists():
            raise ReplayError(f"{path} exists; remove it or name another folder.")
        self.path = path
        self.specs = dict(specs)
        self.floor = floor_of(specs.values()) if floor is None else floor
        self.thinner = thinner or Thinner(specs, self.floor, PATIENCE_NS)
        self._canonical = canonical
        self._elsewhere = 0  # moments that other parts judged
        self._clock_ns = 0
        self._ticked: tuple[Track, ...] = ()
        self._whole = False
        self._part = path.with_name(path.name + ".part")
        shutil.rmtree(self._part, ignore_errors=True)
        try:
            self._part.mkdir(parents=True)
        except OSError as error:
            raise ReplayError(f"{path} cannot be made ({error.strerror}): name another folder.") from error
        self._folder = Folder(self._part)
        self._rows = {name: _Rows(self._folder.create(f"{name}.parquet"), schema) for name, schema in TABLES.items()}
        self._lines = {name: _Lines(self._folder.create(f"{name}.ndjson")) for name in LINES}
        self._take: dict[type, Callable[[Any], None]] = {
            Ticked: self._take_ticked,
            Scored: self._take_scored,
            Score: self._take_score,
            Signal: self._take_signal,
            Drift: self._take_drift,
            Review: self._take_review,
            Clock: self._take_clock,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._whole:
            files: list[_File] = [*self._rows.values(), *self._lines.values()]
            for file in files:
                file.discard()
            shutil.rmtree(self._part, ignore_errors=True)

    @property
    def moments(self) -> int:
        """How many moments triage judged so far."""
        return self.thinner.seen + self._elsewhere

    def take(self, output: object) -> None:
        """Write what a stage says, if it is written at all; alerts are given to `finish`."""
        take = self._take.get(type(output))
        if take is not None:
            take(output)

    def refuse(self, letter: DeadLetter) -> None:
        """Write a dead letter."""
        self._lines["dead_letters"].append(msgspec.json.encode(letter))

    def begin_stage(self) -> None:
        """Let time begin again: another stage, or another partition, speaks from here on."""
        self._clock_ns = 0

    def pieces(self, *, last: bool) -> Pieces:
        """Return what was written, for `absorb`, and write no more; unless ``last``, tracks go on elsewhere."""
        if last:
            self._take_moments(self.thinner.finish())
        self._close()
        names = [*(f"{name}.parquet" for name, rows in self._rows.items() if rows.rows), "dead_letters.ndjson"]
        return {name: (self._part / name).read_bytes() for name in names}

    def absorb(self, pieces: Pieces, moments: int) -> None:
        """Take what another writer wrote of a part of this replay, of which ``moments`` were judged."""
        self._elsewhere += moments
        for name, content in pieces.items():
            if name.endswith(".parquet"):
                self._rows[name.removesuffix(".parquet")].take(pq.read_table(pa.BufferReader(content)))
            else:
                for line in content.splitlines():
                    self._lines["dead_letters"].append(line)

    def finish(self, alerts: Sequence[Alert], told: Told, metrics: Iterable[Metric]) -> Manifest:
        """Write alerts, metrics and the manifest, make all of it durable, and give the folder its name."""
        self._take_moments(self.thinner.finish())
        for alert in sorted(alerts, key=lambda a: (a.times.available_at, a.alert_id)):
            body = msgspec.json.encode(alert)
            self._lines["alerts"].append(body)
            self._rows["alerts"].append(_alert_row(alert, body.decode()))
        for metric in metrics:
            self._lines["metrics"].append(msgspec.json.encode(metric))
            self._rows["metrics"].append((metric.name, metric.labels, metric.value))
        manifest = Manifest(
            **{field: getattr(told, field) for field in Told.__struct_fields__},
            layout=LAYOUT,
            specs=self.specs,
            track_floor=self.floor,
            patience_ns=PATIENCE_NS,
            files=self._close(),
        )
        self._folder.write(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
        settle(self._part, self.path)
        self._whole = True
        return manifest

    def _close(self) -> dict[str, FileEntry]:
        entries = {f"{name}.parquet": rows.close() for name, rows in self._rows.items()}
        entries |= {f"{name}.ndjson": lines.close() for name, lines in self._lines.items()}
        return dict(sorted(entries.items()))

    def _take_clock(self, clock: Clock) -> None:
        self._clock_ns = clock.now_ns

    def _take_ticked(self, ticked: Ticked) -> None:
        # All of them: those that are silent reach triage only where an episode is running.
        self._ticked = ticked.update.tracks
        for track in self._ticked:
            self._keep(ticked.key, track)

    def _take_scored(self, scored: Scored) -> None:
        if scored.arrival is not None and scored.arrival.topic in ACCOUNT_INPUTS:
            # Their stage is keyed by account, which alerts name as such.
            self._keep(ACCOUNTS, msgspec.structs.replace(scored.track, account=scored.key))
        elif not any(scored.track is track for track in self._ticked):
            self._keep(scored.key, scored.track)

    def _keep(self, key: str, track: Track) -> None:
        if kept := self.thinner.feed(key, track, self._clock_ns):
            self._take_moments(kept)

    def _take_moments(self, kept: Iterable[Moment]) -> None:
        if self._canonical:
            kept = [m._replace(clock_ns=min(m.clock_ns, m.ts_available - m.ts_available % SECOND_NS)) for m in kept]
        self._rows["tracks"].extend(kept)

    def _take_score(self, score: Score) -> None:
        found = score.scores
        if unknown := found.keys() - set(SCORES):
            raise ValueError(f"a score named {', '.join(sorted(unknown))}: expected one of {', '.join(SCORES)}")
        self._rows["scores"].append(
            (
                score.instrument,
                score.window_start,
                score.window_end,
                score.ts_event,
                score.ts_available,
                *map(found.get, SCORES),
                score.bundle,
            )
        )

    def _take_signal(self, signal: Signal) -> None:
        self._rows["signals"].append(
            (
                signal.instrument,
                signal.window_start,
                signal.window_end,
                signal.ts_event,
                signal.ts_available,
                signal.scope,
                signal.sector,
                *(
                    None if (part := getattr(signal, group)) is None else getattr(part, field.name)
                    for group, field in FLAT
                ),
                signal.bundle,
            )
        )

    def _take_drift(self, drift: Drift) -> None:
        self._rows["drift"].append(tuple(getattr(drift, name) for name in DRIFT.names))

    def _take_review(self, review: Review) -> None:
        self._rows["reviews"].append(tuple(getattr(review, name) for name in REVIEWS.names))


def _alert_row(alert: Alert, body: str) -> Sequence[Any]:
    finding, times = alert.finding, alert.times
    return (
        alert.alert_id,
        alert.episode_id,
        alert.revision,
        alert.activity,
        finding.typology,
        alert.subject.instrument,
        finding.severity,
        finding.score,
        finding.p_value,
        times.event_start,
        times.event_end,
        times.available_at,
        alert.quality.warm_up,
        alert.quality.ladder,
        body,
    )
