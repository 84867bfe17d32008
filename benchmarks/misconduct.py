"""Misconduct in simulated order books, as the chain finds it: recall, delays, false alerts, confusion.

`make bench-typologies` runs it. A day is written as `tocsin simulate --model agents | queues` writes it and replayed
as `tocsin replay --level rules` replays it: order frames, ticks and words of twenty companies, no payments. The
detectors read what a feed has; labels are opened afterwards. Every day of every case has a seed of its own, `SEED` and
on; nothing was chosen on them. A day's result is kept under build/bench for as long as engines and agents stay as they
are.

How it is counted (`engines.backtest.matching`). An alarm is an episode at its first alert of at least a warning. It is
an event's if it is of the event's typology, on one of its instruments, by one of its accounts (or names none), and
could be known from a minute before the event's start to ten minutes after its end; an insider's event ends long after
the impact of its news has been measured. All other alarms are false, of measures of risk too (market_anomaly,
market_wide): those on a *look-alike*, those of *another* typology than the event that they are on (of one of its
accounts, or naming none), and *nobody's*. Delays run from the event's onset; intervals are 95 %, Clopper and Pearson's
for shares and the exact Poisson ones for rates.

At the budget of one false alarm an instrument-day: the most that any one typology may have is lowered until all have no
more together, by the least score at which it may ring; each day has the scores that keep every case's other days within
the budget (a single day has no other, and all rings). An episode that opens below its score and rises later is left
out, so it may find a little less than rules with such thresholds.

Beside it: only what turns critical; a detector that rings as often, of the typologies that Tocsin rang, at instruments
and moments drawn at random; and one that rings for every typology and instrument every ten minutes. Both name no
account, so that any is theirs.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import multiprocessing
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

import msgspec

from benchmarks import harness
from benchmarks.pump import rate, share
from engines.backtest.matching import Window, alarms, judge
from engines.backtest.results import Opened
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.labels import Label
from engines.simulator.day import Config
from engines.simulator.lob.plan import BENIGN, PLAN
from monitor import label_files
from monitor.recordings import LABELS, Message, Recording
from monitor.replay import Course, by_history
from monitor.settings import load
from monitor.simulation import companies_of, write
from monitor.stage import Stages, load_stages
from schemas.journal import RULES_ONLY

Model = Literal["agents", "queues"]
MODELS: tuple[Model, ...] = ("agents", "queues")
SEED = 9_101
#: Strength and disguise.
LEVELS = {"full": (1.0, 0.0), "half": (0.5, 0.0), "quarter": (0.25, 0.0), "disguised": (1.0, 0.5)}
#: What somebody does; a news_shock is the market's own.
MISCONDUCT = tuple(name for name, count in PLAN.items() if count and name not in BENIGN | {"news_shock"})
BEFORE_NS, AFTER_NS = 60 * 10**9, 600 * 10**9
_OWN, _ANY = Window(BEFORE_NS, AFTER_NS, "own"), Window(BEFORE_NS, AFTER_NS, "any")
CACHE = Path("build/bench/misconduct")
#: False alarms an instrument-day.
BUDGET = 1.0
_FALSE = ("look-alike", "another", "nobody's")


class Case(NamedTuple):
    """An order-flow model, and how strong and how hidden what is injected is."""

    model: Model
    level: str


CASES = tuple(Case(model, level) for model, level in product(MODELS, LEVELS))


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """A day that was replayed: its labels, what rang and what turned critical, and of what and when (ns) it heard."""

    labels: list[Label]
    alarms: list[Opened]
    critical: list[Opened]
    instruments: list[str]
    from_ns: int
    to_ns: int


@dataclass(slots=True)
class Tally:
    """What days of one case came to.

    ``delays_s`` are by typology, an event each, None where it was missed; ``rang`` counts events by (their typology,
    one that rang on them), look-alikes too, and ``events`` all; ``false`` counts alarms by (typology, why).
    """

    instrument_days: int = 0
    delays_s: dict[str, list[float | None]] = field(default_factory=lambda: defaultdict(list))
    events: Counter[str] = field(default_factory=Counter)
    rang: Counter[tuple[str, str]] = field(default_factory=Counter)
    false: Counter[tuple[str, str]] = field(default_factory=Counter)

    def caught(self, typology: str) -> list[float]:
        """Return the delays of a typology's events that were caught, s."""
        return [delay_s for delay_s in self.delays_s[typology] if delay_s is not None]

    def recall(self, typology: str) -> float:
        """Return the share of a typology's events that was caught."""
        return len(self.caught(typology)) / len(self.delays_s[typology])

    def add(self, day: Played, rung: Sequence[Opened]) -> None:
        """Count a day on which ``rung`` rang."""
        self.instrument_days += len(day.instruments)
        own = judge(day.labels, rung, _OWN)
        for catch in own.catches:
            self.delays_s[catch.label.typology].append(catch.delay_s)
        for label in own.missed:
            self.delays_s[label.typology].append(None)
        # Look-alikes as if they were harmful: what rings on them stands in the same table.
        alike = [msgspec.structs.replace(label, benign=False) for label in day.labels]
        every = judge(alike, rung, _ANY)
        self.events.update(label.typology for label in day.labels)
        baits = {label.event_id for label in day.labels if label.benign}
        others: set[str] = set()
        for catch in every.catches:
            self.rang.update((catch.label.typology, name) for name in {one.typology for one in catch.opened})
            if catch.label.event_id not in baits:
                others.update(one.episode_id for one in catch.opened)
        for stray in own.false:
            one = stray.opened
            why = "another" if one.episode_id in others else "look-alike" if stray.bait else "nobody's"
            self.false[one.typology, why] += 1


