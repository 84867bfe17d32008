from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from engines.instruments import Listing, SymbolMaster
from monitor.commands.gateway import settings_of
from monitor.gateway import STALLED_S, Gateway, _headers, news_of
from monitor.packing import Partition
from monitor.settings import Settings, load
from schemas.records import Document

DOCUMENTS = TopicPartition("tocsin.documents", 3)
MASTER = SymbolMaster(
    [
        Listing(instrument="ACME.XTOC", symbol="ACME", venue="XTOC", name="Acme Robotics"),
        Listing(instrument="BOREAL.XTOC", symbol="BOREAL", venue="XTOC", name="Boreal Energy"),
        Listing(instrument="CINDER.XTOC", symbol="CINDER", venue="XTOC", name="Cinder Mining"),
    ]
)


def document(headline: str, body: str = "", instruments: list[str] | None = None) -> Document:
    return Document(
        ts_event=10, ts_available=12, document_id="d1", headline=headline, body=body, source="wire", channel="post",
        instruments=instruments or [],
    )  # fmt: skip


def test_a_document_that_names_three_instruments_reaches_all_three() -> None:
    news = news_of(document("Acme Robotics sues Boreal Energy", "$CINDER falls."), MASTER)

    assert [item.instrument for item in news] == ["ACME.XTOC", "BOREAL.XTOC", "CINDER.XTOC"]
    for item in news:
        assert item.mentions == ["ACME.XTOC", "BOREAL.XTOC", "CINDER.XTOC"]
        assert (item.ts_event, item.ts_available, item.document_id, item.channel) == (10, 12, "d1", "post")


def test_what_the_feed_attached_counts_as_named() -> None:
    (news,) = news_of(document("Shares fall", instruments=["$acme"]), MASTER)
    assert news.instrument == "ACME.XTOC"


def test_a_document_that_names_none_goes_to_the_market() -> None:
    (news,) = news_of(document("Rates unchanged"), MASTER)
    assert (news.instrument, news.mentions) == ("market", [])


def test_a_trace_goes_on_where_there_is_one() -> None:
    given = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    assert dict(_headers("documents/3", given)) == {"source": b"documents/3", "traceparent": given[0][1]}

    new = dict(_headers("ticks/0"))["traceparent"].decode().split("-")
    assert [len(part) for part in new] == [2, 32, 16, 2]


def test_a_gateway_beside_a_daemon_has_a_port_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOCSIN_HTTP_PORT", raising=False)
    assert settings_of().http_port not in (0, load().http_port)
    assert settings_of(http_port=0).http_port == 0
    monkeypatch.setenv("TOCSIN_HTTP_PORT", "9000")
    assert settings_of().http_port == 9_000


async def test_a_gateway_that_fetches_nothing_is_not_alive_unless_the_broker_is_away() -> None:
    gateway = Gateway(Settings(), MASTER)
    await gateway._close()
    fetched_ms = time.time() * 1_000 - 45_000
    gateway._consumer = SimpleNamespace(
        assignment=lambda: {TopicPartition("tocsin.ticks", 3)},
        highwater=lambda _: 0,
        last_poll_timestamp=lambda _: fetched_ms,
    )
    assert gateway._live() == []  # it has only just begun
    gateway._assigned_s -= 100
    gateway._pulse.since_s -= 100
    assert gateway._live() == ["no fetch of tocsin.ticks/3 was answered for 45 s"]
    gateway._pulse._answered_s -= 60
    assert gateway._live() == []
    assert gateway._ready() == ["the broker has not answered for 60 s"]


async def test_nothing_older_is_committed_while_the_first_sending_after_an_assignment_is_stuck() -> None:
    gateway = Gateway(Settings(), MASTER)
    await gateway._close()
    stuck, commits = asyncio.Event(), []
    record = SimpleNamespace(offset=700, key=b"", value=b"no document", timestamp=0, headers=())

    async def getmany(**_: object) -> dict[TopicPartition, list[SimpleNamespace]]:
        return {DOCUMENTS: [record]}

    async def commit(offsets: dict[TopicPartition, int]) -> None:
        commits.append(offsets)

    async def send(*_: object, **__: object) -> None:
        stuck.set()
        await asyncio.Event().wait()

    gateway._consumer = SimpleNamespace(
        assignment=lambda: {DOCUMENTS}, highwater=lambda _: 701, getmany=getmany, commit=commit
    )
    gateway._producer.send = send
    work = asyncio.create_task(gateway._loop())
    await asyncio.wait_for(stuck.wait(), 5.0)
    await gateway._commit()
    work.cancel()
    assert commits == []


@pytest.mark.parametrize(("under_way", "told"), [(False, []), (True, ["there is lag, and nothing was committed"])])
async def test_new_ticks_after_an_idle_minute_are_no_stall_but_a_sending_that_never_arrives_is(
    under_way: bool, told: list[str]
) -> None:
    gateway = Gateway(Settings(), MASTER)
    await gateway._close()
    end = 700
    gateway._consumer = SimpleNamespace(
        assignment=lambda: {DOCUMENTS}, highwater=lambda _: end, last_poll_timestamp=lambda _: time.time() * 1_000
    )
    part = gateway._parts[DOCUMENTS] = Partition(500, 0.02, start=699)
    part.ledger.position = 700
    if under_way:
        part.ledger.sent(699)
    else:
        part.committed = 700
    gateway._moved_s -= STALLED_S + 1
    gateway._pulse.since_s -= 100
    await gateway._commit()
    end = 705
    assert [reason.partition(" for ")[0] for reason in gateway._live()] == told


async def test_an_assignment_waits_for_no_offset_of_a_partition_without_a_leader() -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    gateway = Gateway(Settings(), MASTER)
    await gateway._close()
    gateway._consumer = SimpleNamespace(committed=never, beginning_offsets=never)
    async with asyncio.timeout(5):  # of the session: no heartbeat is sent meanwhile
        await gateway.on_partitions_assigned([DOCUMENTS])
    assert gateway._joined
