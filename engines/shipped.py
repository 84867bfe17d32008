"""The bundle that ships, by the digest of its manifest; `make bundle` writes it here, `make ship` it alone."""

from __future__ import annotations

MANIFEST_SHA256 = "b2233e548eb7c36ce11e41c5c17fcbae78cc1175289e0359490aa196f0d3c3d6"
