"""What a replay says goes to topics of its own, in the partitions in which a daemon would send it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

import msgspec
import pytest

from monitor import kafka
from monitor.commands.replay_job import paced
from monitor.errors import StartupError
from monitor.outbox import Effects, Outbox
from monitor.republish import Republisher, require_another
from monitor.settings import Settings
from schemas.alerts import Alert, AlertEvent
from schemas.records import DeadLetter, Score
from tests.golden.examples import EXAMPLES

ALERT: Alert = next(cast(AlertEvent, example.record) for example in EXAMPLES if example.topic == "alerts").data


class Outboxes:
    """Four of them, which keep what they are sent."""

    def __init__(self) -> None:
        self.sent: dict[int, list[Effects]] = defaultdict(list)
        self.awaited = 0

    def boxes(self) -> list[Outbox]:
        outer = self

        class Box:
            def __init__(self, number: int) -> None:
                self.number = number

            async def send(self, effects: Effects) -> None:
                outer.sent[self.number].append(effects)

            def take_pending(self) -> list[Any]:
                async def delivered() -> None:
                    outer.awaited += 1

                return [delivered()] if outer.sent[self.number] else []

        return [cast(Outbox, Box(number)) for number in range(4)]


def score(instrument: str) -> Score:
    return Score(ts_event=1, instrument=instrument, window_start=0, window_end=1, scores={})


async def test_each_goes_where_its_instrument_is_and_all_of_it_at_the_end() -> None:
    held = Outboxes()
    made = Republisher(held.boxes(), from_ns=0)
    for instrument in ("A.X", "B.X", "A.X"):
        made.take(score(instrument))
    made.take("what is no output")
    made.refuse(DeadLetter(ts_event=1, topic="news", partition=0, offset=0, reason="not_json", detail=""))
    await made.flush()
    assert not held.sent  # too little to be worth a batch
    await made.flush(all_of_it=True)
    home = kafka.partition_for("A.X", 4)
    assert [one.instrument for one in held.sent[home][0].scores if one.instrument == "A.X"] == ["A.X", "A.X"]
    assert sum(len(one.scores) for effects in held.sent.values() for one in effects) == 3
    assert sum(len(one.dead_letters) for effects in held.sent.values() for one in effects) == 1
    assert held.awaited == sum(bool(one) for one in held.sent.values())


async def test_much_is_sent_before_the_end() -> None:
    held = Outboxes()
    made = Republisher(held.boxes(), from_ns=0)
    for _ in range(2_000):
        made.take(score("A.X"))
    await made.flush()
    assert sum(len(one.scores) for effects in held.sent.values() for one in effects) == 2_000


async def test_alerts_of_the_warm_up_are_marked() -> None:
    held = Outboxes()
    made = Republisher(held.boxes(), from_ns=ALERT.times.available_at)
    unmarked = msgspec.structs.replace(ALERT, quality=msgspec.structs.replace(ALERT.quality, warm_up=False))
    times = msgspec.structs.replace(ALERT.times, available_at=ALERT.times.available_at - 1)
    made.take(msgspec.structs.replace(unmarked, times=times))
    made.take(unmarked)
    await made.flush(all_of_it=True)
    (effects,) = [one for sent in held.sent.values() for one in sent]
    assert [alert.quality.warm_up for alert in effects.alerts] == [True, False]


def test_the_live_prefix_is_refused() -> None:
    require_another(Settings(prefix="tocsin."), "replay.")
    with pytest.raises(StartupError, match=r"--to-prefix tocsin\. is the prefix of the live topics"):
        require_another(Settings(prefix="tocsin."), "tocsin.")


async def test_a_paced_replay_waits_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    now = [100.0]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("monitor.commands.replay_job.asyncio.sleep", sleep)
    monkeypatch.setattr("monitor.commands.replay_job.time.monotonic", lambda: now[0])
    beat = paced(2.0, 10 * 10**9, None)
    for clock_s in (5, 10, 14, 15):
        await beat(clock_s * 10**9)
    assert slept == [0.0, 0.0, 2.0, 0.5]  # the warm-up is not waited for; then twice as fast as it happened
