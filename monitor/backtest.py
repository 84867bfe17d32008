"""From the folder of a replay to what the engines of a backtest take: arrays, alerts, labels of the tested range."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engines.backtest.cells import Heard
from engines.backtest.judging import Said
from engines.backtest.results import Backtest, Span, Tested, encode
from engines.backtest.sweep import Moments, Sweep
from engines.labels import Label
from monitor import label_files
from monitor.errors import StartupError
from monitor.folders import Folder
from monitor.label_files import LabelError, Labels
from monitor.recording_format import LABELS
from monitor.recordings import Recording
from monitor.replay_format import ReplayError
from monitor.replay_output import Replay
from schemas.topics import NO_INSTRUMENTS

Ints = npt.NDArray[np.int64]
RESULT = "backtest.json"
_TRACKS = ["instrument", "head", "ts_event", "ts_available", "clock_ns", "score", "order", "account"]


def said(replay: Replay, *, like: Said | None = None) -> Said:
    """Return what a replay said.

    Parameters
    ----------
    like
        What a replay of more of the same recording said: the instruments of which it heard, and when, are taken over,
        so that both are judged on the same cells.

    Raises
    ------
    ReplayError
        A file cannot be read, or nothing was heard within the tested range.
    """
    manifest = replay.manifest
    alerts = replay.alerts()
    tracks = replay.table("tracks", _TRACKS)
    scores = replay.table("scores", ["instrument", "ts_available"])
    told = sorted({alert.subject.instrument for alert in alerts})
    names = like.heard.names if like else tuple(sorted({*_names(tracks), *_names(scores), *told}))
    sweep = Sweep(manifest.specs, _moments(tracks, names), floor=manifest.track_floor, patience_ns=manifest.patience_ns)
    if like is not None:
        return Said(alerts, like.heard, sweep)
    number = {name: at for at, name in enumerate(names)}
    spoken = np.array(
        [
            (number[alert.subject.instrument], alert.times.available_at)
            for alert in alerts
            if alert.activity != "close"  # the clock closes, of its own accord
        ],
        np.int64,
    ).reshape(-1, 2)
    instrument = np.concatenate([_numbers(tracks, names), _numbers(scores, names), spoken[:, 0]])
    ts = np.concatenate([_ints(tracks, "ts_available"), _ints(scores, "ts_available"), spoken[:, 1]])
    within = (ts >= manifest.from_ns) & (ts < manifest.to_ns)
    if not within.any():
        raise ReplayError(
            f"Nothing was heard in {replay.path} within the tested range: there is nothing to judge; replay another "
            "range or other instruments."
        )
    return Said(alerts, Heard(names, instrument[within], ts[within], manifest.from_ns, manifest.to_ns), sweep)


def _moments(tracks: pa.Table, names: tuple[str, ...]) -> dict[str, Moments]:
    found = {}
    for head in sorted(_unique(tracks, "head")):
        mine = tracks.filter(pc.equal(tracks["head"], head))
        instrument = _numbers(mine, names)
        account = pc.index_in(mine["account"], value_set=pc.unique(mine["account"])).to_numpy().astype(np.int64)
        order = np.lexsort((_ints(mine, "order"), account, instrument))
        event, available, clock = (_ints(mine, name)[order] for name in ("ts_event", "ts_available", "clock_ns"))
        score = mine["score"].to_numpy().astype(np.float64)[order]
        found[head] = Moments(instrument[order], event, available, clock, score, account[order])
    return found


def _unique(table: pa.Table, column: str) -> list[str]:
    found: list[str] = pc.unique(table[column]).to_pylist()
    return found


def _names(table: pa.Table) -> list[str]:
    return _unique(table, "instrument")


def _numbers(table: pa.Table, names: tuple[str, ...]) -> Ints:
    found = pc.index_in(table["instrument"], value_set=pa.array(names, pa.string()))
    return np.asarray(found.to_numpy(), np.int64)


def _ints(table: pa.Table, column: str) -> Ints:
    return np.asarray(table[column].to_numpy(), np.int64)


def recording_of(replay: Replay) -> Recording | None:
    """Return the recording that was replayed, where it lies where it lay and is what it was."""
    origin = replay.manifest.recording
    if not origin.digest:
        return None  # it came from the broker
    try:
        recording = Recording.open(origin.path, verify=origin.damaged, damaged="skip")
    except (StartupError, OSError):
        return None
    return recording if recording.digest == origin.digest else None


def labels_of(replay: Replay, recording: Recording | None, given: Path | None) -> Labels:
    """Return the labels of a file, or those of the recording that was replayed.

    Raises
    ------
    LabelError
        There are none, or they cannot be used.
    """
    if given is not None:
        return label_files.read(given)
    if recording is None or LABELS not in recording.manifest.files:
        where = replay.manifest.recording.path
        what = f"has no {LABELS}" if recording else "is not there any more as it was"
        raise LabelError(
            f"{where}, which was replayed into {replay.path}, {what}: name a file of labels with --labels FILE."
        )
    entry = recording.manifest.files[LABELS]
    return label_files.checked(recording.labels(), f"{recording.path}/{LABELS}", entry.sha256)


def gaps_of(recording: Recording | None) -> list[Span]:
    """Return what of a recording was not used."""
    return [
        Span(from_ns=one.first_ns, to_ns=one.last_ns, what=str(one))
        for one in (recording.damage if recording is not None else [])
    ]


def left_out(tested: Tested) -> list[str]:
    """Return a sentence on each gap of what was tested; a replay that met them has said so in its stamps."""
    said = " ".join(tested.stamps)
    return [f"Left out: {gap.what}." for gap in tested.gaps if gap.what not in said]


class Judges(NamedTuple):
    """Labels ``within`` the tested range, which judge, those ``outside`` of it, which do not, and what was tested."""

    within: list[Label]
    outside: list[Label]
    tested: Tested


def judged_by(replay: Replay, said: Said, labels: Labels, *, skip_unknown: bool, gaps: Sequence[Span] = ()) -> Judges:
    """Return what a replay is judged by.

    Of a replay of some instruments, labels of others are outside of what was tested.

    Raises
    ------
    LabelError
        One names an instrument of which nothing was heard, and they are not to be skipped.
    """
    manifest, heard = replay.manifest, said.heard
    asked = set(manifest.instruments)

    def lies_within(label: Label) -> bool:
        return manifest.from_ns <= label.onset_ns < manifest.to_ns and (not asked or bool(asked & {*label.instruments}))

    within = [label for label in labels.labels if lies_within(label)]
    outside = [label for label in labels.labels if not lies_within(label)]
    chosen = [
        msgspec.structs.replace(label, instruments=[name for name in label.instruments if not asked or name in asked])
        for label in within
    ]
    kept, unknown, skipped = label_files.known(
        Labels(tuple(chosen), labels.where, labels.digest),
        set(heard.names),
        skip=skip_unknown,
        where=str(replay.path),
    )
    tested = Tested(
        replay=str(replay.path),
        recording=manifest.recording.path,
        recording_digest=manifest.recording.digest,
        alert_digest=manifest.digest,
        code_version=manifest.code_version,
        bundle=manifest.bundle,
        config=manifest.config,
        from_ns=manifest.from_ns,
        to_ns=manifest.to_ns,
        warm_up_ns=manifest.warm_up_ns,
        instruments=len({heard.names[number] for number in np.unique(heard.instrument)} - NO_INSTRUMENTS),
        days=len(heard.stretches()[0]),
        instrument_days=len(heard.instrument_days()),
        labels_file=labels.where,
        labels_digest=labels.digest,
        labels=sum(not label.benign for label in kept),
        benign=sum(label.benign for label in kept),
        labels_outside=len(outside),
        labels_skipped=len(skipped),
        unknown_instruments=unknown,
        stamps=list(manifest.stamps),
        gaps=list(gaps),
    )
    return Judges(kept, outside, tested)


def write(found: Backtest, out: Path) -> None:
    """Write a backtest into a folder that may be there already."""
    Folder(out).write(RESULT, encode(found))
