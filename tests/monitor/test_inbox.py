"""A lane's inputs begin where its state ends, and are held back where they come too fast."""

from __future__ import annotations

import asyncio
import random

from monitor.sequencer import Pending
from schemas.journal import Run
from tests.monitor.lanes import NEWS, T0, TOPICS, Broker, Life, Logs, inputs, state, undisturbed


def test_a_late_fetch_from_before_the_assignment_loses_nothing() -> None:
    #   asked for   0 1 2 3 4 …
    #   comes       20 21 … (fetched before), then, asked again, 0 1 2 …
    messages = inputs(random.Random(13))
    logs = Logs()

    async def live() -> None:
        life = Life(logs, messages, random.Random(14))
        life.broker.fetched = {topic: min(20, len(messages[topic]) // 2) for topic in TOPICS}
        await life.finish(60)

    asyncio.run(live())
    assert state(logs) == state(undisturbed(messages))


def test_a_topic_whose_beginning_is_deleted_begins_where_it_does() -> None:
    messages = inputs(random.Random(15))
    logs = Logs()
    gone = 5

    class Shortened(Broker):
        def seek(self, topic: str, offset: int) -> None:
            super().seek(topic, max(offset, gone if topic == "news" else 0))

    async def live() -> None:
        life = Life(logs, messages, random.Random(16))
        life.broker.__class__ = Shortened
        life.broker.fetched["news"] = gone
        await life.finish(60 - gone)

    asyncio.run(live())
    first = next(s for e in logs.entries() for s in e.steps if isinstance(s, Run) and s.topic == "news")
    assert first.offset == gone


def test_a_slow_lane_holds_its_input_back() -> None:
    many = [Pending(i, "A", T0 + i, NEWS) for i in range(3_000)]
    logs, held = Logs(), 0

    async def live() -> None:
        nonlocal held
        life = Life(logs, {"frames": [], "news": many}, random.Random(17))
        life.broker.most = 100
        while life.lane._ordinal < 3_000:
            held = max(held, sum(map(len, life.lane.sequencer.buffers.values())))
            await asyncio.sleep(0)
        await life.finish(3_000)

    asyncio.run(live())
    assert held < 600
