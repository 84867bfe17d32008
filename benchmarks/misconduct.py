"""Misconduct on simulated days, as the chain finds it: recall, delays, false alerts, confusion.

`make bench-typologies` runs it, on days of `benchmarks.misconduct_days`: typologies of markets and of words, whose
subject is the instrument, and of money, whose subject is the account. The detectors read what a feed has; labels are
opened afterwards. Every day of every case has a seed of its own; nothing was chosen on them.

How it is counted (`engines.backtest.matching`). An alarm is an episode at its first alert of at least a warning; of
`enforcement_language`, which opens as an information and no more, at its first. It is an event's if it is of the
event's typology, on one of its instruments, by one of its accounts (or names none), and could be known from a minute
before the event's start to ten minutes after its end (a day after it, of money); an insider's event ends long after the
impact of its news has been measured. All other alarms are false, of measures of risk too (market_anomaly, market_wide):
those on a *look-alike*, those of *another* typology than the event that they are on (of one of its accounts, or naming
none), and *nobody's*. The posts of a `pump_and_dump` coordinate it: `pump_coordination` on them is neither right nor
false. Delays run from the event's onset; intervals are 95 %, Clopper and Pearson's for shares and the exact Poisson
ones for rates.

At the budget of one false alarm an instrument-day, over typologies of markets and of words together: the most that any
one typology may have is lowered until all have no more together, by the least score at which it may ring; each day has
the scores that keep every case's other days within the budget (a single day has no other, and all rings). An episode
that opens below its score and rises later is left out, so it may find a little less than rules with such thresholds.
Typologies of money have no such budget: their false alarms are told for a thousand account-days, as shipped.

Beside it, of instruments: only what turns critical; a detector that rings as often, of the typologies that Tocsin rang,
at instruments and moments drawn at random; and one that rings for every typology and instrument every ten minutes. Both
name no account, so that any is theirs.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from statistics import median

import msgspec

from benchmarks import harness
from benchmarks.misconduct_days import AFTER_NS, MODELS, PAYMENTS, Case, Model, Played
from benchmarks.pump import rate, share
from engines.backtest.matching import Verdict, Window, judge
from engines.backtest.results import Match, Opened
from engines.simulator import money, talk
from engines.simulator.lob import plan

#: What somebody does in a market or says of it; a news_shock is the market's own.
MISCONDUCT = (
    *(name for name, count in plan.PLAN.items() if count and name not in plan.BENIGN | {"news_shock"}),
    *(name for name in talk.PLAN if name not in talk.BENIGN),
)
BEFORE_NS = 60 * 10**9
#: False alarms an instrument-day.
BUDGET = 1.0
_FALSE = ("look-alike", "another", "nobody's")


def typologies_of(model: Model) -> tuple[str, ...]:
    """Return what is injected that should ring, on days of a model."""
    return tuple(money.PLAN) if model == PAYMENTS else MISCONDUCT


def judged(day: Played, rung: Iterable[Opened], match: Match = "own") -> Verdict:
    """Give alarms to the day's events; all of its other alarms are false."""
    window = Window(BEFORE_NS, day.after_ns, match)
    posts = [
        msgspec.structs.replace(
            label, typology="pump_coordination", instruments=[*label.instruments, "market"], accounts=[]
        )
        for label in day.labels
        if label.typology == "pump_and_dump"
    ]
    return judge(day.labels, rung, window, least="info", outside=posts)


@dataclass(slots=True)
class Tally:
    """What days of one case came to.

    ``delays_s`` are by typology, an event each, None where it was missed; ``rang`` counts events by (their typology,
    one that rang on them), look-alikes too, and ``events`` all; ``false`` counts alarms by (typology, why).
    """

    subject_days: int = 0
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
        self.subject_days += day.subject_days
        own = judged(day, rung)
        for catch in own.catches:
            self.delays_s[catch.label.typology].append(catch.delay_s)
        for label in own.missed:
            self.delays_s[label.typology].append(None)
        # Look-alikes as if they were harmful: what rings on them stands in the same table.
        alike = [msgspec.structs.replace(label, benign=False) for label in day.labels]
        every = judged(msgspec.structs.replace(day, labels=alike), rung, "any")
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
        for stray in judged(day, day.alarms).false:
            false[stray.opened.typology].append(stray.opened.score)
    most = max(map(len, false.values()), default=0)
    while sum(min(len(scores), most) for scores in false.values()) > BUDGET * sum(day.subject_days for day in days):
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


# Tables.


