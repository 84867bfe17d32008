"""What a run has learnt so far is kept in files, so that one that was stopped does not learn it again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class CheckpointError(ValueError):
    """A checkpoint is not of this run; the message says what differs."""


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Put ``state`` at ``path``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    torch.save(state, fresh)
    os.replace(fresh, path)


def load(path: Path) -> dict[str, Any]:
    """Return what `save` put there; tensors lie on the CPU, and nothing is run to read them."""
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def once(path: Path | None, source: str, begin: Callable[[], Network], learn: Callable[[], Network]) -> Network:
    """Return the network that is kept at ``path``; where there is none, what ``learn`` returns, which is kept there.

    Without a ``path`` nothing is kept. ``begin`` returns a network of the same shape, to take the weights up;
    ``source`` is a digest of all that it learns from.

    Raises
    ------
    CheckpointError
        What is kept there has learnt from something else.
    """
    if path is None:
        return learn()
    if not path.is_file():
        network = learn()
        save(path, {"source": source, "weights": network.state_dict()})
        return network
    kept = load(path)
    if kept["source"] != source:
        raise CheckpointError(f"{path} has learnt from other data, or otherwise: remove it, or name another folder")
    network = begin()
    network.load_state_dict(kept["weights"])
    network.eval()
    return network


def digest(*parts: npt.NDArray[Any] | torch.Tensor | nn.Module | str | float) -> str:
    """Return a SHA-256 of arrays, tensors, the weights of networks, words and numbers, in this order."""
    found = hashlib.sha256()
    for part in parts:
        for name, value in part.state_dict().items() if isinstance(part, nn.Module) else [("", part)]:
            array = value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
            found.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    return found.hexdigest()
