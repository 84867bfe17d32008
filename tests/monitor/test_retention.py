"""How long topics keep what they hold is the table's matter, or the user's."""

from __future__ import annotations

import re

import pytest

from monitor.errors import StartupError
from monitor.kafka import topic_config
from monitor.retention import retentions_ms
from schemas.topics import BY_NAME


def test_topics_keep_messages_as_the_setting_says_and_else_as_the_table_does() -> None:
    told = "orders=2d,transfers=36h"
    assert topic_config(BY_NAME["orders"], told)["retention.ms"] == "172800000"
    assert topic_config(BY_NAME["statements"], told)["retention.ms"] == str(BY_NAME["statements"].retention_ms)
    assert topic_config(BY_NAME["orders"])["retention.ms"] == str(BY_NAME["orders"].retention_ms)
    assert "retention.ms" not in topic_config(BY_NAME["checkpoints"], told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("order=2d", "found 'order=2d'"),
        ("orders", "orders: expected a length of time such as 90s, 15m, 1h or 7d, found ''"),
        ("orders=2d,orders=3d", "each once"),
        ("orders=two", "found 'two'"),
        ("orders=59m", "expected 1h at least, found 59m"),
        ("checkpoints=2d", "the others keep what they hold"),
        ("dispositions=2d", "the others keep what they hold"),
    ],
)
def test_a_setting_that_no_topic_can_follow_is_told_in_one_sentence(text: str, told: str) -> None:
    with pytest.raises(StartupError, match=rf"^TOCSIN_RETENTION.*{re.escape(told)}"):
        retentions_ms(text)
