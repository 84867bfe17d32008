"""The benchmark of words: what rings, and what is void."""

from __future__ import annotations

from benchmarks.words import told
from engines.lexicon import load


def test_a_text_rings_is_void_or_neither() -> None:
    ringing, void, cost_us = told(
        load("mis_selling"), ["A guaranteed return.", "No guaranteed return.", "Good morning."]
    )
    assert (ringing, void) == (["A guaranteed return."], 1)
    assert cost_us >= 0
