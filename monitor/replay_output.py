"""The folder that a replay writes, and its reader: what was found, and what is needed to ask "what if" of it.

    DIR/
      manifest.json         what was replayed, how, and the digest of its alerts; sizes and digests of the files
      alerts.ndjson         an alert a line, in order of (available_at, alert_id)
      alerts.parquet        the same, an alert a row; ``body`` is its JSON
      scores.parquet        a row a `schemas.records.Score`: a column for each score's name, null where it has none
      signals.parquet       a row a `schemas.records.Signal`, flat
      tracks.parquet        the moments that triage judged, thinned by `engines.thinning`
      dead_letters.ndjson   what could not be used
      metrics.parquet, metrics.ndjson

The folder is DIR.part until it is whole. Rows go out in row groups as they come, so that a day costs no more memory
than an hour; only alerts are kept to the end, for they are few and sorted. All columns of times are int64 ns UTC.

`engines.thinning.retrace` steps ``tracks`` by other thresholds. They are complete for ``close`` >= ``track_floor`` of
the manifest and the ``hold_ns`` of its ``specs``; ``order`` is the order in which triage saw the moments (of one
instrument's head; those left out are counted too), ``clock_ns`` the clock that it had seen by then.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from agents.flow import Scored, Ticked
from agents.fusion import SCORES
from agents.triage import PATIENCE_NS
from engines.thinning import Moment, Thinner, floor_of
from engines.tracks import Track
from engines.typologies import TypologySpec
from monitor.errors import StartupError
from schemas.alerts import Alert
from schemas.journal import Clock
from schemas.records import DeadLetter, Forecast, Score, Sentiment, Signal

LAYOUT = 2
MANIFEST = "manifest.json"
_GROUP_ROWS = 16_384

_TIMES = [("ts_event", pa.int64()), ("ts_available", pa.int64())]
_WINDOW = [("window_start", pa.int64()), ("window_end", pa.int64())]

ALERTS = pa.schema(
    [
        *((name, pa.string()) for name in ("alert_id", "episode_id")),
        ("revision", pa.int32()),
        *((name, pa.string()) for name in ("activity", "typology", "instrument", "severity")),
        ("score", pa.float64()),
        ("p_value", pa.float64()),
        *((name, pa.int64()) for name in ("event_start", "event_end", "available_at")),
        ("warm_up", pa.bool_()),
        ("ladder", pa.string()),
        ("body", pa.string()),
    ]
)
SCORE_COLUMNS = pa.schema(
    [
        ("instrument", pa.string()),
        *_WINDOW,
        *_TIMES,
        *((name, pa.float64()) for name in SCORES),
        ("bundle", pa.string()),
    ]
)
_GROUPS: dict[str, type[msgspec.Struct]] = {"forecast": Forecast, "sentiment": Sentiment}
_FLAT = [(group, field) for group, of in _GROUPS.items() for field in msgspec.structs.fields(of)]
SIGNALS = pa.schema(
    [
        ("instrument", pa.string()),
        *_WINDOW,
        *_TIMES,
        ("sector", pa.string()),
        *(
            (
                f"{group}_{field.name}",
                pa.int64()
                if field.name.endswith("_ns") or field.name in ("made_at", "newest", "texts")
                else pa.float64(),
            )
            for group, field in _FLAT
        ),
        ("bundle", pa.string()),
    ]
)
TRACKS = pa.schema(
    [
        ("instrument", pa.string()),
        ("head", pa.string()),
        *_TIMES,
        ("window_start", pa.int64()),
        ("score", pa.float64()),
        ("p_value", pa.float64()),
        ("order", pa.int64()),
        ("clock_ns", pa.int64()),
        ("account", pa.string()),
    ]
)
METRICS = pa.schema([("name", pa.string()), ("labels", pa.string()), ("value", pa.float64())])
_FILES = {"alerts": ALERTS, "scores": SCORE_COLUMNS, "signals": SIGNALS, "tracks": TRACKS, "metrics": METRICS}
_DICTIONARY = frozenset(
    ("instrument", "account", "head", "bundle", "sector", "typology", "activity", "severity", "ladder", "name")
)

#: What a part of a replay leaves for the folder: the content of some of its files by their names.
Pieces = dict[str, bytes]

assert TRACKS.names == list(Moment._fields)


class ReplayError(StartupError):
    """The folder of a replay cannot be read or written; the text says which file, why, and what to do."""


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the folder."""

    sha256: str
    size: int
    rows: int


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A measure of the run, named as the daemon names it; ``labels`` as Prometheus writes them: ``topic="news"``."""

    name: str
    labels: str = ""
    value: float


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The recording (its folder or address) and its digest; the broker, and no digest, where messages came from it."""

    path: str
    digest: str = ""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many there were; ``messages`` by topic, ``moments`` are those that triage judged, kept or not."""

    messages: dict[str, int] = {}
    ticks: int = 0
    scores: int = 0
    signals: int = 0
    alerts: int = 0
    warm_up_alerts: int = 0
    dead_letters: int = 0
    moments: int = 0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay says of itself.

    ``source`` is the order in which messages were applied: "journal", or "history", the canonical one. Alerts that were
    available before ``from_ns`` are marked ``quality.warm_up`` and are not in ``digest``; ``warm_up_ns`` is how much of
    the stream was applied before it, ``until_ns`` the last clock. ``instruments`` is empty where all were replayed, and
    ``offsets`` where all of each topic; ``config`` is the digest of all that decides; ``stamps`` are sentences that
    whoever trusts the result must read.
    """

    code_version: str
    source: str
    recording: Origin
    from_ns: int
    to_ns: int
    warm_up_ns: int = 0
    instruments: list[str] = []
    offsets: list[str] = []
    bundle: str
    config: str
    mode: str = "replay"
    digest: str
    counts: Counts
    seconds: float = 0.0
    cpu_s: float = 0.0
    stamps: list[str] = []
    until_ns: int = 0


