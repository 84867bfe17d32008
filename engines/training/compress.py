"""Makes a trained encoder smaller or cheaper: fewer layers, heads and columns, a small student, INT8, fp16.

INT8 is static, by Q/DQ nodes that every back end reads: symmetric, one step a tensor of activations and one an output
of weights. Three things keep the score where it was: columns are scaled so that activations and weights share the
difficulty (SmoothQuant; Xiao et al. 2023), what rounding leaves of an activation is rounded and multiplied too, which
makes two products of one, and weights are rounded one column after the other, each making up for the error of those
before it (GPTQ; Frantar et al. 2023).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from onnx import TensorProto
from rich.progress import Progress
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from engines.training import text
from engines.training.encoder import HEAD, Encoder, Graph, Layer, Weights, onnx_bytes
from engines.training.loop import Epoch, Schedule

#: Largest int8; -128 is left out, so that the range is symmetric.
TOP = 127
#: Shares of the difficulty that go to the weights, of which the best is taken for each product.
SHARES = tuple(np.arange(11) / 10)
#: Activations that one product is calibrated on.
ROWS = 8_000
#: Added to the diagonal of what weights are rounded by, as a share of its mean.
DAMPING = 0.01
#: Columns of weights that are rounded before their error is spread over the rest: one product instead of many.
BLOCK = 64


# --- Fewer layers, heads and columns ---------------------------------------------------------------------------------


def keep_layers(encoder: Encoder, keep: Sequence[int]) -> Encoder:
    """Return the encoder with only some of its layers."""
    small = copy.deepcopy(encoder)
    small.layers = nn.ModuleList(small.layers[i] for i in keep)
    return small


def prune(encoder: Encoder, tokenizer: Tokenizer, posts: text.Posts, *, heads: int, wide: int) -> Encoder:
    """Return the encoder with the ``heads`` heads and ``wide`` columns of each layer that the loss would miss most.

    Importance is first-order Taylor on the part "train": |Σ weight x gradient| over what would go (Molchanov et al.
    2019; of heads: Michel et al. 2019).
    """
    small = copy.deepcopy(encoder)
    small.eval()
    texts, labels = posts.of("train")
    targets = torch.tensor(labels)
    of_heads = [torch.zeros(layer.out.in_features // HEAD) for layer in small.layers]
    of_columns = [torch.zeros(layer.down.in_features) for layer in small.layers]
    for ids, mask, group in text.batches([e.ids for e in tokenizer.encode_batch(texts)], 32):
        small.zero_grad()
        F.cross_entropy(small(ids, mask)[1], targets[torch.tensor(group)]).backward()
        for layer, head, column in zip(small.layers, of_heads, of_columns, strict=True):
            head += (layer.out.weight * layer.out.weight.grad).sum(0).view(-1, HEAD).sum(1).abs().detach()
            column += (layer.down.weight * layer.down.weight.grad).sum(0).abs().detach()
    small.zero_grad()
    for layer, head, column in zip(small.layers, of_heads, of_columns, strict=True):
        _narrow(layer, _best(head, heads), _best(column, wide))
    return small


def _best(importance: Tensor, n: int) -> Tensor:
    return importance.topk(n).indices.sort().values


def _narrow(layer: Layer, heads: Tensor, columns: Tensor) -> None:
    inner = (heads[:, None] * HEAD + torch.arange(HEAD)).flatten()  # (head * 32)
    width = layer.out.in_features
    layer.qkv = _part(layer.qkv, rows=torch.cat([inner, inner + width, inner + 2 * width]))
    layer.out = _part(layer.out, columns=inner)
    layer.up = _part(layer.up, rows=columns)
    layer.down = _part(layer.down, columns=columns)


def _part(linear: nn.Linear, rows: Tensor | None = None, columns: Tensor | None = None) -> nn.Linear:
    weight, bias = linear.weight.detach(), linear.bias.detach()
    if rows is not None:
        weight, bias = weight[rows], bias[rows]
    if columns is not None:
        weight = weight[:, columns]
    part = nn.Linear(weight.shape[1], weight.shape[0])
    part.load_state_dict({"weight": weight, "bias": bias})
    return part


# --- A small student -------------------------------------------------------------------------------------------------


def distil(
    teacher: Encoder,
    student: Encoder,
    tokenizer: Tokenizer,
    posts: text.Posts,
    schedule: Schedule,
    seed: int,
    progress: Progress,
) -> list[Epoch]:
    """Teach the student, in equal parts, the labels and the teacher's probabilities (Hinton 2015); return the curve."""
    texts, labels = posts.of("train")
    _, logits = text.predict(teacher, [e.ids for e in tokenizer.encode_batch(texts)])
    soft = (np.eye(logits.shape[1])[labels] + text.softmax(logits)) / 2
    return text.fine_tune(student, tokenizer, posts, schedule, seed, progress, soft=soft)


