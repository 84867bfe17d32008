"""Raw to clean: what is set aside, why, and the same by every framing."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engines.clean import RECENT, CleanConfig, Sieve, clean
from schemas.frames import Frame, Kind, frame_of

CONFIG = CleanConfig()


def trades(prices: list[float], **columns: Any) -> Frame:
    n = len(prices)
    return frame_of("A", {"ts_event": np.arange(n), "price": prices, "size": np.ones(n), **columns})


def kept(frame: Frame, sieve: Sieve | None = None) -> tuple[list[int], dict[str, int]]:
    cleaned = clean(CONFIG, sieve or Sieve(), frame)
    rows = range(len(frame)) if cleaned.keep is None else np.flatnonzero(cleaned.keep).tolist()
    return list(rows), cleaned.counts


def test_a_plain_frame_passes_whole() -> None:
    assert kept(trades([10, 11, 10.5])) == ([0, 1, 2], {})


def test_an_offset_that_was_there_is_a_duplicate() -> None:
    sieve = Sieve()
    assert kept(trades([10, 10], source_offset=[7, 8]), sieve) == ([0, 1], {})
    assert kept(trades([10, 10, 10], source_offset=[7, 8, 9]), sieve) == ([2], {"duplicate": 2})
    assert kept(trades([10], source_offset=[-1]), sieve) == ([0], {}), "no offset says nothing"


def test_a_trade_id_that_was_there_is_a_duplicate() -> None:
    sieve = Sieve()
    kept(trades([10] * 3, trade_id=[5, 6, 7]), sieve)
    assert kept(trades([10] * 3, trade_id=[6, 8, 8]), sieve) == ([1], {"duplicate": 2})
    assert kept(trades([10, 10], trade_id=[0, 0]), sieve) == ([0, 1], {}), "no id says nothing"


def test_a_print_far_off_waits_for_two_that_confirm_it() -> None:
    assert kept(trades([10, 30, 10])) == ([0, 2], {"bad_print": 1})
    # The third print near 30 makes it the level; from then on 10 would be the stranger.
    assert kept(trades([10, 30, 30.1, 29.9, 30, 10])) == ([0, 3, 4], {"bad_print": 3})
    # Prints that do not agree with each other confirm nothing.
    assert kept(trades([10, 30, 40, 50, 60])) == ([0], {"bad_print": 4})


def test_a_suspicion_survives_the_frame() -> None:
    sieve = Sieve()
    assert kept(trades([10, 30]), sieve)[0] == [0]
    assert kept(trades([30]), sieve)[0] == []
    assert kept(trades([30]), sieve)[0] == [0]


def test_prices_and_sizes_that_are_no_numbers_are_bad_prints() -> None:
    frame = trades([10, np.nan, -1, np.inf, 0, 10], size=[1, 1, 1, 1, 1, np.nan])
    assert kept(frame) == ([0], {"bad_print": 5})


def restated(kind: Kind, trade_id: int, price: float, size: float, *old: float) -> Frame:
    columns = {"ts_event": [9], "kind": [kind], "trade_id": [trade_id], "price": [price], "size": [size]}
    return frame_of("A", columns | ({"bid": [old[0]], "bid_size": [old[1]]} if old else {}))


def test_a_restatement_of_a_print_set_aside_is_set_aside() -> None:
    sieve = Sieve()
    assert kept(trades([10, 1000, 10], trade_id=[1, 2, 3]), sieve) == ([0, 2], {"bad_print": 1})
    assert kept(restated(Kind.CORRECTION, 2, 10, 1, 1000, 1), sieve) == ([], {"restated_set_aside": 1})
    assert kept(restated(Kind.CANCEL, 2, 1000, 1), sieve) == ([], {"restated_set_aside": 1})
    assert kept(restated(Kind.CANCEL, 3, 10, 1), sieve) == ([0], {}), "its neighbour counts, and is taken back"


def test_the_cancel_of_a_trade_that_was_sent_twice_takes_back_the_one_that_counts() -> None:
    sieve = Sieve()
    assert kept(trades([10, 10], trade_id=[1, 1]), sieve) == ([0], {"duplicate": 1})
    assert kept(restated(Kind.CANCEL, 1, 10, 1), sieve) == ([0], {})


def test_a_print_that_is_sound_when_sent_again_can_be_cancelled() -> None:
    sieve = Sieve()
    assert kept(trades([10, np.nan], trade_id=[1, 2]), sieve) == ([0], {"bad_print": 1})
    assert kept(trades([10], trade_id=[2]), sieve) == ([0], {})
    assert kept(restated(Kind.CANCEL, 2, 10, 1), sieve) == ([0], {})


def test_a_restatement_counts_once_and_none_after_the_cancel() -> None:
    sieve = Sieve()
    kept(trades([10, 10], trade_id=[1, 2]), sieve)
    first, second = restated(Kind.CORRECTION, 1, 11, 1, 10, 1), restated(Kind.CORRECTION, 1, 12, 1, 11, 1)
    assert kept(first, sieve) == ([0], {})
    assert kept(first, sieve) == ([], {"duplicate": 1})
    assert kept(second, sieve) == ([0], {}), "a trade may be corrected again"
    assert kept(restated(Kind.CANCEL, 1, 10, 1), sieve) == ([0], {}), "and then be cancelled"
    assert kept(restated(Kind.CANCEL, 1, 12, 1), sieve) == ([], {"duplicate": 1})
    assert kept(restated(Kind.CORRECTION, 1, 13, 1, 12, 1), sieve) == ([], {"restated_set_aside": 1})


def test_restatements_without_a_trade_id_cannot_be_told_apart() -> None:
    sieve = Sieve()
    cancel = restated(Kind.CANCEL, 0, 10, 1)
    assert [kept(cancel, sieve) for _ in range(2)] == [([0], {})] * 2


def test_what_is_remembered_of_prints_and_restatements_is_bounded() -> None:
    sieve = Sieve()
    kept(trades([10], trade_id=[1]), sieve)
    for number in range(2, 400):
        kept(trades([1000.0 * 3**number], trade_id=[number]), sieve)
        kept(restated(Kind.CANCEL, number, 1000, 1), sieve)
    assert (len(sieve.aside), len(sieve.restated)) == (RECENT, RECENT)


def test_crossed_quotes_and_book_updates_are_set_aside() -> None:
    frame = frame_of(
        "A",
        {
            "ts_event": np.arange(4), "kind": [Kind.QUOTE, Kind.QUOTE, Kind.QUOTE, Kind.BOOK],
            "bid": [9.0, 11.0, 10.0, np.nan], "ask": [10.0, 10.0, 10.0, np.nan],
        },
    )  # fmt: skip
    assert kept(frame) == ([0, 2], {"crossed_quote": 1, "book_update": 1}), "a locked quote is no crossed one"


def test_rows_between_halt_and_resumption_are_marked() -> None:
    frame = trades([10] * 5, kind=[0, Kind.HALT, 0, Kind.RESUME, 0])
    cleaned = clean(CONFIG, Sieve(), frame)
    assert cleaned.halted is not None
    assert cleaned.halted.tolist() == [False, True, True, False, False]


@st.composite
def mixed(draw: st.DrawFn) -> list[Frame]:
    """Return frames of trades, quotes and book updates, with ids that overtake each other or come twice."""
    n = draw(st.integers(1, 40))
    kinds = st.sampled_from([Kind.TRADE, Kind.TRADE, Kind.QUOTE, Kind.BOOK])
    columns = {
        "ts_event": np.arange(n),
        "kind": np.array(draw(st.lists(kinds, min_size=n, max_size=n))),
        "trade_id": np.array(draw(st.lists(st.integers(0, 60), min_size=n, max_size=n))),
        "price": np.array(draw(st.lists(st.sampled_from([10.0, 10.5, 30.0]), min_size=n, max_size=n))),
        "size": np.ones(n),
        "bid": np.array(draw(st.lists(st.sampled_from([9.0, 9.5]), min_size=n, max_size=n))),
        "ask": np.full(n, 9.4 if draw(st.booleans()) else 9.6),
    }
    if draw(st.booleans()):
        columns["trade_id"] = draw(st.permutations(range(1, n + 1)).map(np.array))
    frame = frame_of("A", columns)
    cuts = sorted({0, n, *draw(st.lists(st.integers(0, n), max_size=3))})
    return [frame[a:b] for a, b in itertools.pairwise(cuts)]


@given(mixed())
def test_frames_of_several_kinds_are_cleaned_as_their_rows_one_by_one(stream: list[Frame]) -> None:
    whole, single = Sieve(), Sieve()
    for frame in stream:
        rows, counts = kept(frame, whole)
        apart = [kept(frame[i : i + 1], single) for i in range(len(frame))]
        assert rows == [i for i, (row, _) in enumerate(apart) if row]
        assert counts == sum((Counter(one) for _, one in apart), Counter())
        for name in ("last_offset", "cursor", "largest", "last_good", "suspects", "aside"):
            assert getattr(whole, name) == getattr(single, name)
        assert whole.recent.tolist() == single.recent.tolist()
