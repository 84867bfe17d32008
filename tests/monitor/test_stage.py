from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.flow import Item
from monitor.errors import StartupError
from monitor.settings import Settings
from monitor.stage import load_stages
from monitor.state import StateTable
from schemas.journal import Clock
from tests.agents.streams import BEGIN, S, arrivals, news


def test_the_precision_asked_for_reaches_the_encoder() -> None:
    with pytest.raises(StartupError, match=r"has no encoder\.int8\.onnx"):
        load_stages(Settings(precision="int8"), lambda _: None)


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
