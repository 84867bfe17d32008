from __future__ import annotations

import msgspec

from monitor.deadletters import Selection, letter_id, obstacle
from schemas.records import DeadLetter

LETTER = DeadLetter(
    ts_event=50, ts_available=50, topic="ticks", partition=3, offset=42, reason="not_json", detail="…", value=b"{",
    size=1,
)  # fmt: skip


def test_a_selection_narrows_by_everything_it_names() -> None:
    assert letter_id(LETTER) == "ticks/3/42"
    assert Selection().takes(LETTER)
    assert Selection(ids=frozenset({"ticks/3/42"}), reason="not_json", topic="ticks", since_ns=50).takes(LETTER)
    assert not Selection(ids=frozenset({"ticks/3/41"})).takes(LETTER)
    assert not Selection(reason="too_old").takes(LETTER)
    assert not Selection(topic="news").takes(LETTER)
    assert not Selection(since_ns=51).takes(LETTER)


def test_what_was_cut_cannot_be_sent_again() -> None:
    assert obstacle(LETTER) is None
    cut = msgspec.structs.replace(LETTER, size=70_000)
    assert obstacle(cut) == (
        "ticks/3/42 cannot be sent again: of its 70000 bytes the dead letter keeps the first 1; have its producer send"
        " it anew."
    )


def test_a_topic_that_is_none_of_ours_gets_nothing_sent() -> None:
    assert "no topic 'payments'" in (obstacle(msgspec.structs.replace(LETTER, topic="payments")) or "")
