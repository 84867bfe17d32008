"""A registry of models: a folder, or one in an object store, in which each lies whole and is never changed.

    REGISTRY/ID/bundle/…            the bundle's files, and who signed it, where anyone did: others may sign it later
                labels/NAME.json    labels of texts that belong to it, where it has any
                model.json          who added it, when, why, and the digest of every file: written last

Without its last file a model is half written and not there. Its id is the bundle's, of what decides in it and nothing
else; with labels, that of both. What it is used for, champion or challenger, the control topic says.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines import signatures
from engines.bundle import (
    MANIFEST,
    MAX_BYTES,
    MAX_MANIFEST_BYTES,
    SIGNATURES,
    Bundle,
    BundleError,
    Entry,
    Manifest,
    Metric,
)
from monitor.errors import StartupError
from monitor.folders import Folder, FolderError, settle
from monitor.settings import Settings
from schemas.errors import UNREADABLE

MODEL = "model.json"
#: What a model may be called: it becomes part of a consumer group's name, and of topics' names.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_ID = re.compile(r"[0-9a-f]{12}")
_FILE = re.compile(r"(bundle|labels)/[A-Za-z0-9_][A-Za-z0-9_.-]*")
#: What the labels of a model may have, all together.
LABELS_BYTES = 64 << 20
#: Where fetched models are kept below the cache.
_FETCHED = "models"


class RegistryError(StartupError):
    """What a registry holds, or does not hold, cannot be used; the text says what, and what to do."""


def registry_of(settings: Settings) -> Registry:
    """Return the registry that settings name; raise `RegistryError` where they name none."""
    if not settings.registry:
        raise RegistryError("No registry is named: set TOCSIN_REGISTRY, or --registry, to a folder or a URL.")
    return Registry(settings.registry)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model as `model.json` tells of it.

    ``files`` are relative to the model's folder. ``origin`` is the folder that it was added from, or what made it;
    ``metrics`` is of each of the bundle's parts the first measure of its first contender, the one that serves.
    """

    id: str
    name: str
    bundle: str
    files: dict[str, Entry]
    added_ns: int
    author: str
    reason: str
    origin: str
    metrics: dict[str, Metric] = {}

    @property
    def labels(self) -> list[str]:
        """Names of the labels that belong to it."""
        return sorted(Path(file).stem for file in self.files if file.startswith("labels/"))


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where a model's files lie on this machine; ``labels`` is None where it has none of its own."""

    bundle: Path
    labels: Path | None


