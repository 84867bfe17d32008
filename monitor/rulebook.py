"""All rules that were published, and which of them are in effect at a time.

    effective from     none        12:00        13:00
    published          (start)     #3           #1, #2
    in effect          ───────────►│ #3 ───────►│ #2 ───►      of one time, what was published last

What is published late, for a time that has passed, is in effect from where it comes on; where something that is to be
in effect from a later time already is, it never will be.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.journal import Rules

#: What is in effect where nothing else is.
NO_RULES = Rules()


def rank(rules: Rules) -> tuple[int, int]:
    """Return by what one set of rules comes before another."""
    return rules.effective_ns, rules.offset


class Rulebook:
    """The rules that are known, which grow while the monitor runs; ``base`` are those that it was started with."""

    def __init__(self, base: Rules = NO_RULES) -> None:
        self.base = base
        self.known: list[Rules] = [NO_RULES, base]

    def add(self, rules: Rules) -> None:
        """Take in what was published."""
        self.known.append(rules)

    def at(self, now_ns: int, also: Iterable[Rules] = ()) -> Rules:
        """Return what is in effect at an event time (ns); ``also`` may be what is not known any more.

        Example
        -------
        >>> book = Rulebook()
        >>> book.add(Rules(effective_ns=12, offset=0, text="version: a"))
        >>> book.at(11).text, book.at(12).text
        ('', 'version: a')
        """
        return max((one for one in (*self.known, *also) if one.effective_ns <= now_ns), key=rank)

    def next_after(self, now_ns: int) -> int:
        """Return the next event time (ns) at which others will be in effect, 0 if none is known."""
        return min((one.effective_ns for one in self.known if one.effective_ns > now_ns), default=0)