# --- Fewer bits ------------------------------------------------------------------------------------------------------


def fp16_bytes(encoder: Encoder) -> bytes:
    """Return the encoder as an ONNX file whose products with weights are taken in fp16, all else in fp32."""
    return onnx_bytes(encoder, _Half)


class _Half(Graph):
    def linear(self, x: str, name: str) -> str:
        half = self.op("Cast", [x], to=TensorProto.FLOAT16)
        product = self.op("MatMul", [half, self.stored(f"{name}.weight", True)])
        whole = self.op("Cast", [product], to=TensorProto.FLOAT)
        return self.op("Add", [whole, self.weight(f"{name}.bias")])


class Steps(NamedTuple):
    """How one product is taken in INT8: ``x / smooth`` in steps of ``step``, ``weight`` (in, out) of ``weight_step``.

    ``smooth`` (in), ``weight`` int8, ``weight_step`` (out); ``terms`` 1, or 2 where the rest is multiplied too.
    """

    smooth: npt.NDArray[np.float32]
    step: np.float32
    weight: npt.NDArray[np.int8]
    weight_step: npt.NDArray[np.float32]
    terms: int


def int8_bytes(encoder: Encoder, tokenizer: Tokenizer, texts: Sequence[str], *, plain: bool = False) -> bytes:
    """Return the encoder as an ONNX file whose products with weights are taken in INT8.

    Parameters
    ----------
    texts
        What activations are measured on: texts that the encoder was trained on.
    plain
        Leave the three things out that the head of this module tells of: what static INT8 is without them.
    """
    seen = _activations(encoder, [e.ids for e in tokenizer.encode_batch(list(texts))])
    modules = dict(encoder.named_modules())
    steps = {name: _plain(modules[name], x) if plain else _fit(modules[name], x) for name, x in seen.items()}
    return onnx_bytes(encoder, partial(_Quantized, steps=steps))


