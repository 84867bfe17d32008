"""Payments of a simulated day: what persons, employers and merchants pay one another, and laundering among it.

Everyday flows: salaries and rents once a month, purchases, suppliers once a week, friends who share costs, refunds (a
cycle of two), collections among friends (a fan-in of those one knows), and once in a while a large sum that passes
through a person (a house, an inheritance). What is injected, and how strong it is, stands in docs/simulator.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from engines.labels import Label
from engines.simulator.people import account
from schemas.records import Transfer

SECOND_NS = 1_000_000_000
DAY_S = 86_400
#: Typology → how many a day.
PLAN: dict[str, int] = {
    "structuring": 1,
    "fan_in": 1,
    "fan_out": 1,
    "rapid_movement": 1,
    "round_trip": 1,
    "dormant_account": 1,
    "sanctions_proximity": 1,
}
#: Typology → the first day (from 0) of a recording of some days on which it could be told from everyone being new.
STRANGE_FROM = {"fan_in": 3, "fan_out": 3}
PERSONS, EMPLOYERS, MERCHANTS = 340, 10, 50
#: What must be reported, USD.
THRESHOLD = 10_000.0
#: How long an account that is to wake has been quiet.
QUIET = timedelta(days=200)
_FIRST = [
    "Anna",
    "Ben",
    "Carla",
    "David",
    "Elena",
    "Felix",
    "Grace",
    "Hugo",
    "Ines",
    "Jonas",
    "Karin",
    "Leo",
    "Maria",
    "Noah",
    "Olga",
    "Paul",
    "Rosa",
    "Simon",
    "Tara",
    "Victor",
]
_LAST = [
    "Abbott",
    "Berger",
    "Castillo",
    "Dupont",
    "Eriksen",
    "Fischer",
    "Garnier",
    "Hoffman",
    "Iversen",
    "Jansen",
    "Kowalski",
    "Lindgren",
    "Moreau",
    "Novak",
    "Olsen",
    "Petersen",
    "Quinn",
    "Rossi",
    "Schneider",
    "Taylor",
    "Ulrich",
    "Vasquez",
    "Weber",
    "Xu",
    "Young",
    "Zimmermann",
    "Ahmed",
    "Baker",
    "Chen",
    "Diaz",
]
_LISTED_FIRST = [
    "Aleksandr",
    "Bahram",
    "Dmitri",
    "Farid",
    "Gholam",
    "Igor",
    "Jamal",
    "Kazem",
    "Leonid",
    "Mustafa",
    "Nikolai",
    "Omar",
    "Rashid",
    "Sergei",
    "Viktor",
    "Yuri",
]
_LISTED_LAST = [
    "Abdulov",
    "Barzani",
    "Chernov",
    "Dostum",
    "Emelyanov",
    "Fadeev",
    "Gorbunov",
    "Hamidov",
    "Ibragimov",
    "Karimov",
    "Lukyanov",
    "Mansurov",
    "Nazarov",
    "Orlov",
    "Pavlenko",
    "Rahmani",
    "Sadykov",
    "Timurov",
    "Usmanov",
    "Volkov",
    "Yusupov",
    "Zakharov",
]


class Person(NamedTuple):
    """One who earns and spends. ``income`` is a month's, USD; numbers are those of other accounts."""

    number: int
    employer: int
    income: float
    rent: float
    landlord: int
    shops: tuple[int, ...]
    friends: tuple[int, ...]
    sweeps: bool  # most of the salary goes to another account of their own at once


@dataclass(frozen=True, slots=True)
class Economy:
    """Who there is. ``names`` by account, ``listed`` the sanctions list, ``active`` when those asleep last moved."""

    persons: tuple[Person, ...]
    names: dict[str, str]
    listed: tuple[str, ...]
    asleep: tuple[str, ...]
    paydays: tuple[int, ...]  # of each employer, day of the month

    def accounts_csv(self, first: date, opened: Mapping[str, str]) -> str:
        """Return the accounts as `engines.names` reads them, before a stream that begins on ``first``.

        ``opened`` are names of further accounts.
        """
        rows = [f"{account},{name},,\n" for account, name in sorted([*self.names.items(), *opened.items()])]
        rows += [f"{name},,,{first - QUIET}\n" for name in self.asleep]
        return "".join(["account,name,country,last_active\n", *rows])

    def listed_csv(self) -> str:
        """Return the sanctions list as `engines.names` reads it."""
        return "".join(["name,aliases\n", *(f"{name},\n" for name in self.listed)])


