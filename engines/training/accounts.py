"""What a graph convolution adds to the rules on payments: each account of a day scored by itself, and with its
neighbours.

A day is a graph: an edge for each pair that paid, one either way, weighted by the logarithm of the sum in units. Three
are compared on the same features of a node: a logistic regression, which sees the node alone;
`models.graph.GraphEncoder` (a GCN of two layers) trained to tell accounts of injected events; and the same encoder
trained without labels, by telling hidden nodes from what surrounds them, whose error is the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from engines.accounts import DAY_NS, Account, Flow
from engines.training.models.graph import HIDDEN, RATE, Edges, GraphEncoder

DIM = 32
STEPS = 600
FEATURES = (
    *(
        "payments",
        "units",
        "counterparties",
        "new counterparties",
        "largest",
        "over the largest before",
        "just below 10,000",
    ),
    *("quiet days before", "days known", "share passed on"),
)
Floats = npt.NDArray[np.float64]


class DayGraph(NamedTuple):
    """A day's accounts: ``x`` (node, feature) float32, ``edges``, and by node its name, its guilt and the rules' score.

    ``guilt`` (node,) is the typology of the event that the account is of, "" where of none; ``rules`` (node,) in [0, 1]
    the highest score that a typology gave it on that day.
    """

    x: Tensor
    edges: Edges
    names: tuple[str, ...]
    guilt: npt.NDArray[np.str_]
    rules: Floats

    @property
    def guilty(self) -> npt.NDArray[np.bool_]:
        """Which accounts are of an event, bool (node,)."""
        guilty: npt.NDArray[np.bool_] = self.guilt != ""
        return guilty


def day_graph(
    states: Mapping[str, Account], since_ns: int, guilt: Mapping[str, str], rules: Mapping[str, float]
) -> DayGraph:
    """Return the graph of the accounts that moved since a day's begin, as their states stand at its end."""
    names = [name for name, kept in states.items() if kept.newest_ns >= since_ns and any(_moved(kept, since_ns))]
    number = {name: place for place, name in enumerate(names)}
    sums: dict[tuple[int, int], float] = {}
    for name in names:
        for edge in states[name].sent.since(since_ns):
            if edge.other in number:
                pair = number[name], number[edge.other]
                sums[pair] = sums.get(pair, 0.0) + edge.units
    pairs = np.array(list(sums), np.int64).reshape(-1, 2)
    weight = np.log1p(np.array(list(sums.values()), np.float64))
    src, dst = np.concatenate([pairs, pairs[:, ::-1]]).T
    relation = np.repeat([0, 1], len(pairs))
    return DayGraph(
        torch.tensor(np.array([_features(states[name], since_ns) for name in names]), dtype=torch.float32),
        Edges(
            torch.tensor(src.copy()),
            torch.tensor(dst.copy()),
            torch.tensor(relation),
            torch.tensor(np.tile(weight, 2), dtype=torch.float32),
        ),
        tuple(names),
        np.array([guilt.get(name, "") for name in names]),
        np.array([rules.get(name, 0.0) for name in names]),
    )


def _moved(account: Account, since_ns: int) -> tuple[list[object], list[object]]:
    return list(account.sent.since(since_ns)), list(account.received.since(since_ns))


def _features(account: Account, since_ns: int) -> list[float]:
    found = [*_one_way(account, account.sent, since_ns), *_one_way(account, account.received, since_ns)]
    came, went = found[1 + 7], found[1]
    quiet = account.quiet_ns / DAY_NS if account.woke_ns >= since_ns else 0.0
    passed = min(came, went) / max(came, went) if came and went else 0.0
    return [*np.log1p([*found, quiet, (account.newest_ns - account.first_ns) / DAY_NS]).tolist(), passed]


def _one_way(account: Account, flow: Flow, since_ns: int) -> list[float]:
    edges = flow.since(since_ns)
    largest = max((edge.units for edge in edges), default=0.0)
    before = account.usual(flow, DAY_NS).large
    return [
        float(len(edges)),
        sum(edge.units for edge in edges),
        float(len({edge.other for edge in edges})),
        float(sum(edge.fresh for edge in edges)),
        largest,
        largest / max(before, 1.0),
        float(sum(8_000 <= edge.amount < 10_000 for edge in edges)),
    ]


