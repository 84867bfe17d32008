"""Prometheus metrics of a worker and of a gateway. What is not measured has no metric."""

from __future__ import annotations

import time
from collections import Counter as Counted
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from schemas.alerts import Alert
from schemas.frames import Frame
from schemas.journal import Fallback
from schemas.order_frames import OrderFrame
from schemas.records import DeadLetter, Drift, Review, Score, Signal

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from monitor.fence import Fence
    from monitor.lane import Lane
    from monitor.sequencer import Taken

#: What came of loading the bundle anew.
Swapped = Literal["swapped", "unchanged", "refused"]
_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The counters of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"tocsin_{name}", about, labels, registry=registry)

        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(f"tocsin_{name}", about, labels, registry=registry)

        self._messages = counter("messages", "Messages applied.", "topic")
        self._ticks = counter("ticks", "Ticks applied.")
        self._orders = counter("order_events", "Order events applied.")
        self._alerts = counter("alerts", "Alerts sent.", "typology", "severity", "activity")
        self._thresholds = gauge(
            "threshold", "Where the last alert's threshold stood, of those that follow.", "typology"
        )
        self._scores = counter("scores", "Score records sent.")
        self._signals = counter("signals", "Signal records sent.")
        self._reviews = counter("reviews", "Windows below their threshold sent to be looked at.")
        self._drift = counter("drift", "Drift signals sent.", "kind", "stream", "scope", "asset_class")
        self._dead_letters = counter("dead_letters", "Messages refused.", "topic", "reason")
        self._shed = counter("shed", "Texts, charts and sound that the ladder left out.", "modality")
        self._fallbacks = counter(
            "engine_fallbacks", "Back ends that failed in service, and which took over.", "failed", "serves"
        )
        self._swaps = counter(
            "bundle_swaps", "Times that the bundle was loaded anew: swapped, unchanged, or refused.", "result"
        )
        for result in get_args(Swapped):
            self._swaps.labels(result)
        self._rows = counter("rows_set_aside", "Ticks, orders, transfers set aside, late or not judged.", "reason")
        stage = Histogram("tocsin_stage_seconds", "Latency by stage.", ["stage"], buckets=_LATENCY_S, registry=registry)
        self._stages = {name: stage.labels(name) for name in ("buffer", "apply", "journal", "turn")}
        self._lanes = gauge("lanes", "Partitions that this worker owns.", "stage")
        self._waiting = gauge("buffered_messages", "Messages that wait in a lane.", "stage", "partition")
        self._lag = gauge("lag_messages", "Messages on the broker that are not applied yet.", "stage", "partition")
        self._backlog = gauge("backlog_seconds", "How long the oldest message has waited.", "stage", "partition")
        self._ladder = gauge("ladder_level", "0 full, 1 text and ticks, 2 rules only.", "stage", "partition")
        self._age = gauge("checkpoint_age_seconds", "Since the last checkpoint began.", "stage", "partition")
        self._loop = gauge("event_loop_lag_seconds", "Longest gap between two runs of the event loop.")
        self._sampled: dict[str, set[str]] = {}

    def turn(self, taken: list[Taken], began_s: float, applied_s: float, journalled_s: float) -> None:
        """Count a turn; times are of the monotonic clock."""
        for topic, count in Counted(item.topic for item in taken).items():
            self._messages.labels(topic).inc(count)
        values = [item.message.value for item in taken]
        self._ticks.inc(sum(len(value) for value in values if isinstance(value, Frame)))
        self._orders.inc(sum(len(value) for value in values if isinstance(value, OrderFrame)))
        if taken:
            self._stages["buffer"].observe(began_s - min(item.message.received_s for item in taken))
        self._stages["apply"].observe(applied_s - began_s)
        self._stages["journal"].observe(journalled_s - began_s)
        self._stages["turn"].observe(time.monotonic() - began_s)

    def set_aside(self, counts: dict[str, int]) -> None:
        """Count ticks and order events that were set aside, mended or found late, by reason."""
        for reason, n in counts.items():
            self._rows.labels(reason).inc(n)

    def shed(self, modality: str) -> None:
        """Count a text, chart or sound that the ladder left out."""
        self._shed.labels(modality).inc()

    def fell_back(self, fallback: Fallback) -> None:
        """Count a back end that failed in service."""
        self._fallbacks.labels(fallback.failed, fallback.serves).inc()

    def swapped(self, result: Swapped) -> None:
        """Count what came of loading the bundle anew."""
        self._swaps.labels(result).inc()

    def alert(self, alert: Alert) -> None:
        """Count an alert."""
        finding = alert.finding
        self._alerts.labels(finding.typology, finding.severity, alert.activity).inc()
        if finding.threshold is not None:
            self._thresholds.labels(finding.typology).set(finding.threshold)

    def dead_letter(self, letter: DeadLetter) -> None:
        """Count a refusal."""
        self._dead_letters.labels(letter.topic, letter.reason).inc()

    def scored(self, scores: Sequence[Score]) -> None:
        """Count score records that were sent."""
        self._scores.inc(len(scores))

    def signalled(self, signals: Sequence[Signal]) -> None:
        """Count signal records that were sent."""
        self._signals.inc(len(signals))

    def reviewed(self, reviews: Sequence[Review]) -> None:
        """Count reviews that were sent."""
        self._reviews.inc(len(reviews))

    def drifted(self, drifts: Sequence[Drift]) -> None:
        """Count drift signals that were sent, by what kind of instrument they are of: instruments are too many."""
        for drift in drifts:
            self._drift.labels(drift.kind, drift.stream, drift.scope, drift.asset_class).inc()

    def event_loop(self, fence: Fence) -> None:
        """Read how long the event loop has stood still at worst since this was last asked."""
        self._loop.set(fence.take_worst_gap())

    def sample(self, stage: str, lanes: Mapping[int, Lane], lag: Callable[[int], int]) -> None:
        """Read the gauges off a stage's lanes; ``lag`` tells how many messages of a partition are not applied yet."""
        now_s = time.monotonic()
        self._lanes.labels(stage).set(len(lanes))
        # What another worker owns now would stand here for ever as it was, and be added to that one's.
        for gone in self._sampled.get(stage, set()) - {str(partition) for partition in lanes}:
            for gauge in (self._waiting, self._lag, self._backlog, self._ladder, self._age):
                gauge.remove(stage, gone)
        self._sampled[stage] = {str(partition) for partition in lanes}
        for partition, lane in lanes.items():
            label = (stage, str(partition))
            self._waiting.labels(*label).set(sum(map(len, lane.sequencer.buffers.values())))
            self._backlog.labels(*label).set(lane.status.backlog_s)
            self._ladder.labels(*label).set(lane.status.level)
            self._lag.labels(*label).set(lag(partition))
            self._age.labels(*label).set(now_s - lane.status.checkpoint_s)

    def expose(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class GatewayMetrics:
    """The gateway's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.ticks = Counter("tocsin_gateway_ticks", "Ticks read.", registry=registry)
        self.frames = Counter("tocsin_gateway_frames", "Frames sent.", registry=registry)
        self.documents = Counter("tocsin_gateway_documents", "Documents read.", registry=registry)
        self.news = Counter("tocsin_gateway_news", "News sent.", registry=registry)
        self.dead_letters = Counter("tocsin_dead_letters", "Messages refused.", ["topic", "reason"], registry=registry)
        self.lost = Counter("tocsin_gateway_lost", "Messages deleted before they were read.", registry=registry)
        self.seconds = Histogram(
            "tocsin_gateway_seconds",
            "From a frame's first tick in the gateway to the broker's acknowledgement.",
            buckets=_LATENCY_S,
            registry=registry,
        )
        self.wait = Gauge(
            "tocsin_gateway_wait_seconds", "How long a quiet instrument's frame waits for ticks now.", registry=registry
        )
        self._lag = Gauge("tocsin_gateway_lag", "Messages not read yet.", ["topic", "partition"], registry=registry)

    def lags(self, lags: Mapping[TopicPartition, int]) -> None:
        """Show how many messages wait in each partition that this gateway reads, and in no other."""
        self._lag.clear()  # what another gateway reads now would stand here for ever, and be added to that one's
        for tp, lag in lags.items():
            self._lag.labels(tp.topic, tp.partition).set(lag)

    def expose(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
