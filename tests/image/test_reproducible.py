"""Two builds from nothing have the same files; those of Tocsin have one time, folders around them a builder dates."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.skipif(
        os.environ.get("TOCSIN_TEST_REBUILD") != "1",
        reason="builds the image twice from nothing: TOCSIN_TEST_REBUILD=1",
    ),
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker here"),
    pytest.mark.timeout(3600),
]
#: A file's kind, mode, owner, group, target, time and SHA-256, where it has one, by its path.
Tree = dict[str, tuple[bytes, int, int, int, str, float, str]]
#: What has the one time, and what the engine puts into every container.
DATED = ("opt/tocsin", "var/cache/tocsin", "etc/passwd", "etc/group")
ENGINES = (".dockerenv", "dev", "proc", "sys", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


@pytest.fixture
def built() -> Iterator[list[str]]:
    """Two images of this tree, built one after the other from nothing."""
    names = [f"tocsin-rebuilt:{number}" for number in (1, 2)]
    for name in names:
        docker("build", "--no-cache", "--target", "cpu", "-t", name, ".")
    yield names
    docker("rmi", *names)


def tree(image: str) -> Tree:
    """Return all that a container of the image begins with, but for what the engine itself puts there."""
    container = docker("create", "--network", "none", image)
    try:
        with (
            subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export,
            tarfile.open(fileobj=export.stdout, mode="r|") as files,
        ):
            return {
                one.name: (
                    *(one.type, one.mode, one.uid, one.gid, one.linkname),
                    one.mtime if one.name.startswith(DATED) else 0.0,
                    _sha256(files, one),
                )
                for one in files
                if not one.name.startswith(ENGINES)
            }
    finally:
        docker("rm", container)


def _sha256(files: tarfile.TarFile, one: tarfile.TarInfo) -> str:
    content = files.extractfile(one) if one.isfile() else None
    return "" if content is None else hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]


def test_two_builds_have_the_same_files(built: list[str]) -> None:
    one, two = map(tree, built)
    differ = {
        path: (one.get(path), two.get(path)) for path in one.keys() | two.keys() if one.get(path) != two.get(path)
    }
    assert not differ, "\n".join(f"{path}: {was} and {now}" for path, (was, now) in sorted(differ.items())[:40])
