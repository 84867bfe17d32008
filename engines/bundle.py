"""A bundle: the folder that holds a model whole, every file named and digested in its manifest.

| file | holds |
|---|---|
| manifest.json | digest and size of every other file, lineage, training window, metrics, code version |
| encoder.onnx | the text encoder and its head; weights stored in fp16, executed in fp32 |
| tokenizer.json | the tokenizer, truncation included |
| text.json | labels, temperature, lengths, sentences for the parity gate |
| fusion.onnx, fusion.json | the fusion model, and which modalities it fuses |
| chart.onnx, chart.json | the chart encoder and its calibration, both or neither |
| order_flow.onnx, order_flow.json | the order-flow model, its calibration and weights, both or neither |
| voice.onnx, voice.json | the voice encoder and its calibration, both or neither |
| opinion.json | what analysts will find of an alert (`engines.opinion`), if it has learnt that |
| credit.onnx, credit.json | the model of default with its calibration, and its currency, both or neither |
| MODEL_CARD.md | for people |
| signatures.json | who vouches for the manifest (`engines.signatures`), where anyone does; in no manifest |

Nothing in it is unpickled, and nothing outside of it is read.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from engines import onnx_files
from schemas.errors import UNREADABLE

Spec = TypeVar("Spec")

FORMAT = 2
MANIFEST = "manifest.json"
SIGNATURES = "signatures.json"
#: As what that is written until it is whole: in the folder, which may be a volume of its own. It is nobody's to read.
SIGNATURES_PART = f".{SIGNATURES}"
REQUIRED = ("encoder.onnx", "tokenizer.json", "text.json", "fusion.json", "fusion.onnx", "MODEL_CARD.md")
MAX_BYTES = 60_000_000
MAX_MANIFEST_BYTES = 4_000_000
MAX_FILES = 64
#: What files of a bundle are: none that would be run, or unpickled, to be read.
KINDS = (".onnx", ".json", ".md")

_HERE = Path(__file__).resolve().parent
#: The bundle that ships: inside the package where it is installed, at the top of a checkout.
DEFAULT = next((p for p in (_HERE / "bundles" / "default",) if p.is_dir()), _HERE.parent / "bundles" / "default")

#: What no computation reads: a corrected model card is still the same model.
_UNREAD = ("MODEL_CARD.md",)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class BundleError(ValueError):
    """A bundle that may not serve: the message names the file, what was expected, what was found."""


class Entry(msgspec.Struct, frozen=True):
    """One file: SHA-256 in hex, size in bytes."""

    sha256: str
    size: int


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Data or weights that a model was made of, ``stage`` "pretraining" or "training".

    ``window`` is the time that the data spans, "unknown" where its makers do not say; ``may_train_what_ships`` is what
    the licence allows of the weights.
    """

    name: str
    stage: str
    origin: str
    licence: str
    may_train_what_ships: bool
    window: str
    sha256: dict[str, str] = {}
    note: str = ""


