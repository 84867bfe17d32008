"""The daemon on a real Kafka, undisturbed: what it says is what a replay of its journal says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from monitor import kafka
from monitor.recordings import Message
from monitor.settings import Settings
from schemas import frames
from schemas.alerts import AlertEvent, digest
from schemas.records import Score, Signal
from schemas.topics import INSTRUMENT_INPUTS
from tests.integration.daemon import CANONICAL, Feed, Watch, Worker, account, before_the_end, day, undisturbed, until
from tests.integration.kafka import messages_of

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_day_goes_through_and_is_proved_by_its_journal(
    topics: Settings, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    settings = topics.model_copy(update=CANONICAL)
    watch = Watch(settings)
    # All there before the worker starts: then it is taken in one order, that of its times.
    with Feed(settings, day()) as feed:
        feed.finish()
    with Worker(settings, tmp_path) as worker:
        until(lambda: worker.get("/readyz")[0] == 200, 120, "ready", [worker])
        assert json.loads(worker.get("/readyz")[1])["partitions"] == {
            "instrument": [0, 1, 2, 3],
            "account": [0],
            "market": [0],
        }
        record_property("read_in_s", round(until(lambda: watch.acknowledged() == len(day()), 120, "all is read"), 1))
        assert worker.get("/livez")[0] == 200
        metrics = worker.get("/metrics")[1]
        assert worker.drain() == 0

    found = account(settings)
    found.check(messages=len(day()), alerts=20)
    whole = undisturbed()
    assert digest(before_the_end(found.alerts)) == digest(before_the_end(whole.alerts))
    assert found.late == sum(state.late for state in whole.table.values())  # type: ignore[attr-defined]

    # What consumers get: events by the schema, keyed by episode, in the partition of the input that raised them.
    home = {message.key.decode(): kafka.partition_for(message.key.decode(), settings.partitions) for message in day()}
    for record in asyncio.run(messages_of(settings, "alerts")):
        event = msgspec.json.decode(record.value, type=AlertEvent)
        assert event.data.episode_id == record.key.decode()
        assert event.data.finding.typology == "market_wide@1" or home[event.data.subject.instrument] == record.partition
        assert event.data.provenance.mode == "live"
        assert event.data.evidence.inputs
        assert event.data.times.detected_at > event.data.times.available_at
    scores = [msgspec.json.decode(r.value, type=Score) for r in asyncio.run(messages_of(settings, "scores"))]
    assert len(scores) == found.scores
    told = [(r.key, msgspec.json.decode(r.value, type=Signal)) for r in asyncio.run(messages_of(settings, "signals"))]
    assert len(told) == found.signals > 0
    assert all(signal.instrument == key.decode() for key, signal in told)
    for topic in INSTRUMENT_INPUTS:
        sent = sum(message.topic == topic for message in day())
        assert not sent or f'tocsin_messages_total{{topic="{topic}"}} {float(sent)}' in metrics
    assert 'tocsin_checkpoint_age_seconds{partition="0",stage="instrument"}' in metrics


def test_two_workers_share_the_partitions_and_say_the_same(topics: Settings, tmp_path: Path) -> None:
    settings = topics.model_copy(update=CANONICAL)
    watch = Watch(settings)
    with Feed(settings, day()) as feed:
        feed.finish()
    with Worker(settings, tmp_path, "one") as one, Worker(settings, tmp_path, "two") as two:
        until(lambda: one.partitions and two.partitions, 120, "both have partitions", [one, two])
        assert sorted(one.partitions + two.partitions) == [0, 1, 2, 3]
        until(lambda: watch.acknowledged() == len(day()), 120, "all is read", [one, two])
        assert two.drain() == 0
        until(lambda: len(one.partitions) == 4, 120, "one has all", [one])
        assert one.drain() == 0
    found = account(settings)
    found.check(messages=len(day()), alerts=20)
    assert digest(before_the_end(found.alerts)) == digest(before_the_end(undisturbed().alerts))


def crowd(instruments: int) -> list[Message]:
    """Return an hour of trades, frame by frame, at whose end all the instruments jump within seconds."""
    rng, second_ns, begin_ns = np.random.default_rng(3), 10**9, 1_741_012_200 * 10**9
    found = []
    for number in range(instruments):
        ts = begin_ns + np.arange(1_440) * 5 * second_ns // 2 + number * second_ns // 10
        price = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-4, len(ts))))
        price[-1] *= 1.06
        columns = {"ts_event": ts, "ts_available": ts, "price": price, "size": np.ones(len(ts))}
        name = f"CROWD{number}.XTOC"
        frame = frames.frame_of(name, columns | {"side": rng.choice([-1, 1], len(ts))})
        for at in range(0, len(ts), 12):
            part = frame[at : at + 12]
            last_ns = int(part.ts_available[-1])
            found.append(Message("frames", name.encode(), frames.encode(part), last_ns, last_ns, 0, partition=-1))
    return sorted(found, key=lambda message: message.ts_available)


def test_many_instruments_at_once_are_an_alert_of_the_market(topics: Settings, tmp_path: Path) -> None:
    settings = topics.model_copy(update={"clock": "data", "ladder_down_s": 0.0, "checkpoint_interval_s": 1.0})
    watch, messages = Watch(settings), crowd(16)
    with Worker(settings, tmp_path) as worker:
        until(lambda: worker.partitions, 120, "ready", [worker])
        with Feed(settings, messages, rate=800) as feed:
            feed.finish()
        until(lambda: watch.acknowledged() == len(messages), 120, "all is read", [worker])
        until(lambda: len(asyncio.run(messages_of(settings, "alerts"))) == 18, 120, "the market rings", [worker])
        assert worker.drain() == 0
    found = account(settings)
    found.check(messages=len(messages), alerts=18)
    rung = [alert for alert in found.alerts if alert.finding.typology.startswith("market_wide")]
    # The tenth instrument completes it, where nothing is known of the usual rate; the sixteenth makes it critical.
    assert [(alert.activity, alert.finding.severity) for alert in rung] == [
        ("create", "warning"),
        ("update", "critical"),
    ]
    assert len({alert.episode_id for alert in rung}) == 1
    assert {alert.subject.instrument for alert in rung} == {"market"}
    events = asyncio.run(messages_of(settings, "alerts"))
    sources = {json.loads(event.value)["source"].split("/")[2] for event in events}
    assert sources == {"instrument", "market"}
    assert [len(alert.evidence.inputs) for alert in rung] == [10, 16]
    assert {seen.topic for alert in rung for seen in alert.evidence.inputs} == {"market"}
