"""A release of the chart in a namespace of its own, what is done to it, and how long its messages waited meanwhile."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from monitor.settings import Settings
from schemas import journal
from schemas.topics import INSTRUMENT_INPUTS
from tests.integration.kafka import delete_topics, messages_of
from tests.kubernetes.node import READY_S, Node, Process, call, namespaces

CHART = Path(__file__).parents[2] / "helm" / "tocsin"
RELEASE = "tocsin"


@dataclass(frozen=True)
class Release:
    """The chart, installed."""

    namespace: str
    settings: Settings
    values: Path
    node: Node
    #: From `helm install` until all was ready, once it is.
    ready_after_s: float = 0.0

    def kubectl(self, *arguments: str, **more: Any) -> str:
        return call("kubectl", "--namespace", self.namespace, *arguments, **more)

    def helm(self, *arguments: str) -> str:
        return call("helm", "--namespace", self.namespace, *arguments)

    def upgrade(self, *more: str) -> None:
        """Install it, or upgrade it, and wait until all is ready."""
        self.helm("upgrade", "--install", RELEASE, str(CHART), "--values", str(self.values), *self._wait, *more)

    def rollback(self) -> None:
        self.helm("rollback", RELEASE, *self._wait)

    _wait = ("--wait", "--timeout", f"{READY_S}s")

    def restart(self) -> None:
        """Replace one worker after the other, and wait until all is ready."""
        self.kubectl("rollout", "restart", "statefulset")
        self.ready()

    def ready(self) -> None:
        """Wait until every worker is there and ready."""
        self.kubectl("rollout", "status", "statefulset", f"--timeout={READY_S}s", timeout_s=2 * READY_S)
        self.kubectl("wait", "--for=condition=Ready", "pod", "--all", f"--timeout={READY_S}s", timeout_s=2 * READY_S)

    def given(self, values: dict[str, object]) -> tuple[str, ...]:
        """Return what an upgrade is called with that has these values of the chart over those of the install."""
        path = self.values.with_name("more.yaml")
        path.write_text(yaml.safe_dump(values))
        return "--values", str(path)

    def injected(self, code: str, **config: object) -> tuple[str, ...]:
        """Return what an upgrade is called with whose workers' Python begins with ``code``, and has these settings."""
        path = self.values.with_name("sitecustomize.py")
        path.write_text(code)
        self.kubectl("create", "configmap", "injected", f"--from-file={path}")
        pod = {
            "extraEnv": [{"name": "PYTHONPATH", "value": "/injected"}],
            "extraVolumes": [{"name": "injected", "configMap": {"name": "injected"}}],
            "extraVolumeMounts": [{"name": "injected", "mountPath": "/injected"}],
        }
        return self.given({"workers": {"pod": pod, "config": config}})

    def workers(self) -> list[dict[str, Any]]:
        """Return the pods of the workers."""
        found = self.kubectl("get", "pods", "--selector", "app.kubernetes.io/component=worker", "--output", "json")
        pods: list[dict[str, Any]] = json.loads(found)["items"]
        return pods

    def uids(self) -> list[str]:
        """Return what the workers' pods are known by on the node."""
        return [pod["metadata"]["uid"] for pod in self.workers()]

    def restarts(self) -> list[int]:
        """Return how often each worker's process has ended in its pod."""
        return [status["restartCount"] for pod in self.workers() for status in pod["status"]["containerStatuses"]]

    def processes(self) -> list[Process]:
        """Return the workers' processes, as the node sees them."""
        return [self.node.process(uid) for uid in self.uids()]

    def get(self, worker: int, path: str) -> str:
        """Return what a worker's HTTP side answers."""
        port = self.settings.http_port
        pod = f"/api/v1/namespaces/{self.namespace}/pods/{RELEASE}-worker-{worker}:{port}/proxy"
        return call("kubectl", "get", "--raw", pod + path)

    def kill(self, worker: int) -> None:
        """End a worker's process as a crash does, and wait until the kubelet has begun another."""
        self.node.kill(self.uids()[worker])
        again = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1"
        self.kubectl("wait", again, f"pod/{RELEASE}-worker-{worker}", "--timeout=60s")
        self.ready()

    def lose(self) -> None:
        """Delete every worker's pod at once with all that it had on disk, without a word to it, and wait for others."""
        self.kubectl("delete", "pod", "--selector", "app.kubernetes.io/component=worker", "--force", "--grace-period=0")
        self.ready()

    def evict(self, worker: int) -> bool:
        """Ask for a worker's pod to go, as a node that is drained does; return whether the budget lets it."""
        name = f"{RELEASE}-worker-{worker}"
        asked = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": self.namespace},
        }
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction"
        command = ["kubectl", "create", "--raw", path, "--filename", "-"]
        done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "disruption budget" in done.stderr, done.stderr
        return done.returncode == 0

    def scale(self, workers: int) -> None:
        """End workers in order, or begin others; wait until those that go are gone."""
        self.kubectl("scale", "statefulset", f"{RELEASE}-worker", f"--replicas={workers}")
        if workers == 0:
            gone = ("pod", "--selector", "app.kubernetes.io/component=worker")
            self.kubectl("wait", "--for=delete", *gone, "--timeout=90s")


