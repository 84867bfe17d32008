"""The order-flow model learnt anew from recordings, for a bundle that is to challenge the one that serves.

Days are told apart by the UTC day at which their orders could be known. Of their row the last quarter is what the new
model is measured on, the quarter before it calibrates and weighs, and the rest is learnt from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from engines.bundle import Part, Source, sha256_of
from engines.labels import Label
from engines.lineage import begin_ns, day_of
from engines.order_flow import OrderFlowModel, sigmoid
from engines.training.build import Member
from engines.training.card import RECORDED
from engines.training.models.order_flow import Floats
from engines.training.order_flow import TYPOLOGIES, Played, Rows, learn, rows_of, scores, told
from engines.training.tasks.order_flow import items_within, labels_of, model_of

#: Days that are needed: two to learn from, one to weigh by, one to be measured on.
LEAST = 4


class RetrainError(ValueError):
    """Nothing can be learnt of these recordings; the text says why."""


class Day(NamedTuple):
    """A UTC day of a recording."""

    path: Path
    day: date


class Steps(NamedTuple):
    """What is called after each day that was read, and after each epoch."""

    read: Callable[[], None]
    learnt: Callable[[], None]


def days_of(recordings: Sequence[Path], until: date) -> list[Day]:
    """Return the days of recordings before ``until`` on which there were orders, in their order.

    Raises
    ------
    RetrainError
        A recording has no orders, or there are too few days.
    """
    found = []
    for path in recordings:
        if not (path / "orders").is_dir():
            raise RetrainError(f"{path} holds no orders: expected recordings of `tocsin record` or `tocsin simulate`")
        times = pl.scan_parquet(path / "orders" / "*.parquet").select(pl.col("ts_available") // (86_400 * 10**9))
        found += [Day(path, day_of(int(n) * 86_400 * 10**9)) for n in times.unique().collect().to_series()]
    kept = sorted((one for one in found if one.day < until), key=lambda one: (one.day, one.path))
    if (dates := len({one.day for one in kept})) < LEAST:
        raise RetrainError(f"{dates} days of orders before {until}: expected {LEAST} or more, record for longer")
    return kept


def parted(days: Sequence[Day]) -> dict[str, Sequence[Day]]:
    """Return the days to learn from, to validate, and to test by; at least one each, the latest are tested.

    Recordings of one day are all in one part: they are of one market.

    Example
    -------
    >>> {name: len(part) for name, part in parted([Day(Path(), date(2026, 1, n)) for n in range(1, 9)]).items()}
    {'train': 4, 'validate': 2, 'test': 2}
    """
    dates = sorted({one.day for one in days})
    quarter = max(1, len(dates) // 4)
    validated, tested = dates[-2 * quarter], dates[-quarter]
    return {
        "train": [one for one in days if one.day < validated],
        "validate": [one for one in days if validated <= one.day < tested],
        "test": [one for one in days if one.day >= tested],
    }


def order_flow(
    days: Sequence[Day], labels: Sequence[Label] | None, steps: Steps, serves: OrderFlowModel | None = None
) -> Member:
    """Return the order-flow model that is learnt from days, as a member of a bundle.

    Parameters
    ----------
    labels
        What is known to have happened; None takes what each recording brings.
    serves
        The model that it is to take the place of: measured on the same days, as the contender "champion".

    Raises
    ------
    RetrainError
        Nothing of what a network could tell is known to have happened on the days that are learnt from.
    """
    rows = {
        name: rows_of(_played(part, labels, steps.read), thinned=name == "train") for name, part in parted(days).items()
    }
    for name in ("train", "validate"):
        if not (rows[name].labels == 1).any():
            first, last = parted(days)[name][0].day, parted(days)[name][-1].day
            raise RetrainError(
                f"nothing that is labelled happened in orders from {first} to {last} ({name}): give labels of"
                f" {', '.join(TYPOLOGIES[:3])}, …, on instruments and accounts of the recordings"
            )
    learnt = learn(rows["train"], rows["validate"], steps.learnt)
    part = Part(
        task="misconduct in an account's last order events",
        split={name: len(one.unit) for name, one in rows.items()},
        split_rule="By day; the latest are tested. A row is a moment at which the daemon asks; measures are of "
        "accounts' days in an instrument, by the highest score of the day, and draw instruments' days.",
        metrics=told("recorded", rows["train"], rows["test"], learnt, _before(rows["test"], serves)),
        notes=["Learnt from recordings, and from labels as good as whoever gave them.", learnt.said()],
    )
    return Member(learnt.files(), part, _source(days))


def _played(days: Sequence[Day], labels: Sequence[Label] | None, read: Callable[[], None]) -> Iterator[Played]:
    for path, day in days:
        from_ns, to_ns = begin_ns(day), begin_ns(day + timedelta(days=1))
        known = labels_of(path) if labels is None else labels
        mine = [label for label in known if label.start_ns < to_ns and label.end_ns >= from_ns]
        yield Played(f"{path.name} {day}", model_of(path), items_within(path, from_ns, to_ns), mine)
        read()


def _before(rows: Rows, serves: OrderFlowModel | None) -> dict[str, Floats]:
    """Return what another model and the rules together say of each typology of the units of rows."""
    if serves is None:
        return {}
    # (row, typology), a few rows at a time: in half precision they are half as large
    parts = np.array_split(np.arange(len(rows.unit)), len(rows.unit) // 8192 + 1)
    odds = [serves.log_odds(rows.events[part].astype(np.float32), rows.beside[part]) for part in parts]
    probabilities = sigmoid(np.concatenate(odds))
    return {
        name: scores(rows, probabilities[:, k], TYPOLOGIES.index(name), serves.spec.weights[k])
        for k, name in enumerate(serves.spec.typologies)
        if name in TYPOLOGIES
    }


def _source(days: Sequence[Day]) -> Source:
    paths, dates = sorted({one.path for one in days}), {one.day for one in days}
    return Source(
        name=RECORDED,
        stage="training",
        origin=", ".join(map(str, paths)),
        licence="whose the recordings are",
        may_train_what_ships=False,
        window=f"{days[0].day} to {days[-1].day}",
        sha256={str(path): sha256_of(path / "manifest.json") for path in paths},
        note=f"Orders, ticks and news of {len(dates)} days; the digests are of the recordings' manifests.",
    )
