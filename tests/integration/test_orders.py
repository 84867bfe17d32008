"""Order events over Kafka, in frames and alone: the account that misbehaves is named, through a crash too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.converters.messages import frame_messages, record_message, single_orders
from monitor.recordings import RANK, Message
from monitor.replay_history import Course, by_history
from monitor.settings import Settings
from schemas.alerts import Alert, digest
from schemas.order_frames import OrderFrame
from tests import misconduct
from tests.integration.daemon import CANONICAL, Feed, Watch, Worker, account, stages, until

FRAME_NS = 5 * 10**9


def messages() -> list[Message]:
    """Return an hour of quiet in frames, then an account that spoofs, its order events one by one."""

    market = misconduct.market("spoofing")
    orders = market.orders()
    busy = int(orders.ts_event.searchsorted(market.ns(misconduct.AT)))
    made = [*framed(orders[:busy]), *alone(orders[busy:]), *frame_messages(market.ticks(), span_ns=FRAME_NS)]
    made.sort(key=lambda message: (message.ts_available, RANK[message.topic]))
    return [replace(message, partition=-1) for message in made]


def framed(orders: OrderFrame) -> Iterator[Message]:
    return frame_messages(orders, span_ns=FRAME_NS)


def alone(orders: OrderFrame) -> Iterator[Message]:
    return (record_message("orders", event) for event in single_orders(orders))


def spoofing(alerts: list[Alert]) -> list[tuple[str, str, str]]:
    return [
        (alert.subject.account, alert.activity, alert.alert_id)
        for alert in sorted(alerts, key=lambda alert: (alert.times.available_at, alert.alert_id))
        if alert.finding.typology.startswith("spoofing")
    ]


@pytest.mark.integration
def test_an_account_that_spoofs_rings_once_though_the_worker_dies(topics: Settings, tmp_path: Path) -> None:
    settings, made = topics.model_copy(update=CANONICAL), messages()
    watch = Watch(settings)
    whole = asyncio.run(by_history(made, stages(), Course(sliced=False))).alerts
    assert ("spoofer", "create") in {told[:2] for told in spoofing(whole)}
    half = next(n for n, message in enumerate(made) if message.topic == "orders" and message.value.startswith(b"{"))
    with Feed(settings, made[: half + 500]) as feed:
        feed.finish()
    with Worker(settings, tmp_path) as worker:
        until(lambda: watch.acknowledged() >= half // 2, 120, "the quiet hour is under way", [worker])
        worker.kill()
        with Feed(settings, made[half + 500 :]) as feed:
            feed.finish()
        worker.start()
        until(lambda: watch.acknowledged() == len(made), 120, "all is read", [worker])
        metrics = worker.get("/metrics")[1]
        assert worker.drain() == 0
    found = account(settings)
    found.check(messages=len(made), alerts=1)
    assert spoofing(found.alerts) == spoofing(whole)
    assert digest(found.alerts) == digest(whole)
    assert float(metrics.split("\ntocsin_order_events_total ")[1].split("\n")[0]) > 0
