"""Dead letters that hold what is whose business, and nothing of it outside."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import json
import logging
import os
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import structlog

from monitor import deadletters, logs
from monitor.errors import StartupError
from monitor.recordings import Message, Recording
from monitor.replay_history import by_history
from monitor.sealing import Seal
from monitor.settings import Settings
from schemas.records import DeadLetter
from tests.golden.day import RECORDING
from tests.integration.daemon import stages

LETTER = DeadLetter(
    ts_event=1,
    ts_available=1,
    topic="transfers",
    partition=0,
    offset=7,
    reason="not_json",
    detail="expected a number, found 'jo@example.org'",
    key=b"A-17",
    value=b'{"from": "DE89370400440532013000", "to": "jo@example.org"',
    size=57,
    headers={"source": "bank"},
)
#: What a text or a broken message of a feed may hold of a person.
PLANTED = ("jo.roe@example.org", "4111 1111 1111 1111", "DE89370400440532013000", "+44 20 7946 0018", "98765432")
SAID = f"{PLANTED[0]} {PLANTED[1]} {PLANTED[2]} {PLANTED[3]} account no. {PLANTED[4]}"


def keys(folder: Path, *found: bytes) -> Path:
    path = folder / "keys"
    path.write_bytes(b"\n".join(base64.b64encode(key) for key in found))
    return path


def seal(folder: Path, *found: bytes) -> Seal:
    return Seal.of(Settings(deadletter_key_file=keys(folder, *found)))


def test_a_letter_is_closed_and_opened_by_the_same_key_alone(tmp_path: Path) -> None:
    old, new = os.urandom(32), os.urandom(32)
    closed = seal(tmp_path, old).close(LETTER)
    assert closed.detail == "expected a number, found '[email]'"
    assert closed.excerpt == '{"from": "[iban]", "to": "[email]"'
    assert (closed.key, closed.value, closed.headers) == (b"", b"", {})
    opened = seal(tmp_path, new, old).open(closed)  # after a rotation
    assert (opened.key, opened.value, opened.headers) == (LETTER.key, LETTER.value, LETTER.headers)
    assert deadletters.obstacle(opened) is None
    assert seal(tmp_path, new).open(closed) == closed
    assert "is encrypted by key" in str(deadletters.obstacle(closed))


def test_a_letter_that_was_moved_or_changed_does_not_open(tmp_path: Path) -> None:
    one = seal(tmp_path, os.urandom(32))
    closed = one.close(LETTER)
    for other in (
        msgspec.structs.replace(closed, offset=8),
        msgspec.structs.replace(closed, sealed=closed.sealed[:-1] + bytes([closed.sealed[-1] ^ 1])),
    ):
        assert one.open(other) == other


def test_the_same_letter_is_never_closed_alike(tmp_path: Path) -> None:
    one = seal(tmp_path, os.urandom(32))
    assert one.close(LETTER).sealed != one.close(LETTER).sealed


@pytest.mark.parametrize("text", ["", "not base64!", base64.b64encode(b"short").decode(), "\xff"])
def test_a_file_that_holds_no_key_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text, "latin-1")
    with pytest.raises(StartupError, match=r"TOCSIN_DEADLETTER_KEY_FILE .*openssl rand -base64 32"):
        Seal.of(Settings(deadletter_key_file=path))
    with pytest.raises(StartupError, match="cannot be read"):
        Seal.of(Settings(deadletter_key_file=tmp_path / "nothing"))
    assert Seal.of(Settings()).close(LETTER) is LETTER


def planted() -> list[Message]:
    """Return the golden day's texts with what names a person in each, and as many that are broken."""
    found = []
    for message in Recording.open(RECORDING).messages(["news", "transcripts"]):
        record = json.loads(message.value)
        field = "headline" if message.topic == "news" else "text"
        record[field] = f"{SAID} {record[field]} {SAID}"
        whole = json.dumps(record).encode()
        found.append(dataclasses.replace(message, value=whole))
        found.append(dataclasses.replace(message, value=whole[:-1], offset=message.offset + 1_000_000))
    return found


def test_nothing_that_names_a_person_leaves_but_sealed(tmp_path: Path) -> None:
    replayed = asyncio.run(by_history(planted(), stages()))
    one = seal(tmp_path, os.urandom(32))
    assert any(alert.explanation.attributions for alert in replayed.alerts)
    assert len(replayed.dead_letters) > 50
    out = [msgspec.json.encode(alert) for alert in replayed.alerts]
    out += [msgspec.json.encode(one.close(letter)) for letter in replayed.dead_letters]
    for written in out:
        assert not [said for said in PLANTED if said.encode() in written]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_logs_name_no_person_either(monkeypatch: pytest.MonkeyPatch, log_format: Literal["json", "console"]) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    before = logging.getLogger().handlers, structlog.get_config()
    try:
        logs.configure(Settings(log_format=log_format))
        log = structlog.get_logger("test")
        log.warning("refused", reason=SAID)
        try:
            raise ValueError(SAID)
        except ValueError:
            log.exception("failed")
        logging.getLogger("a library").error(SAID)
    finally:
        logging.getLogger().handlers = before[0]
        structlog.configure(**before[1])
    told = stream.getvalue()
    assert told.count("[email]") >= 3
    assert not [said for said in PLANTED if said in told]
