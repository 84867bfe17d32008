"""Folders: a file is there whole or not at all, on a disk and in a store, and what is no place is one sentence."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import pytest

from monitor.folders import Folder, FolderError


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(tmp_path / "r" if request.param == "disk" else f"{request.getfixturevalue('bucket')}/deep/r")


def test_what_is_written_is_read(folder: Folder) -> None:
    with folder.create("news/a.parquet") as sink:
        sink.write(b"one")
        sink.write(memoryview(b"two"))
        sink.keep()
    assert (sink.size, sink.sha256) == (6, hashlib.sha256(b"onetwo").hexdigest())
    assert folder.read("news/a.parquet") == b"onetwo"
    assert folder.size("news/a.parquet") == 6
    assert folder.digest("news/a.parquet") == sink.sha256
    assert folder.files() == ["news/a.parquet"]
    assert folder.path("news/a.parquet") == f"{folder.name}/news/a.parquet"


def test_a_file_that_is_not_kept_was_never_there(folder: Folder) -> None:
    folder.write("a", b"old")
    with folder.create("a") as sink:
        sink.write(b"half")
        assert folder.read("a") == b"old"
    assert folder.read("a") == b"old"
    with suppress(ZeroDivisionError), folder.create("b") as sink:
        sink.write(b"half" * 2_000_000)  # more than one part of an upload
        raise ZeroDivisionError
    assert folder.files() == ["a"]
    assert folder.size("b") is None


def test_files_are_copied_replaced_and_removed(folder: Folder) -> None:
    folder.write("a", b"1")
    folder.copy("a", "b")
    folder.write("a", b"2")
    assert (folder.read("a"), folder.read("b")) == (b"2", b"1")
    folder.remove("a")
    folder.remove("a")
    assert folder.files() == ["b"]


def test_what_nothing_here_can_reach_is_one_sentence() -> None:
    with pytest.raises(FolderError, match=r"nosuch://bucket/day is no place for a recording .* name a folder or a URL"):
        Folder("nosuch://bucket/day")
    with pytest.raises(FolderError, match=r"gs://bucket/day cannot be reached \(Please install gcsfs"):
        Folder("gs://bucket/day")


def test_a_windows_like_or_relative_name_is_a_folder_of_this_machine(tmp_path: Path) -> None:
    assert Folder("day").local == Path("day")
    assert Folder(tmp_path).local == tmp_path


def test_what_may_not_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()  # root may read whatever is a file
    folder = Folder(tmp_path)
    for read in (folder.read, folder.digest):
        with pytest.raises(FolderError, match=r"manifest.json cannot be read \(Is a directory\): see"):
            read("manifest.json")
