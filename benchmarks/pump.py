"""Pump-and-dump on real trades: each file replayed tick by tick through the tick engine and its episodes.

`make bench-pump`, or `python -m benchmarks.pump --data DIR --out FILE.csv` for any folder with `trades/*.parquet`
(ts_ms, is_buy, price, amount) and, where it is to be judged, `events.csv` (event_id, onset_rule_utc, verified).

Which thresholds. Where the folder is this project's own, those for each file of the later two thirds of the verified
events are what `engines.training.pump` chooses on the files that end before it begins ("walk-forward": the headline);
beside them those that it chooses on the first third, and the shipped defaults of `engines.typologies.pump_and_dump`.
Any other folder is judged by the shipped defaults, and nothing is fitted to it.

How it is counted. A verified event is caught if an episode opens
from 60 s before to 120 s after its onset; the delay is that of the first episode from 60 s before to 1 h after. Every
other opening is false. Events that are not verified count for nothing: an episode from 60 s before to 1 h after such an
event's onset (two have one) is neither caught nor false, and every other in its file is false. Coin-days are the hours
that the files cover. Intervals are Clopper and Pearson's for shares and the exact Poisson ones for rates, 95 %.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from benchmarks.harness import close, table
from engines.episodes import Episode, step
from engines.ticks import TickConfig, TickEngine
from engines.training.pump import BEFORE_NS, CAUGHT_NS, CHOICES, EVENT_NS, candidates, choose, moments, worth
from engines.typologies.pump_and_dump import SPEC, PumpConfig
from schemas.frames import Frame, frame_of

DAY_NS = 86_400 * 10**9
FRAME = 500
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Opened:
    """An episode: times in int64 ns, ``closed`` 0 while open, ``score`` in [0, 1] of the tick that opened it."""

    event_id: str
    opened: int
    closed: int
    score: float


@dataclass(frozen=True)
class File:
    """One trade file and its event; ``onset`` and ``announced`` int64 ns, 0 if not known."""

    path: Path
    onset: int = 0
    announced: int = 0
    verified: bool = False

    @property
    def event_id(self) -> str:
        return self.path.stem


@dataclass(frozen=True)
class Judged:
    """Counts over some files: ``delays`` (s) of verified events, infinite where no episode was theirs."""

    events: int
    caught: int
    delays: list[float]
    false: int
    days: float


def files(folder: Path) -> list[File]:
    """Return the trade files of a folder by the time of their event, as their names tell it."""
    known: dict[str, dict[str, str]] = {}
    if (folder / "events.csv").is_file():
        with (folder / "events.csv").open(newline="", encoding="utf-8") as lines:
            known = {row["event_id"]: row for row in csv.DictReader(lines)}
    found = []
    for path in (folder / "trades").glob("*.parquet"):
        row = known.get(path.stem, {})
        found.append(
            File(
                path,
                _ns(row.get("onset_rule_utc", "")),
                _ns(row.get("announced_utc", "")),
                row.get("verified") == "True",
            )
        )
    return sorted(found, key=lambda file: (file.event_id.rsplit("_", 1)[-1], file.event_id))


def load(path: Path) -> Frame:
    """Return a trade file as one long frame."""
    trades = pq.read_table(path)
    ts = trades["ts_ms"].to_numpy() * 10**6
    columns = {
        "ts_event": ts,
        "ts_available": ts,
        "price": trades["price"].to_numpy(),
        "size": trades["amount"].to_numpy(),
        "side": np.where(trades["is_buy"].to_numpy(zero_copy_only=False), 1, -1),
    }
    return frame_of(path.stem, columns)


def replay(engine: TickEngine, name: str, ticks: Frame, rows: int = FRAME) -> list[Opened]:
    """Return the episodes that the engine opens on ``ticks``, given ``rows`` at a time."""
    state, episode = engine.new_state(), Episode()
    found: list[Opened] = []
    for at in range(0, len(ticks), rows):
        for track in engine.apply(state, ticks[at : at + rows]).tracks:
            if track.head == SPEC.name:
                _follow(found, name, episode, track.ts_event, track.score)
    return found


def _follow(found: list[Opened], name: str, episode: Episode, ts: Ints, score: npt.NDArray[np.float64]) -> None:
    for change in step(SPEC, episode, ts, score):
        if change.activity == "create":
            found.append(Opened(name, change.ts, 0, change.score))
        elif change.activity == "close":
            found[-1] = Opened(name, found[-1].opened, change.ts, found[-1].score)


def judge(chosen: Sequence[tuple[File, Frame]], episodes: dict[str, list[Opened]]) -> Judged:
    """Count what the module's first lines say."""
    delays: list[float] = []
    caught = false = 0
    for file, _ in chosen:
        mine = [e for e in episodes[file.event_id] if file.onset and _in(e.opened, file.onset)]
        false += len(episodes[file.event_id]) - len(mine)
        if file.verified:
            first = min((e.opened for e in mine), default=0)
            delays.append((first - file.onset) / 1e9 if first else math.inf)
            caught += bool(first) and first <= file.onset + CAUGHT_NS
    days = sum(float(ticks.ts_event[-1] - ticks.ts_event[0]) for _, ticks in chosen) / DAY_NS
    return Judged(len(delays), caught, delays, false, days)


