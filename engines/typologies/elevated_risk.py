"""Elevated risk: the fused score says that the next bar is likely to move far beyond its usual spread.

Definition. The calibrated probability, over the kept embeddings of all modalities and their ages, that the next bar's
return exceeds two trailing standard deviations. It is a measure of risk, not a pattern of misconduct.

The model learnt from daily bars, where large moves are rare (4 to 10 % of days): of those before its test part the
hundredth with the highest risk begins at 0.17, the thousandth at 0.26. On shorter bars the score orders risk but is no
probability, so an episode opens beyond that, and only informs.
"""

from __future__ import annotations

from engines.typologies import TypologySpec

SPEC = TypologySpec(
    name="elevated_risk",
    version="1",
    title="Fused risk is elevated",
    open=0.3,
    critical=0.6,
    close=0.16,
    hold_ns=1_800_000_000_000,
    opens_as="info",
)
