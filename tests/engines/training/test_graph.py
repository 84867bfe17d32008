"""The graph encoder: its formula by hand, and that it learns what neighbours tell."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import torch

from engines.graph import build
from engines.instruments import Listing
from engines.training.models.graph import Edges, GraphEncoder, edges_of, pretrain

PAIRS = Edges(
    torch.tensor([0, 1, 2, 0]), torch.tensor([1, 0, 0, 2]), torch.tensor([1, 1, 2, 2]), torch.tensor([1, 1, 0.5, 0.5])
)


def test_a_node_is_itself_and_the_weighted_mean_of_its_neighbours_and_an_edge_is_their_product() -> None:
    model = GraphEncoder(2, 2)
    identity = torch.eye(2)
    with torch.no_grad():
        model.enter.weight.copy_(identity)
        model.enter.bias.zero_()
        for layer in range(2):
            model.own[layer].weight.copy_(identity * (layer == 1))
            model.own[layer].bias.zero_()
            model.around[layer].weight.copy_(identity * (layer == 0))
        model.gamma[2] = 3.0
        x = torch.tensor([[[1.0, 0.0], [6.0, 3.0], [3.0, 9.0]]])
        nodes, edges = model(x, PAIRS)
    # Node 0 hears node 1 with weight 1 and node 2 with weight 0.5: (1 · (6, 3) + 0.5 · (3, 9)) / 1.5 = (5, 5).
    assert nodes[0].tolist() == [[5.0, 5.0], [1.0, 0.0], [1.0, 0.0]]
    assert edges[0].tolist() == [[5.0, 0.0], [5.0, 0.0], [15.0, 0.0], [15.0, 0.0]]


def test_a_node_without_neighbours_is_what_it_is() -> None:
    model = GraphEncoder(2, 4)
    x = torch.randn(1, 3, 2)
    empty = edges_of(build({n: Listing(instrument=n, symbol=n, venue="XTOC") for n in "ABC"}, []))
    nodes, edges = model(x, empty)
    assert torch.isfinite(nodes).all()
    assert edges.shape == (1, 0, 4)


def test_hidden_nodes_are_told_from_their_sector() -> None:
    rng = np.random.default_rng(0)
    sectors = np.arange(20) % 4
    common = rng.normal(size=(200, 4, 1))
    x = torch.tensor(common[:, sectors] + 0.3 * rng.normal(size=(200, 20, 1)), dtype=torch.float32)
    listings = {
        str(i): Listing(instrument=str(i), symbol=str(i), venue="XTOC", sector=str(sector))
        for i, sector in enumerate(sectors)
    }
    edges = edges_of(build(listings, []))
    model = pretrain(x[:150], edges, 16, 300, 0, lambda: None)
    hide = torch.zeros(50, 20, dtype=torch.bool)
    hide[:, ::5] = True
    with torch.no_grad():
        error = float((model.reconstruct(x[150:], hide, edges)[hide] - x[150:][hide]).square().mean())
    assert error < 0.3 * float(x[150:].var())  # the sector's other four tell all but their own noise
