from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from agents.flow import Arrival, Item
from monitor.settings import Settings
from monitor.stage import load_stages
from monitor.state import StateTable
from schemas.journal import Clock
from schemas.records import News, Signal
from tests.agents.streams import BEGIN, S, arrivals, news


def test_a_texts_tone_and_its_instruments_sector_go_into_the_signal() -> None:
    stage = load_stages(Settings(), lambda _: None).instrument
    assert stage.encode is not None
    bad = msgspec.structs.replace(news(0.0), headline="Shares plunge after the auditor resigns")
    good = msgspec.structs.replace(news(1.0, "d2"), headline="Profit beats expectations, shares soar to a record high")
    again = msgspec.structs.replace(news(2.0, "d3"), headline="Shares plunge as its auditor resigns")

    async def told() -> list[Signal]:
        async def items() -> AsyncIterator[Item]:
            for item in arrivals([], [(bad, 0.0), (good, 0.0), (again, 0.0)]):
                if isinstance(item, Arrival):
                    assert isinstance(item.value, News)
                    item = msgspec.structs.replace(item, embedding=stage.encode(item.value))  # type: ignore[misc]
                yield item

        return [one async for one in stage.agent(items(), StateTable()) if isinstance(one, Signal)]

    first, second, third = asyncio.run(told())
    assert first.sentiment is not None
    assert second.sentiment is not None
    assert -1.0 < first.sentiment.index < 0.0 < 2.0 * second.sentiment.index - first.sentiment.index < 1.0
    assert third.sentiment is not None
    assert second.sentiment.novelty is not None
    assert third.sentiment.novelty is not None
    assert second.sentiment.novelty > 0.5 > 0.1 > third.sentiment.novelty > 0.0
    assert (first.sector, first.bundle) == ("health", second.bundle)
    assert first.bundle


def test_days_after_which_instruments_are_forgotten_are_obeyed_and_decide() -> None:
    stages = {days: load_stages(Settings(forget_days=days), lambda _: None).instrument for days in (0, 1)}
    assert stages[0].config != stages[1].config

    async def kept(days: int, after_s: int) -> int:
        async def items() -> AsyncIterator[Item]:
            for item in arrivals([], [(news(0.0), 0.1)]):
                yield item
            yield Clock(BEGIN + after_s * S)

        table: StateTable[Any] = StateTable()
        async for _ in stages[days].agent(items(), table):
            pass
        return len(table)

    assert [asyncio.run(kept(*case)) for case in ((1, 86_399), (1, 86_400), (0, 864_000))] == [1, 0, 1]
