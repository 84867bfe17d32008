"""The text encoder twice: as a torch module that learns, and as the ONNX graph that serves.

The graph is written node by node, so that it holds nothing but the computation (an exporter leaves stack traces with
paths), is the same file for the same weights, and reads like the module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

HEADS = 12
DIM = 384
HEAD = DIM // HEADS
WIDE = 4 * DIM
LABELS = 3
OPSET = 20
EPSILON = 1e-12
#: Added to the attention of padding: exp() of it is exactly 0 in fp32.
MASKED = -10_000.0

#: Beyond so many tokens, distances between tokens are all the same to MPNet.
FARTHEST = 128

Weights = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of an encoder, MiniLM's to begin with.

    ``distances`` are the kinds of distance between two tokens that attention tells apart, as MPNet has it; 0: none.
    """

    dim: int = DIM
    heads: int = HEADS
    wide: int = WIDE
    epsilon: float = EPSILON
    distances: int = 0

    @property
    def head(self) -> int:
        """Columns of one head."""
        return self.dim // self.heads


MINILM = Shape()


class Layer(nn.Module):
    """One transformer layer, normalised after each half, as BERT has it."""

    def __init__(self, shape: Shape = MINILM) -> None:
        super().__init__()
        self.columns = shape.head
        self.qkv = nn.Linear(shape.dim, 3 * shape.dim)
        self.out = nn.Linear(shape.dim, shape.dim)
        self.norm1 = nn.LayerNorm(shape.dim, shape.epsilon)
        self.up = nn.Linear(shape.dim, shape.wide)
        self.down = nn.Linear(shape.wide, shape.dim)
        self.norm2 = nn.LayerNorm(shape.dim, shape.epsilon)

    def forward(self, x: Tensor, bias: Tensor, dropout: float) -> Tensor:
        """Return the layer's output for ``x`` (batch, time, dim) and what is added to attention, ``bias``.

        That is (batch, 1, 1, time), or (batch, head, time, time) where distances count.
        """
        b, t, _ = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, -1, self.columns).permute(2, 0, 3, 1, 4)  # each (batch, head, time, 32)
        weights = torch.softmax(q @ k.transpose(-1, -2) + bias, -1)  # (batch, head, time, time)
        mixed = (weights @ v).transpose(1, 2).flatten(2)  # (batch, time, head * 32)
        x = self.norm1(x + F.dropout(self.out(mixed), dropout, self.training))
        return self.norm2(x + F.dropout(self.down(F.gelu(self.up(x))), dropout, self.training))