def recalls(model: Model, tallies: Mapping[Case, Tally], title: str) -> None:
    """Print recall and delay of each typology by strength, and how often it rang falsely."""
    mine = {case: one for case, one in tallies.items() if case.model == model}
    unit, per = ("1,000 account-days", 1_000) if model == PAYMENTS else ("an instrument-day", 1)
    rows = []
    for name in typologies_of(model):
        cells: list[object] = []
        for one in mine.values():
            caught = one.caught(name)
            cells += [share(len(caught), len(one.delays_s[name])), f"{median(caught):.0f}" if caught else "-"]
        false = sum(one.false[name, why] for one in mine.values() for why in _FALSE)
        rows.append([name, *cells, f"{per * false / sum(one.subject_days for one in mine.values()):.3f}"])
    heads = [head for case in mine for head in (case.level, "s")]
    harness.table(f"{model}, {title}: caught of all, median delay", ["typology", *heads, f"false {unit}"], rows)


def totals(found: Mapping[str, Mapping[Case, Tally]]) -> None:
    """Print of each contender (its tallies by name) what it caught and how often it was wrong."""
    rows = []
    for name, tallies in found.items():
        for case, one in tallies.items():
            by_why = {why: sum(n for (_, reason), n in one.false.items() if reason == why) for why in _FALSE}
            events = [delay for typology in typologies_of(case.model) for delay in one.delays_s[typology]]
            caught = sum(delay is not None for delay in events)
            rows.append(
                [
                    name,
                    case.model,
                    case.level,
                    share(caught, len(events)),
                    rate(sum(by_why.values()), one.subject_days),
                    *(f"{count / one.subject_days:.3f}" for count in by_why.values()),
                ]
            )
    columns = ["detector", "model", "strength", "caught", "false a subject and day", *_FALSE]
    harness.table("all typologies together; subjects are instruments, of payments accounts", columns, rows)


def confusion(case: Case, one: Tally) -> None:
    """Print on how many events of each typology which ones rang."""
    known = typologies_of(case.model)
    columns = sorted({rung for _, rung in one.rang}, key=lambda name: (name not in known, name))
    short = ["".join(part[0] for part in name.split("_")) + name.partition("_")[0][1:3] for name in columns]
    rows = [[label, one.events[label], *(one.rang[label, name] or "" for name in columns)] for label in one.events]
    harness.table(f"{case.model}, {case.level}: on how many events what rang", ["event", "events", *short], rows)
    print(", ".join(f"{key}: {name}" for key, name in zip(short, columns, strict=True)))


def report(days: Mapping[Case, Sequence[Played]]) -> dict[str, float | str]:
    """Print the tables; return the closing figures."""
    tocsin = {case: tally(some, lambda day: day.alarms) for case, some in days.items()}
    paid = {case: one for case, one in tocsin.items() if case.model == PAYMENTS}
    traded = {case: some for case, some in days.items() if case.model != PAYMENTS}
    frugal = at_budget(traded)
    for (title, tallies), model in product((("as shipped", tocsin), ("at the budget", frugal)), MODELS):
        recalls(model, tallies, title)
    recalls(PAYMENTS, paid, "as shipped")
    plain = {case: some for case, some in traded.items() if case.level == "full"}
    for case, one in tocsin.items():
        if case.level == "full":
            confusion(case, one)
    totals(
        {
            "Tocsin": tocsin,
            "at the budget": frugal,
            "critical only": {case: tally(some, lambda day: day.critical) for case, some in plain.items()},
            "random": {case: tally(some, at_random) for case, some in plain.items()},
            "always": {case: tally(some, always) for case, some in plain.items()},
        }
    )
    return {f"shipped_{name}": value for name, value in closing(tocsin).items()} | closing({**frugal, **paid})


def closing(tallies: Mapping[Case, Tally]) -> dict[str, float | str]:
    """Return the least recall of any typology on any model by level and whose it is, and the most false alarms."""
    found: dict[str, float | str] = {}
    for name, paid, per in (("an_instrument_day", False, 1), ("a_thousand_account_days", True, 1_000)):
        rates = [
            per * sum(one.false.values()) / one.subject_days
            for case, one in tallies.items()
            if (case.model == PAYMENTS) == paid
        ]
        found[f"false_{name}"] = round(max(rates), 3)
    for level in dict.fromkeys(case.level for case in tallies):
        least, whose = min(
            (one.recall(name), f"{case.model} {name}")
            for case, one in tallies.items()
            if case.level == level
            for name in typologies_of(case.model)
        )
        found |= {f"min_recall_{level}": round(least, 3), f"worst_{level}": whose}
    return found
