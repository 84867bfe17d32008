"""Adverse text: a news item, a post or a segment of a call speaks against the instrument.

Definition. The text model's calibrated probability that the text is bearish for the instrument that it names: at the
opening threshold four of five such texts are.

Regulation. MAR (EU) 596/2014 Art. 7(1): information of a precise nature that would be likely to have a
significant effect on prices; what a surveillance desk must know when it judges trading around it.
"""

from __future__ import annotations

from engines.typologies import TypologySpec

SPEC = TypologySpec(
    name="adverse_text",
    version="1",
    title="Text speaks strongly against the instrument",
    regulation=("MAR Art. 7(1)",),
    open=0.8,
    critical=0.95,
    close=0.5,
    hold_ns=1_800_000_000_000,
    # Words alone are no abuse: the desk is told, and warned where prices answer (market_anomaly, elevated_risk).
    opens_as="info",
)
