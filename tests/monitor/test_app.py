from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from monitor.app import ENCODERS_NICE, _step_back


def test_a_start_imports_nothing_that_the_daemon_does_without() -> None:
    heavy = ("river", "sklearn", "scipy", "torch", "plotly", "ray")
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, monitor.app; print(*sys.modules.keys() & {set(heavy)})"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_encoders_step_back_and_the_event_loop_does_not() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with ThreadPoolExecutor(1, "encode", _step_back) as pool:
        found = pool.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result()
    assert found == min(19, before + ENCODERS_NICE)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
