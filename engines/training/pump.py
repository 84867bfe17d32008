"""Thresholds of the pump typology, chosen on the past alone: the procedure, fixed before its result was seen.

What it chooses: the five thresholds of `PumpConfig`, each from a short list of round numbers; windows, times and the
episode's hold stay. What it maximises on the files that it is given: verified events caught within 120 s less false
episodes, so that a false episode costs as much as an event brings. Many choices tie, often over wide ranges; it takes
the one nearest to the middle of all that tie, for the widest margin on every side.

A file's ticks are replayed once, through an engine with the loosest of all thresholds; what matters is kept as
`Moments`, from which the episodes of any choice follow exactly.

A folder holds ``events.csv`` (event_id, file, onset_rule_utc, verified) and the files of trades that it names (ts_ms,
is_buy, price, amount).
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from engines.bundle import Source, sha256_of
from engines.lineage import begin_ns, day_of
from engines.thresholds import PumpFile
from engines.ticks import TickConfig, TickEngine
from engines.typologies.pump_and_dump import SPEC, PumpConfig
from schemas.frames import Frame, frame_of

#: Of `PumpConfig`, in the order of the rules of an explanation.
CHOICES: dict[str, tuple[float, ...]] = {
    "rise": (0.03, 0.04, 0.05, 0.06),
    "breakout": (0.015, 0.02, 0.03, 0.04),
    "buying": (20.0, 40.0, 80.0),
    "orders": (90.0, 120.0, 150.0, 200.0),
    "order_rate": (20.0, 40.0, 80.0),
}
FRAME = 500
#: An episode from so long before an event's onset to so long after is the event's; by `CAUGHT_NS` it is caught.
BEFORE_NS, CAUGHT_NS, EVENT_NS = 60 * 10**9, 120 * 10**9, 3600 * 10**9
#: Verified events without which there is nothing to choose by.
LEAST = 3


class PumpError(ValueError):
    """A folder that thresholds cannot be chosen on; the text says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event and its file of trades; ``onset`` int64 ns, 0 where it is not known."""

    event_id: str
    path: Path
    onset: int
    verified: bool


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The ticks of a file that could keep an episode open under any choice.

    ``ts`` int64 ns (n,); ``then`` the time of the tick after each, which begins the calm; ``measures`` float64
    (n, 5) in the order of `CHOICES`.
    """

    ts: npt.NDArray[np.int64]
    then: npt.NDArray[np.int64]
    measures: npt.NDArray[np.float64]


def candidates() -> list[PumpConfig]:
    """Return every choice, the first threshold varying slowest."""
    return [
        PumpConfig(**dict(zip(CHOICES, values, strict=True)))  # type: ignore[arg-type]
        for values in itertools.product(*CHOICES.values())
    ]


