"""Memory that threads have given back goes to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Eight threads, one after the other, take 24 MB in blocks, and give them back but for the last; prints MB that stay.
_KEPT = """
import ctypes, os, sys, threading
from monitor.memory import share_heaps

if sys.argv[1] == "told":
    assert share_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
BLOCK = 96 * 1024

def resident_mb():
    with open("/proc/self/statm") as told:
        return int(told.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def work():
    blocks = [libc.malloc(BLOCK) for _ in range(256)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    for block in blocks[:-1]:
        libc.free(block)
    worked.set()
    end.wait()

before, end = resident_mb(), threading.Event()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    worked = threading.Event()
    thread.start()
    worked.wait()
print(resident_mb() - before)
end.set()
"""


def kept_mb(how: str) -> float:
    ran = subprocess.run([sys.executable, "-c", _KEPT, how], capture_output=True, text=True, check=True)
    return float(ran.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="another C library")
def test_what_threads_gave_back_is_not_kept_by_each() -> None:
    assert kept_mb("not told") > 100
    assert kept_mb("told") < 60
