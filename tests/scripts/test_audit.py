from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.conftest import ROOT

LOCK = "numpy==2.1.0 \\\n    --hash=sha256:00\nfaust-streaming[fast]==0.11.3 ; python_version >= '3.11'\n"


def audit(folder: Path, *advisories: dict[str, object]) -> subprocess.CompletedProcess[str]:
    """Audit a lock of two packages against an export of these advisories."""
    (folder / "lock.txt").write_text(LOCK)
    with zipfile.ZipFile(folder / "all.zip", "w") as export:
        for one in advisories:
            export.writestr(f"{one['id']}.json", json.dumps({"modified": "2026-01-02T03:04:05Z"} | one))
    command = [
        sys.executable,
        "scripts/audit.py",
        "--lock",
        str(folder / "lock.txt"),
        "--sbom",
        str(folder / "sbom.json"),
    ]
    given = ["--osv", str(folder / "all.zip")] if advisories else []
    return subprocess.run([*command, *given], cwd=ROOT, capture_output=True, text=True, check=False)


def about(name: str, **affected: object) -> dict[str, object]:
    return {
        "id": "X-1",
        "summary": "it leaks",
        "affected": [{"package": {"ecosystem": "PyPI", "name": name}, **affected}],
    }


def between(*events: dict[str, str]) -> dict[str, object]:
    return about("NumPy", ranges=[{"type": "ECOSYSTEM", "events": list(events)}])


def test_an_advisory_of_a_locked_version_fails_the_audit_and_the_age_is_told(tmp_path: Path) -> None:
    done = audit(tmp_path, between({"introduced": "2.0"}, {"fixed": "2.1.1"}))
    assert done.returncode == 1
    assert "as of 2026-01-02" in done.stdout
    assert "days old: 1 concern what is locked" in done.stdout
    assert "numpy 2.1.0: X-1: it leaks" in done.stdout
    assert audit(tmp_path, between({"introduced": "0"}, {"last_affected": "2.1.0"})).returncode == 1
    assert audit(tmp_path, between({"introduced": "2.1"})).returncode == 1
    assert audit(tmp_path, about("faust_streaming", versions=["0.11.3"])).returncode == 1


def test_bounds_that_cannot_be_read_keep_no_advisory_back(tmp_path: Path) -> None:
    done = audit(tmp_path, between({"introduced": "0"}, {"fixed": "2004d"}))
    assert (done.returncode, "numpy 2.1.0: X-1" in done.stdout) == (1, True), done.stderr
    assert audit(tmp_path, about("numpy", versions=["2004d", "1.0 beta"])).returncode == 0


def test_an_advisory_of_another_version_does_not(tmp_path: Path) -> None:
    for other in (
        between({"introduced": "0"}, {"fixed": "2.1"}),
        between({"introduced": "2.2"}),
        about("faust-streaming", versions=["0.11.2"]),
        between({"introduced": "2.0"}) | {"withdrawn": "2026-01-01T00:00:00Z"},
    ):
        done = audit(tmp_path, other)
        assert (done.returncode, "none concerns what is locked" in done.stdout) == (0, True), done.stdout + done.stderr


def test_without_advisories_nothing_is_said_of_them_and_the_bill_names_packages_by_purl(tmp_path: Path) -> None:
    done = audit(tmp_path)
    assert done.returncode == 0
    assert "nothing is said of them" in done.stdout
    bill = json.loads((tmp_path / "sbom.json").read_text())
    assert [one["purl"] for one in bill["components"]] == ["pkg:pypi/faust-streaming@0.11.3", "pkg:pypi/numpy@2.1.0"]
    assert "http" not in (tmp_path / "sbom.json").read_text()


def test_what_ships_has_licences_that_may(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/audit.py", "--sbom", str(tmp_path / "sbom.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-500:]


def test_what_the_image_is_built_on_stands_in_the_bill_too(tmp_path: Path) -> None:
    (tmp_path / "dpkg.txt").write_text("zlib1g\t1:1.2.13+dfsg-1\tamd64\nlibc6\t2.36-9~deb12u1\tamd64\n")
    (tmp_path / "lock.txt").write_text(LOCK)
    asked = ["--lock", "lock.txt", "--sbom", "sbom.json", "--debian", "dpkg.txt"]
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "audit.py", *asked],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 packages and 2 of Debian" in done.stdout, done.stderr
    purls = [one["purl"] for one in json.loads((tmp_path / "sbom.json").read_text())["components"]]
    assert purls[2:] == [
        "pkg:deb/debian/libc6@2.36-9~deb12u1?arch=amd64",
        "pkg:deb/debian/zlib1g@1:1.2.13%2Bdfsg-1?arch=amd64",
    ]
