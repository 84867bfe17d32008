from __future__ import annotations

import msgspec
import pytest

from monitor.arrivals import arrival, dead_letter, pending
from monitor.sequencer import Taken
from schemas.records import DeadLetter

MS = 1_700_000_000_000
NEWS = b'{"ts_event":1700000000000000000,"instrument":"ACME.XTOC","document_id":"d","headline":"x"}'
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_dead_letter_is_small_whatever_its_message_carried() -> None:
    headers = {"source": "feed", "huge": "\x00" * 900_000, "resent": "1"}
    message = pending("news", 7, b"k" * 900_000, b"\xff" * 900_000, MS, headers)
    letter = dead_letter(Taken("news", message), 3)
    assert letter.headers == {"source": "feed", "resent": "1"}
    assert letter.size == 900_000
    assert len(msgspec.json.encode(letter)) < 200_000


@pytest.mark.parametrize("timestamp_ms", [-1, 2**62])
def test_a_dead_letter_can_be_read_whatever_time_its_message_bore(timestamp_ms: int) -> None:
    letter = dead_letter(Taken("news", pending("news", 7, b"", NEWS, timestamp_ms, {})), 3)
    assert msgspec.json.decode(msgspec.json.encode(letter), type=DeadLetter) == letter


def test_a_trace_is_passed_on_only_where_it_is_one() -> None:
    for given, kept in ((TRACE, TRACE), ("x" * 900_000, ""), (TRACE + "\n", "")):
        message = pending("news", 0, b"ACME.XTOC", NEWS, MS, {"traceparent": given})
        assert arrival(Taken("news", message), 0, 0, None).trace == kept
