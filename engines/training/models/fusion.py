"""Fusion: what is kept of each modality becomes one answer a head, early, mid or late.

What is missing and how old the rest is are part of the input; in training modalities are withheld at random, so that
the model knows what to say without them (modality dropout: Neverova et al., *ModDrop*, TPAMI 2016).

| kind | what is joined | by |
|---|---|---|
| early | hidden layers of all modalities, summed | one more layer, where they interact |
| mid | a value a modality | attention whose gates compete with each other and with an empty slot of weight 1 |
| late | log odds a modality | their sum: each speaks for itself |
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional as F

from engines.training.export import onnx_of
from engines.training.loop import Epoch, Lesson, Schedule, fit

Kind = Literal["early", "mid", "late"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PROJECTED = 8  # numbers that an embedding is brought down to
WIDTH = 16  # of a modality's hidden layer
DROP = 0.25  # probability with which a modality is withheld from a row in training
SCHEDULE = Schedule(epochs=30, patience=6, batch=256, rate=2e-3, head_rate=2e-3, decay=0.05, warm_up=0.02)


class Slot(NamedTuple):
    """A modality's columns: an embedding of ``vector`` numbers, ``plain`` others; ``aged``: its age may tell."""

    name: str
    vector: int
    plain: int
    aged: bool


class Head(NamedTuple):
    """A question: "binary" (cross-entropy of log odds) or "regression" (squared error); ``weight`` of its loss."""

    name: str
    task: Literal["binary", "regression"]
    weight: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows to learn from: ``x`` float32 (n, D), ``age`` and ``present`` float32 (n, M), ``truth`` float32 (n, K).

    Columns of ``x`` are the slots', one after the other, 0 where a modality is missing; a truth that is not known is
    NaN.
    """

    x: Tensor
    age: Tensor
    present: Tensor
    truth: Tensor

    def digest(self) -> str:
        """Return what stands for all of it."""
        digest = hashlib.sha256()
        for tensor in (self.x, self.age, self.present, self.truth):
            digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
        return digest.hexdigest()


class Fusion(nn.Module):
    """The network. Columns are cut to a range and standardised in it, so that it takes them as they are."""

    low: Tensor
    high: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, kind: Kind, slots: Sequence[Slot], heads: Sequence[Head]) -> None:
        super().__init__()
        self.kind, self.slots, self.heads = kind, tuple(slots), tuple(heads)
        columns, m, k = sum(s.vector + s.plain for s in slots), len(slots), len(heads)
        for name, value in (("low", -1e6), ("high", 1e6), ("mean", 0.0), ("scale", 1.0)):
            self.register_buffer(name, torch.full((columns,), value))
        self.project = nn.ModuleList(
            nn.Linear(s.vector, PROJECTED, bias=False) if s.vector else nn.Identity() for s in slots
        )
        self.enter = nn.ModuleList(nn.Linear(PROJECTED * bool(s.vector) + s.plain + s.aged, WIDTH) for s in slots)
        self.gate = nn.Parameter(torch.randn(m, WIDTH) * WIDTH**-0.5)
        self.gate_bias = nn.Parameter(torch.zeros(m))
        self.value = nn.Parameter(torch.randn(m, WIDTH, k) * WIDTH**-0.5)
        self.value_bias = nn.Parameter(torch.zeros(m, k))
        self.missing = nn.Parameter(torch.zeros(m, WIDTH if kind == "early" else k))
        self.meet = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, k))
        self.bias = nn.Parameter(torch.tensor([-2.5 if head.task == "binary" else 0.0 for head in heads]))

    def look_at(self, rows: Rows, fit: npt.NDArray[np.int64]) -> None:
        """Take range and scale of the plain columns from the rows ``fit`` where they are present."""
        start = 0
        for m, slot in enumerate(self.slots):
            here = fit[rows.present[fit, m].numpy() > 0]
            plain = slice(start + slot.vector, start := start + slot.vector + slot.plain)
            if not len(here) or not slot.plain:
                continue
            seen = rows.x[here, plain].double()  # (row, plain)
            self.low[plain], self.high[plain] = seen.quantile(0.002, 0).float(), seen.quantile(0.998, 0).float()
            seen = seen.clamp(self.low[plain].double(), self.high[plain].double())
            self.mean[plain], self.scale[plain] = seen.mean(0).float(), seen.std(0).clamp_min(1e-6).float()

    def forward(self, x: Tensor, age: Tensor, present: Tensor) -> Tensor:
        """Return log odds, or estimates, (row, version, head).

        Parameters
        ----------
        x, age
            Columns (row, D) and ages (row, M) as `engines.fusion.age_input` gives them.
        present
            1 or 0, (row, version, M): a row may be asked for with several sets of modalities at once.
        """
        return self.join(self.hidden(x, age), present)

    def hidden(self, x: Tensor, age: Tensor) -> Tensor:
        """Return each modality's hidden layer before its nonlinearity, (row, M, H)."""
        shown = (x.clamp(self.low, self.high) - self.mean) / self.scale  # (row, D)
        found, start = [], 0
        for m, slot in enumerate(self.slots):
            vector = shown[:, start : start + slot.vector]  # (row, vector)
            plain = shown[:, start + slot.vector : start + slot.vector + slot.plain]  # (row, plain)
            told = [self.project[m](vector)] if slot.vector else []
            told += [plain] + ([age[:, m : m + 1]] if slot.aged else [])
            found.append(self.enter[m](torch.cat(told, 1)))  # (row, H)
            start += slot.vector + slot.plain
        return torch.stack(found, 1)

    def join(self, hidden: Tensor, present: Tensor) -> Tensor:
        """Return (row, version, head) of hidden layers (row, M, H) and ``present`` (row, version, M)."""
        absent = (1 - present) @ self.missing  # (row, version, H or head)
        if self.kind == "early":
            return self.bias + self.meet(torch.relu(present @ hidden + absent))
        hidden = torch.relu(hidden)
        value = (hidden[:, :, None] @ self.value)[:, :, 0] + self.value_bias  # (row, M, head)
        if self.kind == "late":
            return self.bias + present @ value + absent
        weight = present * ((hidden * self.gate).sum(2) + self.gate_bias).exp()[:, None]  # (row, version, M)
        return self.bias + weight @ value / (1 + weight.sum(2, keepdim=True)) + absent

    def told(self, rows: Rows, withheld: Sequence[str] = ()) -> npt.NDArray[np.float64]:
        """Return log odds, or estimates, (n, head) of all rows, some modalities withheld."""
        keep = torch.tensor([float(slot.name not in withheld) for slot in self.slots])
        with torch.inference_mode():
            found = [
                self(rows.x[i : i + 4096], rows.age[i : i + 4096], (rows.present[i : i + 4096] * keep)[:, None])[:, 0]
                for i in range(0, len(rows.x), 4096)
            ]
        return np.asarray(torch.cat(found).double().numpy())


