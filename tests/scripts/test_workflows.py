"""Workflows run only what is named by its commit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

_USES = re.compile(r"uses: (\S+)")


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_every_action_is_named_by_its_commit(path: Path) -> None:
    used = _USES.findall(path.read_text())
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one)] == []
