"""docs/reliability.md tells of this history, and of the first rows of the table at least."""

from __future__ import annotations

import subprocess

import pytest

from tests.kubernetes import test_release
from tests.kubernetes.page import AIMS, PAGE, ROOT, commits, git


def test_every_commit_is_of_this_history() -> None:
    try:
        shallow = git("rev-parse", "--is-shallow-repository") == "true"
    except (subprocess.CalledProcessError, FileNotFoundError):
        shallow = True
    if shallow:
        pytest.skip("no history here that the commits of docs/reliability.md could be looked up in")
    for event, commit in commits(PAGE.read_text()).items():
        is_ancestor = ["git", "-C", str(ROOT), "merge-base", "--is-ancestor", commit, "HEAD"]
        assert subprocess.run(is_ancestor, check=False, capture_output=True).returncode == 0, f"{event}: {commit}"


def test_what_every_change_must_pass_was_run() -> None:
    marks = {
        test: {mark.name: mark.args for mark in test.pytestmark}
        for name, test in vars(test_release).items()
        if name.startswith("test_")
    }
    short = {named["row"][0] for named in marks.values() if "long" not in named}
    missing = short - commits(PAGE.read_text()).keys()
    assert short <= AIMS.keys()
    assert not missing, f"make test-kubernetes writes what is missing: {missing}"