class Paid(NamedTuple):
    """The payments of a day, by ``ts_available``, what was injected, and the names of accounts that it opened."""

    transfers: list[Transfer]
    labels: list[Label]
    names: dict[str, str]


@dataclass(slots=True)
class _Book:
    """Collects payments: second of the day, payer, payee, amount (USD)."""

    rows: list[tuple[float, str, str, float]] = field(default_factory=list)

    def pay(self, at: float, payer: str, payee: str, amount: float) -> None:
        """Note a payment."""
        self.rows.append((at, payer, payee, max(0.01, round(amount, 2))))


def economy(seed: int, sleepers: int = 64) -> Economy:
    """Return who there is; ``sleepers`` have been quiet for `QUIET` when the stream begins."""
    rng = np.random.default_rng([seed, 4_242])
    shops = range(PERSONS + EMPLOYERS, PERSONS + EMPLOYERS + MERCHANTS)
    popular = 1.0 / np.arange(1, MERCHANTS + 1)
    persons = []
    for number in range(PERSONS):
        income = float(np.exp(rng.normal(8.0, 0.4)))  # 3,000 USD in the middle
        persons.append(
            Person(
                number,
                PERSONS + int(rng.integers(EMPLOYERS)),
                income,
                income * float(rng.uniform(0.2, 0.4)),
                int(rng.choice(shops)),
                tuple(int(shop) for shop in rng.choice(shops, 12, replace=False, p=popular / popular.sum())),
                tuple(int(n) for n in rng.choice(PERSONS, 10, replace=False) if n != number),
                bool(rng.random() < 0.1),
            )
        )
    names = {account(p.number): f"{_pick(rng, _FIRST)} {_pick(rng, _LAST)}" for p in persons}
    listed = sorted({f"{_pick(rng, _LISTED_LAST)} {_pick(rng, _LISTED_FIRST)}" for _ in range(200)})
    # Some of the innocent are called nearly so, by one of their names.
    for number in rng.choice(PERSONS, 12, replace=False):
        names[account(int(number))] = f"{_pick(rng, _FIRST)} {_pick(rng, _LISTED_LAST)}"
    return Economy(
        tuple(persons),
        names,
        tuple(listed),
        tuple(f"Z{number:05d}" for number in range(sleepers)),
        tuple(int(day) for day in rng.integers(1, 29, EMPLOYERS)),
    )


def day(
    seed: int,
    people: Economy,
    today: date,
    number: int,
    open_ns: int,
    seconds: int = DAY_S,
    *,
    typologies: Iterable[str] = tuple(PLAN),
    strength: float = 1.0,
    disguise: float = 0.0,
) -> Paid:
    """Return what is paid on a day.

    Parameters
    ----------
    number
        Of the day, from 0 on: what sleeps wakes once.
    open_ns, seconds
        The stretch in which all that the day brings is paid, ns UTC and s.
    strength, disguise
        See docs/simulator.md; with a disguise the share of the laundering that is left out.
    """
    rng = np.random.default_rng([seed, 777_000 + number])
    paid = _Book()
    _everyday(rng, people, today, paid)
    labels: list[Label] = []
    opened: dict[str, str] = {}
    prefix = f"{today:%Y%m%d}"
    for typology in PLAN:
        if typology not in typologies:
            continue
        for k in range(PLAN[typology]):
            before = len(paid.rows)
            # A stream of its own, so that what else is injected does not change with it.
            own = np.random.default_rng([seed, 777_000 + number, sorted(PLAN).index(typology), k])
            made = _Crime(
                own, people, paid, strength * (1 - disguise), f"{prefix}{sorted(PLAN).index(typology)}{k}", number
            )
            accounts = _INJECT[typology](made)
            opened |= made.opened
            when = [row[0] for row in paid.rows[before:]]
            labels.append(
                Label(
                    event_id=f"{prefix}-{typology}-{k}",
                    typology=typology,
                    start_ns=open_ns + int(min(when) / DAY_S * seconds * SECOND_NS),
                    onset_ns=open_ns + int(min(when) / DAY_S * seconds * SECOND_NS),
                    end_ns=open_ns + int(max(when) / DAY_S * seconds * SECOND_NS),
                    instruments=["accounts"],
                    accounts=accounts,
                    strength=strength,
                    disguise=disguise,
                )
            )
    at_ns = [open_ns + int(at / DAY_S * seconds * SECOND_NS) for at, *_ in paid.rows]
    order = np.argsort(np.array(at_ns), kind="stable")
    transfers = [
        Transfer(
            ts_event=at_ns[row],
            ts_available=at_ns[row] + 2_000_000,
            transfer_id=f"{prefix}-p{place}",
            account=paid.rows[row][1],
            counterparty=paid.rows[row][2],
            amount=paid.rows[row][3],
            currency="USD",
        )
        for place, row in enumerate(order.tolist())
    ]
    return Paid(transfers, sorted(labels, key=lambda label: label.onset_ns), opened)


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _awake(rng: np.random.Generator, early: float = 7.0, late: float = 22.0) -> float:
    return float(rng.uniform(early, late)) * 3_600


