"""Every command can say what it does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from monitor.cli import app
from monitor.settings import Settings
from tests import test_docs


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    if hasattr(command, "list_commands"):
        context = typer.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*words, name))


def found(words: tuple[str, ...]) -> Any:
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.get_command(typer.Context(command), word)
    return command


@pytest.mark.parametrize("words", list(commands(typer.main.get_command(app))), ids=" ".join)
def test_help_is_drawn_and_names_the_command(words: tuple[str, ...]) -> None:
    result = CliRunner(env={"COLUMNS": "100"}).invoke(app, [*words, "--help"])
    assert result.exit_code == 0, result.exception
    assert " ".join(words) in result.stdout


def test_commands_that_help_names_exist_with_their_options() -> None:
    told = [found(words).help or "" for words in commands(typer.main.get_command(app))]
    assert {
        " ".join(one): missing
        for text in told
        for one in test_docs.commands(text)
        if (missing := test_docs.lacking(one))
    } == {}


@pytest.mark.parametrize("words", [words for words in commands(typer.main.get_command(app)) if words], ids=" ".join)
def test_an_option_for_a_setting_shows_the_settings_default(words: tuple[str, ...]) -> None:
    for option in found(words).params:
        if named := re.search(r"\[TOCSIN_(\w+)\]", getattr(option, "help", None) or ""):
            field = Settings.model_fields.get(named[1].lower())
            default = None if field is None else field.default
            # A path without one is told in words; that of the gateway's port is its own.
            if default is not None and field.default_factory is None and named[1] != "HTTP_PORT":
                assert option.show_default == str(default), option.name
