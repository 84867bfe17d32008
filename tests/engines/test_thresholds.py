"""Files of learnt thresholds come back as they were, and what is none is refused."""

from __future__ import annotations

import msgspec
import pytest

from engines.bundle import Source
from engines.thresholds import PumpFile, read_pump, write_pump
from engines.typologies.pump_and_dump import PumpConfig

SOURCE = Source(
    name="s", stage="training", origin="", licence="", may_train_what_ships=False, window="2020-01-01 to 2020-02-01"
)


def test_a_file_comes_back_as_it_was() -> None:
    file = PumpFile(thresholds=PumpConfig(rise=0.05), source=SOURCE)
    assert read_pump(write_pump(file)) == file


@pytest.mark.parametrize("content", [b"", b"{}", b'{"thresholds": {"rise": "much"}}'])
def test_what_is_no_such_file_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"missing required|truncated|Expected"):
        read_pump(content)


def test_a_threshold_that_is_not_above_0_is_named() -> None:
    file = PumpFile(thresholds=PumpConfig(), source=SOURCE)
    content = msgspec.json.encode(file).replace(b'"rise":0.04', b'"rise":0.0')
    with pytest.raises(ValueError, match=r"rise: expected a number above 0, found 0\.0"):
        read_pump(content)
