"""Nothing that the daemon writes names an account of its inputs: on a broker, over a change of keys."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from engines.accounts import DAY_NS, HOUR_NS
from monitor.capture import capture
from monitor.folders import Folder
from monitor.pseudonyms import Pseudonyms
from monitor.recordings import Message, Recording
from monitor.replay_journal import by_journal
from monitor.replay_logs import Log, recorded
from monitor.replayed import Replayed
from monitor.settings import Settings
from monitor.worker import EXIT_LANE
from schemas import codec
from schemas.alerts import digest
from schemas.order_frames import AnyFrame
from schemas.pseudonyms import split
from schemas.topics import HISTORY_INPUTS, TOPICS
from tests import misconduct
from tests.integration.daemon import CANONICAL, Feed, Watch, Worker, account, stages, until
from tests.integration.kafka import messages_of
from tests.payments import T0, payments
from tests.statements import stated

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
#: With what accounts begin: a client's address, name, card, telephone number and account at a bank.
PLANTED = ("planted.roe@example.org", "Planted,Jane", "4111111111111111", "+442079460018", "DE89370400440532013000")
ROTATED_NS = T0 + 20 * DAY_NS + HOUR_NS


def planted(name: str) -> str:
    """Return an account's id as a careless producer makes one."""
    return f"{PLANTED[sum(name.encode()) % len(PLANTED)]}/{name}" if name else ""


def sent() -> tuple[list[Message], int]:
    """Return payments, statements and orders whose accounts name persons, and how many of them are broken."""
    made = []
    for message in [*payments(), *stated()]:
        record = json.loads(message.value)
        record |= {name: planted(record[name]) for name in ("account", "counterparty") if name in record}
        made.append(dataclasses.replace(message, key=record["account"].encode(), value=json.dumps(record).encode()))
    market = misconduct.market("spoofing")
    frame = market.orders()
    accounts, traders = tuple(map(planted, frame.accounts)), tuple(map(planted, frame.traders))
    frames: list[tuple[str, AnyFrame]] = [
        ("orders", msgspec.structs.replace(frame, accounts=accounts, traders=traders)),
        ("frames", market.ticks()),
    ]
    for topic, whole in frames:
        for at in range(0, len(whole), 500):
            part = whole[at : at + 500]
            ts = int(part.ts_available[-1])
            made.append(Message(topic, b"ACME.XTOC", codec.encode(part), ts, ts, ts // 10**6))
    made.sort(key=lambda one: one.ts_available)
    whole_ones = [one for one in made if one.topic != "frames"]
    broken = [dataclasses.replace(one, value=one.value[: len(one.value) // 2]) for one in whole_ones[-4:]]
    broken += [
        dataclasses.replace(one, key=planted("other").encode()) for one in whole_ones[-4:] if one.topic != "orders"
    ]
    return [*made, *broken], len(broken) + 1  # a statement lacks a month


async def by_journals(log: Log, partitions: int) -> list[Replayed]:
    """Return what the journals of all stages say again."""
    instrument, *single = stages()
    mine = [(instrument, partition) for partition in range(partitions)]
    return [await by_journal(log, *one) for one in [*mine, *((stage, 0) for stage in single)]]


def test_nothing_that_is_written_names_an_account_but_by_a_key(
    embedded: str, settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    since, end = (datetime.fromtimestamp(ns / 1e9, UTC).isoformat() for ns in (ROTATED_NS, ROTATED_NS + DAY_NS))
    one, two = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    for name, text in (("names", f"k1 - - {one}\nk2 {since} {end} {two}\n"), ("letters", one)):
        (tmp_path / name).write_text(text)
    keyless = settings_of(embedded, session_timeout_ms=60_000, **CANONICAL)
    settings = keyless.model_copy(
        update={"pseudonym_keys_file": tmp_path / "names", "deadletter_key_file": tmp_path / "letters"}
    )
    messages, broken = sent()
    watch = Watch(settings)
    with Feed(settings, messages) as feed:
        feed.finish()
    with Worker(settings, tmp_path) as worker:
        until(lambda: watch.acknowledged() == len(messages), 180, "all is read", [worker])
        assert worker.drain() == 0
    # Who comes after, with keys that say otherwise of what was named, does not go on.
    rotated, later = (tmp_path / "names").read_text(), datetime.fromtimestamp(ROTATED_NS / 1e9 + 7 * 86_400, UTC)
    (tmp_path / "names").write_text(rotated.replace(since, later.isoformat()).replace(end, "2100-01-01T00:00:00Z"))
    with Worker(settings, tmp_path, "two") as other:
        assert other.wait(120) == EXIT_LANE
        assert "events as late were named already: state a time that none has reached" in other.log
    (tmp_path / "names").write_text(rotated)
    # What stands on the broker is what a replay of its inputs, by the same keys, gives.
    found = account(settings)
    found.check(messages=sum(one.topic in stages().instrument.topics for one in messages), alerts=6)
    named = {one.subject.account for one in found.alerts}
    names = Pseudonyms(tmp_path / "names")
    assert named >= {names.name(planted("spoofer"), T0), split(names.name(planted("P5"), ROTATED_NS + HOUR_NS))[0]}

    asyncio.run(capture(settings, Folder(str(tmp_path / "recording")), until="now"))
    again = asyncio.run(capture(settings, Folder(str(tmp_path / "recording")), until="now"))
    assert again.messages == 0  # and its last messages were known again
    recording = Recording.open(tmp_path / "recording")
    replayed = asyncio.run(by_journals(recorded(recording), settings.partitions))
    assert digest([alert for one in replayed for alert in one.alerts]) == digest(found.alerts)  # without a key
    assert sum(len(one.dead_letters) for one in replayed) == broken

    written = {topic.name: asyncio.run(messages_of(settings, topic.name)) for topic in TOPICS}
    assert all(written[name] for name in ("alerts", "journal", "accounts.checkpoints", "checkpoints", "deadletters"))
    assert len(written["deadletters"]) == broken
    told = {
        f"{topic}/{one.offset}": (one.key or b"") + (one.value or b"")
        for topic in written
        if topic not in HISTORY_INPUTS
        for one in written[topic]
    }
    told |= {str(path): path.read_bytes() for path in tmp_path.glob("one-*.log")}
    told |= {
        f"recorded {one.topic}/{one.offset}": one.key + one.value + repr(one.headers).encode()
        for one in recording.messages()
    }
    left = [place for place, held in told.items() for name in PLANTED if name.encode() in held]
    assert not left
