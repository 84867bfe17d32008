"""README's commands exist, with the options that it gives them; its messages can be used, its links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from monitor.cli import app
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


def _commands(program: str) -> list[list[str]]:
    return [words[1:] for words in LINES if words[0] == program]


@pytest.mark.parametrize("words", _commands("tocsin"), ids=" ".join)
def test_command_exists_with_its_options(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    while hasattr(command, "get_command") and words:
        # As the group reads them: one may take what names no command for the argument of its usual one.
        context = command.make_context(None, list(words), resilient_parsing=True)
        name, *words = [*context._protected_args, *context.args]
        found = command.get_command(context, name)
        assert found is not None, f"README says `tocsin … {name}`, which is no command"
        command = found
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("target", sorted({words[0] for words in _commands("make")}))
def test_target_exists(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists(), f"README links to {link}, which is not there"


@pytest.mark.parametrize(("topic", "message"), [*zip(("ticks", "documents", "orders"), MESSAGES, strict=True)])
def test_message_can_be_used(topic: str, message: str) -> None:
    known = json.loads(message)
    key = known.get("instrument", "any").encode()
    codec.decode(topic, key, message.encode(), known["ts_event"] // 1_000_000)