def _everyday(rng: np.random.Generator, people: Economy, today: date, paid: _Book) -> None:
    for person in people.persons:
        own = account(person.number)
        if today.day == people.paydays[person.employer - PERSONS]:
            at = float(rng.uniform(6.0, 7.0)) * 3_600
            paid.pay(at, account(person.employer), own, person.income * float(rng.normal(1.0, 0.02)))
            if person.sweeps:
                away = person.income * float(rng.uniform(0.6, 0.95))
                paid.pay(at + float(rng.uniform(600, 14_400)), own, f"S{person.number:05d}", away)
        if today.day == 1 + person.number % 5:
            paid.pay(_awake(rng), own, account(person.landlord), person.rent)
        for _ in range(int(rng.poisson(1.3))):
            shop = (
                person.shops[int(rng.integers(12))]
                if rng.random() < 0.9
                else PERSONS + EMPLOYERS + int(rng.integers(MERCHANTS))
            )
            at, amount = _awake(rng), float(np.exp(rng.normal(3.5, 0.9)))
            paid.pay(at, own, account(shop), amount)
            if rng.random() < 0.03:  # it goes back
                paid.pay(min(at + float(rng.uniform(600, 20_000)), DAY_S - 1), account(shop), own, amount)
        if rng.random() < 0.15:
            friend = person.friends[int(rng.integers(len(person.friends)))]
            paid.pay(_awake(rng), own, account(friend), float(np.exp(rng.normal(3.6, 0.8))))
        if rng.random() < 0.01:  # friends collect for a present
            at, share = _awake(rng, 8.0, 17.0), float(rng.uniform(10, 60))
            for friend in person.friends[: int(rng.integers(4, 10))]:
                paid.pay(at + float(rng.uniform(0, 14_400)), account(friend), own, share)
        if rng.random() < 0.0002:  # a house is sold, and the next one bought
            at, sum_ = _awake(rng, 8.0, 14.0), person.income * float(rng.uniform(20, 60))
            paid.pay(at, f"N{int(rng.integers(10**6)):06d}", own, sum_)
            paid.pay(at + float(rng.uniform(3_600, 20_000)), own, f"N{int(rng.integers(10**6)):06d}", sum_ * 0.9)
    for shop in range(PERSONS + EMPLOYERS, PERSONS + EMPLOYERS + MERCHANTS):
        if (today.toordinal() + shop) % 7 == 0:
            for supplier in range(4):
                payee = PERSONS + (shop + 13 * supplier) % (EMPLOYERS + MERCHANTS)
                if payee != shop:
                    paid.pay(_awake(rng, 8, 18), account(shop), account(payee), float(np.exp(rng.normal(7.0, 0.7))))
    for employer in range(PERSONS, PERSONS + EMPLOYERS):
        for client in range(int(rng.poisson(0.7))):
            payer = f"C{employer}{int(rng.integers(12)):02d}{client}"
            paid.pay(_awake(rng, 8, 18), payer, account(employer), float(np.exp(rng.normal(9.3, 0.8))))


@dataclass(slots=True)
class _Crime:
    """One injected event in the making; ``size`` is its strength, less what is disguised."""

    rng: np.random.Generator
    people: Economy
    paid: _Book
    size: float
    tag: str
    day: int
    opened: dict[str, str] = field(default_factory=dict)

    def person(self) -> Person:
        """Return somebody."""
        return self.people.persons[int(self.rng.integers(PERSONS))]

    def stranger(self, k: int) -> str:
        """Return an account of another bank, that nobody here has dealt with."""
        return f"X{self.tag}{k:03d}"

    def hour(self, low: float, high: float) -> float:
        """Return a second of the day between two hours."""
        return float(self.rng.uniform(low, high)) * 3_600

    def parts(self, amount: float, low: int, high: int) -> list[float]:
        """Return an amount in so many uneven parts."""
        shares = self.rng.dirichlet(np.full(int(self.rng.integers(low, high + 1)), 4.0))
        return [amount * float(share) for share in shares]


