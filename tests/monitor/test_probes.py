from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
import urllib.request

import pytest

from monitor import probes
from monitor.errors import StartupError


async def ask(*paths: str, live: list[str], ready: list[str]) -> list[tuple[int, str]]:
    def get(url: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    served = probes.serve(
        "127.0.0.1",
        0,
        live=lambda: live,
        ready=lambda: ready,
        expose=lambda: b"x 1",
        about=lambda: {"bundle": "b"},
    )
    async with served as address:
        return [await asyncio.to_thread(get, address + path) for path in paths]


async def test_all_is_well() -> None:
    (live, said), (ready, told), metrics = await ask("/livez", "/readyz", "/metrics", live=[], ready=[])
    assert (live, json.loads(said)) == (200, {"ok": True, "reasons": []})
    assert (ready, json.loads(told)) == (200, {"ok": True, "reasons": [], "bundle": "b"})
    assert metrics == (200, "x 1")


async def test_a_probe_that_fails_says_why() -> None:
    (live, said), (ready, told) = await ask("/livez", "/readyz", live=["it hangs"], ready=["too early", "too late"])
    assert (live, json.loads(said)) == (503, {"ok": False, "reasons": ["it hangs"]})
    assert (ready, json.loads(told)["reasons"]) == (503, ["too early", "too late"])


async def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=rf"on 127.0.0.1:{port} .*TOCSIN_HTTP_PORT"):
            async with probes.serve("127.0.0.1", port, live=list, ready=list, expose=bytes):
                pass
