"""Timelines read left to right in available time; each row is a topic, each letter a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.sequencer import JournalMismatchError, Pending, Sequencer, Taken
from schemas.journal import Clock, Run

TOPICS = ("frames", "news")
S = 1_000_000_000


def message(offset: int, at_ns: int, *, ready: bool = True) -> Pending:
    return Pending(offset, "K", at_ns, None, ready=lambda: ready)


def sequencer(**topics: list[Pending]) -> Sequencer:
    made = Sequencer(TOPICS, overtake_ns=250_000_000, clock_ns=100 * S)
    for topic, messages in topics.items():
        for each in messages:
            assert made.push(topic, each)
    return made


def names(items: list[Clock | Taken]) -> list[str]:
    return [f"{i.topic[0]}{i.message.offset}" if isinstance(i, Taken) else f"@{i.now_ns // S}" for i in items]


def test_only_messages_that_can_be_used_tell_how_long_the_lane_has_kept_them_waiting() -> None:
    made = sequencer(
        frames=[
            Pending(0, "", 0, None, refusal=("too_old", "from 1970"), sent_ms=1),
            Pending(1, "K", 10, None, sent_ms=7),
        ],
        news=[Pending(0, "K", 20, None, sent_ms=9)],
    )
    assert made.oldest_ms() == 9
    made.take({"frames", "news"}, limit=1)
    assert made.oldest_ms() == 7


def test_topics_meet_in_available_time() -> None:
    #   frames  a.....c..e
    #   news    ...b....d
    made = sequencer(frames=[message(0, 10), message(1, 70), message(2, 90)], news=[message(0, 40), message(1, 80)])
    steps, items = made.take({"frames", "news"}, limit=99)
    assert names(items) == ["f0", "n0", "f1", "n1", "f2"]
    assert [(step.topic, step.offset) for step in steps if isinstance(step, Run)] == [
        ("frames", 0),
        ("news", 0),
        ("frames", 1),
        ("news", 1),
        ("frames", 2),
    ]


def test_runs_of_one_topic_are_one_step() -> None:
    made = sequencer(frames=[message(i, i) for i in range(5)])
    steps, items = made.take({"news"}, limit=99)
    assert steps == [Run("frames", 5, 0)]
    assert len(items) == 5


def test_nothing_overtakes_a_topic_whose_end_is_not_reached() -> None:
    made = sequencer(frames=[message(0, 10)])
    assert made.take(set(), limit=99) == ([], [])
    made.push("news", message(0, 5))
    assert names(made.take(set(), limit=99)[1]) == ["n0"]


def test_a_pile_of_one_topic_waits_for_the_other() -> None:
    #   frames  abcdefghij   (all there at once)
    #   news    .....k....   (arrives later)
    made = sequencer(frames=[message(i, 10 * i) for i in range(10)])
    assert made.take(set(), limit=99)[1] == []
    made.push("news", message(0, 45))
    taken = made.take(set(), limit=99)[1]
    assert names(taken) == ["f0", "f1", "f2", "f3", "f4", "n0"]


def test_ties_are_broken_by_the_topics_order() -> None:
    made = sequencer(news=[message(0, 10)], frames=[message(0, 10)])
    assert names(made.take({"frames", "news"}, limit=99)[1]) == ["f0", "n0"]


def test_the_clock_moves_once_a_second_of_available_time() -> None:
    made = sequencer(frames=[message(0, 101 * S + 5), message(1, 101 * S + 6), message(2, 103 * S)])
    assert names(made.take({"news"}, limit=99)[1]) == ["@101", "f0", "f1", "@103", "f2"]


def test_the_wall_moves_time_on_only_where_all_is_idle_and_the_stream_is_no_history() -> None:
    made = sequencer(frames=[message(0, 200 * S)])
    made.take({"news", "frames"}, limit=99)
    assert names(made.take({"news", "frames"}, limit=99, wall_ns=205 * S + 7)[1]) == ["@205"]
    assert made.take({"frames"}, limit=99, wall_ns=206 * S)[1] == []
    assert made.take({"news", "frames"}, limit=99, wall_ns=200 * S + 7_201 * S)[1] == []


def test_an_unready_text_is_overtaken_for_a_quarter_second_only() -> None:
    ms = 1_000_000
    made = sequencer(
        news=[message(0, 100 * S, ready=False)],
        frames=[message(0, 100 * S + 200 * ms), message(1, 100 * S + 300 * ms)],
    )
    assert names(made.take(set(), limit=99)[1]) == ["f0"]
    assert names(made.take(set(), limit=99)[1]) == []


def test_a_redelivered_message_is_dropped() -> None:
    made = sequencer(frames=[message(0, 1), message(1, 2)])
    assert not made.push("frames", message(1, 2))
    assert made.push("frames", message(5, 3))


def test_the_journal_is_followed_to_the_letter() -> None:
    made = sequencer(frames=[message(0, 90), message(1, 91)], news=[message(0, 10)])
    assert [t.message.offset for t in made.follow(Run("frames", 2, 0))] == [0, 1]
    assert [t.topic for t in made.follow(Run("news", 1, 0))] == ["news"]


def test_a_lost_message_is_an_error_that_names_it() -> None:
    made = sequencer(frames=[message(3, 90)])
    with pytest.raises(JournalMismatchError, match="expects offset 0 of frames, found 3"):
        list(made.follow(Run("frames", 1, 0)))


@given(
    frames=st.lists(st.integers(0, 5 * S), max_size=20).map(sorted),
    news=st.lists(st.integers(0, 5 * S), max_size=20).map(sorted),
    limits=st.lists(st.integers(1, 7), min_size=60, max_size=60),
)
def test_what_was_journalled_is_what_a_reader_takes(frames: list[int], news: list[int], limits: list[int]) -> None:
    def fresh() -> Sequencer:
        return sequencer(
            frames=[message(i, at) for i, at in enumerate(frames)], news=[message(i, at) for i, at in enumerate(news)]
        )

    author, reader = fresh(), fresh()
    written, read = [], []
    for limit in limits:
        steps, items = author.take({"frames", "news"}, limit=limit)
        written += names(items)
        for step in steps:
            if isinstance(step, Run):
                assert reader.has(step)
                read += names(list(reader.follow(step)))
            else:
                read.append(f"@{step.now_ns // S}")  # type: ignore[union-attr]
    assert written == read
    assert sum(not name.startswith("@") for name in written) == len(frames) + len(news)


def test_time_stops_before_a_second_that_is_to_be_told_of_first() -> None:
    sequencer = Sequencer(("a", "b"), overtake_ns=S)
    for topic, offset, ts in (("a", 0, 3 * S + 1), ("b", 0, 4 * S), ("a", 1, 5 * S)):
        sequencer.push(topic, Pending(offset, "k", ts, None))
    steps, _ = sequencer.take({"a", "b"}, limit=9, before_ns=4 * S)
    assert steps == [Clock(3 * S), Run("a", 1, 0)]
    assert sequencer.held
    steps, _ = sequencer.take({"a", "b"}, limit=9)
    assert steps == [Clock(4 * S), Run("b", 1, 0), Clock(5 * S), Run("a", 1, 1)]
    assert not sequencer.held


def test_what_is_still_being_encoded_is_waited_for_before_time_stops() -> None:
    sequencer = Sequencer(("a", "b"), overtake_ns=S)
    sequencer.push("a", Pending(0, "k", 4 * S - 1, None, ready=lambda: False))
    sequencer.push("b", Pending(0, "k", 4 * S, None))
    assert sequencer.take((), limit=9, before_ns=4 * S) == ([], [])
    assert not sequencer.held


def test_the_wall_stops_there_too() -> None:
    sequencer = Sequencer(("a",), overtake_ns=0)
    sequencer.push("a", Pending(0, "k", S, None))
    sequencer.take({"a"}, limit=9)
    steps, _ = sequencer.take({"a"}, limit=9, wall_ns=9 * S, before_ns=5 * S)
    assert steps == [Clock(4 * S)]
    assert sequencer.held
