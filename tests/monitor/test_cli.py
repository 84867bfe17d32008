from __future__ import annotations

import errno
import os

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.settings import Settings


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_volume_is_one_sentence_of_every_command(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> Settings:
        raise OSError(code, os.strerror(code), "/reports/latest")

    monkeypatch.setattr("monitor.commands.check_config.load", load)
    done = CliRunner().invoke(app, ["check-config"])
    assert done.exit_code == 2
    assert done.stderr == f"tocsin: {os.strerror(code)} (/reports/latest): make room, and run the command again.\n"