def tally(days: Iterable[Played], says: Callable[[Played], Sequence[Opened]]) -> Tally:
    """Count what a detector says of some days."""
    found = Tally()
    for day in days:
        found.add(day, says(day))
    return found


def within_budget(days: Sequence[Played]) -> dict[str, float]:
    """Return the least scores, by typology, from which on false alarms of these days are within the budget.

    What may ring as it does is left out.
    """
    false: dict[str, list[float]] = defaultdict(list)
    for day in days:
        for stray in judge(day.labels, day.alarms, _OWN).false:
            false[stray.opened.typology].append(stray.opened.score)
    most = max(map(len, false.values()), default=0)
    while sum(min(len(scores), most) for scores in false.values()) > BUDGET * sum(len(day.instruments) for day in days):
        most -= 1
    return {
        name: math.nextafter(sorted(scores)[-most - 1], 2.0) for name, scores in false.items() if len(scores) > most
    }


def at_budget(days: Mapping[Case, Sequence[Played]]) -> dict[Case, Tally]:
    """Count each day with the scores that keep every case's other days within the budget."""
    found = {case: Tally() for case in days}
    for number in range(max(map(len, days.values()))):
        least: dict[str, float] = {}
        for some in days.values():
            others = within_budget([*some[:number], *some[number + 1 :]])
            least |= {name: max(score, least.get(name, 0.0)) for name, score in others.items()}
        for case, some in days.items():
            for day in some[number : number + 1]:
                found[case].add(day, [one for one in day.alarms if one.score >= least.get(one.typology, 0.0)])
    return found


def at_random(day: Played) -> list[Opened]:
    """Ring as often as Tocsin, of its typologies, at instruments and moments that are drawn."""
    draw = random.Random(" ".join(one.episode_id for one in day.alarms))
    return [
        msgspec.structs.replace(one, instrument=draw.choice(day.instruments), account="", available_ns=at_ns)
        for one in day.alarms
        for at_ns in [draw.randrange(day.from_ns, day.to_ns)]
    ]


def always(day: Played) -> list[Opened]:
    """Ring for every typology, at every instrument, every ten minutes."""
    return [
        Opened(
            episode_id=f"{name} {instrument} {at_ns}",
            alert_id="",
            typology=name,
            instrument=instrument,
            opened_ns=at_ns,
            available_ns=at_ns,
            severity="warning",
            score=1.0,
        )
        for name, instrument in product(MISCONDUCT, day.instruments)
        for at_ns in (*range(day.from_ns, day.to_ns, AFTER_NS), day.to_ns)
    ]


# Days.


@cache
def stages() -> Stages:
    """Return the chain, loaded once a process."""
    return load_stages(load(), lambda _: None, mode="replay")


def play(case: Case, seed: int) -> Played:
    """Simulate a day and replay it by the rules alone."""
    strength, disguise = LEVELS[case.level]
    config = Config(model=case.model, seed=seed, strength=strength, disguise=disguise)
    heard: dict[str, None] = {}

    def noted(messages: Iterable[Message]) -> Iterator[Message]:
        for message in messages:
            if message.topic == "frames":
                heard[message.key.decode()] = None
            yield message

    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        path = Path(folder) / "day"
        write(path, config, companies_of(SymbolMaster.load(DEFAULT_SYMBOLS)))
        recording = Recording.open(path, verify=False)
        chain = stages()
        found = asyncio.run(
            by_history(noted(recording.messages(chain.instrument.topics)), chain, Course(level=RULES_ONLY))
        )
        labels = label_files.read(path / LABELS).labels
    return Played(
        labels=list(labels),
        alarms=alarms(found.alerts, "warning"),
        critical=alarms(found.alerts, "critical"),
        instruments=sorted(heard),
        from_ns=found.first_ns,
        to_ns=found.last_ns,
    )


def kept(case: Case, seed: int) -> Played:
    """Return a day from the cache, played where it is not there."""
    strength, disguise = LEVELS[case.level]
    path = CACHE / code() / f"{case.model}-{strength:g}-{disguise:g}-{seed}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(".part")
        made.write_bytes(msgspec.json.encode(play(case, seed)))
        made.rename(path)
        print(f"played {path.name}", file=sys.stderr, flush=True)
    return msgspec.json.decode(path.read_bytes(), type=Played)


