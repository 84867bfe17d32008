"""Whether a graph convolution finds laundering that the rules do not: accounts of simulated days, ranked.

    python -m benchmarks.money_graph [--days 10] [--strength 1]

Learnt on four economies, judged on three others. What is ranked are accounts of the
bank's own that moved on a day: an account of another bank that nobody here knew is nearly always part of what was
injected, which says much about the simulator and nothing about laundering. Guilty are those of a label of that day.
Names are left out: a graph of payments knows none. The second table is of each typology when nothing of it was learnt.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score

from benchmarks.money import simulated
from engines.accounts import DAY_NS, Account
from engines.simulator import money
from engines.training.accounts import DayGraph, Floats, by_itself, by_surprise, day_graph, with_neighbours
from engines.transfers import TransferConfig, TransferEngine

LEARN, JUDGE = (1, 2, 3, 4), (101, 102, 103)
TYPOLOGIES = tuple(name for name in money.PLAN if name != "sanctions_proximity")


def graphs(seed: int, days: int, strength: float) -> list[DayGraph]:
    """Return the graph of each tested day of an economy."""
    made = simulated(seed, days, strength, typologies=TYPOLOGIES)
    engine, states = TransferEngine(TransferConfig(), made.names), dict[str, Account]()
    found: list[DayGraph] = []
    rules: dict[str, float] = {}
    since_ns = made.from_ns

    def close() -> None:
        found.append(
            day_graph(
                states,
                since_ns,
                {
                    account: label.typology
                    for label in made.labels
                    if since_ns <= label.start_ns < since_ns + DAY_NS
                    for account in label.accounts
                },
                rules,
            )
        )
        rules.clear()

    for transfer in made.transfers:
        if transfer.ts_event >= since_ns + DAY_NS:
            close()
            since_ns += DAY_NS
        update = engine.apply(states.get, transfer)
        states.update(update.accounts)
        if transfer.ts_event >= since_ns:
            for account, track in update.tracks:
                rules[account] = max(rules.get(account, 0.0), float(track.score[0]))
    close()
    return found


def mean_of(*runs: Sequence[Floats]) -> list[Floats]:
    """Return the mean of several runs' ranks, day by day."""
    return [np.mean([run.argsort().argsort() for run in day], axis=0) for day in zip(*runs, strict=True)]


def own(day: DayGraph) -> npt.NDArray[np.bool_]:
    """Return which accounts are the bank's own, bool (node,)."""
    return np.array([name[0] in "AZ" for name in day.names])


def precision(test: Sequence[DayGraph], scored: Sequence[Floats], typology: str = "") -> float:
    """Return the average precision over all days' accounts, ranked day by day; of a typology, beside the innocent."""
    found = []
    for day, score in zip(test, scored, strict=True):
        counts = own(day) & ((day.guilt == typology) | ~day.guilty if typology else True)
        if day.guilty[counts].any():
            found.append(average_precision_score(day.guilty[counts], score[counts]))
    return float(np.mean(found))


def main() -> None:
    """Print average precision, and the share of the guilty among as many accounts as the rules ring for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--strength", type=float, default=1.0)
    asked = parser.parse_args()
    train = [day for seed in LEARN for day in graphs(seed, asked.days, asked.strength)]
    test = [day for seed in JUDGE for day in graphs(seed, asked.days, asked.strength)]
    scored = {
        "the rules": [day.rules for day in test],
        "logistic, the account alone": by_itself(train, test, rules=False),
        "GCN without labels, error": mean_of(*(by_surprise(train, test, seed) for seed in range(2))),
        "GCN with labels": mean_of(*(with_neighbours(train, test, seed, rules=False) for seed in range(2))),
        "logistic with the rules' score": by_itself(train, test, rules=True),
        "GCN with the rules' score": mean_of(*(with_neighbours(train, test, seed, rules=True) for seed in range(2))),
    }
    console = Console(width=140)
    table = Table(
        "ranked by", "average precision", *(f"economy {seed}" for seed in JUDGE), "guilty at the rules' number"
    )
    guilty = sum(int((day.guilty & own(day)).sum()) for day in test)
    for name, days in scored.items():
        hits = 0
        for day, score in zip(test, days, strict=True):
            mine, rung = own(day), int((day.rules[own(day)] >= 0.5).sum())
            hits += int(day.guilty[mine][np.argsort(-score[mine], kind="stable")[:rung]].sum())
        parts = [slice(k * asked.days, (k + 1) * asked.days) for k in range(len(JUDGE))]
        each = [f"{precision(test[part], days[part]):.3f}" for part in parts]
        table.add_row(name, f"{precision(test, days):.3f}", *each, f"{hits / guilty:.2f} ({hits}/{guilty})")
    console.print(table)
    unheard = Table("never learnt", "the rules", "logistic", "GCN", "guilty where it was learnt: GCN")
    for typology in TYPOLOGIES:
        unheard.add_row(
            typology,
            f"{precision(test, scored['the rules'], typology):.3f}",
            f"{precision(test, by_itself(train, test, rules=False, unheard=typology), typology):.3f}",
            f"{precision(test, with_neighbours(train, test, 0, rules=False, unheard=typology), typology):.3f}",
            f"{precision(test, scored['GCN with labels'], typology):.3f}",
        )
    console.print(unheard)


if __name__ == "__main__":
    main()
