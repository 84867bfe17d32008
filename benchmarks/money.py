"""How well the typologies of money find what is injected into days that nobody tuned on; and what is said for nothing.

    python -m benchmarks.money [--days 40] [--seeds 301 302 303]

Each seed is an economy of its own (docs/simulator.md): two months and a week without injection, in which the accounts'
usual is learnt, then ``--days`` days with one event of each typology a day. An event is caught where an account of its
label opens an episode of its typology from its begin to a day after its end. An opening that no label explains, by
account and time, is false.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from engines import episodes, names
from engines.accounts import DAY_NS, Account
from engines.episodes import Episode
from engines.labels import Label
from engines.names import Names
from engines.simulator import money
from engines.transfers import SPECS, TransferConfig, TransferEngine
from schemas.records import Transfer

WARM_UP_DAYS = 68
FIRST = date(2025, 3, 3)


class Opening(NamedTuple):
    """An episode opened; ``ts`` is event time, ns."""

    typology: str
    account: str
    ts: int


class Days(NamedTuple):
    """Simulated days: payments in order, labels, names, and where the tested part begins (ns)."""

    transfers: list[Transfer]
    labels: list[Label]
    names: Names
    from_ns: int
    accounts: int


def simulated(
    seed: int, days: int, strength: float, disguise: float = 0.0, typologies: Sequence[str] = tuple(money.PLAN)
) -> Days:
    """Return an economy's days; the background is the same for every strength."""
    people = money.economy(seed)
    transfers: list[Transfer] = []
    labels: list[Label] = []
    opened: dict[str, str] = {}
    for number in range(WARM_UP_DAYS + days):
        today = FIRST + timedelta(days=number)
        wanted = typologies if number >= WARM_UP_DAYS else ()
        paid = money.day(
            seed, people, today, number, _midnight(today), typologies=wanted, strength=strength, disguise=disguise
        )
        transfers += paid.transfers
        labels += paid.labels
        opened |= paid.names
    known = names.read(people.accounts_csv(FIRST, opened).encode(), people.listed_csv().encode())
    accounts = len({t.account for t in transfers} | {t.counterparty for t in transfers})
    return Days(transfers, labels, known, _midnight(FIRST + timedelta(days=WARM_UP_DAYS)), accounts)


def openings(days: Days, config: TransferConfig) -> Iterator[Opening]:
    """Yield the episodes that open in the tested part."""
    engine, states = TransferEngine(config, days.names), dict[str, Account]()
    running: dict[tuple[str, str], Episode] = {}
    for transfer in days.transfers:
        update = engine.apply(states.get, transfer)
        states.update(update.accounts)
        for account, track in update.tracks:
            episode = running.setdefault((account, track.head), Episode())
            for change in episodes.step(SPECS[track.head], episode, track.ts_event, track.score):
                if change.activity == "create" and change.ts >= days.from_ns:
                    yield Opening(track.head, account, change.ts)


def explained(opening: Opening, labels: Sequence[Label]) -> list[Label]:
    """Return the labels of the opening's account and time."""
    return [
        label
        for label in labels
        if opening.account in label.accounts and label.start_ns <= opening.ts <= label.end_ns + DAY_NS
    ]


class Judged(NamedTuple):
    """Of one economy: events and those caught, by typology; false openings; (typology of a label, opening) pairs."""

    events: Counter[str]
    caught: Counter[str]
    false: Counter[str]
    confusion: Counter[tuple[str, str]]
    delays_s: dict[str, list[float]]


def judge(days: Days, config: TransferConfig) -> Judged:
    """Hold openings against labels."""
    judged = Judged(Counter(label.typology for label in days.labels), Counter(), Counter(), Counter(), {})
    caught: set[str] = set()
    for opening in openings(days, config):
        found = explained(opening, days.labels)
        if not found:
            judged.false[opening.typology] += 1
        for label in found:
            judged.confusion[label.typology, opening.typology] += 1
            if label.typology == opening.typology and label.event_id not in caught:
                caught.add(label.event_id)
                judged.caught[label.typology] += 1
                judged.delays_s.setdefault(label.typology, []).append((opening.ts - label.onset_ns) / 1e9)
    return judged


def main() -> None:
    """Print the table of recall against strength, false openings, and the confusion."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--days", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[301, 302, 303])
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.25, 0.5, 1.0, 2.0])
    asked = parser.parse_args()
    config, console = TransferConfig(), Console(width=120)
    by_strength: dict[float, list[Judged]] = {}
    transfers = account_days = 0
    began_s = time.process_time()
    engine_s = 0.0
    for strength in asked.strengths:
        for seed in asked.seeds:
            days = simulated(seed, asked.days, strength)
            began_engine_s = time.process_time()
            by_strength.setdefault(strength, []).append(judge(days, config))
            engine_s += time.process_time() - began_engine_s
            transfers += len(days.transfers)
            account_days += days.accounts * asked.days
    table = Table("typology", *(f"recall at {s:g}" for s in asked.strengths), "delay s", "false a 10,000 account-days")
    full = by_strength[1.0] if 1.0 in by_strength else by_strength[asked.strengths[-1]]
    for name in money.PLAN:
        cells = []
        for found in by_strength.values():
            events, caught = sum(one.events[name] for one in found), sum(one.caught[name] for one in found)
            cells.append(f"{caught / events:.2f} ({caught}/{events})")
        delays = sorted(delay for one in full for delay in one.delays_s.get(name, []))
        false = sum(one.false[name] for found in by_strength.values() for one in found)
        middle = f"{delays[len(delays) // 2]:,.0f}" if delays else "–"
        table.add_row(name, *cells, middle, f"{false / account_days * 1e4:.2f}")
    everything = sum(one.false.total() for found in by_strength.values() for one in found)
    table.add_row("all", *("" for _ in by_strength), "", f"{everything / account_days * 1e4:.2f}")
    console.print(table)
    confusion = Table("event \\ rang as, at strength 1", *money.PLAN)
    for name in money.PLAN:
        confusion.add_row(name, *(str(sum(one.confusion[name, other] for one in full)) for other in money.PLAN))
    console.print(confusion)
    runs = len(asked.seeds) * len(asked.strengths)
    size = f"{account_days / runs / asked.days:,.0f} accounts a run"
    console.print(
        f"{runs} runs of {asked.days} days, {transfers:,} transfers, {size}, {everything / runs / asked.days:.2f} false"
        f" openings a day; engine and judging {engine_s / transfers * 1e6:.0f} µs a transfer,"
        f" {time.process_time() - began_s:.0f} s of CPU in all"
    )


def _midnight(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp()) * 1_000_000_000


if __name__ == "__main__":
    main()
