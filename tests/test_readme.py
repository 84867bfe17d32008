"""README's targets can be made, its messages can be used; what any page names is tests/test_docs.py's."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from schemas import codec

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
LINES = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


MESSAGES = [line for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("target", sorted({words[1] for words in LINES if words[0] == "make"}))
def test_target_exists(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("topic", "message"), [*zip(("ticks", "documents", "orders"), MESSAGES, strict=True)])
def test_message_can_be_used(topic: str, message: str) -> None:
    known = json.loads(message)
    key = known.get("instrument", "any").encode()
    codec.decode(topic, key, message.encode(), known["ts_event"] // 1_000_000)
