"""Accounts have pseudonyms before anything is kept of a message, by keys that change at stated times."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from typer.testing import CliRunner

from engines.names import read
from monitor import cli
from monitor.arrivals import dead_letter, named, pending
from monitor.errors import StartupError
from monitor.pseudonyms import Pseudonyms
from monitor.sealing import Seal
from monitor.sequencer import Taken
from monitor.settings import Settings
from schemas import codec, order_frames
from schemas.columns import MAX_ROWS
from schemas.order_frames import OrderFrame, order_frame_of
from schemas.pseudonyms import NAMING, pseudonym, split

ONE, TWO, THREE = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))
T0 = 1_764_547_200_000_000_000  # 2025-12-01
DAY_NS = 86_400 * 10**9
ROTATED = f"k1 - - {ONE}\nk2 2025-12-02T00:00:00Z 2025-12-05T00:00:00Z {TWO}\n"
SENT_MS = T0 // 10**6


def keys(folder: Path, text: str) -> Pseudonyms:
    path = folder / "keys"
    path.write_text(text)
    return Pseudonyms(path)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Pseudonyms:
    return keys(tmp_path_factory.mktemp("keys"), f"# the first\nk1 - - {ONE}\n")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Pseudonyms:
    return keys(tmp_path_factory.mktemp("keys"), ROTATED)


def record(topic: str, account: str = "A-17", other: str = "B-4711", ts: int = T0) -> dict[str, Any]:
    """Return a record of a topic as a producer writes it."""
    of: dict[str, Any] = {"ts_event": ts, "ts_available": ts, "account": account}
    if topic == "orders":
        of |= {"instrument": "ACME.XTOC", "order_id": "7", "action": "new", "side": "buy", "price": 5.0, "size": 2.0}
        return of | {"trader": other}
    if topic == "transfers":
        return of | {"transfer_id": "t", "counterparty": other, "amount": 5.0, "currency": "USD"}
    months: dict[str, Any] = {"billed": [1.0] * 6, "paid": [1.0] * 6, "delays": [0] * 6}
    return of | {"statement_id": "s", "currency": "TWD", "limit": 5.0} | months


def key_of(topic: str, of: dict[str, Any]) -> bytes:
    return str(of["instrument" if topic == "orders" else "account"]).encode()


def frame(accounts: Sequence[str], ts: int = T0, instrument: str = "ACME.XTOC") -> OrderFrame:
    n = len(accounts)
    columns = {"ts_event": [ts] * n, "ts_available": [ts] * n, "side": [1] * n, "account": range(n), "order": range(n)}
    return order_frame_of(instrument, columns, accounts)  # type: ignore[arg-type]


def test_records_name_accounts_by_the_key_and_say_all_else_as_it_was(one: Pseudonyms) -> None:
    for topic in NAMING:
        sent = record(topic)
        found = one.message(topic, key_of(topic, sent), json.dumps(sent | {"holder": "Jane Roe"}).encode())
        assert found is not None
        key, value = found
        expected = sent | {name: pseudonym("k1", b"\1" * 32, sent[name]) for name in NAMING[topic]}
        assert json.loads(value) == expected
        assert key.decode() == (expected["instrument"] if topic == "orders" else expected["account"])
        codec.decode(topic, key, value, SENT_MS)
        assert one.message(topic, key, value) == found  # not twice


@pytest.mark.parametrize("field", ["account", "trader", "counterparty"])
def test_a_name_that_is_too_long_for_a_record_is_refused_under_a_pseudonym_too(one: Pseudonyms, field: str) -> None:
    topic = "transfers" if field == "counterparty" else "orders"
    for length, usable in ((128, True), (129, False)):
        sent = record(topic) | {field: "A" * length}
        found = named(one, topic, 7, key_of(topic, sent), json.dumps(sent).encode(), SENT_MS, {})
        assert (found.value is not None) == usable
    assert found.refusal is not None
    assert found.refusal[0] == "out_of_range"


@pytest.mark.parametrize("count", [1, 30, 2_000])  # the last has too many names to be kept
def test_frames_name_accounts_by_the_key_and_say_all_else_as_it_was(one: Pseudonyms, count: int) -> None:
    sent = frame([f"A-{n}" for n in range(count)])
    found = one.message("orders", b"ACME.XTOC", codec.encode(sent))
    assert found is not None
    read_again = order_frames.decode(found[1], b"ACME.XTOC")
    assert read_again.accounts == tuple(one.name(name, T0) for name in sent.accounts)
    assert codec.encode(msgspec.structs.replace(read_again, accounts=sent.accounts)) == codec.encode(sent)
    assert one.message("orders", *found) == found


def test_a_frame_in_which_each_row_names_others_is_read_with_both_pseudonyms_of_each(tmp_path: Path) -> None:
    names = keys(tmp_path, ROTATED.replace("k1", "a" * 16).replace("k2", "b" * 16))
    whole, rows = frame([f"A-{n}" for n in range(MAX_ROWS)], T0 + DAY_NS), np.arange(MAX_ROWS, dtype=np.int32)
    whole = msgspec.structs.replace(whole, traders=tuple(f"T-{n}" for n in range(MAX_ROWS)), trader=rows)
    found = named(names, "orders", 7, b"ACME.XTOC", codec.encode(whole), SENT_MS + 86_400_000, {})
    assert found.refusal is None
    assert found.value is not None


def test_a_frame_that_another_writer_made_is_named_too(one: Pseudonyms) -> None:
    import pyarrow as pa

    sent = frame(["A-17"])
    arrow = pa.ipc.open_stream(codec.encode(sent))
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        out, arrow.schema, options=pa.ipc.IpcWriteOptions(metadata_version=pa.MetadataVersion.V4)
    ) as w:
        w.write_table(arrow.read_all())
    found = one.message("orders", b"ACME.XTOC", out.getvalue().to_pybytes())
    assert found is None or b"A-17" not in found[1]


def test_an_event_is_named_by_the_key_of_its_time_and_in_an_overlap_by_both(two: Pseudonyms) -> None:
    first, second = (pseudonym(f"k{n}", bytes([n]) * 32, "A-17") for n in (1, 2))
    assert two.name("A-17", 0) == two.name("A-17", T0 + DAY_NS - 1) == first
    assert two.name("A-17", T0 + DAY_NS) == two.name("A-17", T0 + 4 * DAY_NS - 1) == second + first
    assert two.name("A-17", T0 + 4 * DAY_NS) == second
    assert split(second + first) == (second, first)
    for form in (first, second, second + first, ""):
        assert two.name(form, T0) == form
    # Whole frames, by their first row; times as text too.
    found = two.message("orders", b"ACME.XTOC", codec.encode(frame(["A-17"], T0 + DAY_NS)))
    assert found is not None
    assert order_frames.decode(found[1], b"ACME.XTOC").accounts == (second + first,)
    sent = record("transfers") | {"ts_event": "2025-12-05T01:00:00+01:00", "ts_available": 0}
    found = two.message("transfers", b"A-17", json.dumps(sent).encode())
    assert found is not None
    assert found[0].decode() == second


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no key"),
        ("k1 -", "has 2 words in line 1"),
        (f"k.1 - - {ONE}", "has no id in line 1"),
        (f"k1 - - {ONE[:-4]}", "has a key of 30 bytes in line 1"),
        ("k1 - - not base64!", "has 5 words in line 1"),
        ("k1 - - nonsens!", "has a key of 0 bytes in line 1"),
        (f"k1 - - {ONE}\nk1 2026-01-01T00:00:00Z 2026-02-01T00:00:00Z {TWO}", "has two keys of the id k1"),
        (f"k1 - - {ONE}\nk2 2026-01-01 2026-02-01T00:00:00Z {TWO}", "has no time in line 2"),
        (f"k1 - - {ONE}\nk2 2026-01-01T00:00:00 2026-02-01T00:00:00Z {TWO}", "has a time without its zone in line 2"),
        (f"{ONE} - - k1", "has no id in line 1"),
        (f"k1 {ONE} - -", "has no time in line 1"),
        (f"k1 - - {ONE}\nk2 2026-02-01T00:00:00Z 2026-01-01T00:00:00Z {TWO}", "has times of k1 and k2 that overlap"),
        (f"k1 - - {ONE}\nk2 - - {TWO}", "has times of k1 and k2 that overlap"),
        (ROTATED + f"k3 2025-12-04T00:00:00Z 2025-12-09T00:00:00Z {THREE}", "has times of k2 and k3 that overlap"),
        (f"k1 - - {ONE}\nk2 2026-01-01T00:00:00Z 2026-02-01T00:00:00Z {ONE}", "has the key k2 twice"),
        ("ké - -", "cannot be read"),
    ],
)
def test_a_file_that_holds_something_else_is_told_in_one_sentence(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(
        StartupError, match=rf"^TOCSIN_PSEUDONYM_KEYS_FILE .*{re.escape(told)}.*openssl rand"
    ) as refused:
        keys(tmp_path, text)
    assert ONE not in str(refused.value)  # nor in a log


def test_a_file_that_is_missing_and_keys_without_a_seal_are_told(tmp_path: Path) -> None:
    assert Pseudonyms.of(Settings()) is None
    there = tmp_path / "keys"
    with pytest.raises(StartupError, match="TOCSIN_DEADLETTER_KEY_FILE is not"):
        Pseudonyms.of(Settings(pseudonym_keys_file=there))
    with pytest.raises(StartupError, match="TOCSIN_PSEUDONYM_KEYS_FILE cannot be read"):
        Pseudonyms.of(Settings(pseudonym_keys_file=there, deadletter_key_file=there))


def test_another_key_is_used_once_the_file_says_so_but_not_for_what_was_named(tmp_path: Path) -> None:
    names, path = keys(tmp_path, f"k1 - - {ONE}"), tmp_path / "keys"
    assert not names.look()
    path.write_text("nonsense here")
    assert not names.look()
    path.write_text(ROTATED)
    names.reached(T0 + DAY_NS)
    assert not names.look()  # its time has come already
    assert split(names.name("A-17", T0 + 2 * DAY_NS))[1] == ""
    path.write_text(ROTATED.replace("2025-12-02T00:00:00Z", "2025-12-02T00:00:04Z"))
    assert not names.look()  # an event may be 5 s ahead of when it is available
    path.write_text(ROTATED.replace("2025-12-02", "2025-12-03"))
    assert names.look()
    assert split(names.name("A-17", T0 + 2 * DAY_NS))[1] == pseudonym("k1", b"\1" * 32, "A-17")
    names.reached(T0 + 5 * DAY_NS)
    path.write_text(f"k2 - - {TWO}")  # the old one is not needed any more
    assert names.look()
    assert names.name("A-17", T0 + 6 * DAY_NS) == pseudonym("k2", b"\2" * 32, "A-17")


def test_who_goes_on_does_not_name_by_another_key_what_was_named_before_he_came(tmp_path: Path) -> None:
    before = keys(tmp_path, f"k1 - - {ONE}")
    marks = before.named_by(T0 + DAY_NS)
    assert marks == before.named_by(T0)
    assert len(marks[0]) == len("k1.") + 8
    late = keys(tmp_path, ROTATED.replace("2025-12-02", "2025-12-03"))
    late.go_on(T0 + DAY_NS, marks)
    late.go_on(T0 + 2 * DAY_NS, late.named_by(T0 + 2 * DAY_NS))
    with pytest.raises(StartupError, match=r"names another key for \d+ ns, and events as late were named already"):
        keys(tmp_path, ROTATED).go_on(T0 + DAY_NS, marks)
    # Nor may the file that he looks at later say so.
    there = keys(tmp_path, f"k1 - - {ONE}")
    there.go_on(T0 + DAY_NS, ())
    (tmp_path / "keys").write_text(ROTATED)
    assert not there.look()
    # Where nothing came, nothing was named.
    fresh = keys(tmp_path, f"k1 - - {ONE}")
    fresh.go_on(0, marks)
    (tmp_path / "keys").write_text(f"k2 - - {TWO}\n")
    assert fresh.look()
    # A key that is gone is one that was removed: what is kept by it may be as old.
    with capture_logs() as logged:
        keys(tmp_path, f"k2 - - {TWO}").go_on(T0, marks)
    assert logged[0]["event"].startswith("what is kept has pseudonyms by keys that TOCSIN_PSEUDONYM_KEYS_FILE does not")


def test_accounts_of_a_file_are_named_by_every_key_and_listed_names_by_their_place(two: Pseudonyms) -> None:
    found = two.csv(b"\xef\xbb\xbfaccount,name\nA1,Ivan Petrow\nA2,Jane Doe\n", "account")
    assert two.csv(found, "account") == found
    matches = read(found, b"name,aliases\nX,\nPETROV Ivan,\n").matches
    assert {name: match.listed for name, match in matches.items()} == {
        pseudonym(f"k{n}", bytes([n]) * 32, "A1"): "entry 2 of the list" for n in (1, 2)
    }
    with pytest.raises(ValueError, match="a column 'account'"):
        two.csv(b"id\n1\n", "account")


def test_who_holds_the_keys_is_told_pseudonyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys(tmp_path, ROTATED)
    monkeypatch.setenv("TOCSIN_PSEUDONYM_KEYS_FILE", str(tmp_path / "keys"))
    told = CliRunner().invoke(cli.app, ["pseudonym", "A-17"]).stdout.splitlines()
    first, second = (pseudonym(f"k{n}", bytes([n]) * 32, "A-17") for n in (1, 2))
    assert told == [f"{first}  A-17", f"{second}  A-17  from 2025-12-02T00:00:00Z on"]
    (tmp_path / "accounts.csv").write_text("account\nA-17\n")
    told = CliRunner().invoke(cli.app, ["pseudonym", "--csv", str(tmp_path / "accounts.csv")]).stdout.splitlines()
    assert told == ["account", first, second]
    for wrong in ([], ["A", "--csv", "x"], ["--csv", str(tmp_path / "no.csv")], ["--csv", str(tmp_path / "keys")]):
        assert CliRunner().invoke(cli.app, ["pseudonym", *wrong]).exit_code == 2
    monkeypatch.delenv("TOCSIN_PSEUDONYM_KEYS_FILE")
    assert "is not set" in CliRunner().invoke(cli.app, ["pseudonym", "A"]).stderr


#: What names a person's account, and is found again wherever it is left.
ACCOUNT = st.builds(
    str.format,
    st.sampled_from(
        [
            "DE89PLANTED{}",
            "planted.{}@example.org",
            "Zoë Planted {}",
            "4111 1111 1111 1111 planted {}",
            "+4420planted{}",
        ]
    ),
    st.integers(0, 10**8),
)
PLANTED = re.compile("planted", re.IGNORECASE)
#: What a producer may do wrong, given a record's JSON.
BROKEN = (
    lambda text, of: text,
    lambda text, of: text,
    lambda text, of: text[: len(text) // 2],
    lambda text, of: json.dumps([of]),
    lambda text, of: json.dumps(of["account"]),
    lambda text, of: json.dumps({k: v for k, v in of.items() if k != "ts_event"}),
    lambda text, of: json.dumps(of | {"ts_event": float(T0)}),
    lambda text, of: json.dumps(of | {"ts_event": of["account"]}),
    lambda text, of: json.dumps(of | {"account": [of["account"]]}),
    lambda text, of: json.dumps(of | {"account": {"id": of["account"]}}),
    lambda text, of: json.dumps(of | {"currency": of["account"], "side": of["account"]}),
    lambda text, of: json.dumps({**of, "Account": of["account"], "memo": of["account"]}),
    lambda text, of: text[:-1] + f', "account": {json.dumps(of["account"])}}}',
    lambda text, of: text.replace('"account"', '"accoun\\u0074"'),
    lambda text, of: text.encode("utf-16").decode("latin-1"),
)


@given(
    topic=st.sampled_from(sorted(NAMING)),
    account=ACCOUNT,
    other=ACCOUNT,
    wrong=st.sampled_from(BROKEN),
    key=st.sampled_from(["its own", "another", "latin-1", "none"]),
    ts=st.sampled_from([T0, T0 + DAY_NS, T0 + 5 * DAY_NS]),
)
def test_no_account_is_left_in_what_is_made_of_a_message(
    two: Pseudonyms, topic: str, account: str, other: str, wrong: Any, key: str, ts: int
) -> None:
    of = record(topic, account, other, ts)
    value = wrong(json.dumps(of), of).encode()
    sent_key = {"its own": key_of(topic, of), "another": other.encode(), "none": b""}.get(
        key, account.encode("latin-1")
    )
    check(two, topic, sent_key, value, ts // 10**6)


@given(
    accounts=st.lists(ACCOUNT, min_size=1, max_size=5, unique=True),
    damage=st.sampled_from(["none", "cut", "other key", "byte"]),
    at=st.integers(0, 900),
    ts=st.sampled_from([T0, T0 + DAY_NS]),
)
def test_no_account_is_left_in_what_is_made_of_a_frame(
    two: Pseudonyms, accounts: list[str], damage: str, at: int, ts: int
) -> None:
    value = bytearray(codec.encode(frame(accounts, ts)))
    if damage == "cut":
        del value[at:]
    elif damage == "byte":
        value[at % len(value)] ^= 0xFF
    check(two, "orders", b"PLANTED" if damage == "other key" else b"ACME.XTOC", bytes(value), ts // 10**6)


SEAL = Seal([bytes(32)], bare=True)


def check(names: Pseudonyms, topic: str, key: bytes, value: bytes, sent_ms: int) -> None:
    """Hold that nothing is left of an account in what a worker and a recording make of a message."""
    found = named(names, topic, 7, key, value, sent_ms, {"x-account": "planted"})
    recorded = names.for_recording(topic, key, value, sent_ms)
    again = pending(topic, 7, *recorded, sent_ms, {})
    if found.value is None:
        letter = SEAL.close(dead_letter(Taken(topic, found), 0))
        assert not PLANTED.search(msgspec.json.encode(letter).decode())
        assert (SEAL.open(letter).key, SEAL.open(letter).value) == (key[:1024], value)
        assert again.value is None
    else:
        written = codec.encode(found.value)
        assert not PLANTED.search(written.decode("latin-1"))
        assert (found.key, found.sha256, written) == (again.key, again.sha256, codec.encode(again.value))
    if not (topic == "orders" and PLANTED.search(key.decode("latin-1"))):  # the key of an order is no account
        assert not PLANTED.search(recorded[0].decode("latin-1"))
    assert not PLANTED.search(recorded[1].decode("latin-1"))
