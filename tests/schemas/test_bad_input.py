"""Ten thousand malformed messages: each is refused with its reason, and nothing grows."""

from __future__ import annotations

import random
from collections import Counter

import psutil
import pytest

from schemas import codec
from schemas.codec import REASONS, BadMessage
from tests import corpus, messages


def test_good_messages_of_the_corpus_are_taken() -> None:
    rng = random.Random(1)
    for topic in messages.INPUTS:
        for _ in range(50):
            codec.decode(*messages.good(rng, topic))


def test_every_malformed_message_is_refused_with_its_reason() -> None:
    seen: Counter[str] = Counter()
    wrong = []
    for case in corpus.cases(seed=7, n=10_000, max_bytes=16 << 20):
        try:
            codec.decode(*case.message)
        except BadMessage as bad:
            seen[bad.reason] += 1
            if bad.reason not in case.reasons or not bad.detail or len(bad.detail) > 600:
                wrong.append((case.kind, case.message[0], str(bad)))
        else:
            wrong.append((case.kind, case.message[0], "taken"))
    assert wrong == []
    assert set(seen) == set(REASONS)


def test_turned_bits_give_a_valid_record_or_a_refusal() -> None:
    taken = 0
    for topic, key, value, timestamp_ms in corpus.bit_flips(seed=11, n=5_000):
        try:
            record = codec.decode(topic, key, value, timestamp_ms)
        except BadMessage:
            continue
        taken += 1
        assert codec.decode(topic, key, codec.encode(record), timestamp_ms)  # what was taken can be sent on
    assert taken > 100


def test_memory_stays_flat() -> None:
    messages = list(corpus.malformed(seed=3, n=1_000))
    process = psutil.Process()

    def refuse_all() -> int:
        for message in messages:
            with pytest.raises(BadMessage):
                codec.decode(*message)
        return int(process.memory_info().rss)

    refuse_all()
    before = refuse_all()
    for _ in range(3):
        after = refuse_all()
    assert after - before < 8 << 20
