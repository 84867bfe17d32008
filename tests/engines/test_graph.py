"""The graph of instruments by hand."""

from __future__ import annotations

import numpy as np
import pytest

from engines.graph import RELATIONS, build
from engines.instruments import Listing


def listing(name: str, group: str = "", sector: str = "") -> Listing:
    return Listing(instrument=name, symbol=name, venue="XTOC", group=group, sector=sector)


def test_edges_go_both_ways_and_weigh_what_texts_share() -> None:
    listings = {name: listing(name, *shared) for name, shared in {"A": ("g", "s"), "B": ("g",), "C": ("", "s")}.items()}
    graph = build(listings, [("A", "C"), ("A",), ("A", "C", "C"), ("A", "nobody")])
    told = {
        (graph.nodes[a], graph.nodes[b], RELATIONS[r]): w
        for a, b, r, w in zip(graph.src, graph.dst, graph.relation, graph.weight, strict=True)
    }
    assert told == {
        ("A", "B", "issuer"): 1.0,
        ("B", "A", "issuer"): 1.0,
        ("A", "C", "sector"): 1.0,
        ("C", "A", "sector"): 1.0,
        ("A", "C", "mention"): pytest.approx(2 / np.sqrt(4 * 2)),
        ("C", "A", "mention"): pytest.approx(2 / np.sqrt(4 * 2)),
    }


def test_instruments_that_share_nothing_have_no_edges() -> None:
    graph = build({"A": listing("A"), "B": listing("B")}, [])
    assert graph.nodes == ("A", "B")
    assert graph.src.size == graph.dst.size == graph.relation.size == graph.weight.size == 0
