"""Folders on a disk or in an object store (fsspec), whose files appear whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from monitor.errors import StartupError

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_PART = ".part"


class FolderError(StartupError):
    """A folder cannot be reached, read or written; the text says which, why, and what to do."""


class Folder:
    """A folder by its path, or by a URL such as ``s3://bucket/day``.

    How a store is reached says its own library: ``s3://`` takes AWS's variables (``AWS_PROFILE``,
    ``AWS_ENDPOINT_URL``, …).

    Parameters
    ----------
    where
        What the user named.

    Raises
    ------
    FolderError
        Nothing here knows the URL's scheme.
    """

    def __init__(self, where: Path | str) -> None:
        self.name = str(where)
        #: The folder where it is one of this machine, else None.
        self.local = None if _URL.match(self.name) else Path(self.name)
        if self.local is not None:
            return
        try:
            self._fs, self._root = _reached(self.name)
        except ImportError as error:
            raise FolderError(
                f"{self.name} cannot be reached ({error}): install what it names; `pip install 'tocsin[s3]'` for S3."
            ) from error
        except ValueError as error:
            raise FolderError(f"{self.name} is no place for a recording ({error}): name a folder or a URL.") from error

    def path(self, file: str) -> str:
        """Return how people are told of a file."""
        return f"{self.name.rstrip('/')}/{file}"

    def size(self, file: str) -> int | None:
        """Return a file's size in bytes, None where there is no such file."""
        if self.local is not None:
            path = self.local / file
            return path.stat().st_size if path.is_file() else None
        with self._told(file):
            try:
                return int(self._fs.info(self._at(file))["size"])
            except FileNotFoundError:
                return None

    def open(self, file: str) -> IO[bytes]:
        """Open a file for reading."""
        if self.local is not None:
            return (self.local / file).open("rb")
        with self._told(file):
            opened: IO[bytes] = self._fs.open(self._at(file), "rb")
            return opened

    def read(self, file: str) -> bytes:
        """Return what is in a file."""
        with self._told(file, reading=True), self.open(file) as data:
            return data.read()

    def digest(self, file: str) -> str:
        """Return the SHA-256 of a file, which is read piece by piece."""
        with self._told(file, reading=True), self.open(file) as data:
            found = hashlib.sha256()
            while piece := data.read(1 << 20):
                found.update(piece)
            return found.hexdigest()

    def create(self, file: str) -> Sink:
        """Begin a file, which takes its place, and that of one of its name, when `Sink.keep` is called."""
        if self.local is not None:
            return _LocalSink(self.local / file)
        with self._told(file):
            # Not there before `commit`: of a large file the store's upload is completed by it.
            return _RemoteSink(self._fs.open(self._at(file), "wb", autocommit=False))

    def write(self, file: str, content: bytes) -> None:
        """Write a file, or put another one in its place."""
        with self._told(file), self.create(file) as sink:
            sink.write(content)
            sink.keep()

    def copy(self, file: str, to: str) -> None:
        """Give a file another name beside its own."""
        if self.local is not None:
            new, part = self.local / to, self.local / (to + _PART)
            part.unlink(missing_ok=True)
            try:
                part.hardlink_to(self.local / file)
            except OSError:  # a disk without links
                shutil.copyfile(self.local / file, part)
            settle(part, new)
            return
        with self._told(file):
            self._fs.cp_file(self._at(file), self._at(to))

    def remove(self, file: str) -> None:
        """Remove a file, if it is there."""
        if self.local is not None:
            (self.local / file).unlink(missing_ok=True)
            return
        with self._told(file), suppress(FileNotFoundError):
            self._fs.rm_file(self._at(file))

    def files(self) -> list[str]:
        """Return the names of all files in the folder and in those within it, sorted."""
        if self.local is not None:
            return sorted(p.relative_to(self.local).as_posix() for p in self.local.rglob("*") if p.is_file())
        with self._told(""):
            self._fs.invalidate_cache(self._root)
            found = self._fs.find(self._root)
        return sorted(str(path).removeprefix(self._root).lstrip("/") for path in found)

    def _at(self, file: str) -> str:
        return f"{self._root.rstrip('/')}/{file}"

    @contextmanager
    def _told(self, file: str, *, reading: bool = False) -> Iterator[None]:
        """Turn whatever the library of an object store raises into one sentence; of a disk what reading does."""
        try:
            yield
        except StartupError:
            raise
        except Exception as error:
            if self.local is not None:
                if reading and isinstance(error, OSError):
                    raise FolderError(
                        f"{self.path(file)} cannot be read ({error.strerror}): see who may read it."
                    ) from error
                raise
            said = (str(error) or repr(error)).splitlines()[0]
            raise FolderError(
                f"{self.path(file)} cannot be reached ({said}): see that the place exists, and that its address and"
                " credentials are set (of S3: AWS_ENDPOINT_URL, AWS_PROFILE or AWS_ACCESS_KEY_ID)."
            ) from error


def _reached(url: str) -> tuple[AbstractFileSystem, str]:
    # Without its cache of listings: others write there too.
    fs, root = url_to_fs(url, use_listings_cache=False)
    return fs, str(root)


class Sink(io.RawIOBase):
    """A file being written: its digest and size so far. Left without `keep`, nothing of it remains."""

    def __init__(self) -> None:
        self.size = 0
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Digest of what was written, as hexadecimal digits."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    # Any: the annotation of RawIOBase's buffers is private to typeshed.
    def write(self, data: Any) -> int:
        piece = memoryview(data).cast("B")
        self._put(piece)
        self._digest.update(piece)
        self.size += len(piece)
        return len(piece)

    @abstractmethod
    def keep(self) -> None:
        """Make the file durable and give it its name."""

    @abstractmethod
    def discard(self) -> None:
        """Remove what was written; nothing after `keep`."""

    @abstractmethod
    def _put(self, piece: memoryview) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


class _LocalSink(Sink):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._part = path.with_name(path.name + _PART)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("wb")

    def _put(self, piece: memoryview) -> None:
        self._file.write(piece)

    def keep(self) -> None:
        self._file.close()
        settle(self._part, self._path)

    def discard(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


def settle(part: Path, path: Path) -> None:
    """Give a file or a folder its name for good: what is in it and the entry of that name reach the disk."""
    _sync(part)
    part.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _RemoteSink(Sink):
    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file
        self._kept = False

    def _put(self, piece: memoryview) -> None:
        self._file.write(piece)

    def keep(self) -> None:
        self._file.close()
        self._file.commit()
        self._kept = True

    def discard(self) -> None:
        if not self._kept:
            self._file.discard()