@cache
def code() -> str:
    """Return 12 hex digits of all that simulates and decides."""
    root = Path(__file__).parents[1]
    files = sorted(path for package in ("agents", "engines") for path in (root / package).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def played(days: int, levels: Collection[str], workers: int) -> dict[Case, list[Played]]:
    """Return ``days`` days of each case of the ``levels``, played by ``workers`` processes."""
    numbered = [(number, case) for number, case in enumerate(CASES) if case.level in levels]
    asked = [(case, SEED + 100 * number + day) for number, case in numbered for day in range(days)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.map(kept, *zip(*asked, strict=True))
        by_case: dict[Case, list[Played]] = defaultdict(list)
        for (case, _), day in zip(asked, found, strict=True):
            by_case[case].append(day)
    return by_case


# Tables.


def recalls(model: Model, tallies: Mapping[Case, Tally], title: str) -> None:
    """Print recall and delay of each typology by strength, and how often it rang falsely."""
    mine = {case: one for case, one in tallies.items() if case.model == model}
    rows = []
    for name in MISCONDUCT:
        cells: list[object] = []
        for one in mine.values():
            caught = one.caught(name)
            cells += [share(len(caught), len(one.delays_s[name])), f"{median(caught):.0f}" if caught else "-"]
        false = sum(one.false[name, why] for one in mine.values() for why in _FALSE)
        rows.append([name, *cells, f"{false / sum(one.instrument_days for one in mine.values()):.3f}"])
    heads = [head for case in mine for head in (case.level, "s")]
    harness.table(
        f"{model}, {title}: caught of all, median delay", ["typology", *heads, "false an instrument-day"], rows
    )


def totals(found: Mapping[str, Mapping[Case, Tally]]) -> None:
    """Print of each contender (its tallies by name) what it caught and how often it was wrong."""
    rows = []
    for name, tallies in found.items():
        for case, one in tallies.items():
            by_why = {why: sum(n for (_, reason), n in one.false.items() if reason == why) for why in _FALSE}
            events = [delay for typology in MISCONDUCT for delay in one.delays_s[typology]]
            caught = sum(delay is not None for delay in events)
            rows.append(
                [
                    name,
                    case.model,
                    case.level,
                    share(caught, len(events)),
                    rate(sum(by_why.values()), one.instrument_days),
                    *(f"{count / one.instrument_days:.3f}" for count in by_why.values()),
                ]
            )
    columns = ["detector", "model", "strength", "caught", "false an instrument-day", *_FALSE]
    harness.table("all typologies together", columns, rows)


def confusion(case: Case, one: Tally) -> None:
    """Print on how many events of each typology which ones rang."""
    columns = sorted({rung for _, rung in one.rang}, key=lambda name: (name not in MISCONDUCT, name))
    short = ["".join(part[0] for part in name.split("_")) + name.partition("_")[0][1:3] for name in columns]
    rows = [[label, one.events[label], *(one.rang[label, name] or "" for name in columns)] for label in one.events]
    harness.table(f"{case.model}, {case.level}: on how many events what rang", ["event", "events", *short], rows)
    print(", ".join(f"{key}: {name}" for key, name in zip(short, columns, strict=True)))


def report(days: Mapping[Case, Sequence[Played]]) -> dict[str, float]:
    """Print the tables; return the closing figures."""
    tocsin = {case: tally(some, lambda day: day.alarms) for case, some in days.items()}
    frugal = at_budget(days)
    for (title, tallies), model in product((("as shipped", tocsin), ("at the budget", frugal)), MODELS):
        recalls(model, tallies, title)
    plain = {case: some for case, some in days.items() if case.level == "full"}
    for case in plain:
        confusion(case, tocsin[case])
    totals(
        {
            "Tocsin": tocsin,
            "at the budget": frugal,
            "critical only": {case: tally(some, lambda day: day.critical) for case, some in plain.items()},
            "random": {case: tally(some, at_random) for case, some in plain.items()},
            "always": {case: tally(some, always) for case, some in plain.items()},
        }
    )
    return {f"shipped_{name}": value for name, value in closing(tocsin).items()} | closing(frugal)


def closing(tallies: Mapping[Case, Tally]) -> dict[str, float]:
    """Return the least recall of any typology on any model by level, and the most false alerts an instrument-day."""
    false = max(sum(one.false.values()) / one.instrument_days for one in tallies.values())
    found = {"false_an_instrument_day": false}
    for level in dict.fromkeys(case.level for case in tallies):
        mine = [one for case, one in tallies.items() if case.level == level]
        found[f"min_recall_{level}"] = min(one.recall(name) for one in mine for name in MISCONDUCT)
    return {name: round(value, 3) for name, value in found.items()}
