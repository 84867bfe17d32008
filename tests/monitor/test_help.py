"""Every command can say what it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from monitor.cli import app


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    if hasattr(command, "list_commands"):
        context = typer.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*words, name))


@pytest.mark.parametrize("words", list(commands(typer.main.get_command(app))), ids=" ".join)
def test_help_is_drawn_and_names_the_command(words: tuple[str, ...]) -> None:
    result = CliRunner(env={"COLUMNS": "100"}).invoke(app, [*words, "--help"])
    assert result.exit_code == 0, result.exception
    assert " ".join(words) in result.stdout
