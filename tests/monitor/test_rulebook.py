"""Which rules are in effect at which time."""

from __future__ import annotations

from monitor.rulebook import NO_RULES, Rulebook
from schemas.journal import Rules


def test_the_latest_time_counts_and_of_one_time_what_was_published_last() -> None:
    base = Rules(5, -1, "base")
    book = Rulebook(base)
    first, second, third = Rules(20, 0, "first"), Rules(10, 1, "second"), Rules(20, 2, "third")
    for rules in (first, second, third):
        book.add(rules)
    assert [book.at(now) for now in (0, 5, 9, 10, 19, 20)] == [NO_RULES, base, base, second, second, third]
    assert [book.next_after(now) for now in (0, 5, 10, 20)] == [5, 10, 20, 0]


def test_what_is_not_known_any_more_may_count_too() -> None:
    gone = Rules(7, 3, "gone")
    assert Rulebook().at(8, (gone,)) == gone
    assert Rulebook().at(6, (gone,)) == NO_RULES