class Registry:
    """The models that lie at ``where``: a path, or a URL such as ``s3://bucket/models``."""

    def __init__(self, where: Path | str) -> None:
        self._folder = Folder(where)
        self.where = self._folder.name

    def add(
        self, bundle: Path, name: str, *, labels: Path | None = None, author: str, reason: str, origin: str, now_ns: int
    ) -> Model:
        """Put a model in, and return what it is known by from now on.

        Parameters
        ----------
        labels
            Folder of labels that belong to the bundle's text encoder, if any are to go with it.

        Raises
        ------
        RegistryError
            The name is none or taken, the model is there already, or there is no label in the folder, or one whose
            file cannot be called so.
        BundleError
            The bundle does not pass its own digests.
        """
        self.free(name)
        loaded = Bundle.load(bundle)
        paths = {f"bundle/{file}": loaded.path / file for file in (*loaded.manifest.files, MANIFEST)}
        if labels is not None:
            found = sorted(labels.glob("*.json"))
            if not found:
                raise RegistryError(f"{labels} holds no label: make one with `tocsin labels add`, or leave it out.")
            paths |= {f"labels/{path.name}": path for path in found}
        if odd := [file for file in paths if not _FILE.fullmatch(file)]:
            raise RegistryError(f"{odd[0]} cannot be kept under this name: expected letters, digits, - _ and dots.")
        contents = {file: path.read_bytes() for file, path in paths.items()}
        files = {file: _entry(content) for file, content in contents.items()}
        model = Model(
            id=_id_of(loaded.id, files),
            name=name,
            bundle=loaded.id,
            files=files,
            added_ns=now_ns,
            author=author,
            reason=reason,
            origin=origin,
            metrics=_headlines(loaded.manifest),
        )
        if same := [one for one in self.models() if one.id == model.id]:
            raise RegistryError(f"{self.where} holds this model already, as {same[0].name} ({model.id}).")
        for file, content in contents.items():
            self._folder.write(f"{model.id}/{file}", content)
        self.put_signatures(model, loaded.path)
        self._folder.write(f"{model.id}/{MODEL}", msgspec.json.format(msgspec.json.encode(model), indent=1) + b"\n")
        return model

    def put_signatures(self, model: Model, bundle: Path) -> None:
        """Put the signatures that a model's bundle bears by now, in the folder ``bundle``, beside it."""
        if (bundle / SIGNATURES).is_file():
            self._folder.write(f"{model.id}/bundle/{SIGNATURES}", (bundle / SIGNATURES).read_bytes())

    def free(self, name: str) -> None:
        """Raise `RegistryError` where a model cannot be called ``name``, or another is."""
        if not NAME.fullmatch(name) or _ID.fullmatch(name):
            raise RegistryError(
                f"{name!r} is no name: expected up to 40 of letters, digits, - and _, a letter first, and not 12"
                " characters as an id has them."
            )
        if taken := [one.id for one in self.models() if one.name == name]:
            raise RegistryError(f"{self.where} holds a model {name} ({taken[0]}): give this one another name.")

    def models(self) -> list[Model]:
        """Return all models that are whole, the oldest first; those that are not, `broken` tells.

        Raises
        ------
        FolderError
            The registry cannot be reached.
        """
        return sorted(self._read()[0], key=lambda model: (model.added_ns, model.id))

    def broken(self) -> list[str]:
        """Return a sentence on each model that is not there whole."""
        return self._read()[1]

    def find(self, name: str) -> Model:
        """Return the model of a name, or of an id.

        Raises
        ------
        RegistryError
            There is none, it is half written, or two were given the name at the same moment.
        """
        if _ID.fullmatch(name):
            return self._model(name)
        found = [model for model in self.models() if model.name == name]
        if len(found) > 1:
            told = ", ".join(model.id for model in found)
            raise RegistryError(f"{self.where} holds {len(found)} models {name}: say which by its id ({told}).")
        if not found:
            names = ", ".join(model.name for model in self.models()) or "none"
            raise RegistryError(f"{self.where} holds no model {name}: expected one of {names}.")
        return found[0]

    def fetch(self, name: str, cache: Path) -> Fetched:
        """Return where a model lies below ``cache``, which it is copied to where it is not there; its digests hold.

        Raises
        ------
        RegistryError
            There is no such model, or a file of it is missing or not what `model.json` says.
        FolderError
            The registry cannot be reached, and the model was never fetched; or ``cache`` cannot be written.
        """
        try:
            return self._fetch(name, cache)
        except OSError as error:  # the registry's own are told by its folder
            raise FolderError(
                f"{cache} cannot be written ({error.strerror}): make room, or name another folder by TOCSIN_CACHE."
            ) from error

    def _fetch(self, name: str, cache: Path) -> Fetched:
        if _ID.fullmatch(name) and _whole(kept := cache / _FETCHED / name):
            with suppress(FolderError):  # who signed it when it was fetched will do
                self._fetch_signatures(name, kept)
            return _fetched(kept)
        model = self.find(name)
        kept = cache / _FETCHED / model.id
        if _whole(kept):
            self._fetch_signatures(model.id, kept)
            return _fetched(kept)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=f".{model.id}.") as part:
            fresh = Path(part) / model.id
            for file, expected in model.files.items():
                size = self._size(model.id, file)
                content = self._folder.read(f"{model.id}/{file}") if size == expected.size else b""
                if _entry(content) != expected:
                    raise RegistryError(
                        f"{self._folder.path(f'{model.id}/{file}')} is not what {MODEL} says ({size:,} bytes,"
                        f" expected {expected.size:,} of SHA-256 {expected.sha256}): add the model again, under another"
                        " name."
                    )
                (fresh / file).parent.mkdir(parents=True, exist_ok=True)
                (fresh / file).write_bytes(content)
            try:
                found = _id_of(Bundle.load(fresh / "bundle").id, model.files)
            except BundleError as error:
                raise RegistryError(
                    f"Model {model.name} of {self.where} has a bundle that may not serve: {error}."
                ) from error
            if found != model.id:
                raise RegistryError(f"What lies in {self.where} as {model.id} is {found}: add it again.")
            self._fetch_signatures(model.id, fresh)
            (fresh / MODEL).write_bytes(msgspec.json.encode(model))
            shutil.rmtree(kept, ignore_errors=True)
            try:
                settle(fresh, kept)
            except OSError:
                if not _whole(kept):  # else another process was first
                    raise
        return _fetched(kept)

    def _fetch_signatures(self, model: str, kept: Path) -> None:
        """Put who signed a model by now beside its fetched bundle; nothing is written where that is known there."""
        file, path = f"{model}/bundle/{SIGNATURES}", kept / "bundle" / SIGNATURES
        size = self._folder.size(file)
        if size is None or size > signatures.MAX_BYTES:
            return
        signed = self._folder.read(file)
        if not path.is_file() or path.read_bytes() != signed:
            part = kept / f".{SIGNATURES}.{os.getpid()}"
            part.write_bytes(signed)
            part.replace(path)

    def _read(self) -> tuple[list[Model], list[str]]:
        ids = sorted({file.partition("/")[0] for file in self._folder.files() if "/" in file})
        models, sentences = [], []
        for one in ids:
            try:
                models.append(self._model(one))
            except RegistryError as error:
                sentences.append(str(error))
        return models, sentences

    def _model(self, of: str) -> Model:
        where = self._folder.path(of)
        if self._folder.size(f"{of}/{MODEL}") is None:
            if self._folder.local is not None and not self._folder.local.is_dir():
                raise FolderError(f"{self.where}, the registry, is not there: mount it, or correct TOCSIN_REGISTRY.")
            raise RegistryError(
                f"{where} is half written, or no model: it has no {MODEL}, which is written last; add it again with"
                " `tocsin models add`, or remove what is there."
            )
        try:
            model = msgspec.json.decode(self._folder.read(f"{of}/{MODEL}"), type=Model)
        except UNREADABLE as error:
            raise RegistryError(
                f"{where}/{MODEL} is damaged ({error}): remove {where}, and add the model again."
            ) from error
        if sum(entry.size for entry in model.files.values()) > MAX_BYTES + MAX_MANIFEST_BYTES + LABELS_BYTES:
            raise RegistryError(f"{where}/{MODEL} is of more bytes than a bundle and its labels may have: remove it.")
        if model.id != of or not all(map(_FILE.fullmatch, model.files)):
            raise RegistryError(
                f"{where}/{MODEL} is of model {model.id}, or names files elsewhere: add the model again."
            )
        return model

    def _size(self, model: str, file: str) -> int:
        size = self._folder.size(f"{model}/{file}")
        if size is None:
            raise RegistryError(
                f"{self._folder.path(f'{model}/{file}')} is missing: add the model again, or promote another."
            )
        return size


def _entry(content: bytes) -> Entry:
    return Entry(hashlib.sha256(content).hexdigest(), len(content))


def _id_of(bundle: str, files: Mapping[str, Entry]) -> str:
    labels = [f"{file} {entry.sha256}\n" for file, entry in sorted(files.items()) if file.startswith("labels/")]
    return hashlib.sha256("".join([f"{bundle}\n", *labels]).encode()).hexdigest()[:12] if labels else bundle


def _headlines(manifest: Manifest) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for name, part in manifest.parts.items():
        for contender, metrics in [*part.metrics.items()][:1]:
            found |= {f"{name} ({contender}) {metric}": value for metric, value in [*metrics.items()][:1]}
    return found


def _whole(kept: Path) -> bool:
    """Return whether a fetched model is there, every file as it was."""
    try:
        model = msgspec.json.decode((kept / MODEL).read_bytes(), type=Model)
        return all(_entry((kept / file).read_bytes()) == entry for file, entry in model.files.items())
    except (OSError, *UNREADABLE):
        return False


def _fetched(kept: Path) -> Fetched:
    labels = kept / "labels"
    return Fetched(kept / "bundle", labels if labels.is_dir() else None)