def _in(opened: int, onset: int) -> bool:
    return onset - BEFORE_NS <= opened <= onset + EVENT_NS


def price_and_volume(name: str, ticks: Frame) -> list[Opened]:
    """The baseline: 5 % over the last minute's first price and a minute's volume 5 standard deviations up."""
    ts, price = ticks.ts_event, ticks.price
    notional = np.concatenate([[0.0], np.cumsum(price * ticks.size)])
    rows = np.arange(len(ts))
    minute_ago = ts.searchsorted(ts - 60 * 10**9)
    last_minute = notional[rows + 1] - notional[minute_ago]
    minutes = (ts - ts[0]) // (60 * 10**9)
    by_minute = np.bincount(minutes, price * ticks.size)
    seen = np.cumsum(by_minute)
    count = np.arange(1, len(seen) + 1)
    mean = seen / count
    spread = np.sqrt(np.maximum(np.cumsum(by_minute**2) / count - mean**2, 0.0))
    before = np.maximum(minutes - 1, 0)  # the running minute is not its own yardstick
    fires = (price / price[minute_ago] >= 1.05) & (last_minute > mean[before] + 5 * spread[before]) & (minutes > 30)
    found: list[Opened] = []
    _follow(found, name, Episode(), ts, fires.astype(np.float64))
    return found


def at_random(name: str, ticks: Frame) -> list[Opened]:
    """A dummy: a tick a day opens, drawn with the file's name as the seed."""
    draw = random.Random(name)
    days = math.ceil(float(ticks.ts_event[-1] - ticks.ts_event[0]) / DAY_NS)
    rows = sorted(draw.randrange(len(ticks)) for _ in range(days))
    return [Opened(name, int(ticks.ts_event[row]), 0, 1.0) for row in rows]


def always(name: str, ticks: Frame) -> list[Opened]:
    """A dummy that opens every three minutes: it catches all there is, and shows what that is worth."""
    opened = range(int(ticks.ts_event[0]), int(ticks.ts_event[-1]), BEFORE_NS + CAUGHT_NS)
    return [Opened(name, ts, 0, 1.0) for ts in opened]


def share(hits: int, of: int) -> str:
    """Return "hits/of [low, high]" with Clopper and Pearson's 95 % interval."""
    low = _bisect(lambda p: _binomial_tail(hits, of, p) >= 0.025) if hits else 0.0
    high = _bisect(lambda p: 1.0 - _binomial_tail(hits + 1, of, p) < 0.025) if hits < of else 1.0
    return f"{hits}/{of} [{low:.2f}, {high:.2f}]"


def rate(count: int, days: float) -> str:
    """Return "count a day [low, high]" with the exact Poisson 95 % interval."""
    low = _bisect(lambda p: 1.0 - _poisson_cdf(count - 1, p * 10 * (count + 1)) >= 0.025) if count else 0.0
    high = _bisect(lambda p: _poisson_cdf(count, p * 10 * (count + 1)) < 0.025)
    scale = 10 * (count + 1) / days
    return f"{count / days:.3f} [{low * scale:.3f}, {high * scale:.3f}]"


def _bisect(above: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return (low + high) / 2


def _binomial_tail(hits: int, of: int, p: float) -> float:
    return math.fsum(math.comb(of, k) * p**k * (1 - p) ** (of - k) for k in range(hits, of + 1))


def _poisson_cdf(count: int, mean: float) -> float:
    if not mean:
        return 1.0
    return math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))


def _ns(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) * 10**6 if text else 0