class _Judge(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.encoder = GraphEncoder(features, DIM)
        self.head = nn.Linear(DIM, 1)

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        nodes, _ = self.encoder(x[None], edges)  # (1, node, dim)
        said: Tensor = self.head(nodes)[0, :, 0]  # (node,)
        return said


def _scale(train: Sequence[DayGraph]) -> tuple[Tensor, Tensor]:
    x = torch.cat([day.x for day in train])  # (node of all days, feature)
    return x.mean(0), x.std(0).clamp_min(1e-3)


def by_itself(train: Sequence[DayGraph], test: Sequence[DayGraph], *, rules: bool, unheard: str = "") -> list[Floats]:
    """Return a logistic regression's scores, (node,) of each test day; with the rules' score among the features.

    It learns nothing of the typology ``unheard``.
    """

    def of(days: Sequence[DayGraph]) -> Floats:
        x = torch.cat([(day.x - mean) / spread for day in days]).double().numpy()
        return np.column_stack([x, np.concatenate([day.rules for day in days])]) if rules else x

    mean, spread = _scale(train)
    guilt = np.concatenate([day.guilt for day in train])
    counts = guilt != (unheard or None)
    model = LogisticRegression(C=1.0, max_iter=2_000, class_weight="balanced")
    fitted = model.fit(of(train)[counts], guilt[counts] != "")
    return [fitted.decision_function(of([day])) for day in test]


def with_neighbours(
    train: Sequence[DayGraph], test: Sequence[DayGraph], seed: int, *, rules: bool, unheard: str = ""
) -> list[Floats]:
    """Return a trained GCN's scores, (node,) of each test day; else as `by_itself`."""

    def of(day: DayGraph) -> Tensor:
        x = (day.x - mean) / spread
        return torch.cat([x, torch.tensor(day.rules, dtype=torch.float32)[:, None]], 1) if rules else x

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    mean, spread = _scale(train)
    model = _Judge(train[0].x.shape[1] + rules)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=1e-2)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    share = float(np.concatenate([day.guilty for day in train]).mean())
    for _ in range(STEPS):
        day = train[int(rng.integers(len(train)))]
        target = torch.tensor(day.guilty, dtype=torch.float32)  # (node,)
        counts = torch.tensor(day.guilt != (unheard or None), dtype=torch.float32)  # (node,)
        loss = F.binary_cross_entropy_with_logits(
            model(of(day), day.edges), target, weight=counts, pos_weight=torch.tensor((1 - share) / share)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
    model.eval()
    with torch.inference_mode():
        return [model(of(day), day.edges).double().numpy() for day in test]


def by_surprise(train: Sequence[DayGraph], test: Sequence[DayGraph], seed: int) -> list[Floats]:
    """Return how badly a GCN tells each node of a test day from its neighbours, (node,); it saw no label."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    mean, spread = _scale(train)
    model = GraphEncoder(train[0].x.shape[1], DIM)
    optimizer = torch.optim.AdamW(model.parameters(), RATE)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    for _ in range(STEPS):
        day = train[int(rng.integers(len(train)))]
        x = ((day.x - mean) / spread)[None]  # (1, node, feature)
        hide = torch.rand(x.shape[:2]) < HIDDEN  # (1, node)
        loss = F.mse_loss(model.reconstruct(x, hide, day.edges)[hide], x[hide])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
    model.eval()
    return [_surprise(model, (day.x - mean) / spread, day.edges) for day in test]


def _surprise(model: GraphEncoder, x: Tensor, edges: Edges) -> Floats:
    """Return the error of each node (node,), a tenth of them hidden at a time."""
    found = torch.zeros(len(x))  # (node,)
    with torch.inference_mode():
        for turn in range(10):
            hide = (torch.arange(len(x)) % 10 == turn)[None]  # (1, node)
            error = (model.reconstruct(x[None], hide, edges) - x[None]).square().mean(2)  # (1, node)
            found[hide[0]] = error[hide]
    surprise: Floats = found.double().numpy()
    return surprise
