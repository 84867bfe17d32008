"""Bytes that were once written are read to the same values, and today's encoder writes the same."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from schemas import codec, frames, order_frames
from schemas.order_frames import OrderFrame
from schemas.records import OrderEvent
from schemas.topics import TOPICS
from tests.golden.examples import EXAMPLES, MESSAGES, TIMESTAMP_MS, Example, T

BY_NAME = [pytest.param(example, id=example.name) for example in EXAMPLES]


@pytest.mark.parametrize("example", BY_NAME)
def test_released_bytes_are_read_to_the_same_values(example: Example) -> None:
    value = example.path.read_bytes()
    if not example.topic:
        assert msgspec.json.decode(value, type=type(example.record)) == example.record
        return
    read = codec.decode(example.topic, example.key, value, TIMESTAMP_MS)
    if isinstance(read, frames.Frame | OrderFrame):
        told = order_frames.of_events([example.record]) if isinstance(example.record, OrderEvent) else example.record
        for name in read.__struct_fields__:
            np.testing.assert_array_equal(getattr(read, name), getattr(told, name), err_msg=name)
    elif example.name == "trade_least":
        assert (read.ts_event, read.ts_available, read.price, read.side) == (T, T + 10**9, 1e-8, "unknown")
    else:
        assert read == example.record


@pytest.mark.parametrize("example", BY_NAME)
def test_the_encoder_still_writes_the_released_bytes(example: Example) -> None:
    assert example.encoded() == example.path.read_bytes(), "give the new form a new name: tests/golden/write.py"


def test_every_record_of_every_topic_has_its_bytes() -> None:
    wanted = {record for topic in TOPICS for record in topic.records} | {frames.Frame, OrderFrame}
    assert wanted - {type(example.record) for example in EXAMPLES} == set()
    assert {path.name for path in MESSAGES.iterdir()} == {example.path.name for example in EXAMPLES}
