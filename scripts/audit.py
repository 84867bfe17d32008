"""What the locked packages are: their licences, a bill of materials, and what advisories say of them.

    make audit                           # licences and the bill of materials
    make audit ARGS="--osv all.zip"      # and advisories: an export of OSV for the ecosystem PyPI
    docker run --rm --entrypoint dpkg-query tocsin -W -f '${Package}\t${Version}\t${Architecture}\n' >build/dpkg.txt
    make audit ARGS="--debian build/dpkg.txt"    # a bill of the whole image: what its base brings, too

Exit code 1: an advisory concerns a locked version, or a licence is none of those that may ship.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from rich.console import Console
from rich.table import Table

#: What may be shipped beside Apache-2.0: of a package's classifiers and expressions one must match.
SHIPS = re.compile(
    r"apache|mit\b|bsd|isc\b|psf|python software|mpl|mozilla|repoze|unlicense|0bsd|zlib|hpnd|cnri|public domain", re.I
)
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", re.M)

Advisory = tuple[str, str]


def locked(path: Path) -> dict[str, str]:
    """Return a lock's packages and versions."""
    return {canonicalize_name(name): version for name, version in _LOCKED.findall(path.read_text())}


def licence(name: str) -> str:
    """Return a package's licence as it says itself, "" where it is not installed or says none."""
    try:
        told = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    classified = [one.rsplit(" :: ", 1)[-1] for one in told.get_all("Classifier", []) if one.startswith("License ::")]
    return told.get("License-Expression") or ", ".join(classified) or (told.get("License") or "").split("\n")[0]


def exported(path: Path) -> tuple[datetime, dict[str, list[tuple[SpecifierSet, Advisory]]]]:
    """Return the advisories of an OSV export (a zip of one JSON each), by name, and of when the newest is."""
    newest, by_name = datetime(1970, 1, 1, tzinfo=UTC), dict[str, list[tuple[SpecifierSet, Advisory]]]()
    with zipfile.ZipFile(path) as export:
        for entry in export.namelist():
            one: dict[str, Any] = json.loads(export.read(entry))
            newest = max(newest, datetime.fromisoformat(one["modified"]))
            if "withdrawn" in one:
                continue
            for affected in one.get("affected", ()):
                name = canonicalize_name(affected.get("package", {}).get("name", ""))
                said = (one["id"], one.get("summary") or one.get("details", "")[:200])
                by_name.setdefault(name, []).extend((spec, said) for spec in _ranges(affected))
    return newest, by_name


def _ranges(affected: dict[str, Any]) -> Iterator[SpecifierSet]:
    yield from (SpecifierSet(f"==={version}") for version in affected.get("versions", ()) if " " not in version)
    for events in (one["events"] for one in affected.get("ranges", ()) if one["type"] == "ECOSYSTEM"):
        begin = "0"
        for event in events:
            if "introduced" in event:
                begin = event["introduced"]
            elif end := event.get("fixed"):
                yield _versions(f">={begin},<{end}")
            elif end := event.get("last_affected"):
                yield _versions(f">={begin},<={end}")
        if events and "introduced" in events[-1]:
            yield _versions(f">={begin}")


def _versions(told: str) -> SpecifierSet:
    """Return the versions that a text names, all of them where its bounds are of no kind that is known."""
    try:
        return SpecifierSet(told)
    except InvalidSpecifier:
        return SpecifierSet()


def concerns(spec: SpecifierSet, version: str) -> bool:
    """Tell whether a version is among those that an advisory speaks of."""
    try:
        return spec.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def debian(path: Path) -> list[dict[str, str]]:
    """Return the components of a file that dpkg-query wrote: name, version and architecture, by tabs, a line each."""
    found = []
    for line in sorted(set(path.read_text().splitlines())):
        name, version, architecture = line.split("\t")
        purl = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe=':')}?arch={architecture}"
        found.append({"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl})
    return found


def bill(packages: dict[str, str], system: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    """Return a CycloneDX 1.6 bill of materials, the system's packages behind Python's; all are named by purl alone."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "tocsin", "version": metadata.version("tocsin")}},
        "components": [
            {
                "type": "library",
                "name": name,
                "version": version,
                "purl": f"pkg:pypi/{name}@{version}",
                "bom-ref": f"pkg:pypi/{name}@{version}",
                **({"licenses": [{"license": {"name": licence(name)}}]} if licence(name) else {}),
            }
            for name, version in sorted(packages.items())
        ]
        + list(system),
    }


def main() -> int:
    """Audit a lock."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", type=Path, default=Path("requirements/runtime.txt"), help="of what ships")
    parser.add_argument("--osv", type=Path, help="OSV's export of PyPI's advisories, all.zip")
    parser.add_argument("--debian", type=Path, help="what dpkg-query lists of an image, for its bill of materials")
    parser.add_argument("--sbom", type=Path, default=Path("build/sbom.json"), help="where the bill of materials goes")
    options = parser.parse_args()
    console, packages = Console(soft_wrap=True), locked(options.lock)

    table = Table("package", "version", "licence", box=None, pad_edge=False)
    unclear = []
    for name, version in sorted(packages.items()):
        told = licence(name)
        if told and not SHIPS.search(told):
            unclear.append(name)
        table.add_row(name, version, told or "not installed here")
    console.print(table)

    options.sbom.parent.mkdir(parents=True, exist_ok=True)
    system = debian(options.debian) if options.debian else []
    options.sbom.write_text(json.dumps(bill(packages, system), indent=1) + "\n")
    beside = f" and {len(system)} of Debian" if system else ""
    console.print(f"{len(packages)} packages{beside}; bill of materials (CycloneDX 1.6): {options.sbom}")

    if unclear:
        console.print(f"licences to be looked at: {', '.join(unclear)}")
    if options.osv is None:
        console.print("advisories: none were given to look in (--osv), so nothing is said of them")
        return int(bool(unclear))
    at, advisories = exported(options.osv)
    hits = [
        (name, version, *said)
        for name, version in sorted(packages.items())
        for spec, said in advisories.get(name, ())
        if concerns(spec, version)
    ]
    age_days = (datetime.now(UTC) - at).days
    console.print(f"advisories of {len(advisories):,} packages as of {at:%Y-%m-%d}, {age_days:,} days old:", end=" ")
    console.print("none concerns what is locked" if not hits else f"{len(hits)} concern what is locked")
    for name, version, identity, text in hits:
        console.print(f"  {name} {version}: {identity}: {text}", markup=False)
    return int(bool(hits or unclear))


if __name__ == "__main__":
    sys.exit(main())
