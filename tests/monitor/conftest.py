"""What tests of the monitor share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """librdkafka's broker in this process; tests keep apart by their topics' prefix."""
    owner = Producer({"test.mock.num.brokers": "1", "bootstrap.servers": "ignored", "log_level": 0})
    (found,) = owner.list_topics(timeout=10).brokers.values()
    yield f"{found.host}:{found.port}"
    owner.flush(5)
