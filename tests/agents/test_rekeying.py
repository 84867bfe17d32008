"""What is kept of accounts goes on where it was when another key names them: as if the key had stayed."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.account_state import AccountState
from agents.accounts import Engines, accounts
from agents.flow import Arrival, Item
from agents.instrument_state import InstrumentState
from agents.watched import OpenEpisode
from engines.accounts import DAY_NS, HOUR_NS
from engines.episodes import Episode
from engines.names import read
from engines.scenarios import Peaks
from engines.ticks import TickConfig, TickEngine
from engines.transfers import SPECS as OF_TRANSFERS
from engines.transfers import TransferConfig, TransferEngine
from monitor.pseudonyms import Pseudonyms
from schemas import codec
from schemas.alerts import Alert
from schemas.order_frames import OrderFrame
from schemas.pseudonyms import split, split_all
from schemas.records import Transfer
from tests import misconduct, payments
from tests.agents import streams, test_accounts, test_orders
from tests.agents.streams import outputs
from tests.order_flow import OPEN_NS, S

KEYS = [base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]
AT_NS = payments.T0 + 20 * DAY_NS
PATTERNS = tuple(OF_TRANSFERS)


def pseudonyms(folder: Path, *rotation: int) -> Pseudonyms:
    """Return what names accounts by one key, or from one time on, ns, by another, beside the first until a second."""
    path = folder / "keys"
    lines = [f"k1 - - {KEYS[0]}"]
    if rotation:
        since, until = (datetime.fromtimestamp(ns / 1e9, UTC).isoformat() for ns in rotation)
        lines.append(f"k2 {since} {until} {KEYS[1]}")
    path.write_text("\n".join(lines))
    return Pseudonyms(path)


def named(names: Pseudonyms, topic: str, record: Transfer | OrderFrame) -> Any:
    """Return what a worker reads of a record."""
    key = (record.account if isinstance(record, Transfer) else record.instrument).encode()
    found = names.message(topic, key, codec.encode(record))
    assert found is not None
    available_ns = record.ts_available if isinstance(record, Transfer) else int(record.ts_available.max())
    return codec.decode(topic, *found, available_ns // 10**6 + 1)


def told(alerts: Sequence[Alert], names: Pseudonyms, known: Sequence[str]) -> list[Any]:
    """Return what alerts say, with accounts in the place of pseudonyms and without what is an id."""
    raw = {split(names.name(one, ns))[0]: one for one in known for ns in (0, 2**62)}
    found = []
    for alert in alerts:
        text = re.sub(r"~k\d\.[0-9a-f]{32}", lambda m: raw[m[0]], msgspec.json.encode(alert).decode())
        said = msgspec.json.decode(text)
        for name in ("alert_id", "episode_id", "fingerprint"):
            said.pop(name)
        for one in said["evidence"]["inputs"]:
            one.pop("sha256", None)
        found.append(said)
    return found


def run(items: Sequence[Item], state: dict[str, AccountState], made: Engines | None = None) -> list[Alert]:
    """Return the alerts of the account stage."""
    return outputs(lambda feed: accounts(feed, state, made or test_accounts.engines()), items, Alert)


def paid(
    names: Pseudonyms, state: dict[str, AccountState] | None = None, *, restarted: int = 0
) -> tuple[list[Alert], list[str]]:
    """Return the alerts on a background and its patterns, and whom they may name.

    So many items before the end the state is read from a checkpoint.
    """
    rows = [*payments.background(), *(one for name in PATTERNS for one in payments.pattern(name))]
    known = sorted({name for one in rows for name in (one.account, one.counterparty)})
    items: list[Item] = []
    for item in test_accounts.arrivals(rows):
        if isinstance(item, Arrival):
            value = named(names, "transfers", item.value)  # type: ignore[arg-type]
            item = msgspec.structs.replace(item, key=value.account, value=value)
        items.append(item)
    engine = TransferEngine(TransferConfig(), read(names.csv(payments.ACCOUNTS, "account"), payments.LISTED))
    made = dataclasses.replace(test_accounts.engines(), transfers=engine)
    state = {} if state is None else state
    cut = len(items) - restarted
    found = run(items[:cut], state, made)
    if restarted:
        state.update({key: AccountState.unpack(kept.pack()) for key, kept in state.items()})
    return [*found, *run(items[cut:], state, made)], known


@pytest.mark.parametrize("at_ns", [AT_NS - 10 * DAY_NS, AT_NS + HOUR_NS // 2, AT_NS + 5 * HOUR_NS // 2])
def test_payments_are_judged_as_if_the_key_had_stayed(tmp_path: Path, at_ns: int) -> None:
    one = pseudonyms(tmp_path)
    expected, known = paid(one)
    assert {alert.finding.typology.partition("@")[0] for alert in expected} == set(PATTERNS)
    two = pseudonyms(tmp_path, at_ns, at_ns + 60 * DAY_NS)
    state: dict[str, AccountState] = {}
    found, _ = paid(two, state, restarted=60)
    assert told(found, two, known) == told(expected, one, known)
    late = [alert for alert in found if alert.times.event_end > at_ns]
    assert late
    assert {alert.subject.account[:4] for alert in late if alert.activity == "create"} == {"~k2."}
    unpacked = {key: AccountState.unpack(kept.pack()) for key, kept in state.items()}
    assert {key: kept.moved for key, kept in unpacked.items()} == {key: kept.moved for key, kept in state.items()}
    assert any(kept.moved for kept in unpacked.values())


def ordered(names: Pseudonyms, state: dict[str, InstrumentState]) -> tuple[list[Alert], list[str]]:
    market = misconduct.market("spoofing")
    items = []
    for item in test_orders.stream(market):
        if isinstance(item, Arrival) and isinstance(item.value, OrderFrame):
            item = msgspec.structs.replace(item, value=named(names, "orders", item.value))
        items.append(item)
    frame = market.orders()
    return streams.run(items, state), [*frame.accounts, *frame.traders]


@pytest.mark.parametrize("after_s", [-600, 30])
def test_orders_are_judged_as_if_the_key_had_stayed(tmp_path: Path, after_s: int) -> None:
    one = pseudonyms(tmp_path)
    expected, known = ordered(one, {})
    at_ns = OPEN_NS + (misconduct.AT + after_s) * S
    two = pseudonyms(tmp_path, at_ns, at_ns + DAY_NS)
    state: dict[str, InstrumentState] = {}
    found, _ = ordered(two, state)
    assert expected
    assert told(found, two, known) == told(expected, one, known)
    kept = InstrumentState.unpack(state[test_orders.KEY].pack())
    assert kept.orders is not None
    assert all(name.startswith("~k2.") for name in kept.orders.names)
    assert kept.renamed == state[test_orders.KEY].renamed


def test_an_open_episode_keeps_its_id_and_names_its_account_anew(tmp_path: Path) -> None:
    one = pseudonyms(tmp_path)
    expected, _ = ordered(one, {})
    first = next(alert for alert in expected if alert.activity == "create" and alert.subject.account)
    at_ns = first.times.available_at + 1
    two = pseudonyms(tmp_path, at_ns, at_ns + DAY_NS)
    found, _ = ordered(two, {})
    mine = [alert for alert in found if alert.episode_id == first.episode_id]
    assert [alert.activity for alert in mine][:1] == ["create"]
    assert mine[-1].activity == "close"
    assert split(two.name("spoofer", at_ns)) == (mine[-1].subject.account, mine[0].subject.account)


def test_what_comes_late_is_of_the_account_that_was_moved(tmp_path: Path) -> None:
    two = pseudonyms(tmp_path, payments.T0 + HOUR_NS, payments.T0 + DAY_NS)
    rows = [
        payments.transfer(0, payments.T0, "A", "B", 5.0),
        payments.transfer(1, payments.T0 + 2 * HOUR_NS, "A", "B", 5.0),
        payments.transfer(2, payments.T0 + HOUR_NS // 2, "A", "C", 5.0),
    ]
    items: list[Item] = []
    for n, row in enumerate(rows):
        value = named(two, "transfers", row)
        items.append(Arrival("transfers", 0, n, value.account, value.ts_available, n, value, bytes(32)))
    state: dict[str, AccountState] = {}
    run(items, state)
    new, old = split(two.name("A", rows[1].ts_event))
    assert state[old].moved == new
    assert len(state[new].account.knows) == 2


@pytest.mark.parametrize("name", ["~k2." + "a" * 32 + "~k2." + "a" * 32, "~k2." + "b" * 32 + "~k1." + "a" * 32])
def test_what_a_producer_makes_up_moves_in_no_circle(name: str) -> None:
    new, old = split(name)
    rows = [payments.transfer(n, payments.T0 + n, one, "B", 5.0) for n, one in enumerate([name, old + new, name])]
    items: list[Item] = [
        Arrival("transfers", 0, n, row.account, row.ts_available, n, row, bytes(32)) for n, row in enumerate(rows)
    ]
    run(items, {})


def test_what_is_open_under_both_names_stays_open_under_both() -> None:
    state = InstrumentState(TickEngine(TickConfig()).new_state())
    for name in ("one", "two", "three"):
        state.episodes["spoofing", name] = OpenEpisode(Episode(), episode_id=name)
    state.peaks = {"one": Peaks(), "two": Peaks()}
    kept = dict(state.peaks)
    state.rekey({"one": "two", "three": "four"})  # what names both came after what names the newer one alone
    told = {account: one.episode_id for (_, account), one in state.episodes.items()}
    assert told == {"one": "one", "two": "two", "four": "three"}
    assert state.peaks == kept
    assert state.in_use(("one", "three")) == ("two", "four")


def test_names_that_are_no_pseudonyms_stay_as_they_are() -> None:
    before, name = "~k1." + "a" * 32, "~k2." + "b" * 32
    assert split_all(("A-17", "")) == (("A-17", ""), ())
    assert split_all(("A-17", "~", name + before)) == (("A-17", "~", name), ((before, name),))
