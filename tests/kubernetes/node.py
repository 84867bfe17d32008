"""What a test sees of the processes in pods, and does to them: from a pod that shares the node's process namespace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

READY_S = 240

#: Prints id, resident kilobytes and open files of what runs in the pod of that uid, the daemon first; with `kill`, ends
#: it too: from inside, its first process is immune.
_PROCESSES = """
import os, pathlib, signal, sys
for process in sorted(pathlib.Path("/proc").glob("[0-9]*"), key=lambda found: int(found.name)):
    try:
        inside = sys.argv[1] in (process / "cgroup").read_text().replace("_", "-")
        if inside and b"tocsin" in (process / "cmdline").read_bytes():
            (resident,) = [line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS")]
            print(process.name, resident.split()[1], len(list((process / "fd").iterdir())))
            if sys.argv[2:] == ["kill"]:
                os.kill(int(process.name), signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        pass
"""


def call(*command: str, given: str | None = None, timeout_s: float = READY_S) -> str:
    """Return what a command prints; raise AssertionError with all that it said where it fails."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


class Process(NamedTuple):
    """A daemon in its pod."""

    pid: int
    resident_mb: float
    open_files: int


class Node(NamedTuple):
    """The node's processes, as a pod in the namespace sees them."""

    namespace: str

    def process(self, uid: str) -> Process:
        """Return the daemon in the pod of that uid."""
        return self._processes(uid)

    def kill(self, uid: str) -> Process:
        """End the daemon in the pod of that uid as a crash does, and return what it was."""
        return self._processes(uid, "kill")

    def _processes(self, *arguments: str) -> Process:
        told = call("kubectl", "--namespace", self.namespace, "exec", "deployment/node", "--",
                    "python3", "-c", _PROCESSES, *arguments)  # fmt: skip
        assert told.strip(), f"no daemon runs in the pod {arguments[0]}"
        pid, resident_kb, files = map(int, told.splitlines()[0].split())
        return Process(pid, resident_kb / 1024, files)


@contextmanager
def namespaces(name: str, image: str) -> Iterator[Node]:
    """Make a namespace that admits restricted pods only, and one to see the node from; remove both at the end."""
    node = f"{name}-node"
    pod = {
        "hostPID": True,
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "node",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "infinity"],
                "securityContext": {"runAsUser": 0},
            }
        ],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "node"},
        "spec": {
            "selector": {"matchLabels": {"app": "node"}},
            "template": {"metadata": {"labels": {"app": "node"}}, "spec": pod},
        },
    }
    try:
        for made in (name, node):
            call("kubectl", "create", "namespace", made)
        call("kubectl", "label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        call("kubectl", "--namespace", node, "apply", "--filename", "-", given=json.dumps(deployment))
        call("kubectl", "--namespace", node, "rollout", "status", "deployment/node", f"--timeout={READY_S}s")
        yield Node(node)
    finally:
        call("kubectl", "delete", "namespace", name, node, "--ignore-not-found")
