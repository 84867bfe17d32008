"""However orders and ticks are packed, a replay of them rings alike."""

from __future__ import annotations

import asyncio
from functools import cache

import pytest

from monitor.converters.messages import frame_messages, record_message
from monitor.recordings import RANK, Message
from monitor.replay_history import Course, by_history
from monitor.replayed import Replayed
from schemas.alerts import digest
from tests import misconduct
from tests.integration.daemon import stages

#: Long enough that a frame of 500 rows spans many ticks, texts' seconds and minutes of the order engine.
SPAN_NS = 50 * 10**9


@cache
def replayed(name: str, rows: int) -> Replayed:

    market = misconduct.market(name)
    messages: list[Message] = []
    for frame in (market.orders(), market.ticks()):
        messages += frame_messages(frame, rows=rows, span_ns=SPAN_NS)
    messages += [record_message("news", one) for one in market.news]
    messages.sort(key=lambda message: (message.ts_available, RANK[message.topic]))
    until_ns = messages[-1].ts_available + 7_200 * 10**9
    return asyncio.run(by_history(messages, stages(), Course(until_ns=until_ns)))


@pytest.mark.slow
@pytest.mark.parametrize("rows", [7, 500])
@pytest.mark.parametrize("name", sorted(misconduct.ACTS))
def test_framing_changes_no_alert(name: str, rows: int) -> None:
    single, packed = replayed(name, 1), replayed(name, rows)
    found = {a.subject.account for a in single.alerts if a.finding.typology.startswith(name)}
    assert found == misconduct.ACTS[name][1]
    assert digest(packed.alerts) == digest(single.alerts)