def _iso(ns: int) -> str:
    moment = datetime.fromtimestamp(ns // 10**9, UTC).replace(microsecond=ns % 10**9 // 10**6 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def walk_forward(found: Sequence[tuple[File, Frame]], judged: Sequence[File]) -> dict[str, PumpConfig]:
    """Return by event_id the thresholds for each file of ``judged``, chosen on the files that end before it begins.

    Under "" stands what the files before all of ``judged`` choose, under "all" what all files do.
    """
    offered = candidates()
    earned = {file.event_id: worth(moments(ticks), file.onset, file.verified) for file, ticks in found}
    begins = {file.event_id: int(ticks.ts_event[0]) for file, ticks in found}
    ends = {file.event_id: int(ticks.ts_event[-1]) for file, ticks in found}
    later = {file.event_id for file in judged}
    pasts = {name: [other for other in ends if ends[other] < begins[name]] for name in later}
    pasts |= {"": [name for name in ends if name not in later], "all": list(ends)}
    return {name: offered[choose([earned[other] for other in past])] for name, past in pasts.items()}


def _contenders(
    chosen: dict[str, PumpConfig], judged: bool
) -> Iterator[tuple[str, Callable[[str, Frame], list[Opened]]]]:
    def tocsin(config: PumpConfig) -> Callable[[str, Frame], list[Opened]]:
        engine = TickEngine(TickConfig(pump=config))
        return lambda name, ticks: replay(engine, name, ticks)

    if chosen and judged:
        yield "Tocsin, walk-forward", lambda name, ticks: tocsin(chosen.get(name, chosen[""]))(name, ticks)
    if chosen:
        yield "Tocsin, chosen on the first third", tocsin(chosen[""])
    yield "Tocsin, as shipped" + (" (in sample)" if chosen else ""), tocsin(PumpConfig())
    yield "+5 % in a minute, volume z > 5", price_and_volume
    yield "a random tick a day", at_random
    yield "every three minutes", always


def _rows(
    parts: Sequence[tuple[str, Sequence[tuple[File, Frame]]]], chosen: dict[str, PumpConfig]
) -> Iterator[tuple[list[object], Judged]]:
    for title, files_of_part in parts:
        for name, contender in _contenders(chosen, title == "judged on"):
            found = {file.event_id: contender(file.event_id, ticks) for file, ticks in files_of_part}
            result = judge(files_of_part, found)
            median = float(np.median(result.delays)) if result.delays else math.inf
            row: list[object] = [title, name, share(result.caught, result.events), round(median, 1), result.false]
            yield [*row, rate(result.false, result.days), round(result.days, 1)], result


def main() -> None:
    """Run the benchmark, or write the episodes of another folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/pump_trades"), help="folder with trades/")
    parser.add_argument("--out", type=Path, help="CSV of episodes: event_id, opened_utc, closed_utc, score")
    options = parser.parse_args()
    found = [(file, load(file.path)) for file in files(options.data)]
    if not found:
        raise SystemExit(f"--data: expected {options.data}/trades/*.parquet, found none")
    if options.out:
        engine = TickEngine(TickConfig())
        with options.out.open("w", newline="", encoding="utf-8") as target:
            writer = csv.writer(target)
            writer.writerow(["event_id", "opened_utc", "closed_utc", "score"])
            for file, ticks in found:
                for e in replay(engine, file.event_id, ticks):
                    closed = _iso(e.closed) if e.closed else ""
                    writer.writerow([e.event_id, _iso(e.opened), closed, f"{e.score:.6f}"])
    verified = [file for file, _ in found if file.verified]
    own = options.data.resolve() == Path("../shared/data/pump_trades").resolve()
    tuned = set(verified[: math.ceil(len(verified) / 3)]) if own else set()
    last = max((file.onset for file in tuned), default=0)
    early = [(file, ticks) for file, ticks in found if tuned and (file.onset or file.announced) <= last]
    later = [(file, ticks) for file, ticks in found if not tuned or (file.onset or file.announced) > last]
    chosen = walk_forward(found, [file for file, _ in later]) if own else {}
    results = list(_rows([part for part in (("first third", early), ("judged on", later)) if part[1]], chosen))
    table(
        "Episodes of suspected pump-and-dump (shares and rates with exact 95 % intervals)",
        ["files", "contender", "caught in 120 s", "median delay s", "false", "false a coin-day", "coin-days"],
        [row for row, _ in results],
    )
    before = None
    for name in ["", *(file.event_id for file, _ in later), "all"] if chosen else []:
        if chosen[name] != before:
            values = ", ".join(f"{key} {getattr(chosen[name], key):g}" for key in CHOICES)
            print(f"chosen for {name or 'the first judged file on'}: {values}")
        before = chosen[name]
    judged = {row[1]: result for row, result in results if row[0] == "judged on"}
    headline = judged["Tocsin, walk-forward" if own else "Tocsin, as shipped"]
    median = float(np.median(headline.delays)) if headline.delays else -1.0
    close(
        caught=headline.caught,
        events=headline.events,
        median_delay_s=median if math.isfinite(median) else -1.0,
        false_per_coin_day=round(headline.false / headline.days, 4),
        coin_days=round(headline.days, 2),
    )


if __name__ == "__main__":
    main()
