"""The procedure that chooses thresholds: true to the engine, blind to the file that it is judged on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.pump import File, Opened, files, judge, load, replay, walk_forward
from engines.ticks import TickConfig, TickEngine
from engines.training.pump import candidates, choose, moments, openings, worth
from engines.typologies.pump_and_dump import PumpConfig
from schemas.frames import Frame, frame_of

S = 1_000_000_000


@pytest.mark.parametrize("orders", [90.0, 150.0, 200.0])
def test_episodes_from_moments_are_those_of_a_replay(data_dir: Path, orders: float) -> None:
    ticks = load(data_dir / "pump_trades" / "trades" / "BNT_20200424T1559.parquet")
    config = msgspec.structs.replace(PumpConfig(), orders=orders, order_rate=20.0)
    replayed = replay(TickEngine(TickConfig(pump=config)), "BNT", ticks)
    assert replayed
    assert openings(config, moments(ticks)) == [episode.opened for episode in replayed]


def test_a_choice_earns_on_a_file_what_the_benchmark_counts_there(data_dir: Path) -> None:
    (file,) = [one for one in files(data_dir / "pump_trades") if one.event_id == "BNT_20200424T1559"]
    ticks = load(file.path)
    seen = moments(ticks)
    # As it was; not verified; no onset; the episode of ten minutes ago, and of one that is still to come.
    cases = [(0, True), (0, False), (-file.onset, False), (-600 * S, True), (7200 * S, True)]
    found = []
    for moved, verified in cases:
        one = replace(file, onset=file.onset + moved, verified=verified)
        earned = worth(seen, one.onset, one.verified)
        for at in (0, 200, 575):
            opened = [Opened(file.event_id, ts, 0, 1.0) for ts in openings(candidates()[at], seen)]
            counts = judge([(one, ticks)], {file.event_id: opened})
            assert earned[at] == counts.caught - counts.false
        found.append(earned[0])
    assert found == [1, 0, -1, 0, -1]


def test_of_equals_the_middle_is_chosen_and_the_better_always() -> None:
    offered = candidates()
    liked = np.array([float(config.orders >= 120.0) for config in offered])  # 120, 150 and 200 alike
    assert offered[choose([liked])].orders == 150.0
    liked[7] = 2.0
    assert choose([liked]) == 7


def test_what_begins_before_a_file_has_ended_is_not_chosen_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def ticks(start: int, end: int) -> Frame:
        return frame_of("A", {"ts_event": [start * S, end * S], "price": [1, 1], "size": [1, 1]})

    found = [(File(Path(f"{name}.parquet")), ticks(*span)) for name, span in
             (("A", (0, 10)), ("B", (11, 20)), ("C", (15, 30)), ("D", (31, 40)))]  # fmt: skip
    asked: list[int] = []

    def ask(worth: list[object]) -> int:
        asked.append(len(worth))
        return 0

    monkeypatch.setattr("benchmarks.pump.choose", ask)
    chosen = walk_forward(found, [file for file, _ in found[1:]])
    assert chosen.keys() == {"B", "C", "D", "", "all"}
    assert sorted(asked) == [1, 1, 1, 3, 4]  # A before B; A before C, B overlaps; all three before D; the first; all
