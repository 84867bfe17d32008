"""The bundle that ships, by the digest of its manifest; `make bundle` writes it here, `make ship` it alone."""

from __future__ import annotations

MANIFEST_SHA256 = "5d85b1748fc3e713840511032478e7481fab79f525b914cac3012c868c05e512"
