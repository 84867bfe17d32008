"""docs/reliability.md: what is done to a release, and what came of it. A test writes its own line.

So rows may be run one by one, on different days: each line says of which commit it is, and how busy the machine was.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
#: What is done → what it is to reach, in the page's order.
AIMS: Mapping[str, str] = {
    "cold install to first alert": "≤ 15 s",
    "rolling restart": "p99 ≤ 2 s, max ≤ 5 s",
    "kill -9 of a worker": "max ≤ 8 s",
    "kill -9 of the broker": "caught up ≤ 5 s after its return",
    "broker unreachable for 10 minutes": "no exit, memory bounded, lag drained at 3 times the input",
    "evictions of both workers, one by one": "p99 ≤ 2 s, max ≤ 5 s",
    "`helm upgrade`, then `helm rollback`": "p99 ≤ 2 s, max ≤ 5 s",
    "both pods lost with their volumes": "state back from checkpoints",
    "a million keys from checkpoints": "≤ 120 s",
    "first assignment fails, in both workers": "another process ≤ 60 s",
    "wrong bundles on a hot swap": "the old one serves, an operations alert rings",
    "30 minutes at 70 % of capacity": "memory growth ≤ 2 %, open files flat, lag back to 0",
}
_HEAD = """\
| event | aim | found | held | commit | when, load of the machine |
|---|---|---|---|---|---|
"""
#: Tells a row's figures, and whether they reach the aim.
Tell = Callable[[str, bool], None]


def lines(text: str) -> dict[str, str]:
    """Return the page's lines by what was done."""
    return {event: line for line in text.splitlines() for event in AIMS if line.startswith(f"| {event} |")}


def commits(text: str) -> dict[str, str]:
    """Return the commit that each line is of, by what was done."""
    found = {
        event: re.search(r"\| `([0-9a-f]{7,40})(?: and changes)?` \|", line) for event, line in lines(text).items()
    }
    return {event: match[1] for event, match in found.items() if match is not None}


def git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", ROOT, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def checked_out() -> str:
    """Return the commit that the tests are of."""
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/reliability.md")
    return git("rev-parse", "--short=10", "HEAD") + (" and changes" if changed else "")


def write(event: str, found: str, held: bool, commit: str) -> None:
    """Put a line in the place of the one that stands for the event."""
    now = datetime.now(UTC)
    when = f"{now:%Y-%m-%d %H:%M} UTC, {os.getloadavg()[1]:.0f} on {os.cpu_count()} cores"
    cells = (event, AIMS[event], found, "yes" if held else "**no**", f"`{commit}`", when)
    text = PAGE.read_text()
    there = lines(text) | {event: f"| {' | '.join(cells)} |"}
    said = text[: text.index(_HEAD)] + _HEAD
    PAGE.write_text(said + "".join(f"{there[one]}\n" for one in AIMS if one in there))


@contextmanager
def row(event: str, record: Callable[[str, object], None]) -> Iterator[Tell]:
    """Let a test tell what came of it; with ``TOCSIN_TEST_PAGE=1`` the page has it, also that the test failed."""
    told, commit = [("the test failed", False)], checked_out()

    def tell(found: str, held: bool) -> None:
        told.append((found, held))
        record("found", found)
        record("held", held)

    yield tell
    if os.environ.get("TOCSIN_TEST_PAGE") == "1":
        write(event, *told[-1], commit)
