"""Another bundle, or other rules, decide from one place of a lane's order on, wherever it crashes."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from monitor.rulebook import Rulebook, rank
from monitor.sequencer import SECOND_NS
from schemas.journal import Clock, Decides, Rules, Run
from tests.monitor.lanes import T0, Life, Logs, counting, inputs, state, undisturbed


@pytest.mark.parametrize("config", ["other", "c"])
def test_alerts_that_another_configuration_gives_other_ids_are_named(config: str) -> None:
    messages = inputs(random.Random(19))
    logs = Logs()

    async def live() -> tuple[list[str], list[Any]]:
        life = Life(logs, messages, random.Random(20), decides=Decides("", "c"))
        while not logs.committed["news"]:
            await asyncio.sleep(0)
        await life.crash()
        life = Life(logs, messages, random.Random(21), decides=Decides("", "c"), checkpoint_interval_s=1e9)
        before = len(logs.of["alerts"])
        while len(logs.of["alerts"]) < before + 3:
            await asyncio.sleep(0)
        await life.crash()
        sent = logs.alerts()
        with capture_logs() as logged:
            await Life(logs, messages, random.Random(22), decides=Decides("", config)).finish(60)
        return sent, [entry for entry in logged if entry["log_level"] == "warning"]

    sent, warnings = asyncio.run(live())
    if config == "c":
        assert not warnings
        return
    (warning,) = warnings
    assert "the decision configuration has changed" in warning["event"]
    assert (warning["was"], warning["now"]) == ("c", "other")
    assert warning["alerts"] == len(warning["alert_ids"]) >= 3
    assert set(warning["alert_ids"]) <= set(sent)
    assert {name.removesuffix("c") + "other" for name in warning["alert_ids"]} <= set(logs.alerts())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), turns=st.integers(0, 200), crash=st.none() | st.integers(0, 60))
def test_a_swap_is_told_by_the_journal_and_nothing_is_lost_or_told_twice(
    seed: int, turns: int, crash: int | None
) -> None:
    """The swap is asked for after some turns; where the worker crashes in it, the next begins with what it finds."""
    messages = inputs(random.Random(seed))
    logs, rng = Logs(), random.Random(seed + 1)
    old, new = Decides("old-bundle", "-old"), Decides("new-bundle", "-new")
    begun: list[int] = []

    def swap(life: Life) -> asyncio.Future[None]:
        agent = cast(Any, partial(counting, config=new.config))
        return life.lane.swap(new, agent, lambda: begun.append(life.lane._ordinal))

    async def live() -> None:
        life = Life(logs, messages, rng, decides=old)
        await life.turns(turns)
        over = swap(life)
        if crash is not None:
            await life.turns(crash)
            await life.crash()
            told = any(step == new for entry in logs.entries() for step in entry.steps)
            life = Life(logs, messages, rng, decides=new if told else old)
            over = asyncio.get_running_loop().create_future() if told else swap(life)
            if told:
                over.set_result(None)
        async with asyncio.timeout(60):
            await over
        await life.finish(60)

    with capture_logs() as logged:
        asyncio.run(live())
    assert not [entry for entry in logged if entry["log_level"] == "warning"]
    # The last time that the journal says so; a worker that starts says it too, and changes nothing by it.
    steps = [step for entry in logs.entries() for step in entry.steps]
    deciding = [step for step in steps if isinstance(step, Decides)]
    first = deciding.index(new)
    assert deciding[0] == old
    assert set(deciding[:first]) == {old}
    assert set(deciding[first:]) == {new}
    before = sum(step.count for step in steps[: steps.index(new)] if isinstance(step, Run))
    if begun:
        assert begun[-1] == before
    whole = undisturbed(messages)
    names = [name.rpartition("-") for name in logs.alerts()]
    assert [name for name, _, _ in names] == whole.alerts()
    assert [config for *_, config in names] == sorted((config for *_, config in names), reverse=True)
    assert state(logs) == state(whole)
    closing = logs.loaded().closing
    assert closing is not None
    assert closing.config == new.config


def published(*seconds: int) -> Rulebook:
    """Return rules "0", "1", … that are to take effect so many seconds after the first message."""
    book = Rulebook()
    for offset, second in enumerate(seconds):
        book.add(Rules(effective_ns=T0 + second * SECOND_NS, offset=offset, text=str(offset)))
    return book


def rules_run(logs: Logs) -> list[tuple[Rules, int, int]]:
    """Return the rules that the journal says took effect, with the latest time before and the earliest after, ns."""
    steps = [step for entry in logs.entries() for step in entry.steps if isinstance(step, Rules | Clock)]
    found = []
    for at, step in enumerate(steps):
        if isinstance(step, Rules):
            before = [one.now_ns for one in steps[:at] if isinstance(one, Clock)]
            after = [one.now_ns for one in steps[at:] if isinstance(one, Clock)]
            found.append((step, max(before, default=0), min(after, default=1 << 62)))
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    seconds=st.lists(st.integers(0, 7), min_size=1, max_size=3),
    crashes=st.lists(st.integers(0, 250), max_size=4),
)
def test_rules_take_effect_at_their_time_wherever_it_crashes(seed: int, seconds: list[int], crashes: list[int]) -> None:
    messages, book = inputs(random.Random(seed)), published(*seconds)
    logs, whole = Logs(), Logs()
    rng = random.Random(seed + 1)

    async def live() -> None:
        for turns in crashes:
            life = Life(logs, messages, rng, book)
            await life.turns(turns)
            await life.crash()
        await Life(logs, messages, rng, book).finish(60)

    async def once() -> None:
        await Life(whole, messages, random.Random(seed), book).finish(60)

    asyncio.run(once())
    with capture_logs() as logged:
        asyncio.run(live())
    assert not [entry for entry in logged if entry["log_level"] == "warning"]
    assert logs.alerts() == whole.alerts()
    assert state(logs) == state(whole)
    for told in (rules_run(logs), rules_run(whole)):
        for rules, before_ns, after_ns in told:
            assert before_ns < rules.effective_ns <= after_ns
        # Of two that are of one time, the one that was published last.
        assert [rules for rules, _, _ in told] == sorted(
            {book.at(rules.effective_ns) for rules, _, _ in told}, key=rank
        )
    last = logs.loaded().closing
    assert last is not None
    assert last.rules == book.at(max(last.clock_ns, last.rules.effective_ns))
    assert last.config == "c" + last.rules.text


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), turns=st.integers(0, 200), crash=st.none() | st.integers(0, 60))
def test_rules_that_come_late_take_effect_from_there_on_and_nothing_is_told_twice(
    seed: int, turns: int, crash: int | None
) -> None:
    messages, book = inputs(random.Random(seed)), Rulebook()
    logs, rng = Logs(), random.Random(seed + 1)

    async def live() -> None:
        life = Life(logs, messages, rng, book)
        await life.turns(turns)
        book.add(Rules(effective_ns=T0, offset=0, text="late"))
        life.lane.wake()
        if crash is not None:
            await life.turns(crash)
            await life.crash()
            life = Life(logs, messages, rng, book)
        await life.finish(60)

    asyncio.run(live())
    whole = undisturbed(messages)
    names = [name.rpartition("-") for name in logs.alerts()]
    assert [name for name, *_ in names] == whole.alerts()
    assert [text for *_, text in names] == sorted((text for *_, text in names))
    assert state(logs) == state(whole)
    assert len(rules_run(logs)) <= 1  # none where it was stopped before


def test_rules_that_a_worker_was_started_with_give_way_to_its_next_starts() -> None:
    messages = inputs(random.Random(5))
    logs = Logs()

    async def live() -> None:
        life = Life(logs, messages, random.Random(6), Rulebook(Rules(0, -1, "first")))
        while not logs.committed["news"]:
            await asyncio.sleep(0)
        await life.crash()
        await Life(logs, messages, random.Random(7), Rulebook(Rules(0, -1, "second"))).finish(60)
        await Life(logs, messages, random.Random(8), Rulebook()).finish(60)

    asyncio.run(live())
    assert [rules.text for rules, _, _ in rules_run(logs)] == ["first", "second", ""]


def test_rules_stay_in_effect_where_the_control_topic_lost_them() -> None:
    messages = inputs(random.Random(5))
    logs = Logs()

    async def live() -> None:
        await Life(logs, messages, random.Random(6), published(0)).finish(60)
        await Life(logs, messages, random.Random(7), Rulebook()).finish(60)

    asyncio.run(live())
    assert len(rules_run(logs)) == 1
    closing = logs.loaded().closing
    assert closing is not None
    assert closing.rules.text == "0"


def test_a_worker_that_starts_with_the_bundle_that_was_swapped_away_names_the_alerts() -> None:
    messages = inputs(random.Random(19))
    logs = Logs()
    old, new = Decides("a", "-old"), Decides("b", "-new")

    async def live() -> list[Any]:
        life = Life(logs, messages, random.Random(20), decides=old, checkpoint_interval_s=1e9)
        await life.lane.swap(new, cast(Any, partial(counting, config="-new")), lambda: None)
        before = len(logs.of["alerts"])
        while len(logs.of["alerts"]) < before + 3:
            await asyncio.sleep(0)
        await life.crash()
        with capture_logs() as logged:
            await Life(logs, messages, random.Random(22), decides=old).finish(60)
        return [entry for entry in logged if entry["log_level"] == "warning"]

    (warning,) = asyncio.run(live())
    assert (warning["was"], warning["now"]) == ("-new", "-old")
    assert all(name.endswith("-new") for name in warning["alert_ids"])


def test_a_lane_that_is_given_back_before_its_swap_ends_with_what_served() -> None:
    messages = inputs(random.Random(19))
    logs = Logs()

    async def live() -> bool:
        life = Life(logs, messages, random.Random(20))
        await life.turns(50)
        begun = life.lane.swap(Decides("b", "d"), cast(Any, counting), lambda: None)
        await life.lane.stop()
        await life.run
        life.deliver.cancel()
        return begun.done()

    assert not asyncio.run(live())
    closing = logs.loaded().closing
    assert closing is not None
    assert closing.config == "c"