def learn(
    kind: Kind,
    slots: Sequence[Slot],
    heads: Sequence[Head],
    rows: Rows,
    learnt: npt.NDArray[np.int64],
    stop: npt.NDArray[np.int64],
    *,
    schedule: Schedule = SCHEDULE,
    drop: float = DROP,
    seed: int,
    progress: Progress,
) -> tuple[Fusion, list[Epoch]]:
    """Return the network that learnt from the rows ``learnt``, and its curve; the rows ``stop`` say when to stop.

    The loss is L = Σ w_i L_i over the heads, each over the rows whose truth is known.
    """
    torch.manual_seed(seed)
    model = Fusion(kind, slots, heads)
    model.look_at(rows, learnt)
    withheld = torch.Generator().manual_seed(seed)

    def loss(at: Tensor, drop: float) -> Tensor:
        present = rows.present[at]  # (row, M)
        keep = (torch.rand(present.shape, generator=withheld) >= drop).float() if drop else torch.ones_like(present)
        said = model(rows.x[at], rows.age[at], (present * keep)[:, None])[:, 0]  # (row, head)
        return _loss(said, rows.truth[at], heads)

    def batches(rng: np.random.Generator) -> Iterator[Tensor]:
        order = torch.from_numpy(rng.permutation(learnt))
        yield from order.split(schedule.batch)

    def score() -> float:
        with torch.inference_mode():
            return -float(loss(torch.from_numpy(stop), 0.0))

    curve = fit(
        model,
        model.meet,
        Lesson(
            name=f"{kind} fusion",
            data=rows.digest(),
            steps=-(-len(learnt) // schedule.batch),
            batches=batches,
            loss=lambda at, _: loss(at, drop),
            score=score,
        ),
        schedule,
        seed=seed,
        progress=progress,
    )
    return model, curve


def _loss(said: Tensor, truth: Tensor, heads: Sequence[Head]) -> Tensor:
    parts = []
    for k, head in enumerate(heads):
        known = ~truth[:, k].isnan()  # (row,)
        if known.any():
            measure: Callable[[Tensor, Tensor], Tensor] = (
                F.binary_cross_entropy_with_logits if head.task == "binary" else F.mse_loss
            )
            parts.append(head.weight * measure(said[known, k], truth[known, k]))
    return torch.stack(parts).sum()


class Served(nn.Module):
    """A fusion as it serves: calibrated answers, and what each modality adds to the first head's log odds.

    All that is linear before a modality's hidden layer is one matrix here.
    """

    weight: Tensor
    constant: Tensor
    versions: Tensor
    slope: Tensor
    intercept: Tensor

    def __init__(self, model: Fusion, slope: Sequence[float], intercept: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        m = len(model.slots)
        weight, constant = _matrix(model)
        self.register_buffer("weight", weight.float())
        self.register_buffer("constant", constant.float())
        self.register_buffer("versions", 1 - torch.cat([torch.zeros(1, m), torch.eye(m)]))  # (1 + M, M)
        self.register_buffer("slope", torch.tensor(slope))
        self.register_buffer("intercept", torch.tensor(intercept))

    def forward(self, x: Tensor, age: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return answers (row, head), probabilities where a head is binary, and shares (row, M) in log odds.

        Of ``x`` (row, D), ``age`` (row, M), ``present`` (row, M). A share is the first head's log odds with a modality
        less those without it, 0 where it is missing.
        """
        model = self.model
        shown = torch.cat([x.clamp(model.low, model.high), age], 1)  # (row, D + M)
        hidden = shown @ self.weight + self.constant  # (row, M * H)
        hidden = hidden.unflatten(1, (len(model.slots), WIDTH))  # (row, M, H)
        odds = model.join(hidden, present[:, None] * self.versions)  # (row, 1 + M, head)
        odds = odds * self.slope + self.intercept
        said = odds[:, 0]  # (row, head)
        binary = torch.tensor([head.task == "binary" for head in model.heads])
        return torch.where(binary, said.sigmoid(), said), odds[:, :1, 0] - odds[:, 1:, 0]


def _matrix(model: Fusion) -> tuple[Tensor, Tensor]:
    """Return what leads from columns and ages to all hidden layers: (D + M, M * H), and its constant (M * H,)."""
    columns, m = len(model.low), len(model.slots)
    weight, constant = torch.zeros(columns + m, m, WIDTH).double(), torch.zeros(m, WIDTH).double()
    start = 0
    for i, slot in enumerate(model.slots):
        enter = model.enter[i]
        assert isinstance(enter, nn.Linear)
        into = enter.weight.detach().double().T  # (input, H)
        if slot.vector:
            project = model.project[i]
            assert isinstance(project, nn.Linear)
            weight[start : start + slot.vector, i] = project.weight.detach().double().T @ into[:PROJECTED]
            into = into[PROJECTED:]
        start += slot.vector
        weight[start : start + slot.plain, i] = into[: slot.plain]
        start += slot.plain
        if slot.aged:
            weight[columns + i, i] = into[-1]
        constant[i] = enter.bias.detach().double()
    weight[:columns] /= model.scale.double()[:, None, None]
    constant -= (model.mean.double()[:, None, None] * weight[:columns]).sum(0)
    return weight.flatten(1), constant.flatten()


def to_onnx(model: Fusion, slope: Sequence[float], intercept: Sequence[float]) -> bytes:
    """Return the graph that serves: ``x``, ``age``, ``present`` to ``answers``, ``shares``; see `Served`."""
    m, columns = len(model.slots), len(model.low)
    inputs = {"x": torch.zeros(2, columns), "age": torch.zeros(2, m), "present": torch.ones(2, m)}
    return onnx_of(Served(model, slope, intercept).eval(), inputs, ["answers", "shares"])
