"""The bundle that ships, by the digest of its manifest; `make bundle` writes it here, `make ship` it alone."""

from __future__ import annotations

MANIFEST_SHA256 = "b0ba36079656942f2ef4022776a3e999cb62977ac5c2fdb7160327749efee84b"