def _structuring(c: _Crime) -> list[str]:
    payer = account(c.person().number)
    payees = [c.stranger(k) for k in range(int(c.rng.integers(1, 4)))]
    for k in range(max(1, round(6 * c.size))):
        c.paid.pay(c.hour(8, 20), payer, payees[k % len(payees)], float(c.rng.uniform(0.85, 0.99)) * THRESHOLD)
    return [payer, *payees]


def _fan(c: _Crime, incoming: bool) -> list[str]:
    centre, begin = account(c.person().number), c.hour(8, 17)
    for k in range(max(1, round(24 * c.size))):
        pair = (c.stranger(k), centre) if incoming else (centre, c.stranger(k))
        c.paid.pay(begin + c.hour(0, 4), *pair, float(np.exp(c.rng.normal(4.5, 0.6))))
    return [centre]


def _fan_in(c: _Crime) -> list[str]:
    return _fan(c, incoming=True)


def _fan_out(c: _Crime) -> list[str]:
    return _fan(c, incoming=False)


def _rapid_movement(c: _Crime) -> list[str]:
    mule = c.person()
    own, amount, begin = account(mule.number), 3 * c.size * mule.income, c.hour(8, 18)
    for k, part in enumerate(c.parts(amount, 1, 3)):
        c.paid.pay(begin + c.hour(0, 0.5), c.stranger(k), own, part)
    for k, part in enumerate(c.parts(amount * float(c.rng.uniform(0.92, 0.98)), 2, 3)):
        c.paid.pay(begin + c.hour(0.6, 2.5), own, c.stranger(90 + k), part)
    return [own]


def _round_trip(c: _Crime) -> list[str]:
    home = c.person()
    others = [
        c.stranger(k) if c.rng.random() < 0.5 else account(c.person().number) for k in range(int(c.rng.integers(2, 5)))
    ]
    ring = [account(home.number), *dict.fromkeys(o for o in others if o != account(home.number))]
    if len(ring) < 3:
        ring.append(c.stranger(99))
    amount, at = 3 * c.size * home.income, c.hour(6, 9)
    for payer, payee in zip(ring, [*ring[1:], ring[0]], strict=True):
        c.paid.pay(at, payer, payee, amount)
        amount *= float(c.rng.uniform(0.97, 0.995))
        at += c.hour(0.3, 2.8)
    return ring


def _dormant_account(c: _Crime) -> list[str]:
    sleeper = c.people.asleep[c.day % len(c.people.asleep)]
    begin, income = c.hour(7, 18), float(np.exp(c.rng.normal(8.0, 0.4)))
    for k, part in enumerate(c.parts(3 * c.size * income, 2, 4)):
        c.paid.pay(begin + c.hour(0, 4), sleeper, c.stranger(k), part)
    return [sleeper]


def _sanctions_proximity(c: _Crime) -> list[str]:
    words = _pick(c.rng, c.people.listed).split()
    letters = list(" ".join(words[::-1]))
    places = c.rng.permutation([i for i, letter in enumerate(letters) if letter != " "])
    for place in places[: round(4 * (1 - min(1.0, c.size)))]:
        letters[place] = _pick(c.rng, "abcdefghiklmnoprstuvy")
    own = c.stranger(0)
    c.opened[own] = "".join(letters)
    known = [account(c.person().number) for _ in range(2)]
    c.paid.pay(c.hour(8, 12), own, known[0], float(np.exp(c.rng.normal(5.0, 0.8))))
    c.paid.pay(c.hour(13, 20), known[1], own, float(np.exp(c.rng.normal(5.0, 0.8))))
    return [own, *known]


_INJECT: dict[str, Callable[[_Crime], list[str]]] = {
    "structuring": _structuring,
    "fan_in": _fan_in,
    "fan_out": _fan_out,
    "rapid_movement": _rapid_movement,
    "round_trip": _round_trip,
    "dormant_account": _dormant_account,
    "sanctions_proximity": _sanctions_proximity,
}