class Encoder(nn.Module):
    """Token ids to a vector of length 1 and three logits."""

    def __init__(
        self, vocabulary: int, positions: int, layers: int, dropout: float = 0.1, shape: Shape = MINILM
    ) -> None:
        super().__init__()
        self.dropout, self.shape = dropout, shape
        self.word = nn.Embedding(vocabulary, shape.dim)
        self.position = nn.Embedding(positions, shape.dim)
        self.distance = nn.Embedding(shape.distances, shape.heads) if shape.distances else None
        self.norm = nn.LayerNorm(shape.dim, shape.epsilon)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(layers))
        self.head = nn.Linear(shape.dim, LABELS)

    def forward(self, ids: Tensor, mask: Tensor, nudge: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return vectors (batch, dim) and logits (batch, 3) of ``ids`` and ``mask``, both int64 (batch, time).

        ``nudge`` (batch, time, dim) is added to the words' vectors.
        """
        x = self.word(ids) + self.position.weight[: ids.shape[1]]  # (batch, time, dim)
        x = x if nudge is None else x + nudge  # (batch, time, dim)
        x = F.dropout(self.norm(x), self.dropout, self.training)
        seen = mask.to(x.dtype)  # (batch, time)
        bias = ((1 - seen) * MASKED)[:, None, None, :]  # (batch, 1, 1, time)
        if self.distance is not None:
            kinds = torch.from_numpy(distances(ids.shape[1], self.shape.distances)).to(ids.device)  # (time, time)
            bias = bias + self.distance(kinds).permute(2, 0, 1)  # (batch, head, time, time)
        for layer in self.layers:
            x = layer(x, bias, self.dropout)
        pooled = (x * seen[:, :, None]).sum(1) / seen.sum(1, keepdim=True)  # (batch, dim)
        return F.normalize(pooled, dim=-1), self.head(F.dropout(pooled, self.dropout, self.training))


def distances(time: int, kinds: int) -> npt.NDArray[np.int64]:
    """Return the kind of distance from each token to each other, int64 (time, time), as MPNet has it.

    A half of the kinds is for those that come later; of each half, half are single distances and the rest grow with the
    logarithm (Raffel et al. 2020, T5, section 2.1).
    """
    ahead = np.arange(time)[None, :] - np.arange(time)[:, None]  # (time, time)
    half, far = kinds // 2, np.abs(ahead)
    single = half // 2
    grown = np.log(np.maximum(far, single).astype(np.float32) / single) / math.log(FARTHEST / single) * (half - single)
    kind = np.where(far < single, far, np.minimum(single + grown.astype(np.int64), half - 1))
    return np.asarray(kind + half * (ahead > 0), np.int64)


def from_bert(weights: Mapping[str, Tensor], keep: Sequence[int], positions: int, shape: Shape = MINILM) -> Encoder:
    """Return an encoder with the weights of a BERT checkpoint's layers ``keep``; the head starts at zero.

    Segment 0 is folded into the positions, and 1 / sqrt(head size) into the queries.
    """
    segment = weights["embeddings.token_type_embeddings.weight"][0]
    position = weights["embeddings.position_embeddings.weight"][:positions] + segment
    names = ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
    return _encoder(weights, position, keep, shape, names)


def from_mpnet(weights: Mapping[str, Tensor], keep: Sequence[int], positions: int, shape: Shape) -> Encoder:
    """Return an encoder with the weights of an MPNet checkpoint's layers ``keep`` (Song et al. 2020)."""
    position = weights["embeddings.position_embeddings.weight"][2 : 2 + positions]  # 0 and 1 are of padding
    return _encoder(weights, position, keep, shape, ("attn.q", "attn.k", "attn.v", "attn.o", "LayerNorm"))


def _encoder(
    weights: Mapping[str, Tensor], position: Tensor, keep: Sequence[int], shape: Shape, names: Sequence[str]
) -> Encoder:
    """Return an encoder of ``weights``, in whose attention query, key, value, output and norm have these ``names``."""
    word = weights["embeddings.word_embeddings.weight"]
    encoder = Encoder(word.shape[0], len(position), len(keep), shape=shape)
    scale = 1 / math.sqrt(shape.head)
    state = {
        "word.weight": word,
        "position.weight": position,
        "norm.weight": weights["embeddings.LayerNorm.weight"],
        "norm.bias": weights["embeddings.LayerNorm.bias"],
        "head.weight": torch.zeros(LABELS, shape.dim),
        "head.bias": torch.zeros(LABELS),
    }
    if shape.distances:
        state["distance.weight"] = weights["encoder.relative_attention_bias.weight"]
    *inner, output, norm = names
    for new, old in enumerate(keep):
        source, target = f"encoder.layer.{old}", f"layers.{new}"
        for kind in ("weight", "bias"):
            attention = [weights[f"{source}.attention.{name}.{kind}"] for name in inner]
            state[f"{target}.qkv.{kind}"] = torch.cat([attention[0] * scale, *attention[1:]])
            state[f"{target}.out.{kind}"] = weights[f"{source}.attention.{output}.{kind}"]
            state[f"{target}.norm1.{kind}"] = weights[f"{source}.attention.{norm}.{kind}"]
            state[f"{target}.up.{kind}"] = weights[f"{source}.intermediate.dense.{kind}"]
            state[f"{target}.down.{kind}"] = weights[f"{source}.output.dense.{kind}"]
            state[f"{target}.norm2.{kind}"] = weights[f"{source}.output.LayerNorm.{kind}"]
    encoder.load_state_dict(state)
    return encoder


def round_to_fp16(encoder: Encoder) -> None:
    """Round every weight to what the file will hold, so that what is measured is what ships."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(parameter.half().float())


def onnx_bytes(encoder: Encoder, write: Callable[[Weights], Graph] | None = None) -> bytes:
    """Return the encoder as an ONNX file: weights in fp16, each cast to fp32 before it is used (exact).

    ``write`` makes a graph of another kind of the weights.
    """
    weights = {name: tensor.detach().numpy() for name, tensor in encoder.state_dict().items()}
    graph = (write or partial(Graph, shape=encoder.shape))(weights)
    model = helper.make_model(
        graph.build(len(encoder.layers)), opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10
    )
    model.producer_name = "tocsin"
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


class Graph:
    """Collects nodes; every method returns the name of its result."""

    def __init__(self, weights: Weights, shape: Shape = MINILM) -> None:
        self.weights, self.shape = weights, shape
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, inputs: Sequence[str], name: str = "", **attributes: object) -> str:
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"make_{name}", **attributes))
        return name

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        self.tensors.setdefault(name, numpy_helper.from_array(np.asarray(value), name))
        return name

    def stored(self, name: str, transpose: bool = False) -> str:
        value = self.weights[name]
        return self.constant(name, np.ascontiguousarray(value.T if transpose else value).astype(np.float16))

    def weight(self, name: str, transpose: bool = False) -> str:
        return self.op("Cast", [self.stored(name, transpose)], to=TensorProto.FLOAT)

    def linear(self, x: str, name: str) -> str:
        product = self.op("MatMul", [x, self.weight(f"{name}.weight", True)])
        return self.op("Add", [product, self.weight(f"{name}.bias")])

    def norm(self, x: str, name: str) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.op("LayerNormalization", [x, scale, bias], axis=-1, epsilon=self.shape.epsilon)

    def rows(self, name: str, at: str) -> str:
        """Rows of a table, cast after they are picked, so that the table stays in fp16 in memory."""
        return self.op("Cast", [self.op("Gather", [self.stored(name), at], axis=0)], to=TensorProto.FLOAT)

    def ints(self, *values: int) -> str:
        return self.constant("int_" + "_".join(str(v).replace("-", "m") for v in values), np.array(values, np.int64))

    def build(self, layers: int) -> onnx.GraphProto:
        time = self.op("Squeeze", [self.op("Shape", ["ids"], start=1, end=2)])
        zero, one = self.constant("zero", np.int64(0)), self.constant("one", np.int64(1))
        positions = self.op("Range", [zero, time, one])  # (time)
        x = self.op("Add", [self.rows("word.weight", "ids"), self.rows("position.weight", positions)])
        x = self.norm(x, "norm")  # (batch, time, dim)
        seen = self.op("Cast", ["mask"], to=TensorProto.FLOAT)  # (batch, time)
        hidden = self.op("Sub", [self.constant("one_f", np.float32(1)), seen])
        bias = self.op("Mul", [hidden, self.constant("masked", np.float32(MASKED))])
        bias = self.op("Unsqueeze", [bias, self.ints(1, 2)])  # (batch, 1, 1, time)
        if self.shape.distances:
            table = distances(len(self.weights["position.weight"]), self.shape.distances)
            ends = [self.op("Unsqueeze", [end, self.ints(0)]) for end in (zero, time)]  # (1) each
            whole = self.constant("distances", table)  # (positions, positions)
            rows = self.op("Slice", [whole, *ends, self.ints(0)])  # (time, positions)
            kinds = self.op("Slice", [rows, *ends, self.ints(1)])  # (time, time)
            far = self.op("Transpose", [self.rows("distance.weight", kinds)], perm=[2, 0, 1])  # (head, time, time)
            bias = self.op("Add", [bias, far])  # (batch, head, time, time)
        for i in range(layers):
            x = self.layer(x, bias, f"layers.{i}")
        weights = self.op("Unsqueeze", [seen, self.ints(2)])  # (batch, time, 1)
        total = self.op("ReduceSum", [self.op("Mul", [x, weights]), self.ints(1)], keepdims=0)  # (batch, dim)
        pooled = self.op("Div", [total, self.op("ReduceSum", [seen, self.ints(1)], keepdims=1)])  # (batch, dim)
        length = self.op("ReduceL2", [pooled, self.ints(1)], keepdims=1)  # (batch, 1)
        self.op("Div", [pooled, self.op("Max", [length, self.constant("tiny", np.float32(1e-12))])], "vector")
        self.op("Identity", [self.linear(pooled, "head")], "logits")
        tokens = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "time"]) for n in ("ids", "mask")]
        outputs = [
            helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", self.shape.dim]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", LABELS]),
        ]
        return helper.make_graph(self.nodes, "text_encoder", tokens, outputs, list(self.tensors.values()))

    def layer(self, x: str, bias: str, name: str) -> str:
        heads = self.weights[f"{name}.out.weight"].shape[1] // self.shape.head
        shape = self.ints(0, 0, 3, heads, self.shape.head)
        split = self.op("Reshape", [self.linear(x, f"{name}.qkv"), shape])  # (batch, time, 3, head, 32)
        split = self.op("Transpose", [split], perm=[2, 0, 3, 1, 4])  # (3, batch, head, time, 32)
        q, k, v = (self.op("Gather", [split, self.constant(f"pick_{i}", np.int64(i))], axis=0) for i in range(3))
        k = self.op("Transpose", [k], perm=[0, 1, 3, 2])  # (batch, head, 32, time)
        scores = self.op("Add", [self.op("MatMul", [q, k]), bias])  # (batch, head, time, time)
        mixed = self.op("MatMul", [self.op("Softmax", [scores], axis=-1), v])  # (batch, head, time, 32)
        mixed = self.op("Transpose", [mixed], perm=[0, 2, 1, 3])  # (batch, time, head, 32)
        mixed = self.op("Reshape", [mixed, self.ints(0, 0, heads * self.shape.head)])  # (batch, time, head * 32)
        x = self.norm(self.op("Add", [x, self.linear(mixed, f"{name}.out")]), f"{name}.norm1")
        wide = self.op("Gelu", [self.linear(x, f"{name}.up")])  # (batch, time, wide)
        return self.norm(self.op("Add", [x, self.linear(wide, f"{name}.down")]), f"{name}.norm2")


def from_onnx(model: bytes) -> Encoder:
    """Return the encoder of MiniLM's shape that `onnx_bytes` wrote: the same weights to the bit."""
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(model).graph.initializer}
    positions, layers = stored["position.weight"].shape[0], sum(name.endswith("qkv.bias") for name in stored)
    encoder = Encoder(stored["word.weight"].shape[0], positions, layers)
    tables = ("word.weight", "position.weight")
    state = {}
    for name in encoder.state_dict():
        value = stored[name].astype(np.float32)
        state[name] = torch.from_numpy(value.T.copy() if value.ndim == 2 and name not in tables else value)
    encoder.load_state_dict(state)
    encoder.eval()
    return encoder
