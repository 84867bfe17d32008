"""Producers of others choose their compression; what this client cannot unpack would stop every consumer."""

from __future__ import annotations

import pytest
from aiokafka import codec

PAYLOAD = b"a tick is a tick " * 100


@pytest.mark.parametrize("name", ["gzip", "snappy", "lz4", "zstd"])
def test_every_compression_of_kafka_can_be_read(name: str) -> None:
    assert getattr(codec, f"has_{name}")(), f"{name}: install aiokafka[lz4,snappy,zstd]"
    packed = getattr(codec, f"{name}_encode")(PAYLOAD)
    assert bytes(getattr(codec, f"{name}_decode")(packed)) == PAYLOAD
