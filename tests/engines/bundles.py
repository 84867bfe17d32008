"""Small bundles for tests: the form of one, without the weights."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec

from engines.bundle import DEFAULT, FORMAT, MANIFEST, REQUIRED, Entry, Manifest


def write_bundle(folder: Path, **contents: bytes) -> Path:
    """Write a bundle of short files; ``fusion_json=b"…"`` sets fusion.json, and so on."""
    folder.mkdir()
    entries = {}
    for name in REQUIRED:
        content = contents.get(name.replace(".", "_"), b"{}" if name.endswith("json") else b"")
        (folder / name).write_bytes(content)
        entries[name] = Entry(hashlib.sha256(content).hexdigest(), len(content))
    write_manifest(folder, entries)
    return folder


def alter_bundle(folder: Path, name: str, old: bytes, new: bytes) -> Path:
    """Write the default bundle with other bytes in one of its files, and its digests made anew."""
    shutil.copytree(DEFAULT, folder)
    content = (folder / name).read_bytes()
    assert content.count(old) == 1
    content = content.replace(old, new)
    (folder / name).write_bytes(content)
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    files = manifest.files | {name: Entry(hashlib.sha256(content).hexdigest(), len(content))}
    (folder / MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, files=files)))
    return folder


def write_manifest(folder: Path, entries: dict[str, Entry], version: int = FORMAT) -> None:
    """Write a manifest that lists ``entries``."""
    manifest = Manifest(
        format=version, name="small", code_version="test", opset=20, seed=0, files=entries, lineage=[], parts={}
    )
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
