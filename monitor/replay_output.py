"""The folder of a replay, read; `monitor.replay_format` says what is in it, `monitor.replay_writer` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from engines.thinning import Moment
from monitor.folders import Folder
from monitor.replay_format import LATER, LAYOUT, LINES, MANIFEST, TABLES, TRACKS, Manifest, Metric, ReplayError
from schemas.alerts import Alert
from schemas.errors import UNREADABLE
from schemas.records import DeadLetter, Review


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
            If it has no manifest, a recording's or one of another layout, a file is missing, or a digest is wrong.
        """
        where, folder = path / MANIFEST, Folder(path)
        again = "replay the recording again: `tocsin replay RECORDING --out DIR`"
        if not where.is_file():
            hint = f"; {path}.part is an unfinished one" if Path(f"{path}.part").is_dir() else ""
            raise ReplayError(f"{path} is no replay's folder: it has no {MANIFEST}{hint}; {again}.")
        data = where.read_bytes()
        try:
            head = msgspec.json.decode(data, type=_Head)
            if head.parameters is not None:
                raise ReplayError(
                    f"{path} is a recording: replay it first, `tocsin replay {path} --out DIR`, and name that folder."
                )
            if head.layout != LAYOUT:
                raise ReplayError(f"{path} has layout {head.layout}, this version reads {LAYOUT}; {again}.")
            manifest = msgspec.json.decode(data, type=Manifest)
        except UNREADABLE as error:
            raise ReplayError(f"{where} is no manifest of a replay ({error}); {again}.") from error
        expected = {*(f"{name}.parquet" for name in TABLES), *(f"{name}.ndjson" for name in LINES)}
        expected -= {f"{name}.parquet" for name in LATER} - manifest.files.keys()
        if lacking := sorted(expected - manifest.files.keys()):
            raise ReplayError(f"{where} does not list {', '.join(lacking)}, which every replay has; {again}.")
        for name in sorted(expected):
            entry, size = manifest.files[name], folder.size(name)
            if size is None:
                raise ReplayError(f"{folder.path(name)} is missing; copy the folder again, or {again}.")
            if verify and (found := folder.digest(name)) != entry.sha256:
                raise ReplayError(
                    f"{folder.path(name)} has SHA-256 {found[:12]}… and {size} bytes, its manifest says "
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
        """Return alerts, scores, signals, drift, reviews, tracks or metrics, by their file's name, of some columns.

        Raises
        ------
        ReplayError
            The file cannot be read.
        """
        path = self.path / f"{name}.parquet"
        if path.name not in self.manifest.files:
            none = TABLES[name].empty_table()
            return none.select(columns) if columns is not None else none
        try:
            return pq.read_table(path, columns=columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise ReplayError(
                f"{path} cannot be read ({str(error).splitlines()[0]}); copy the folder or replay again."
            ) from error

    def reviews(self) -> list[Review]:
        """Return what was drawn to be looked at."""
        return msgspec.convert(self.table("reviews").to_pylist(), list[Review])

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
        except UNREADABLE as error:
            raise ReplayError(f"{self.path / name} cannot be read ({error}); replay the recording again.") from error


class _Head(msgspec.Struct):
    """What tells whether a manifest can be read: ``parameters`` are a recording's, no replay has them."""

    layout: int
    parameters: dict[str, object] | None = None


def is_replay(path: Path) -> bool:
    """Tell whether a folder is, or was meant to be, that of a replay rather than a recording."""
    return (path / "alerts.ndjson").exists()
