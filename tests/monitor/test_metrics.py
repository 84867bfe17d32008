from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from aiokafka import TopicPartition

from monitor.fence import Fence
from monitor.lane import LaneStatus
from monitor.metrics import GatewayMetrics, Metrics


def test_a_partition_that_was_given_back_is_no_longer_told_of() -> None:
    metrics = Metrics()
    lane = cast(Any, SimpleNamespace(status=LaneStatus(level=2), sequencer=SimpleNamespace(buffers={"news": ()})))
    metrics.sample("instrument", {0: lane, 1: lane}, lambda partition: 7)
    metrics.sample("market", {0: lane}, lambda partition: 3)
    metrics.event_loop(Fence(10.0))
    assert b'tocsin_ladder_level{partition="0",stage="instrument"} 2.0' in metrics.expose()
    assert b'tocsin_lag_messages{partition="1",stage="instrument"} 7.0' in metrics.expose()
    metrics.sample("instrument", {1: lane}, lambda partition: 7)
    assert b'partition="0",stage="instrument"' not in metrics.expose()
    assert b'tocsin_ladder_level{partition="1",stage="instrument"} 2.0' in metrics.expose()
    assert b'tocsin_lag_messages{partition="0",stage="market"} 3.0' in metrics.expose()


def test_the_lag_of_a_partition_that_was_given_away_is_not_shown() -> None:
    metrics = GatewayMetrics()
    kept, lost = TopicPartition("tocsin.ticks", 0), TopicPartition("tocsin.ticks", 1)
    metrics.lags({kept: 3, lost: 7})
    metrics.lags({kept: 4})
    assert b'partition="1"' not in metrics.expose()
    assert b'tocsin_gateway_lag{partition="0",topic="tocsin.ticks"} 4.0' in metrics.expose()