def _activations(encoder: Encoder, rows: list[list[int]]) -> dict[str, Tensor]:
    """Return what enters each product of the layers (n, in)."""
    seen: dict[str, list[Tensor]] = {}

    def watch(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.setdefault(name, []).append(inputs[0].flatten(0, 1))

    hooks = [
        module.register_forward_pre_hook(partial(watch, name))
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and module is not encoder.head
    ]
    text.predict(encoder, rows)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


def _plain(linear: nn.Linear, x: Tensor) -> Steps:
    weight = linear.weight.detach()
    weight_step = weight.abs().amax(1) / TOP
    whole = torch.round(weight / weight_step[:, None])
    return _steps(torch.ones(x.shape[1]), x.abs().max() / TOP, whole.T, weight_step, 1)


@torch.no_grad()
def _fit(linear: nn.Linear, x: Tensor) -> Steps:
    weight = linear.weight  # (out, in)
    some = x[:: max(1, len(x) // 1_000)]  # (n, in)
    right = some @ weight.T  # (n, out)
    top, weight_top = x.abs().amax(0).clamp(min=1e-5), weight.abs().amax(0).clamp(min=1e-5)  # (in)

    def at(share: float) -> tuple[Tensor, Tensor, Tensor]:
        smooth = top**share / weight_top ** (1 - share)  # (in)
        return smooth, (top / smooth).max() / TOP, (weight * smooth).abs().amax(1) / TOP

    def error(share: float) -> float:
        smooth, step, weight_step = at(share)
        whole = torch.round(weight * smooth / weight_step[:, None])
        return float(((_rounded(some / smooth, step) @ (whole * weight_step[:, None]).T - right) ** 2).mean())

    smooth, step, weight_step = at(min(SHARES, key=error))
    rounded = _rounded(x[:: max(1, len(x) // ROWS)] / smooth, step)  # (n, in)
    whole = _round_weights(weight * smooth, weight_step, rounded.T @ rounded / len(rounded))
    return _steps(smooth, step, whole, weight_step, 2)


def _rounded(x: Tensor, step: Tensor) -> Tensor:
    """Return ``x`` as two terms hold it: in steps, and what is left in steps 254 times as fine."""
    first = torch.round(x / step) * step
    fine = step / (2 * TOP)
    return first + torch.round((x - first) / fine) * fine


def _round_weights(weight: Tensor, step: Tensor, together: Tensor) -> Tensor:
    """Return whole numbers (in, out) of ``step`` (out) for ``weight`` (out, in); ``together`` (in, in) of inputs."""
    damped = together + DAMPING * together.diagonal().mean() * torch.eye(len(together))
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)  # (in, in)
    left, whole = weight.T.clone(), torch.zeros_like(weight.T)  # (in, out)
    for start in range(0, len(left), BLOCK):
        end = min(start + BLOCK, len(left))
        missed = torch.zeros_like(left[start:end])
        for i in range(start, end):
            whole[i] = torch.round(left[i] / step).clamp(-TOP, TOP)
            missed[i - start] = (left[i] - whole[i] * step) / factor[i, i]
            left[i + 1 : end] -= factor[i, i + 1 : end, None] * missed[i - start]
        left[end:] -= factor[start:end, end:].T @ missed
    return whole


def _steps(smooth: Tensor, step: Tensor, whole: Tensor, weight_step: Tensor, terms: int) -> Steps:
    return Steps(
        smooth.numpy(),
        np.float32(step),
        np.ascontiguousarray(whole.numpy().astype(np.int8)),
        weight_step.numpy(),
        terms,
    )


class _Quantized(Graph):
    def __init__(self, weights: Weights, steps: Mapping[str, Steps]) -> None:
        super().__init__(weights)
        self.steps = steps

    def linear(self, x: str, name: str) -> str:
        steps = self.steps.get(name)
        if steps is None:
            return super().linear(x, name)
        constants = (self.constant(f"{name}.int8", steps.weight), self.constant(f"{name}.step", steps.weight_step))
        weight = self.op("DequantizeLinear", constants, axis=1)  # (in, out)
        if steps.terms == 2:
            x = self.op("Mul", [x, self.constant(f"{name}.smooth", 1 / steps.smooth)])
        first = self.rounded(x, self.constant(f"{name}.step_x", steps.step))
        product = self.op("MatMul", [first, weight])
        if steps.terms == 2:
            fine = self.constant(f"{name}.step_rest", np.float32(steps.step / (2 * TOP)))
            rest = self.rounded(self.op("Sub", [x, first]), fine)
            product = self.op("Add", [product, self.op("MatMul", [rest, weight])])
        return self.op("Add", [product, self.weight(f"{name}.bias")])

    def rounded(self, x: str, step: str) -> str:
        zero = self.constant("zero_int8", np.int8(0))
        return self.op("DequantizeLinear", [self.op("QuantizeLinear", [x, step, zero]), step, zero])
