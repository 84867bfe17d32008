"""Misconduct in order flow: a network over accounts' last events, weighed with the rules, on simulated days.

A folder holds recordings of `tocsin simulate --model agents | queues`, one a folder. What is learnt from are the days
of one model, the first recording's; the last quarter of them, by name, calibrates and weighs. Where train and test are
one folder, that model's last quarter and every other model's days are predicted, and the quarter before calibrates.

The predictions are ``day,instrument,account,typology`` with the highest ``score`` of the day, of the ``rule`` alone and
of the ``network`` alone, where one of them is 0.2 or more.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from engines.bundle import Metric
from engines.labels import Label
from engines.training.models.order_flow import EPOCHS
from engines.training.order_flow import Played, Rows, Said, contenders, learn, measure, rows_of
from engines.training.tasks import Outcome, Run
from engines.training.tasks.tables import FolderError
from engines.typologies.conditions import LEAST_SCORE
from schemas import frames, order_frames
from schemas.frames import Frame
from schemas.order_frames import OrderFrame
from schemas.records import News

#: Topics in the order of their ranks in a recording, but news, whose times slice the others.
_TOPICS = ("frames", "orders")
#: Recordings to learn from, at least.
_LEAST = 3


def run(train: Path, test: Path, out: Path, run: Run) -> Outcome:
    """Train on the recordings of ``train``, predict those of ``test``; see `Task`.

    Returns
    -------
    By model of the days that are predicted and by typology: average precision of accounts' days in an instrument by the
    weighed score, the rules alone, the network alone, a logistic regression on summaries of the same events, and
    prevalence; of the first two also the recall at 0.5 and false rings a thousand accounts' days.

    Raises
    ------
    FolderError
        A folder holds no recordings with orders and labels, or ``train`` too few of its first model.
    """
    known = recordings(train)
    model = model_of(known[0])
    own = [path for path in known if model_of(path) == model]
    asked = recordings(test)
    if test.resolve() == train.resolve():
        own, last = _parted(own)
        asked = [path for path in known if model_of(path) != model] + last
    if len(own) < _LEAST:
        raise FolderError(f"{train}: expected {_LEAST} recordings or more of {model} to learn from, found {len(own)}")
    bar = run.progress.add_task("days", total=len(own) + len(asked))

    def rows(paths: list[Path], *, thinned: bool = False) -> Rows:
        def played() -> Iterator[Played]:
            for path in paths:
                yield read(path)
                run.progress.advance(bar)

        return rows_of(played(), thinned=thinned)

    first, last = _parted(own)
    learnt_from, validate = rows(first, thinned=True), rows(last)
    fits = run.progress.add_task("epochs", total=EPOCHS)
    learnt = learn(learnt_from, validate, lambda: run.progress.advance(fits))
    if run.keep is not None:
        run.keep.mkdir(parents=True, exist_ok=True)
        for name, content in learnt.files().items():
            (run.keep / name).write_bytes(content)
    found: dict[str, Metric] = {}
    tables = []
    for name in sorted({model_of(path) for path in asked}):
        told = rows([path for path in asked if model_of(path) == name])
        said = contenders(learnt_from, told, learnt)
        found |= {f"{name} {key}": metric for key, metric in measure(told, said).items()}
        tables.append(_predictions(told, said))
    out.parent.mkdir(parents=True, exist_ok=True)
    pl.concat(tables).write_csv(out)
    return Outcome(found)


def recordings(folder: Path) -> list[Path]:
    """Return the recordings of a folder by name.

    Raises
    ------
    FolderError
        There is none with orders and labels.
    """
    found = [
        path for path in sorted(folder.iterdir()) if (path / "orders").is_dir() and (path / "labels.parquet").is_file()
    ]
    if not found:
        raise FolderError(f"{folder}: expected recordings of `tocsin simulate --model agents`, found none with orders")
    return found


def model_of(path: Path) -> str:
    """Return the order-flow model that a recording was simulated with, "recorded" where nobody simulated it."""
    return str(
        msgspec.json.decode((path / "manifest.json").read_bytes()).get("parameters", {}).get("model", "recorded")
    )


def read(path: Path) -> Played:
    """Return a recording's orders, ticks and news by instrument, and the labels that it brings."""
    return Played(path.name, model_of(path), items_within(path), labels_of(path))


def labels_of(path: Path) -> list[Label]:
    """Return the labels that a recording brings."""
    return [msgspec.convert(row, Label) for row in pl.read_parquet(path / "labels.parquet").to_dicts()]


def items_within(path: Path, from_ns: int = 0, to_ns: int = 2**63 - 1) -> dict[str, list[OrderFrame | Frame | News]]:
    """Return what a recording holds of ``[from_ns, to_ns)`` by instrument, in the order in which it was available.

    Frames are sliced where news comes, as a replay slices them; an instrument without orders is left out.
    """
    items: dict[str, list[tuple[int, int, int, Frame | OrderFrame | News]]] = {}
    heard: dict[str, list[int]] = {}
    for row, (key, ts, value) in enumerate(_messages(path, "news", from_ns, to_ns)):
        heard.setdefault(key.decode(), []).append(ts)
        items.setdefault(key.decode(), []).append((ts, len(_TOPICS), row, msgspec.json.decode(value, type=News)))
    for rank, topic in enumerate(_TOPICS):
        for row, (key, _, value) in enumerate(_messages(path, topic, from_ns, to_ns)):
            frame = frames.decode(value, key) if topic == "frames" else order_frames.decode(value, key)
            cuts = frame.ts_available.searchsorted(heard.get(frame.instrument, [])).tolist()
            for first, last in pairwise(sorted({0, *cuts, len(frame)})):
                part = frame[first:last]
                items.setdefault(frame.instrument, []).append((int(part.ts_available[-1]), rank, row, part))
    ordered = {key: [item[3] for item in sorted(of, key=lambda item: item[:3])] for key, of in items.items()}
    return {key: of for key, of in ordered.items() if any(isinstance(item, OrderFrame) for item in of)}


def _messages(path: Path, topic: str, from_ns: int, to_ns: int) -> Iterator[tuple[bytes, int, bytes]]:
    if (path / topic).is_dir():
        of = pl.scan_parquet(path / topic / "*.parquet").select("key", "ts_available", "value")
        within = (pl.col("ts_available") >= from_ns) & (pl.col("ts_available") < to_ns)
        yield from of.filter(within).collect().iter_rows()


def _parted(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return recordings but the last quarter of them, and that."""
    cut = len(paths) - max(1, len(paths) // 4)
    return paths[:cut], paths[cut:]


def _predictions(rows: Rows, said: Said) -> pl.DataFrame:
    day, instrument, account = zip(*rows.names, strict=True)
    tables = []
    for name, told in said.items():
        columns = {"score": told["tocsin"], "rule": told["rules"], "network": told["network"]}
        table = pl.DataFrame({"day": day, "instrument": instrument, "account": account, "typology": name, **columns})
        tables.append(table.filter(np.maximum.reduce(list(columns.values())) >= LEAST_SCORE))
    return pl.concat(tables)
