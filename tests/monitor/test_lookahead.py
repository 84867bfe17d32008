"""A configuration that looks ahead is found out, and one that does not is not."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from agents.flow import Item
from monitor.cli import app
from monitor.lookahead import FUTURE_NS, Cut, Said, after, before, check, moments, said, scrambled
from monitor.recordings import Message, Recording, order
from monitor.stage import Stages
from monitor.state import StateTable
from schemas.records import Score
from tests.golden.day import RECORDING
from tests.integration.daemon import stages

S = 1_000_000_000


@cache
def day() -> tuple[Message, ...]:
    return tuple(Recording.open(RECORDING).messages())


@cache
def whole() -> Said:
    return said(day(), stages())


def read(start_ns: int, end_ns: int) -> Iterator[Message]:
    return (m for m in day() if start_ns <= m.ts_available and (not end_ns or m.ts_available < end_ns))


def cuts(made: Stages, count: int, seed: int) -> list[Cut]:
    first, last = day()[0].ts_available, day()[-1].ts_available
    return list(check(read, made, first_ns=first, last_ns=last, cuts=count, seed=seed))


def test_what_ships_holds_at_every_cut() -> None:
    found = cuts(stages(), 4, seed=1)
    assert [cut.changed for cut in found] == [""] * 4
    assert len({cut.at_ns for cut in found}) == 4
    assert max(cut.said for cut in found) > 100
    assert found == cuts(stages(), 4, seed=1)


def peeking(seconds: int) -> Stages:
    """Return stages whose scores are told with what came up to ``seconds`` after them."""
    instrument = stages().instrument

    async def agent(items: AsyncIterator[Item], table: StateTable[Any]) -> AsyncIterator[Any]:
        held: list[Score] = []
        async for output in instrument.agent(items, table):
            if not isinstance(output, Score):
                yield output
                continue
            held.append(output)
            while held[0].ts_available < output.ts_available - seconds * S:
                yield msgspec.structs.replace(held.pop(0), statistics={"next": sum(output.scores.values())})

    return replace(stages(), instrument=replace(instrument, agent=agent))


def test_one_that_looks_a_minute_ahead_is_found_out() -> None:
    found = cuts(peeking(60), 4, seed=2)
    changed = [cut.changed for cut in found if cut.changed]  # a future that is like the real one shows nothing
    assert len(changed) >= 2
    assert all("a score of" in one and "such" in one for one in changed)


def test_every_other_cut_is_where_something_is_being_settled() -> None:
    alerts = {at_ns for at_ns, _, name in whole().things if not name.startswith("a ")}
    assert alerts
    found = moments(random.Random(0), whole(), day()[0].ts_available, day()[-1].ts_available, 10)
    assert all(any(0 < at_ns - alert <= 12 * S for alert in alerts) for at_ns in found[1::2])
    assert day()[-1].ts_available - day()[0].ts_available > FUTURE_NS


def test_the_command_says_what_held(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["replay", str(RECORDING), "--check-lookahead", "--cuts", "1", "--to", "2025-03-03T14:50"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert " before it, held\nNothing depends on what came later\n" in result.stdout

    def found(*_: Any, **__: Any) -> Iterator[Cut]:
        yield Cut(1, 7, "a score of A.X, available at 0, is said instead; 3 such")

    monkeypatch.setattr("monitor.commands.replay_checks.check", found)
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 1
    assert "7 alerts, scores and signals before it, CHANGED: a score of A.X" in result.stdout
    assert "This configuration looks ahead" in result.stdout


def test_the_broker_needs_a_word_more(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["replay", "--check-lookahead", "--bootstrap", "127.0.0.1:1"])
    assert result.exit_code == 2


@pytest.mark.parametrize("seed", range(8))
def test_scrambling_everything_after_a_moment_changes_nothing_before_it(seed: int) -> None:
    """Not only of ten minutes after it, as `tocsin replay --check-lookahead` does: of all that follows."""
    rng = random.Random(seed)
    first, last = day()[0].ts_available, day()[-1].ts_available
    (t,) = moments(rng, whole(), first, last, 2)[seed % 2 : seed % 2 + 1]
    future = sorted(scrambled(rng, after(read, t, 0), t), key=order)
    assert min((message.ts_available for message in future), default=t) >= t
    other = said([*before(read, t), *future], stages())
    told = [thing for thing in whole().things if thing[0] < t]
    assert sorted(thing for thing in other.things if thing[0] < t) == sorted(told)
    assert sorted(other.things) != sorted(whole().things) or t > last - 600 * S
