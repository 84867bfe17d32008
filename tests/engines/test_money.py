"""Simulated payments: the same seed pays the same, and what is injected is what labels and docs/simulator.md say."""

from __future__ import annotations

from collections import Counter
from datetime import date
from itertools import pairwise

import pytest

from engines import names
from engines.labels import Label
from engines.simulator import money
from engines.simulator.money import PLAN, THRESHOLD, Paid, day, economy
from schemas.records import Transfer

OPEN_NS, TODAY = 1_741_012_200_000_000_000, date(2025, 3, 3)
PEOPLE = economy(1)


def paid(*typologies: str, strength: float = 1.0, disguise: float = 0.0, number: int = 0) -> Paid:
    return day(1, PEOPLE, TODAY, number, OPEN_NS, typologies=typologies, strength=strength, disguise=disguise)


def injected(typology: str, strength: float = 1.0, disguise: float = 0.0) -> tuple[list[Transfer], Label]:
    """Return the payments that a quiet day does not have, and the label."""
    quiet = Counter((t.ts_event, t.account, t.counterparty, t.amount) for t in paid().transfers)
    made = paid(typology, strength=strength, disguise=disguise)
    more = [t for t in made.transfers if not quiet[t.ts_event, t.account, t.counterparty, t.amount]]
    (label,) = made.labels
    return more, label


def test_the_same_seed_pays_the_same_and_another_does_not() -> None:
    assert day(1, economy(1), TODAY, 0, OPEN_NS) == day(1, PEOPLE, TODAY, 0, OPEN_NS)
    assert day(2, economy(2), TODAY, 0, OPEN_NS).transfers != day(1, PEOPLE, TODAY, 0, OPEN_NS).transfers


def test_payments_are_in_order_within_the_stretch_and_their_ids_differ() -> None:
    made = day(1, PEOPLE, TODAY, 0, OPEN_NS, 3_600)
    times = [one.ts_available for one in made.transfers]
    assert times == sorted(times)
    assert all(OPEN_NS <= one.ts_event < OPEN_NS + 3_600 * 10**9 for one in made.transfers)
    assert len({one.transfer_id for one in made.transfers}) == len(made.transfers)


@pytest.mark.parametrize("typology", PLAN)
def test_a_label_holds_what_was_injected_and_nothing_else_changes(typology: str) -> None:
    more, label = injected(typology)
    assert len(paid().transfers) + len(more) == len(paid(typology).transfers)
    assert label.typology == typology
    assert (label.start_ns, label.end_ns) == (more[0].ts_event, more[-1].ts_event)
    assert all({one.account, one.counterparty} & set(label.accounts) for one in more)


@pytest.mark.parametrize(("typology", "full"), [("structuring", 6), ("fan_in", 24), ("fan_out", 24)])
def test_strength_and_disguise_count_payments(typology: str, full: int) -> None:
    assert len(injected(typology)[0]) == full
    assert len(injected(typology, strength=0.5)[0]) == full // 2
    assert len(injected(typology, disguise=0.5)[0]) == full // 2


def test_amounts_are_cut_below_the_threshold() -> None:
    more, _ = injected("structuring")
    assert all(0.85 * THRESHOLD <= one.amount < THRESHOLD for one in more)


@pytest.mark.parametrize("typology", ["rapid_movement", "round_trip"])
def test_strength_counts_monthly_incomes(typology: str) -> None:
    (person,) = {
        p for p in PEOPLE.persons for label in [injected(typology)[1]] if label.accounts[0] == f"A{p.number:05d}"
    }
    for strength in (0.5, 1.0):
        more, label = injected(typology, strength=strength)
        own = label.accounts[0]
        first = [one for one in more if (one.counterparty if typology == "rapid_movement" else one.account) == own]
        assert sum(one.amount for one in first) == pytest.approx(3 * strength * person.income, rel=1e-3)


def test_a_round_trip_comes_back_in_order_and_a_little_less() -> None:
    more, label = injected("round_trip")
    assert [one.account for one in more] == label.accounts
    assert [one.counterparty for one in more] == [*label.accounts[1:], label.accounts[0]]
    assert all(0.97 <= after.amount / before.amount < 1 for before, after in pairwise(more))


def test_a_sleeper_was_quiet_and_a_listed_name_is_nearly_one() -> None:
    made = paid("dormant_account", "sanctions_proximity")
    known = names.read(PEOPLE.accounts_csv(TODAY, made.names).encode(), PEOPLE.listed_csv().encode())
    sleeper = next(label for label in made.labels if label.typology == "dormant_account").accounts[0]
    assert (OPEN_NS - known.last_ns[sleeper]) // money.DAY_S // 10**9 == money.QUIET.days
    (listed,) = made.names
    assert known.matches[listed].similarity == 100.0
    weaker = paid("sanctions_proximity", strength=0.5)
    known = names.read(PEOPLE.accounts_csv(TODAY, weaker.names).encode(), PEOPLE.listed_csv().encode())
    assert 70 < known.matches[listed].similarity < 100