class Manifest(Told, frozen=True, kw_only=True):
    """What the folder holds. ``specs`` is a track's head → its typology, as it judged."""

    layout: int
    specs: dict[str, TypologySpec]
    track_floor: float
    patience_ns: int
    files: dict[str, FileEntry]


class _Rows:
    """One Parquet file being written, a row group at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.rows = 0
        self._schema = schema
        self._writer = pq.ParquetWriter(
            path, schema, compression="zstd", use_dictionary=[n for n in schema.names if n in _DICTIONARY]
        )
        self._pending: list[Sequence[Any]] = []

    def append(self, row: Sequence[Any]) -> None:
        self._pending.append(row)
        if len(self._pending) >= _GROUP_ROWS:
            self._flush()

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

    def close(self) -> None:
        self._flush()
        self._writer.close()


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
    ) -> None:
        if path.exists():
            raise ReplayError(f"{path} exists; remove it or name another folder.")
        self.path = path
        self.specs = dict(specs)
        self.floor = floor_of(specs.values()) if floor is None else floor
        self.thinner = thinner or Thinner(specs, self.floor, PATIENCE_NS)
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
        self._rows = {name: _Rows(self._part / f"{name}.parquet", schema) for name, schema in _FILES.items()}
        self._letters: BinaryIO = (self._part / "dead_letters.ndjson").open("wb")
        self._letters_count = 0
        self._take: dict[type, Callable[[Any], None]] = {
            Ticked: self._take_ticked,
            Scored: self._take_scored,
            Score: self._take_score,
            Signal: self._take_signal,
            Clock: self._take_clock,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._whole:
            try:
                self._close()
            finally:  # on a full disk rows that wait cannot be written either
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
        self._letters.write(msgspec.json.encode(letter) + b"\n")
        self._letters_count += 1

    def begin_stage(self) -> None:
        """Let time begin again: another stage, or another partition, speaks from here on."""
        self._clock_ns = 0

    def pieces(self, *, last: bool) -> Pieces:
        """Return what was written, for `absorb`, and write no more; unless ``last``, tracks go on elsewhere."""
        if last:
            self._rows["tracks"].extend(self.thinner.finish())
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
                self._letters.write(content)
                self._letters_count += content.count(b"\n")

    def finish(self, alerts: Sequence[Alert], told: Told, metrics: Iterable[Metric]) -> Manifest:
        """Write alerts, metrics and the manifest, make all of it durable, and give the folder its name."""
        self._rows["tracks"].extend(self.thinner.finish())
        names = {name: f"{name}.parquet" for name in self._rows}
        counted = {"dead_letters.ndjson": self._letters_count}
        with (self._part / "alerts.ndjson").open("wb") as file:
            for alert in sorted(alerts, key=lambda a: (a.times.available_at, a.alert_id)):
                body = msgspec.json.encode(alert)
                file.write(body + b"\n")
                self._rows["alerts"].append(_alert_row(alert, body.decode()))
                counted["alerts.ndjson"] = counted.get("alerts.ndjson", 0) + 1
        with (self._part / "metrics.ndjson").open("wb") as file:
            for metric in metrics:
                file.write(msgspec.json.encode(metric) + b"\n")
                self._rows["metrics"].append((metric.name, metric.labels, metric.value))
                counted["metrics.ndjson"] = counted.get("metrics.ndjson", 0) + 1
        self._close()
        counted |= {names[name]: rows.rows for name, rows in self._rows.items()}
        manifest = Manifest(
            **{field: getattr(told, field) for field in Told.__struct_fields__},
            layout=LAYOUT,
            specs=self.specs,
            track_floor=self.floor,
            patience_ns=PATIENCE_NS,
            files={path.name: _entry(path, counted.get(path.name, 0)) for path in sorted(self._part.iterdir())},
        )
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        with (self._part / MANIFEST).open("wb") as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._part.rename(self.path)
        self._whole = True
        return manifest

    def _close(self) -> None:
        for rows in self._rows.values():
            rows.close()
        self._letters.close()

    def _take_clock(self, clock: Clock) -> None:
        self._clock_ns = clock.now_ns

    def _take_ticked(self, ticked: Ticked) -> None:
        # All of them: those that are silent reach triage only where an episode is running.
        self._ticked = ticked.update.tracks
        for track in self._ticked:
            self._keep(ticked.key, track)

    def _take_scored(self, scored: Scored) -> None:
        if not any(scored.track is track for track in self._ticked):
            self._keep(scored.key, scored.track)

    def _keep(self, key: str, track: Track) -> None:
        if kept := self.thinner.feed(key, track, self._clock_ns):
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
                signal.sector,
                *(
                    None if (part := getattr(signal, group)) is None else getattr(part, field.name)
                    for group, field in _FLAT
                ),
                signal.bundle,
            )
        )


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


def _entry(path: Path, rows: int) -> FileEntry:
    with path.open("rb") as data:
        sha256 = hashlib.file_digest(data, "sha256").hexdigest()
        os.fsync(data.fileno())
    return FileEntry(sha256=sha256, size=path.stat().st_size, rows=rows)


class Replay:
    """The folder of a replay, to be read; open it with `Replay.open`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> Replay:
        """Open a replay and, where ``verify``, compare every file with its digest.

        Raises
        ------
        ReplayError
            If it has no manifest or one of another layout, a file is missing, or a digest is wrong.
        """
        where = path / MANIFEST
        again = "replay the recording again: `tocsin replay RECORDING --out DIR`"
        if not where.is_file():
            hint = f"; {path}.part is an unfinished one" if Path(f"{path}.part").is_dir() else ""
            raise ReplayError(f"{path} is no replay's folder: it has no {MANIFEST}{hint}; {again}.")
        data = where.read_bytes()
        try:
            layout = msgspec.json.decode(data, type=_Layout).layout
            if layout != LAYOUT:
                raise ReplayError(f"{path} has layout {layout}, this version reads {LAYOUT}; {again}.")
            manifest = msgspec.json.decode(data, type=Manifest)
        except msgspec.DecodeError as error:
            raise ReplayError(f"{where} is no manifest of a replay ({error}); {again}.") from error
        expected = {*(f"{name}.parquet" for name in _FILES), "alerts.ndjson", "dead_letters.ndjson", "metrics.ndjson"}
        if lacking := sorted(expected - manifest.files.keys()):
            raise ReplayError(f"{where} does not list {', '.join(lacking)}, which every replay has; {again}.")
        for name in sorted(expected):
            file, entry = path / name, manifest.files[name]
            if not file.is_file():
                raise ReplayError(f"{file} is missing; copy the folder again, or {again}.")
            if not verify:
                continue
            with file.open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
            if found != entry.sha256:
                raise ReplayError(
                    f"{file} has SHA-256 {found[:12]}… and {file.stat().st_size} bytes, its manifest says "
                    f"{entry.sha256[:12]}… and {entry.size}; copy the folder again, or {again}."
                )
        return cls(path, manifest)

    def alerts(self) -> list[Alert]:
        """Return the alerts, warm-up ones too, in order of (available_at, alert_id)."""
        return self._lines("alerts.ndjson", Alert)

    def dead_letters(self) -> list[DeadLetter]:
        """Return what could not be used."""
        return self._lines("dead_letters.ndjson", DeadLetter)

    def metrics(self) -> list[Metric]:
        """Return the measures of the run."""
        return self._lines("metrics.ndjson", Metric)

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return ``alerts``, ``scores``, ``signals``, ``tracks`` or ``metrics`` as a table, of some columns if given.

        Raises
        ------
        ReplayError
            The file cannot be read.
        """
        path = self.path / f"{name}.parquet"
        try:
            return pq.read_table(path, columns=columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise ReplayError(
                f"{path} cannot be read ({str(error).splitlines()[0]}); copy the folder or replay again."
            ) from error

    def tracks(self) -> dict[tuple[str, str, str], list[Moment]]:
        """Return the moments that were kept, in order, by (instrument, head, account): what `retrace` takes."""
        found: dict[tuple[str, str, str], list[Moment]] = {}
        table = self.table("tracks")
        for row in zip(*(table.column(name).to_pylist() for name in TRACKS.names), strict=True):
            moment = Moment(*row)
            found.setdefault((moment.instrument, moment.head, moment.account), []).append(moment)
        for moments in found.values():
            moments.sort(key=lambda moment: moment.order)
        return found

    def _lines(self, name: str, kind: Any) -> list[Any]:
        decode = msgspec.json.Decoder(kind).decode
        try:
            return [decode(line) for line in (self.path / name).read_bytes().splitlines()]
        except msgspec.DecodeError as error:
            raise ReplayError(f"{self.path / name} cannot be read ({error}); replay the recording again.") from error


class _Layout(msgspec.Struct):
    layout: int


def is_replay(path: Path) -> bool:
    """Tell whether a folder is, or was meant to be, that of a replay rather than a recording."""
    return (path / "alerts.ndjson").exists()
