"""Probes look at progress: a worker whose process answers and whose lanes stand still is not alive."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from monitor.lane import LaneStatus
from monitor.metrics import Metrics
from monitor.settings import Settings
from monitor.web import STUCK_S, Web


@dataclass
class Lane:
    status: LaneStatus
    waiting: int = 0
    behind: bool = False
    sequencer: Any = field(init=False)

    def __post_init__(self) -> None:
        self.sequencer = SimpleNamespace(buffers={"frames": range(self.waiting), "news": ()})


def status(*, recovered: bool = True, progress_ago_s: float = 0.0, committed_ago_s: float = 0.0) -> LaneStatus:
    now_s = time.monotonic()
    return LaneStatus(recovered=recovered, progress_s=now_s - progress_ago_s, committed_s=now_s - committed_ago_s)


def web(**lanes: Lane) -> Web:
    stages = {"p": "instrument", "m": "market"}
    workers = [
        SimpleNamespace(
            stage=SimpleNamespace(name=stage),
            lanes={int(name[1:]): lane for name, lane in lanes.items() if name[0] == letter},
            given_back_s=0.0,
        )
        for letter, stage in stages.items()
    ]
    return Web(Settings(http_port=0), cast(Any, workers), Metrics(), {"bundle": "b"})


def ask(made: Web, *paths: str) -> list[tuple[int, str]]:
    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(made.address + path, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    async def serve() -> list[tuple[int, str]]:
        await made.start()
        try:
            return [await asyncio.to_thread(get, path) for path in paths]
        finally:
            await made.stop()

    return asyncio.run(serve())


def test_a_lane_that_moves_is_alive_and_ready() -> None:
    (live, _), (ready, body) = ask(
        web(p3=Lane(status(), waiting=5, behind=True), m0=Lane(status())), "/livez", "/readyz"
    )
    assert (live, ready) == (200, 200)
    assert json.loads(body) == {
        "ok": True,
        "reasons": [],
        "bundle": "b",
        "partitions": {"instrument": [3], "market": [0]},
    }


def test_messages_that_wait_while_none_is_applied_fail_the_probe() -> None:
    ((code, body),) = ask(web(p2=Lane(status(progress_ago_s=STUCK_S + 5), waiting=7)), "/livez")
    assert code == 503
    assert json.loads(body)["reasons"] == ["instrument stage, partition 2: 7 messages wait, none applied for 30 s"]


def test_a_lane_with_nothing_to_do_may_stand_still() -> None:
    ((code, _),) = ask(web(p2=Lane(status(progress_ago_s=9_999, committed_ago_s=9_999))), "/livez")
    assert code == 200


def test_acknowledgements_that_stopped_fail_the_probe() -> None:
    ((code, body),) = ask(web(p0=Lane(status(committed_ago_s=100), behind=True)), "/livez")
    assert code == 503
    assert "instrument stage, partition 0: nothing acknowledged for 100 s" in body


def test_a_worker_that_lost_its_membership_fails_the_probe() -> None:
    made = web()
    assert made.stuck() == []
    made._started_s -= 5 * STUCK_S
    assert "membership is lost" in made.stuck()[0]


def test_partitions_that_recover_are_not_ready() -> None:
    made = web(p0=Lane(status()), p1=Lane(status(recovered=False)))
    (live, _), (ready, body) = ask(made, "/livez", "/readyz")
    assert (live, ready) == (200, 503)
    assert json.loads(body)["reasons"] == ["instrument stage, partition 1: recovering"]


def test_metrics_are_prometheus_text() -> None:
    ((code, body),) = ask(web(), "/metrics")
    assert code == 200
    assert "# TYPE tocsin_alerts_total counter" in body
