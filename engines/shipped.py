"""The bundle that ships, by the digest of its manifest; `make bundle` writes it here, `make ship` it alone."""

from __future__ import annotations

MANIFEST_SHA256 = "07d4bba7748b80adcb6d33940c127654f379c80dfba9f390d798dce67de89c84"
