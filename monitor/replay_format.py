"""What the folder of a replay is made of: what was found, and what is needed to ask "what if" of it.

    DIR/
      manifest.json         what was replayed, how, and the digest of its alerts; sizes and digests of the files
      alerts.ndjson         an alert a line, in order of (available_at, alert_id)
      alerts.parquet        the same, an alert a row; ``body`` is its JSON
      scores.parquet        a row a `schemas.records.Score`: a column for each score's name, null where it has none
      signals.parquet       a row a `schemas.records.Signal`, flat
      drift.parquet         a row a `schemas.records.Drift`, but its evidence
      reviews.parquet       a row a `schemas.records.Review`, where they are drawn (TOCSIN_REVIEW_RATE)
      tracks.parquet        the moments that triage judged, thinned by `engines.thinning`
      dead_letters.ndjson   what could not be used
      metrics.parquet, metrics.ndjson

All columns of times are int64 ns UTC.

`engines.thinning.retrace` steps ``tracks`` by other thresholds. They are complete for ``close`` >= ``track_floor`` of
the manifest and the ``hold_ns`` of its ``specs``; ``order`` is the order in which triage saw the moments (of one
instrument's head; those left out are counted too), ``clock_ns`` the clock that it had seen by then.
"""

from __future__ import annotations

import msgspec
import pyarrow as pa

from agents.fusion import SCORES
from engines.thinning import Moment
from engines.typologies import TypologySpec
from monitor.errors import StartupError
from schemas.records import Forecast, Sentiment

LAYOUT = 3
MANIFEST = "manifest.json"

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
FLAT = [(group, field) for group, of in _GROUPS.items() for field in msgspec.structs.fields(of)]
SIGNALS = pa.schema(
    [
        ("instrument", pa.string()),
        *_WINDOW,
        *_TIMES,
        ("scope", pa.string()),
        ("sector", pa.string()),
        *(
            (
                f"{group}_{field.name}",
                pa.int64()
                if field.name.endswith("_ns") or field.name in ("made_at", "newest", "texts")
                else pa.float64(),
            )
            for group, field in FLAT
        ),
        ("bundle", pa.string()),
    ]
)
DRIFT = pa.schema(
    [
        *((name, pa.string()) for name in ("subject", "scope", "drift_id", "kind", "stream")),
        *_TIMES,
        ("since", pa.int64()),
        ("moved", pa.string()),
        *((name, pa.float64()) for name in ("before", "after", "above", "run_time", "p_value")),
        ("times", pa.list_(pa.int64())),
        ("values", pa.list_(pa.float64())),
        ("instruments", pa.list_(pa.string())),
        *((name, pa.string()) for name in ("asset_class", "sector", "bundle")),
    ]
)
REVIEWS = pa.schema(
    [
        *((name, pa.string()) for name in ("review_id", "instrument", "typology", "account")),
        *_WINDOW,
        *_TIMES,
        *((name, pa.float64()) for name in ("score", "threshold", "propensity")),
        ("config", pa.string()),
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
#: Files of rows (NAME.parquet) with their columns, and of lines (NAME.ndjson).
TABLES = {
    "alerts": ALERTS,
    "scores": SCORE_COLUMNS,
    "signals": SIGNALS,
    "drift": DRIFT,
    "reviews": REVIEWS,
    "tracks": TRACKS,
    "metrics": METRICS,
}
LINES = ("alerts", "dead_letters", "metrics")
#: Files of rows that were not written from the beginning: a folder without one is read as having no rows of it.
LATER = ("reviews",)

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
    """The recording (its folder or address) and its digest; the broker, and no digest, where messages came from it.

    Of a recording that was ``damaged`` only what is whole was used, and whoever reads it again has to look as closely.
    """

    path: str
    digest: str = ""
    damaged: bool = False


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many there were; ``messages`` by topic, ``moments`` are those that triage judged, kept or not."""

    messages: dict[str, int] = {}
    ticks: int = 0
    scores: int = 0
    signals: int = 0
    drift: int = 0
    alerts: int = 0
    warm_up_alerts: int = 0
    dead_letters: int = 0
    moments: int = 0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay says of itself.

    ``source`` is the order in which messages were applied: "journal", or "history", the canonical one. Alerts that were
    available before ``from_ns`` are marked ``quality.warm_up`` and are not in ``digest``; ``warm_up_ns`` is how much of
    the stream was applied before it, ``until_ns`` the last clock. ``instruments`` is empty where all were replayed, and
    ``offsets`` where all of each topic; ``config`` is the digest of all that decides; ``level`` is the ladder's in a
    replay of history, a journal says its own; ``stamps`` are sentences that whoever trusts the result must read.
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
    level: int = 0


class Manifest(Told, frozen=True, kw_only=True):
    """What the folder holds. ``specs`` is a track's head → its typology, as it judged."""

    layout: int
    specs: dict[str, TypologySpec]
    track_floor: float
    patience_ns: int
    files: dict[str, FileEntry]
