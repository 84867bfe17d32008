"""What a lane's checkpoints hold, and how many records of them a recovery reads."""

from __future__ import annotations

import random
from unittest.mock import patch

from monitor import checkpoint_writer, checkpoints
from monitor.sequencer import Pending
from tests.monitor.lanes import NEWS, T0, TOPICS, inputs, undisturbed


def test_recovery_reads_a_few_records_a_key_however_long_one_was_busy() -> None:
    # Twenty instruments, all but one of which say nothing more.
    keys = [f"K{i}" for i in range(20)] + ["K0"] * 1_000
    messages = {"frames": [], "news": [Pending(i, key, T0 + i, NEWS) for i, key in enumerate(keys)]}
    with patch.object(checkpoints, "RECORDS_MORE", 0), patch.object(checkpoint_writer, "PACKED_AT_ONCE", 1):
        loaded = undisturbed(messages).loaded()
    assert len(loaded.states) == 20
    assert loaded.end > 300
    # Until a full one is due; it; and until it counts.
    assert loaded.end - loaded.start <= 2 * 20 + 2 + 21 + 2 * 5


def test_a_checkpoint_names_what_it_includes() -> None:
    messages = inputs(random.Random(5))
    logs = undisturbed(messages)
    closing = logs.loaded().closing
    assert closing is not None
    assert closing.offsets == {topic: len(messages[topic]) for topic in TOPICS}
    assert closing.ordinal == 60
    assert closing.journal == len(logs.of["journal"])
    # Alerts that were on their way at that moment stand behind it, never before.
    assert closing.alerts <= len(logs.of["alerts"])