def values_of(settings: Settings, image: str, path: Path) -> Path:
    """Write values of the chart: these settings, that image, two workers, no gateway."""
    repository, _, tag = image.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag},
        "config": settings.model_dump(exclude_unset=True) | {"replication": 1},
        "workers": {"replicas": 2},
        "gateway": {"enabled": False},
        "pod": {"resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}},
    }
    path.write_text(yaml.safe_dump(values))
    return path


@contextmanager
def release(settings: Settings, image: str, folder: Path) -> Iterator[Release]:
    """Install the chart in a namespace of its own; remove it, and its topics, at the end."""
    namespace = settings.prefix.rstrip(".")
    try:
        with namespaces(namespace, image) as node:
            made = Release(namespace, settings, values_of(settings, image, folder / "values.yaml"), node)
            began_s = time.monotonic()
            try:
                made.upgrade()
                yield dataclasses.replace(made, ready_after_s=time.monotonic() - began_s)
            except BaseException:
                print(made.kubectl("logs", "--selector", "app.kubernetes.io/component=worker", "--tail=40"))
                print(made.kubectl("get", "pods,events"))
                raise
    finally:
        delete_topics(settings.bootstrap, settings.prefix)


# How long messages waited.


@dataclass(frozen=True)
class Waits:
    """Of every input of the instrument stage, how long until the entry of the journal that applies it was written."""

    seconds: Sequence[float]
    #: Messages that no entry applies; those that two do.
    lost: int
    doubled: int

    @property
    def p99_s(self) -> float:
        return float(np.percentile(self.seconds, 99))

    @property
    def max_s(self) -> float:
        return max(self.seconds)

    def __str__(self) -> str:
        return f"p50 {np.median(self.seconds):.2f} s, p99 {self.p99_s:.1f} s, max {self.max_s:.1f} s"


async def _waits(settings: Settings) -> Waits:
    sent_ms = {
        (topic, record.partition, record.offset): record.timestamp
        for topic in INSTRUMENT_INPUTS
        for record in await messages_of(settings, topic)
    }
    taken: Counter[tuple[str, int, int]] = Counter()
    seconds, epochs = [], dict.fromkeys(range(settings.partitions), -1)
    for record in await messages_of(settings, "journal"):
        entry = journal.decode(record.value)
        if isinstance(entry, journal.Claim):
            epochs[record.partition] = record.offset
            continue
        if entry.epoch != epochs[record.partition]:
            continue
        for step in entry.steps:
            if isinstance(step, journal.Run):
                for offset in range(step.offset, step.offset + step.count):
                    place = (step.topic, record.partition, offset)
                    taken[place] += 1
                    seconds.append((record.timestamp - sent_ms[place]) / 1000)
    return Waits(seconds, lost=len(sent_ms.keys() - taken.keys()), doubled=taken.total() - len(taken))


def waits(settings: Settings) -> Waits:
    """Read inputs and journals back, and return how long messages waited; clocks of node and producer are one."""
    return asyncio.run(_waits(settings))


def first_alert_s(settings: Settings, since_s: float) -> float:
    """Return how long after a moment of the wall clock the first alert stood on its topic."""
    alerts = asyncio.run(messages_of(settings, "alerts"))
    return min(record.timestamp for record in alerts) / 1000 - since_s
