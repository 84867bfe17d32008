"""Streams of transfers for tests: an ordinary background, and one pattern of each kind among it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from engines.accounts import DAY_NS, HOUR_NS, Account
from engines.episodes import Episode, step
from engines.names import Names, read
from engines.transfers import SPECS, TransferConfig, TransferEngine
from monitor.converters.messages import record_message
from monitor.recordings import Message
from schemas.records import Transfer

T0 = 1_700_000_000_000_000_000
ACCOUNTS = b"account,name,country,last_active\nL,Kasimir Volkhov,,\nZ,,,2023-01-05\n"
LISTED = b"name,aliases\nVOLKHOV Kazimir,\n"


def transfer(number: int | str, ts: int, payer: str, payee: str, amount: float, currency: str = "USD") -> Transfer:
    """Return a payment that is known 2 ms after it was made."""
    return Transfer(
        ts_event=ts,
        ts_available=ts + 2_000_000,
        transfer_id=f"t{number}",
        account=payer,
        counterparty=payee,
        amount=amount,
        currency=currency,
    )


def background(days: int = 20, people: int = 30) -> list[Transfer]:
    """Return payments of people who each deal with four others, of 20 to 100 USD, one about every half hour."""
    rng = np.random.default_rng(3)
    made = []
    for k in range(days * 48):
        payer = int(rng.integers(people))
        payee = (payer + 1 + int(rng.integers(4))) % people
        ts = T0 + k * HOUR_NS // 2 + int(rng.integers(10**9))
        made.append(transfer(k, ts, f"P{payer}", f"P{payee}", round(float(rng.uniform(20, 100)), 2)))
    return made


def pattern(name: str) -> list[Transfer]:
    """Return one pattern, after 20 days of background."""
    at, minute = T0 + 20 * DAY_NS, HOUR_NS // 60
    rows: list[tuple[int, str, str, float]] = {
        "structuring": [(k * HOUR_NS, "P1", f"X{k % 2}", 9_000.0 + 100 * k) for k in range(5)],
        "fan_in": [(k * 7 * minute, f"X{k}", "P2", 60.0) for k in range(16)],
        "fan_out": [(k * 7 * minute, "P3", f"X{k}", 60.0) for k in range(16)],
        "rapid_movement": [
            (0, "X1", "P4", 4_000.0),
            (HOUR_NS, "P4", "X2", 2_000.0),
            (2 * HOUR_NS, "P4", "X3", 1_900.0),
        ],
        "round_trip": [
            (0, "P5", "X1", 4_000.0),
            (HOUR_NS, "X1", "X2", 3_950.0),
            (2 * HOUR_NS, "X2", "P9", 3_900.0),
            (3 * HOUR_NS, "P9", "P5", 3_880.0),
        ],
        "dormant_account": [(0, "Z", "X1", 500.0), (HOUR_NS, "Z", "X2", 700.0)],
        "sanctions_proximity": [(0, "L", "P6", 40.0), (HOUR_NS, "P7", "L", 50.0)],
    }[name]
    return [transfer(f"{name}{k}", at + offset, *rest) for k, (offset, *rest) in enumerate(rows)]  # type: ignore[arg-type]


def names() -> Names:
    """Return whose name is nearly a listed one, and who was long asleep."""
    return read(ACCOUNTS, LISTED)


def heard(
    transfers: Iterable[Transfer], config: TransferConfig | None = None, known: Names | None = None
) -> Iterator[tuple[str, str, int, float]]:
    """Yield (account, head, ts_event, score) of all that triage would be told."""
    engine, states = (
        TransferEngine(config or TransferConfig(), names() if known is None else known),
        dict[str, Account](),
    )
    for one in transfers:
        update = engine.apply(states.get, one)
        states.update(update.accounts)
        for account, track in update.tracks:
            yield account, track.head, int(track.ts_event[0]), float(track.score[0])


def openings(found: Iterable[tuple[str, str, int, float]]) -> list[tuple[str, str, int]]:
    """Return (account, head, ts_event) of the episodes that open."""
    running: dict[tuple[str, str], Episode] = {}
    made = []
    for account, head, ts, score in found:
        episode = running.setdefault((account, head), Episode())
        changes = step(SPECS[head], episode, np.array([ts]), np.array([score]))
        made += [(account, head, change.ts) for change in changes if change.activity == "create"]
    return made


#: The patterns that need no names: the workers are given none.
NAMES = ("structuring", "fan_out", "rapid_movement", "round_trip")


def payments() -> list[Message]:
    """Return 20 quiet days and four patterns after them, as a feed sends them: into the one partition there is.

    No two are of one moment: their order is no matter of names.
    """
    patterns = [later(one, place * 10**9) for place, name in enumerate(NAMES) for one in pattern(name)]
    rows = sorted([*background(), *patterns], key=lambda one: one.ts_available)
    made = [record_message("transfers", one) for one in rows]
    return [Message(m.topic, m.key, m.value, m.ts_event, m.ts_available, m.ts_available // 10**6) for m in made]


def later(one: Transfer, ns: int) -> Transfer:
    """Return a payment that was made and known so much later, ns."""
    return msgspec.structs.replace(one, ts_event=one.ts_event + ns, ts_available=one.ts_available + ns)
