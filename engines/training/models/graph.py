"""Graph: what an instrument's neighbours say of it, by convolution over the graph of instruments.

Kipf & Welling, *Semi-supervised classification with graph convolutional networks*, ICLR 2017, with a weight for each
relation (Schlichtkrull et al. 2018); it learns without labels, by telling hidden nodes' features from what surrounds
them (Hou et al., *GraphMAE*, KDD 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.graph import RELATIONS, Graph

LAYERS = 2
RATE = 5e-3
#: Share of nodes that are hidden in a step of pretraining.
HIDDEN = 0.3


class Edges(NamedTuple):
    """A graph's edges as tensors, each (edge,): nodes from and to, relation, weight."""

    src: Tensor
    dst: Tensor
    relation: Tensor
    weight: Tensor


def edges_of(graph: Graph) -> Edges:
    """Return the edges of ``graph`` as tensors."""
    return Edges(*(torch.from_numpy(column) for column in (graph.src, graph.dst, graph.relation, graph.weight)))


class GraphEncoder(nn.Module):
    """Features of nodes to embeddings of nodes and of edges."""

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.enter = nn.Linear(features, dim)
        self.own = nn.ModuleList(nn.Linear(dim, dim) for _ in range(LAYERS))
        self.around = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(LAYERS))
        self.beta = nn.Parameter(torch.zeros(LAYERS, len(RELATIONS)))  # how much a relation counts, in logs
        self.gamma = nn.Parameter(torch.ones(len(RELATIONS), dim))
        self.hidden = nn.Parameter(torch.zeros(features))  # stands for the features of a node that is hidden
        self.leave = nn.Linear(dim, features)

    def forward(self, x: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        """Return embeddings of nodes (batch, node, dim) and edges (batch, edge, dim) of ``x`` (batch, node, feature).

        A node is h_v = relu(W h_v + U α Σ β h_u) over the edges that lead to it, β = weight · exp(b_relation) and α one
        over the sum of β; an edge is h_e = γ_relation h_src ∘ h_dst.
        """
        h = torch.relu(self.enter(x))  # (batch, node, dim)
        for layer in range(LAYERS):
            beta = edges.weight * self.beta[layer].exp()[edges.relation]  # (edge,)
            total = torch.zeros(x.shape[1]).index_add(0, edges.dst, beta)  # (node,)
            alpha = 1 / total.clamp_min(1e-6)  # (node,)
            pulled = torch.zeros_like(h).index_add(1, edges.dst, beta[:, None] * h[:, edges.src])  # (batch, node, dim)
            around = alpha[:, None] * pulled  # (batch, node, dim)
            h = torch.relu(self.own[layer](h) + self.around[layer](around))  # (batch, node, dim)
        return h, self.gamma[edges.relation] * h[:, edges.src] * h[:, edges.dst]

    def reconstruct(self, x: Tensor, hide: Tensor, edges: Edges) -> Tensor:
        """Return what the nodes ``hide`` bool (batch, node) are taken to hold, (batch, node, feature)."""
        h, _ = self(torch.where(hide[..., None], self.hidden, x), edges)  # (batch, node, dim)
        said: Tensor = self.leave(h)  # (batch, node, feature)
        return said


def pretrain(x: Tensor, edges: Edges, dim: int, steps: int, seed: int, step: Callable[[], None]) -> GraphEncoder:
    """Return an encoder that learnt to tell hidden nodes of ``x`` (moment, node, feature) from their neighbours.

    Features are to be standardised; the loss is the mean squared error of the hidden nodes. Each step calls ``step``.
    """
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    model = GraphEncoder(x.shape[2], dim)
    optimizer = torch.optim.AdamW(model.parameters(), RATE)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        moments = torch.randint(len(x), (min(32, len(x)),), generator=rng)  # (batch,)
        batch = x[moments]  # (batch, node, feature)
        hide = torch.rand(batch.shape[:2], generator=rng) < HIDDEN  # (batch, node)
        loss = F.mse_loss(model.reconstruct(batch, hide, edges)[hide], batch[hide])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
        step()
    model.eval()
    return model