def moments(ticks: Frame) -> Moments:
    """Return what a file's ticks are judged by, as the engine explains it."""
    loosest = msgspec.structs.replace(PumpConfig(), **{name: values[0] for name, values in CHOICES.items()})
    engine = TickEngine(TickConfig(pump=loosest))
    state = engine.new_state()
    every: list[npt.NDArray[np.int64]] = []
    rows: list[int] = []
    measures: list[list[float]] = []
    seen = 0
    for at in range(0, len(ticks), FRAME):
        for track in engine.apply(state, ticks[at : at + FRAME]).tracks:
            if track.head == SPEC.name:
                kept = np.flatnonzero(track.score >= SPEC.close).tolist()
                measures += [[rule.value for rule in track.explain(i).rules] for i in kept]
                rows += [seen + i for i in kept]
                every.append(track.ts_event)
                seen += len(track.ts_event)
    ts = np.concatenate([*every, np.array([np.iinfo(np.int64).max // 2])])
    at_rows = np.array(rows, dtype=np.int64)
    return Moments(ts[at_rows], ts[at_rows + 1], np.array(measures).reshape(len(rows), len(CHOICES)))


def openings(config: PumpConfig, seen: Moments) -> list[int]:
    """Return when (int64 ns) episodes open under a choice, as `engines.episodes.step` would open them."""
    limits = np.array([getattr(config, name) for name in CHOICES])
    weakest = (seen.measures / limits).min(axis=1)
    alive = np.flatnonzero(weakest >= (SPEC.close / (1.0 - SPEC.close)) ** 0.5)
    hits = np.flatnonzero(weakest[alive] >= 1.0)
    if not len(hits):
        return []
    ts = seen.ts[alive]
    calm = np.flatnonzero(ts[1:] >= seen.then[alive[:-1]] + SPEC.hold_ns) + 1  # an episode that is open ends before
    stretch = calm.searchsorted(hits, side="right")
    first = np.concatenate([[True], stretch[1:] != stretch[:-1]])
    opened: list[int] = ts[hits[first]].tolist()
    return opened


def choose(worth: Sequence[npt.NDArray[np.float64]]) -> int:
    """Return the choice (index into `candidates`) that files of such worth ask for.

    ``worth`` has for each file what every choice earns there, float64 (choices,).

    Example
    -------
    >>> nothing = np.zeros(len(candidates()))
    >>> config = candidates()[choose([nothing])]
    >>> config.rise, config.orders
    (0.04, 120.0)
    """
    total = np.sum(worth, axis=0)
    shape = [len(values) for values in CHOICES.values()]
    best = np.flatnonzero(total == total.max())
    places = np.stack(np.unravel_index(best, shape), axis=1)  # (ties, thresholds)
    away = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
    return int(best[np.argmin(away)])


def worth(seen: Moments, onset: int, verified: bool) -> npt.NDArray[np.float64]:
    """Return what every choice earns on a file, float64 (choices,): 1 for its event if caught, less false episodes.

    What an event that is not verified has in its window is neither.
    """
    earned = np.zeros(len(candidates()))
    for at, config in enumerate(candidates()):
        opened = openings(config, seen)
        mine = [ts for ts in opened if onset and onset - BEFORE_NS <= ts <= onset + EVENT_NS]
        caught = verified and bool(mine) and min(mine) <= onset + CAUGHT_NS
        earned[at] = caught - (len(opened) - len(mine))
    return earned


def train(folder: Path, day: date, progress: Callable[[int, int], None] = lambda done, of: None) -> PumpFile:
    """Return the thresholds that the files of trades which end before ``day`` (UTC) ask for.

    Parameters
    ----------
    progress
        Is told how many files of how many were looked at.

    Raises
    ------
    PumpError
        The folder is no such set, or has too few verified events before ``day``.
    """
    until_ns = begin_ns(day)
    events = list(_events(folder))
    earned: list[npt.NDArray[np.float64]] = []
    used: list[Event] = []
    first_ns, last_ns = until_ns, 0
    for at, event in enumerate(events):
        ticks = _trades(event)
        if len(ticks) and ticks.ts_event[-1] < until_ns:
            earned.append(worth(moments(ticks), event.onset, event.verified))
            used.append(event)
            first_ns, last_ns = min(first_ns, int(ticks.ts_event[0])), max(last_ns, int(ticks.ts_event[-1]))
        progress(at + 1, len(events))
    verified = sum(event.verified for event in used)
    if verified < LEAST:
        raise PumpError(f"{folder}: expected {LEAST} verified events or more that end before {day}, found {verified}")
    files = [folder / "events.csv", *(event.path for event in used)]
    source = Source(
        name="pump_trades",
        stage="training",
        origin="TimurPugoev/pump-and-dump-detection-marterthesis, SystemsLab-Sapienza/pump-and-dump-dataset",
        licence="none: to be tested with, not to be shipped",
        may_train_what_ships=False,
        window=f"{day_of(first_ns)} to {day_of(last_ns)}",
        sha256={str(path.relative_to(folder)): sha256_of(path) for path in files},
        note=f"Thresholds chosen on {len(used)} files of trades, {verified} of verified events.",
    )
    return PumpFile(thresholds=candidates()[choose(earned)], source=source)


def _events(folder: Path) -> Iterator[Event]:
    try:
        with (folder / "events.csv").open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                onset = row["onset_rule_utc"]
                at = datetime.fromisoformat(onset).replace(tzinfo=UTC) if onset else None
                ns = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000 if at else 0
                yield Event(row["event_id"], folder / row["file"], ns, row["verified"] == "True")
    except (OSError, KeyError, ValueError) as error:
        raise PumpError(f"{folder}/events.csv: expected event_id, file, onset_rule_utc, verified ({error})") from error


def _trades(event: Event) -> Frame:
    """Return the trades of an event's file in order of time."""
    try:
        table = pl.read_parquet(event.path, columns=["ts_ms", "is_buy", "price", "amount"]).sort(
            "ts_ms", maintain_order=True
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise PumpError(f"{event.path}: expected trades of ts_ms, is_buy, price, amount ({error})") from error
    ns = table["ts_ms"].to_numpy() * 10**6
    columns = {
        "ts_event": ns,
        "ts_available": ns,
        "price": table["price"].to_numpy(),
        "size": table["amount"].to_numpy(),
        "side": np.where(table["is_buy"].to_numpy(), 1, -1),
    }
    return frame_of(event.event_id, columns)
