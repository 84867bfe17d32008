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

CHART = Path(__file__).parents[2] / "helm" / "tocsin"
RELEASE = "tocsin"
READY_S = 240

#: Kills, from the node's process namespace, what runs in the pod of that uid: from inside, its first process is immune.
_KILL = """
import os, pathlib, signal, sys
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        inside = sys.argv[1] in (process / "cgroup").read_text().replace("_", "-")
        if inside and b"tocsin" in (process / "cmdline").read_bytes():
            os.kill(int(process.name), signal.SIGKILL)
            print(process.name)
    except (FileNotFoundError, ProcessLookupError):
        pass
"""


def call(*command: str, given: str | None = None, timeout_s: float = READY_S) -> str:
    """Return what a command prints; raise AssertionError with all that it said where it fails."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Release:
    """The chart, installed."""

    namespace: str
    settings: Settings
    values: Path
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
        self.kubectl("rollout", "status", "statefulset", f"--timeout={READY_S}s")
        self.kubectl("wait", "--for=condition=Ready", "pod", "--all", f"--timeout={READY_S}s")

    def workers(self) -> list[dict[str, Any]]:
        """Return the pods of the workers."""
        found = self.kubectl("get", "pods", "--selector", "app.kubernetes.io/component=worker", "--output", "json")
        pods: list[dict[str, Any]] = json.loads(found)["items"]
        return pods

    def kill(self, worker: int) -> None:
        """End a worker's process as a crash does, and wait until the kubelet has begun another."""
        name, uid = f"{RELEASE}-worker-{worker}", self.workers()[worker]["metadata"]["uid"]
        killed = call("kubectl", "--namespace", f"{self.namespace}-node", "exec", "deployment/killer", "--",
                      "python3", "-c", _KILL, uid)  # fmt: skip
        assert killed.strip(), f"no process of {name} was found"
        self.kubectl(
            "wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", f"pod/{name}", "--timeout=60s"
        )
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

    def drain(self) -> None:
        """End every worker in order."""
        self.kubectl("scale", "statefulset", f"{RELEASE}-worker", "--replicas=0")
        self.kubectl("wait", "--for=delete", "pod", "--selector", "app.kubernetes.io/component=worker", "--timeout=90s")


@contextmanager
def namespaces(name: str, image: str) -> Iterator[None]:
    """Make a namespace that admits restricted pods only, and one of the node's killer; remove both at the end."""
    node = f"{name}-node"
    killer = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "killer"},
        "spec": {
            "selector": {"matchLabels": {"app": "killer"}},
            "template": {
                "metadata": {"labels": {"app": "killer"}},
                "spec": {
                    "hostPID": True,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {
                            "name": "killer",
                            "image": image,
                            "imagePullPolicy": "IfNotPresent",
                            "command": ["sleep", "infinity"],
                            "securityContext": {"runAsUser": 0},
                        }
                    ],
                },
            },
        },
    }
    try:
        for made in (name, node):
            call("kubectl", "create", "namespace", made)
        call("kubectl", "label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        call("kubectl", "--namespace", node, "apply", "--filename", "-", given=json.dumps(killer))
        call("kubectl", "--namespace", node, "rollout", "status", "deployment/killer", f"--timeout={READY_S}s")
        yield
    finally:
        call("kubectl", "delete", "namespace", name, node, "--ignore-not-found")


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
        with namespaces(namespace, image):
            made = Release(namespace, settings, values_of(settings, image, folder / "values.yaml"))
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

    def __str__(self) -> str:
        p50, p99 = np.percentile(self.seconds, (50, 99))
        return f"p50 {p50:.2f} s, p99 {p99:.1f} s, max {max(self.seconds):.1f} s"


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