class Metric(msgspec.Struct, frozen=True):
    """An estimate and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """How one model of the bundle was made and what it reached: ``metrics[contender][metric]`` on its test part."""

    task: str
    split: dict[str, int]
    split_rule: str
    metrics: dict[str, dict[str, Metric]]
    notes: list[str] = []


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself."""

    format: int
    name: str
    code_version: str
    opset: int
    seed: int
    files: dict[str, Entry]
    lineage: list[Source]
    parts: dict[str, Part]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every byte was checked against its manifest; ``digest`` is the manifest's own, SHA-256 in hex."""

    path: Path
    manifest: Manifest
    digest: str

    @classmethod
    def load(cls, path: Path | str) -> Bundle:
        """Return the bundle in the folder ``path`` after checking it.

        Raises
        ------
        BundleError
            The folder or its manifest is missing or malformed; a file is missing, is not in the manifest, differs from
            its digest, is a link, of another kind or named out of the folder; an ONNX file points to data outside of
            itself or has operators of others (`engines.onnx_files`); there are too many files, or they exceed 60 MB.

        Example
        -------
        >>> Bundle.load("bundles/default").manifest.format
        2
        """
        folder = Path(path).resolve()  # once: a link may be turned while its files are read
        where = folder / MANIFEST
        if not where.is_file() or where.is_symlink():
            raise BundleError(f"{folder} is no bundle: expected a file {MANIFEST} in it; build one with `make bundle`")
        if (size := where.stat().st_size) > MAX_MANIFEST_BYTES:
            raise BundleError(f"{where} has {size:,} bytes, a manifest may have {MAX_MANIFEST_BYTES:,}")
        told = where.read_bytes()
        try:
            manifest = msgspec.json.decode(told, type=Manifest)
        except UNREADABLE as error:
            raise BundleError(f"{where} is no manifest of a bundle: {error}") from error
        if manifest.format != FORMAT:
            raise BundleError(f"{where} has format {manifest.format}, this version of Tocsin reads format {FORMAT}")
        for name in manifest.files:
            if not _NAME.fullmatch(name) or name in (MANIFEST, SIGNATURES):
                raise BundleError(f"{where} names {name!r}: expected the name of a file that lies beside the manifest")
        if others := [name for name in manifest.files if not name.endswith(KINDS)]:
            raise BundleError(f"{where} lists {', '.join(others)}: expected files {', '.join(KINDS)} alone")
        if missing := [name for name in REQUIRED if name not in manifest.files]:
            raise BundleError(f"{where} does not list {', '.join(missing)}, which every bundle has")
        present = {entry.name for entry in folder.iterdir()} - {MANIFEST, SIGNATURES, SIGNATURES_PART}
        if unknown := sorted(present - manifest.files.keys()):
            raise BundleError(f"{folder} holds {', '.join(unknown)}, which its manifest does not list: remove it")
        if len(manifest.files) > MAX_FILES or any(entry.size < 0 for entry in manifest.files.values()):
            raise BundleError(f"{where} lists more than {MAX_FILES} files, or sizes below 0")
        total = sum(entry.size for entry in manifest.files.values())
        if total > MAX_BYTES:
            raise BundleError(f"{folder} holds {total:,} bytes, a bundle may hold {MAX_BYTES:,}")
        bundle = cls(folder, manifest, hashlib.sha256(told).hexdigest())
        for name in manifest.files:
            content = bundle.read(name)
            if name.endswith(".onnx") and (wrong := onnx_files.fault(content)):
                raise BundleError(f"{folder / name} {wrong}")
        return bundle

    @property
    def id(self) -> str:
        """Twelve hex digits that stand for every file that a computation reads."""
        lines = (f"{n} {e.sha256}\n" for n, e in sorted(self.manifest.files.items()) if n not in _UNREAD)
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]

    def has_both(self, model: str, spec: str) -> bool:
        """Tell whether a member's two files are there; raise `BundleError` if only one of them is."""
        present = [name for name in (model, spec) if name in self.manifest.files]
        if len(present) == 1:
            raise BundleError(f"{self.path} has {present[0]} alone: expected {model} and {spec}, or neither")
        return bool(present)

    def read(self, name: str) -> bytes:
        """Return the bytes of the file ``name``, checked again; raise `BundleError` if they are not the manifest's."""
        path = self.path / name
        expected = self.manifest.files[name]
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{path} is missing or no plain file: restore the bundle or build it with `make bundle`")
        if (size := path.stat().st_size) != expected.size:
            raise BundleError(f"{path} has {size:,} bytes, the manifest says {expected.size:,}: restore the bundle")
        content = path.read_bytes()
        if (found := hashlib.sha256(content).hexdigest()) != expected.sha256:
            raise BundleError(f"{path} has SHA-256 {found}, the manifest says {expected.sha256}: restore the bundle")
        return content

    def decode(self, name: str, type: type[Spec]) -> Spec:
        """Return what the file ``name`` says in JSON; raise `BundleError` as `read` does, or if it is no such thing."""
        try:
            return msgspec.json.decode(self.read(name), type=type)
        except UNREADABLE as error:
            raise BundleError(f"{self.path / name}: {error}") from error
