"""What is set aside is told in sentences, each reason once."""

from __future__ import annotations

from collections import Counter

from structlog.testing import capture_logs

from monitor.set_aside import SAYS, once, sentences
from tests.agents import streams
from tests.agents.test_orders import spoofed, stream
from tests.conftest import ROOT


def test_every_reason_of_a_day_has_its_sentence() -> None:
    counts: dict[str, int] = {}
    streams.run(stream(spoofed()), {}, streams.engines(counts))
    assert {reason.partition(": ")[0] for reason in counts} <= SAYS.keys()
    assert "no_session" not in {reason.partition(": ")[0] for reason in counts}


def test_whom_a_reason_concerns_is_told_in_one_sentence() -> None:
    assert list(sentences({"no_trade: b": 3, "no_trade: a": 3, "negative_size": 1, "clock_ahead: XTOC": 2})) == [
        "clock_ahead: 2 ticks and order events that claim to have happened after they were known: a venue's clock is"
        " ahead: XTOC",
        "negative_size: 1 order events with a negative size",
        "no_trade: 3 fills without the trade's number: not judged by a, b",
    ]


def test_a_reason_is_logged_when_it_is_there_for_the_first_time() -> None:
    counted: Counter[str] = Counter()
    count = once(counted.update)
    with capture_logs() as logs:
        count({"late": 2})
        count({"late": 1, "duplicate": 4})
    assert counted == {"late": 3, "duplicate": 4}
    assert [log["what"].partition(":")[0] for log in logs] == ["late", "duplicate"]


def test_the_page_lists_every_reason() -> None:
    page = (ROOT / "docs" / "bad-input.md").read_text()
    assert [f"| `{reason}` | {what} |" for reason, what in SAYS.items()] == page.strip().splitlines()[-len(SAYS) :]
