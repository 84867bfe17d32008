"""The graph of instruments: who shares an issuer, a sector, or a text.

Edges are directed and come in pairs; a relation's weights into one node are comparable with each other only.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engines.instruments import Listing

Ints = npt.NDArray[np.int64]

RELATIONS = ("issuer", "sector", "mention")


class Graph(NamedTuple):
    """Nodes by name, and edges: ``src``, ``dst`` int64 (edge,) number nodes, ``relation`` int64 (edge,) `RELATIONS`.

    ``weight`` float32 (edge,) is how close the two are, in (0, 1].
    """

    nodes: tuple[str, ...]
    src: Ints
    dst: Ints
    relation: Ints
    weight: npt.NDArray[np.float32]


def build(listings: Mapping[str, Listing], mentions: Iterable[Sequence[str]]) -> Graph:
    """Return the graph of these instruments.

    Parameters
    ----------
    listings
        By instrument: those of one ``group`` share an issuer, of one ``sector`` a sector, each with weight 1.
    mentions
        For each text the instruments that it names; names that are in no listing are left out. Two that are named
        together weigh by the cosine of their texts: n(a, b) / sqrt(n(a) n(b)).

    Example
    -------
    >>> pair = {n: Listing(instrument=n, symbol=n, venue="XTOC", sector="energy") for n in "AB"}
    >>> build(pair, [("A", "B")]).weight.tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    nodes = tuple(listings)
    number = {name: i for i, name in enumerate(nodes)}
    pairs: dict[tuple[int, int, int], float] = {}
    for relation, shared in enumerate(("group", "sector")):
        alike: dict[str, list[int]] = {}
        for name, listing in listings.items():
            if value := getattr(listing, shared):
                alike.setdefault(value, []).append(number[name])
        for members in alike.values():
            pairs.update(((a, b, relation), 1.0) for a, b in itertools.combinations(members, 2))
    alone, together = Counter[int](), Counter[tuple[int, int]]()
    for text in mentions:
        named = sorted({number[name] for name in text if name in number})
        alone.update(named)
        together.update(itertools.combinations(named, 2))
    for (a, b), count in together.items():
        pairs[a, b, RELATIONS.index("mention")] = count / math.sqrt(alone[a] * alone[b])
    edges = sorted([(a, b, r, w) for (a, b, r), w in pairs.items()] + [(b, a, r, w) for (a, b, r), w in pairs.items()])
    src, dst, kind = (np.array([edge[i] for edge in edges], np.int64) for i in range(3))
    return Graph(nodes, src, dst, kind, np.array([edge[3] for edge in edges], np.float32))
