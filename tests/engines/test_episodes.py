"""Episodes: hysteresis, severities, and the same transitions whatever the framing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.episodes import Episode, Transition, deadline, expire, step
from engines.typologies import TypologySpec

SPEC = TypologySpec(name="x", version="1", title="X", open=0.5, critical=0.9, close=0.2, hold_ns=10)


def feed(scores: list[float], times: list[int] | None = None) -> tuple[list[tuple[str, int, int, str, int]], Episode]:
    episode = Episode()
    ts = np.array(times or range(1, len(scores) + 1), dtype=np.int64)
    changes = step(SPEC, episode, ts, np.array(scores))
    return [(c.activity, c.index, c.ts, c.severity, c.revision) for c in changes], episode


def test_opens_worsens_and_closes() -> None:
    # score  .1  .6  .95  .95  .1 .......... .1     hold 10
    # ts      1   2    3    4   5              15
    changes, episode = feed([0.1, 0.6, 0.95, 0.95, 0.1, 0.1], [1, 2, 3, 4, 5, 15])
    assert changes == [
        ("create", 1, 2, "warning", 0),
        ("update", 2, 3, "critical", 1),
        ("close", 5, 15, "critical", 2),
    ]
    assert not episode.firing


def test_scores_between_close_and_open_neither_open_nor_let_it_end() -> None:
    changes, _ = feed([0.4] * 50)
    assert changes == []
    changes, episode = feed([0.6, *[0.3] * 50])
    assert [c[0] for c in changes] == ["create"]
    assert episode.firing


def test_a_score_at_close_starts_the_calm_anew() -> None:
    changes, _ = feed([0.6, 0.1, 0.2, 0.1, 0.1], [1, 2, 11, 12, 21])
    assert [c[0] for c in changes] == ["create"]
    changes, _ = feed([0.6, 0.1, 0.2, 0.1, 0.1], [1, 2, 11, 12, 22])
    assert changes[-1][:3] == ("close", 4, 22)


def test_a_moment_may_end_one_episode_and_open_the_next() -> None:
    changes, episode = feed([0.6, 0.1, 0.7], [1, 2, 100])
    assert changes == [("create", 0, 1, "warning", 0), ("close", 2, 12, "warning", 1), ("create", 2, 100, "warning", 0)]
    assert episode.opened == 100


def test_opens_critical_at_once() -> None:
    assert feed([0.95])[0] == [("create", 0, 1, "critical", 0)]


def test_the_clock_closes_a_calm_episode_when_due() -> None:
    _, episode = feed([0.6, 0.1], [1, 2])
    assert deadline(SPEC, episode) == 12
    assert expire(SPEC, episode, 11) is None
    assert expire(SPEC, episode, 12) == Transition("close", -1, 12, "warning", 1, 0.1)
    assert deadline(SPEC, episode) == 0


@given(
    scores=st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0]), min_size=1, max_size=60),
    gaps=st.lists(st.integers(0, 12), min_size=60, max_size=60),
    cuts=st.lists(st.integers(1, 59), max_size=8, unique=True),
)
def test_any_framing_gives_the_same_transitions(scores: list[float], gaps: list[int], cuts: list[int]) -> None:
    ts, score = np.cumsum(gaps[: len(scores)]) + 1, np.array(scores)
    whole, episode = Episode(), Episode()
    expected = [(c.activity, c.index, c.ts, c.severity, c.revision, c.score) for c in step(SPEC, whole, ts, score)]
    found = []
    bounds = [0, *sorted(cut for cut in cuts if cut < len(scores)), len(scores)]
    for start, stop in itertools.pairwise(bounds):
        part = step(SPEC, episode, ts[start:stop], score[start:stop])
        found += [(c.activity, c.index + start, c.ts, c.severity, c.revision, c.score) for c in part]
    assert found == expected
    assert episode == whole


def test_thresholds_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="close <= open <= critical"):
        TypologySpec(name="x", version="1", title="X", open=0.5, critical=0.4, close=0.2, hold_ns=1)
