"""Elevated risk: the fused score says that the next bar is likely to move far beyond its usual spread.

Definition. The calibrated probability, over the kept embeddings of all modalities and their ages, that the next bar's
return exceeds two trailing standard deviations. It is a measure of risk, not a pattern of misconduct.
"""

from __future__ import annotations

from engines.typologies import TypologySpec

SPEC = TypologySpec(
    name="elevated_risk",
    version="1",
    title="Fused risk is elevated",
    open=0.5,
    critical=0.8,
    close=0.25,
    hold_ns=1_800_000_000_000,
)
