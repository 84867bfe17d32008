"""A lane says everything once, in the journal's order, wherever it crashes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.tracks import Embedding
from monitor import checkpoint_writer, checkpoints
from monitor.checkpoints import Loaded
from monitor.journal import FencedError, JournalWriter
from schemas.errors import BadMessage
from schemas.journal import Decides, Fallback, Ladder, Run
from schemas.records import Review, Score, Signal
from tests.monitor.lanes import T0, TOPICS, Broker, Life, Logs, Producer, S, counting, inputs, state, undisturbed


async def test_a_checkpoint_that_takes_its_time_gets_on_while_records_come() -> None:
    life = Life(Logs(), {topic: [] for topic in TOPICS}, random.Random(0))
    got_on: list[bool] = []

    async def slowly(told: Callable[[], None]) -> Loaded:
        before_s = life.lane.status.progress_s
        told()
        got_on.append(life.lane.status.progress_s > before_s)
        return await Broker.load_checkpoint(life.broker, told)

    with patch.object(life.broker, "load_checkpoint", slowly):
        await life.finish(0)
    assert got_on == [True]


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), crashes=st.lists(st.integers(0, 250), max_size=5))
def test_a_lane_that_crashes_anywhere_says_everything_once(seed: int, crashes: list[int]) -> None:
    messages = inputs(random.Random(seed))
    logs, rng = Logs(), random.Random(seed + 1)

    async def live() -> None:
        for turns in crashes:
            life = Life(logs, messages, rng)
            await life.turns(turns)
            await life.crash()
        await Life(logs, messages, rng).finish(60)

    # States leave one by one, and every other checkpoint or so is full.
    with patch.object(checkpoint_writer, "PACKED_AT_ONCE", 1), patch.object(checkpoints, "RECORDS_MORE", 0):
        asyncio.run(live())
    whole = undisturbed(messages)
    assert logs.alerts() == whole.alerts()
    assert state(logs) == state(whole)
    assert logs.committed == {topic: len(messages[topic]) for topic in TOPICS}
    taken = [(step.topic, step.offset, step.count) for entry in logs.entries() for step in entry.steps
             if isinstance(step, Run)]  # fmt: skip
    for topic in TOPICS:
        assert [o for t, first, n in taken if t == topic for o in range(first, first + n)] == list(
            range(len(messages[topic]))
        )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


async def test_a_refused_acknowledgement_is_tried_again_though_nothing_more_comes() -> None:
    messages = inputs(random.Random(3))
    logs = Logs()
    life = Life(logs, messages, random.Random(4))
    await until(lambda: life.lane._ordinal == 60)
    ends = {topic: len(messages[topic]) for topic in TOPICS}
    life.broker.refusals = 3
    await until(lambda: logs.committed == ends)
    assert not life.lane.behind
    await life.finish(60)


async def test_a_lane_that_takes_over_acknowledges_what_its_predecessor_could_not() -> None:
    messages = inputs(random.Random(3))
    logs = Logs()
    life = Life(logs, messages, random.Random(4))
    life.broker.refusals = 1_000_000
    await life.finish(60)
    assert logs.committed == dict.fromkeys(TOPICS, 0)
    heir = Life(logs, messages, random.Random(5))
    await until(lambda: logs.committed == {topic: len(messages[topic]) for topic in TOPICS})
    assert heir.lane.status.messages == 0
    await heir.finish(60)


async def test_a_quiet_lane_owes_nothing_so_its_next_message_is_not_called_unacknowledged_for_as_long() -> None:
    messages = inputs(random.Random(3))
    life = Life(Logs(), messages, random.Random(4))
    await until(lambda: life.lane._ordinal == 60 and not life.lane.behind)
    life.lane.status.committed_s -= 3_600
    await until(lambda: time.monotonic() - life.lane.status.committed_s < 60)
    await life.finish(60)


async def test_a_lane_given_back_while_it_recovers_leaves_no_acknowledgement_on_its_way() -> None:
    messages = inputs(random.Random(3))
    logs = Logs()
    life = Life(logs, messages, random.Random(4), checkpoint_interval_s=1e9)
    life.broker.refusals = 1_000_000
    await life.finish(60)
    assert logs.committed == dict.fromkeys(TOPICS, 0)
    heir = Life(logs, messages, random.Random(5))
    heir.broker.answers.clear()
    await until(lambda: heir.lane._checkpoint is not None)
    heir.run.cancel()
    asyncio.get_running_loop().call_later(0.01, heir.broker.answers.set)
    await asyncio.gather(heir.run, return_exceptions=True)
    assert logs.committed == {topic: len(messages[topic]) for topic in TOPICS}
    heir.deliver.cancel()


async def test_an_acknowledgement_that_is_not_answered_is_missed_though_nothing_more_comes() -> None:
    messages = inputs(random.Random(3))
    life = Life(Logs(), messages, random.Random(4), checkpoint_interval_s=1e9)
    await until(lambda: life.lane._ordinal == 60)
    life.broker.answers.clear()
    life.lane.status.checkpoint_s -= 2e9
    await until(lambda: life.lane._checkpoint_ordinal == 60)
    await life.turns(100)
    assert life.lane.behind
    life.broker.answers.set()
    await until(lambda: not life.lane.behind)
    await life.finish(60)


async def test_a_refused_acknowledgement_is_tried_again_after_the_interval_not_at_every_look() -> None:
    messages = inputs(random.Random(3))
    life = Life(Logs(), messages, random.Random(4), checkpoint_interval_s=1e9)
    await until(lambda: life.lane._ordinal == 60)
    life.broker.refusals = 1_000
    life.lane.status.checkpoint_s -= 2e9
    await until(lambda: life.broker.refusals == 999)
    life.lane.status.checkpoint_s -= 2e9
    for _ in range(20):
        life.lane.wake()
        await life.turns(20)
    assert life.broker.refusals == 999
    life.broker.refusals = 0
    life.lane._acknowledge_s -= 2e9
    await until(lambda: not life.lane.behind)
    await life.finish(60)


async def test_a_checkpoint_whose_records_do_not_arrive_is_missed_though_nothing_more_comes() -> None:
    messages = inputs(random.Random(3))
    life = Life(Logs(), messages, random.Random(4), checkpoint_interval_s=1e9)
    await until(lambda: life.lane._ordinal == 60)
    arrive = asyncio.Event()
    write = life.lane._outbox.write_checkpoint

    async def held(records: Any) -> int:
        await arrive.wait()
        return await write(records)

    with patch.object(life.lane._outbox, "write_checkpoint", held):
        life.lane.status.checkpoint_s -= 2e9
        await until(lambda: life.lane._checkpoint_ordinal == 60)
        await life.turns(100)
        assert life.lane.behind
        arrive.set()
        await until(lambda: not life.lane.behind)
    await life.finish(60)


async def test_what_waits_for_acknowledgement_is_counted_from_when_a_lane_has_recovered() -> None:
    messages, logs = inputs(random.Random(3)), Logs()
    life = Life(logs, messages, random.Random(4), checkpoint_interval_s=1e9)
    life.broker.refusals = 1_000
    await life.finish(60)
    heir = Life(logs, messages, random.Random(5), checkpoint_interval_s=1e9)
    heir.broker.refusals = 1_000
    heir.lane.status.committed_s -= 3_600
    await until(lambda: heir.lane.status.recovered)
    assert heir.lane.behind
    assert time.monotonic() - heir.lane.status.committed_s < 60
    await heir.finish(60)


async def test_a_bundle_that_comes_while_another_is_swapped_in_follows_it() -> None:
    messages = inputs(random.Random(3))
    logs, began = Logs(), list[str]()
    life = Life(logs, messages, random.Random(4), checkpoint_interval_s=1e9)
    await until(lambda: life.lane._ordinal == 60)

    def swap(name: str) -> asyncio.Future[None]:
        agent = cast(Any, partial(counting, config=f"-{name}"))
        return life.lane.swap(Decides(name, name), agent, lambda: began.append(name))

    life.broker.answers.clear()
    first = swap("first")
    await until(lambda: life.lane._checkpoint_ordinal == 60)  # the first waits for its acknowledgement
    second, third = swap("second"), swap("third")
    life.broker.answers.set()
    async with asyncio.timeout(10):
        await asyncio.gather(first, second, third)
    assert began == ["first", "second", "third"]
    await life.finish(60)
    decided = [step.bundle for entry in logs.entries() for step in entry.steps if isinstance(step, Decides)]
    assert decided == ["", "first", "second", "third"]


def test_an_effect_leaves_only_once_its_journal_entry_is_there() -> None:
    messages = inputs(random.Random(3))
    logs = Logs()

    async def live() -> None:
        life = Life(logs, messages, random.Random(4))
        applied = 0
        for _ in range(400):
            await asyncio.sleep(0)
            named = sum(s.count for e in logs.entries() for s in e.steps if isinstance(s, Run))
            said = len(logs.of["scores"]) + len(logs.of["deadletters"])
            assert said <= named
            applied = max(applied, said)
        assert applied
        await life.crash()

    asyncio.run(live())


def test_what_is_said_of_an_instrument_goes_under_its_key() -> None:
    messages = inputs(random.Random(3))
    logs = undisturbed(messages)
    good = sorted(message.key for topic in TOPICS for message in messages[topic] if message.value is not None)
    for topic, record in (("scores", Score), ("signals", Signal), ("reviews", Review)):
        found = [(key.decode(), msgspec.json.decode(value, type=record)) for key, value in logs.of[topic]]
        assert sorted(key for key, _ in found) == good
        assert all(one.instrument == key for key, one in found)


def test_a_refused_message_becomes_a_dead_letter_with_its_position() -> None:
    messages = inputs(random.Random(6))
    logs = undisturbed(messages)
    bad = [(topic, message.offset) for topic in TOPICS for message in messages[topic] if message.value is None]
    assert sorted((letter.topic, letter.offset) for letter in logs.dead_letters()) == sorted(bad)
    assert {letter.reason for letter in logs.dead_letters()} == {"not_json"}


def test_a_lane_that_was_replaced_says_nothing_more() -> None:
    messages = inputs(random.Random(7))
    logs = Logs()

    async def live() -> None:
        old = Life(logs, messages, random.Random(8))
        while not logs.of["alerts"]:
            await asyncio.sleep(0)
        new = Producer(logs, random.Random(9))
        await JournalWriter(cast(Any, new), "journal", 0).claim("new")
        before, said = len(logs.entries()), list(logs.of["alerts"])
        with pytest.raises(FencedError, match="another worker has taken the partition over"):
            await old.run
        assert len(logs.entries()) == before
        # What its last good entry covers may still arrive; of the void one, nothing.
        named = sum(s.count for e in logs.entries() for s in e.steps if isinstance(s, Run))
        assert len(logs.of["scores"]) + len(logs.of["deadletters"]) <= named
        assert logs.of["alerts"][: len(said)] == said
        old.deliver.cancel()

    asyncio.run(live())


def test_a_step_of_the_ladder_is_journalled_and_recovered() -> None:
    messages = inputs(random.Random(10))
    logs = Logs()

    async def live() -> None:
        life = Life(logs, messages, random.Random(11), ladder_down_s=10.0, wall=lambda: T0 + 3_600 * S)
        life.broker.reached_end = False  # the last messages of one topic wait for the other
        async with asyncio.timeout(60):
            while not any(isinstance(step, Ladder) for entry in logs.entries() for step in entry.steps):
                await asyncio.sleep(0.01)
        await life.crash()
        again = Life(logs, messages, random.Random(12))
        await again.finish(60)
        assert again.lane.status.level == 1

    asyncio.run(live())
    steps = [step for entry in logs.entries() for step in entry.steps if isinstance(step, Ladder)]
    assert [step.level for step in steps] == [1]
    assert "messages have waited for" in steps[0].reason


def test_a_back_ends_fall_is_journalled_and_changes_nothing_else() -> None:
    messages = inputs(random.Random(10))
    logs, quiet = Logs(), Logs()
    told = Fallback("text", "openvino", "onnxruntime-cpu", "the device is gone")

    async def live() -> None:
        life = Life(logs, messages, random.Random(11))
        life.lane.note(told)
        await life.finish(60)
        await Life(quiet, messages, random.Random(11)).finish(60)
        again = Life(logs, messages, random.Random(12))
        await again.finish(60)

    asyncio.run(live())
    assert [step for entry in logs.entries() for step in entry.steps if isinstance(step, Fallback)] == [told]
    assert logs.of["alerts"] == quiet.of["alerts"]


def test_what_its_encoder_cannot_read_is_a_dead_letter_with_its_bytes() -> None:
    messages = inputs(random.Random(10))
    logs = Logs()
    broken = next(message for message in messages[TOPICS[0]] if message.value is not None)

    async def refuse() -> Embedding:
        raise BadMessage("bad_media", "expected a PNG file, found another")

    broken.ready, broken.embedding, broken.raw = lambda: True, refuse, (b"k", b"not a picture")

    async def live() -> None:
        await Life(logs, messages, random.Random(11)).finish(60)

    asyncio.run(live())
    (letter,) = [one for one in logs.dead_letters() if one.reason == "bad_media"]
    assert (letter.offset, letter.value, letter.detail[:8]) == (broken.offset, b"not a picture", "expected")
