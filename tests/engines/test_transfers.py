"""The typologies of money: each pattern rings as what it is and explains itself; nothing but the patterns matters."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.accounts import DAY_NS, HOUR_NS, KEPT, KEPT_NS, KNOWN, Account
from engines.names import NOBODY, Names, plain, read
from engines.transfers import SPECS, TransferConfig, TransferEngine
from engines.typologies.fan_in import FanInConfig
from engines.typologies.round_trip import RoundTripConfig
from engines.typologies.structuring import StructuringConfig
from schemas.records import Transfer
from tests.payments import T0, background, heard, names, openings, pattern, transfer

#: Who rings, at which of the pattern's transfers.
CASES = {
    "structuring": ("P1", 2),
    "fan_in": ("P2", 7),
    "fan_out": ("P3", 7),
    "rapid_movement": ("P4", 2),
    "round_trip": ("P5", 3),
    "dormant_account": ("Z", 0),
    "sanctions_proximity": ("L", 0),
}


def replaced(transfers: list[Transfer], **changes: object) -> list[Transfer]:
    return [msgspec.structs.replace(one, **{k: f(getattr(one, k)) for k, f in changes.items()}) for one in transfers]  # type: ignore[operator]


@pytest.mark.parametrize("name", SPECS)
def test_a_pattern_rings_as_what_it_is_with_the_transfer_that_completes_it(name: str) -> None:
    account, place = CASES[name]
    stream = [*background(), *pattern(name)]
    found = openings(heard(stream))
    assert (account, name, pattern(name)[place].ts_event) in found
    assert all(head == name or (name, head) == ("round_trip", "rapid_movement") for _, head, _ in found)


def test_an_ordinary_month_says_nothing() -> None:
    assert openings(heard(background(30))) == []


@pytest.mark.parametrize("name", SPECS)
def test_what_is_told_of_it_names_each_condition_and_what_would_clear_it(name: str) -> None:
    engine, states = TransferEngine(TransferConfig(), names()), dict[str, Account]()
    account, place = CASES[name]
    for one in [*background(), *pattern(name)[: place + 1]]:
        update = engine.apply(states.get, one)
        states.update(update.accounts)
    track = next(track for key, track in update.tracks if (key, track.head) == (account, name))
    told = track.explain(0)
    assert all(rule.unit and np.isfinite([rule.value, rule.threshold]).all() for rule in told.rules)
    assert told.clears
    assert one.transfer_id in told.attributions[0].locator.split()
    if name == "round_trip":
        assert told.attributions[0].excerpt == "P5 > X1 > X2 > P9 > P5"
    assert track.window_start[0] <= track.ts_event[0]


@pytest.mark.parametrize("name", SPECS)
def test_half_a_pattern_is_none(name: str) -> None:
    """Just before the transfer that completes it nothing rings, of those that more than one transfer makes."""
    account, place = CASES[name]
    found = openings(heard([*background(), *pattern(name)[:place]]))
    assert (account, name) not in [(who, head) for who, head, _ in found]


def test_a_specification_names_its_articles_and_a_hold() -> None:
    for name, spec in SPECS.items():
        assert spec.name == name
        assert spec.regulation
        assert spec.hold_ns > 0
        assert spec.momentary


# What does not matter.


def everything() -> list[Transfer]:
    stream = [*background(), *(one for name in SPECS for one in pattern(name))]
    return sorted(stream, key=lambda one: one.ts_available)


@given(days=st.integers(-15_000, 15_000))
@settings(max_examples=5, deadline=None)
def test_when_it_happens_does_not_matter(days: int) -> None:
    shift_ns = days * DAY_NS + 12_345
    # When an account last moved is a date of its own.
    known = Names(names().matches, {"Z": names().last_ns["Z"]}, "")
    moved = Names(known.matches, {"Z": known.last_ns["Z"] + shift_ns}, "")
    later = replaced(everything(), ts_event=lambda ts: ts + shift_ns, ts_available=lambda ts: ts + shift_ns)
    there = [(who, head, ts + shift_ns, score) for who, head, ts, score in heard(everything(), known=known)]
    assert list(heard(later, known=moved)) == there


@given(scale=st.floats(1e-3, 1e6))
@settings(max_examples=5, deadline=None)
def test_the_scale_of_amounts_does_not_matter_but_to_the_law(scale: float) -> None:
    law = TransferConfig(structuring=StructuringConfig(thresholds={"USD": 10_000.0 * scale}))
    scaled = replaced(everything(), amount=lambda amount: amount * scale)
    for one, other in zip(heard(everything()), heard(scaled, law), strict=True):
        assert one[:3] == other[:3]
        assert one[3] == pytest.approx(other[3], rel=1e-6)


def test_neither_does_the_currency() -> None:
    law = TransferConfig(structuring=StructuringConfig(thresholds={"YEN": 1_500_000.0}))
    yen = replaced(everything(), amount=lambda amount: amount * 150, currency=lambda _: "YEN")
    assert openings(heard(yen, law)) == openings(heard(everything()))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_names_of_accounts_and_transfers_do_not_matter(seed: int) -> None:
    accounts = sorted({name for one in everything() for name in (one.account, one.counterparty)})
    order = np.random.default_rng(seed).permutation(len(accounts))
    called = {name: f"acct-{place}" for name, place in zip(accounts, order.tolist(), strict=True)}
    renamed = replaced(everything(), account=called.__getitem__, counterparty=called.__getitem__)
    known = Names({called["L"]: names().matches["L"]}, {called["Z"]: names().last_ns["Z"]}, "")
    there = [(called[who], head, ts, score) for who, head, ts, score in heard(everything())]
    assert list(heard(renamed, known=known)) == there


def test_a_state_that_was_packed_goes_on_as_if_it_had_not_been() -> None:
    encode, decode = msgspec.msgpack.encode, msgspec.msgpack.Decoder(Account).decode
    engine, whole, packed = TransferEngine(TransferConfig(), names()), dict[str, Account](), dict[str, bytes]()
    for one in everything():
        update = engine.apply(whole.get, one)
        whole.update(update.accounts)
        again = engine.apply(lambda key: decode(packed[key]) if key in packed else None, one)
        packed.update((key, encode(account)) for key, account in again.accounts.items())
        assert [(who, t.head, t.score[0]) for who, t in again.tracks] == [
            (who, t.head, t.score[0]) for who, t in update.tracks
        ]
    assert {key: encode(account) for key, account in whole.items()} == packed


# What cannot be used.


def test_what_comes_twice_counts_once_and_says_so() -> None:
    engine, states = TransferEngine(TransferConfig(), NOBODY), dict[str, Account]()
    one = transfer(1, T0, "A", "B", 10.0)
    states.update(engine.apply(states.get, one).accounts)
    before = msgspec.json.encode(states["B"])
    again = engine.apply(states.get, one)
    assert again.refused == "late_or_twice"
    assert again.tracks == ()
    assert msgspec.json.encode(states["B"]) == before
    assert states["A"].late == 1


def test_what_is_older_than_what_is_learnt_is_not_judged() -> None:
    engine, states = TransferEngine(TransferConfig(), NOBODY), dict[str, Account]()
    for k, days in enumerate((0, 1, 3)):
        states.update(engine.apply(states.get, transfer(k, T0 + days * DAY_NS, "A", "B", 10.0)).accounts)
    assert engine.apply(states.get, transfer(9, T0 + DAY_NS // 2, "A", "B", 10.0)).refused == "late_or_twice"
    assert not engine.apply(states.get, transfer(10, T0 + 3 * DAY_NS - HOUR_NS, "A", "B", 10.0)).refused


def test_a_transfer_to_itself_is_none() -> None:
    update = TransferEngine(TransferConfig(), NOBODY).apply({}.get, transfer(1, T0, "A", "A", 10.0))
    assert update.refused == "to_itself"
    assert not update.accounts


def test_what_is_kept_of_an_account_is_bounded() -> None:
    engine, states = TransferEngine(TransferConfig(), NOBODY), dict[str, Account]()
    for k in range(3_000):
        states.update(engine.apply(states.get, transfer(k, T0 + k * 10**9, "A", f"B{k}", 10.0)).accounts)
        states.update(engine.apply(states.get, transfer(f"b{k}", T0 + k * 10**9, f"C{k}", "A", 10.0)).accounts)
    kept = states["A"]
    assert len(kept.sent.edges) <= KEPT
    assert len(kept.received.edges) <= KEPT
    assert len(kept.knows) <= KNOWN
    assert len(msgspec.msgpack.encode(kept)) < 20_000
    states.update(engine.apply(states.get, transfer("z", T0 + 2 * KEPT_NS, "A", "B0", 10.0)).accounts)
    assert len(states["A"].sent.edges) == 1


# What is usual.


def test_a_shop_that_always_meets_strangers_is_no_fan_in() -> None:
    shop = [transfer(f"s{k}", T0 + k * HOUR_NS // 3, f"C{k}", "P2", 40.0) for k in range(20 * 72)]
    stream = sorted([*background(), *shop], key=lambda one: one.ts_event)
    # The first days are the stream's; then twenty an afternoon are usual, and sixteen more are not many.
    found = openings(heard([*stream, *pattern("fan_in")]))
    assert [one for one in found if one[1] == "fan_in" and one[2] > T0 + 5 * DAY_NS] == []


def test_a_salary_that_is_put_aside_every_month_is_no_rapid_movement() -> None:
    months = [
        row
        for month in range(6)
        for row in (
            transfer(f"m{month}", T0 + (month * 30 + 1) * DAY_NS, "E", "P4", 4_000.0),
            transfer(f"a{month}", T0 + (month * 30 + 1) * DAY_NS + HOUR_NS, "P4", "S", 3_800.0),
        )
    ]
    stream = sorted([*background(160), *months], key=lambda one: one.ts_event)
    found = [ts for who, head, ts in openings(heard(stream)) if (who, head) == ("P4", "rapid_movement")]
    # The first is unheard of, and what came once is not usual yet.
    assert [ts for ts in found if ts > T0 + 35 * DAY_NS] == []


def test_a_refund_is_no_round_trip_unless_two_are_asked_for() -> None:
    at = T0 + 20 * DAY_NS
    refund = [transfer("r1", at, "P5", "P6", 4_000.0), transfer("r2", at + HOUR_NS, "P6", "P5", 4_000.0)]
    two = TransferConfig(round_trip=RoundTripConfig(accounts=2))
    assert "round_trip" not in [head for _, head, _ in openings(heard([*background(), *refund]))]
    assert "round_trip" in [head for _, head, _ in openings(heard([*background(), *refund], two))]


def test_money_that_does_not_come_back_in_order_is_no_round_trip() -> None:
    cycle = pattern("round_trip")
    times = [one.ts_event for one in cycle]
    swapped = [
        msgspec.structs.replace(one, ts_event=ts)
        for one, ts in zip(cycle, [times[1], times[0], *times[2:]], strict=True)
    ]
    stream = [*background(), *sorted(swapped, key=lambda one: one.ts_event)]
    assert "round_trip" not in [head for _, head, _ in openings(heard(stream))]


def test_nothing_fans_while_everyone_is_new() -> None:
    early = replaced(pattern("fan_in"), ts_event=lambda ts: ts - 20 * DAY_NS, ts_available=lambda ts: ts - 20 * DAY_NS)
    stream = [*background(1), *replaced(early, ts_event=lambda ts: ts + DAY_NS, ts_available=lambda ts: ts + DAY_NS)]
    assert openings(heard(stream)) == []
    eager = TransferConfig(fan_in=FanInConfig(warm_up_ns=0))
    assert ("P2", "fan_in") in [(who, head) for who, head, _ in openings(heard(stream, eager))]


# Names.


@pytest.mark.parametrize(
    ("name", "listed", "similarity"),
    [
        ("Kazimir Volkhov", "VOLKHOV, Kazimir", 100.0),
        ("kazimír  volkhóv", "Volkhov Kazimir Ltd.", 100.0),
        # One letter of fifteen, counted with the space.
        ("Kasimir Volkhov", "Volkhov Kazimir", 93.3),
        ("Kzaimir Volkhov", "Volkhov Kazimir", 93.3),
    ],
)
def test_names_are_compared_without_case_accents_order_and_legal_form(
    name: str, listed: str, similarity: float
) -> None:
    known = read(f"account,name\na,{name}\n".encode(), f'name,aliases\n"{listed}",\n'.encode())
    assert known.matches["a"].similarity == similarity


def test_an_alias_counts_and_tells_whose_it_is() -> None:
    known = read(
        b"account,name\na,Red Star Shipping\n", b"name,aliases\nNorthern Lines,Polar Freight;Red Star Shipping LLC\n"
    )
    assert known.matches["a"].listed == "Northern Lines"
    assert plain("LLC") == "llc"


@pytest.mark.parametrize(
    ("accounts", "listed", "said"),
    [
        (b"id,name\n1,x\n", b"", "expected a header with a column 'account'"),
        (b"account,name\n,x\n", b"", "line 2: expected a value of account"),
        (b"account,name\na,x,y,z\n", b"", "line 2"),
        (b"account,name,last_active\na,x,yesterday\n", b"", "line 2: last_active is 'yesterday'"),
        (b"\xff\xfe\x00", b"", "not CSV in UTF-8"),
        (b"", b"nom\nx\n", "sanctions list: expected a header"),
    ],
)
def test_a_file_of_names_that_cannot_be_read_is_named_by_its_line(accounts: bytes, listed: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(accounts, listed)


def test_all_that_decides_is_in_the_digest() -> None:
    usual = TransferConfig().digest(NOBODY)
    assert TransferConfig(fan_in=FanInConfig(fewest=9)).digest(NOBODY) != usual
    assert TransferConfig().digest(names()) != usual
