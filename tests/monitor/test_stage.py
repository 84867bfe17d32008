from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import onnxruntime
import pytest
import structlog

from agents.flow import Arrival, Item
from engines.inference import OPENERS, ORDER, ORT_CPU, TENSORRT, Array, Inputs, Run, Unavailable, open_session
from monitor.errors import StartupError
from monitor.metrics import Metrics
from monitor.settings import Settings
from monitor.stage import load_stages
from monitor.state import StateTable
from schemas.alerts import Alert
from schemas.journal import Clock
from schemas.records import News, Signal
from tests.agents.streams import BEGIN, S, arrivals, news


def test_the_precision_asked_for_reaches_the_encoder() -> None:
    with pytest.raises(StartupError, match=r"has no encoder\.int8\.onnx"):
        load_stages(Settings(precision="int8"), lambda _: None)


def test_a_texts_tone_and_its_instruments_sector_go_into_the_signal() -> None:
    stage = load_stages(Settings(), lambda _: None).instrument
    bad = msgspec.structs.replace(news(0.0), headline="Shares plunge after the auditor resigns")
    good = msgspec.structs.replace(news(1.0, "d2"), headline="Profit beats expectations, shares soar to a record high")
    again = msgspec.structs.replace(news(2.0, "d3"), headline="Shares plunge as its auditor resigns")

    async def told() -> list[Signal]:
        async def items() -> AsyncIterator[Item]:
            for item in arrivals([], [(bad, 0.0), (good, 0.0), (again, 0.0)]):
                if isinstance(item, Arrival):
                    assert isinstance(item.value, News)
                    item = msgspec.structs.replace(item, embedding=stage.encoders["text"](item.value))
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


def test_the_width_of_bars_decides_and_their_default_changes_nothing() -> None:
    usual, days = (
        load_stages(settings, lambda _: None).instrument.decides
        for settings in (Settings(), Settings(bar_s=86_400, grace_ms=0))
    )
    assert load_stages(Settings(bar_s=5), lambda _: None).instrument.decides == usual != days


def test_days_after_which_instruments_are_forgotten_are_obeyed_and_decide() -> None:
    stages = {days: load_stages(Settings(forget_days=days), lambda _: None).instrument for days in (0, 1)}
    assert stages[0].decides != stages[1].decides

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


def test_a_back_end_that_fails_in_service_is_told_and_no_text_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def opener(model: bytes, plans: Path | None, may_build: bool) -> tuple[Run, str]:
        reference, failed = open_session(model, [], [ORT_CPU]), False

        def run(inputs: Inputs) -> tuple[Array, ...]:
            if failed:
                raise RuntimeError("the device is gone")
            return reference.run(inputs)

        def fail() -> None:
            nonlocal failed
            failed = True

        fails.append(fail)
        return run, "9.9"

    fails: list[Callable[[], None]] = []
    for name in ORDER[1:-1]:  # what may be installed here shall not come between
        monkeypatch.setitem(OPENERS, name, absent)
    monkeypatch.setitem(OPENERS, TENSORRT, opener)
    metrics = Metrics()
    stages = load_stages(Settings(), metrics.set_aside, fell=metrics.fell_back)
    encode = stages.instrument.encoders["text"]
    plunge = msgspec.structs.replace(news(0.0), headline="Shares plunge as the auditor resigns and fraud is alleged")

    # Nothing to an encoder, and another text: the same one would not be encoded again.
    again = msgspec.structs.replace(plunge, headline=plunge.headline.replace("plunge ", "plunge  "))

    def alerted(said: News) -> Alert:
        arrival = Arrival("news", 0, 0, said.instrument, said.ts_available, 0, said, bytes(32), encode(said))

        async def items() -> AsyncIterator[Item]:
            yield arrival

        async def alerts() -> list[Alert]:
            table: StateTable[Any] = StateTable()
            return [made async for made in stages.instrument.agent(items(), table) if isinstance(made, Alert)]

        return asyncio.run(alerts())[0]

    before = alerted(plunge)
    assert (before.provenance.backend, before.provenance.engine) == (TENSORRT, "9.9")
    assert stages.about["backend"] == TENSORRT
    fails[0]()
    with structlog.testing.capture_logs() as logged:
        after = alerted(again)
    assert (after.provenance.backend, after.provenance.engine) == (ORT_CPU, onnxruntime.__version__)
    assert (after.alert_id, after.finding.score) == (before.alert_id, before.finding.score)
    assert stages.about["backend"] == ORT_CPU
    assert b'tocsin_engine_fallbacks_total{failed="tensorrt",serves="onnxruntime-cpu"} 1.0' in metrics.expose()
    assert [line for line in logged if line["log_level"] == "error"] == [
        {
            "event": "back end failed in service",
            "member": "text",
            "log_level": "error",
            "backend": TENSORRT,
            "reason": "RuntimeError: the device is gone",
            "serves": ORT_CPU,
        }
    ]


def absent(model: bytes, plans: Path | None, may_build: bool) -> tuple[Run, str]:
    raise Unavailable("not here")
