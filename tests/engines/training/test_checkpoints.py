"""A network that was learnt is not learnt again, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import torch
from torch import nn

from engines.training.checkpoints import CheckpointError, digest, once


def never() -> nn.Linear:
    raise AssertionError("it was learnt again")


def begin() -> nn.Linear:
    return nn.Linear(2, 1)


def test_what_is_kept_is_taken_up_with_the_same_weights(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "one.pt"
    learnt = once(path, "source", begin, begin)
    again = once(path, "source", begin, never)
    assert torch.equal(learnt.weight, again.weight)
    assert not again.training
    assert [file.name for file in path.parent.iterdir()] == ["one.pt"]


def test_what_learnt_from_something_else_is_refused(tmp_path: Path) -> None:
    once(tmp_path / "one.pt", "source", begin, begin)
    with pytest.raises(CheckpointError, match=r"one\.pt has learnt from other data, or otherwise: remove it"):
        once(tmp_path / "one.pt", "another", begin, begin)


def test_without_a_path_nothing_is_kept() -> None:
    assert once(None, "source", never, begin).weight.shape == (1, 2)


def test_a_digest_tells_values_shapes_kinds_and_weights_apart() -> None:
    row = np.array([1.0, 2.0, 3.0, 4.0])
    parts = [row, row.reshape(2, 2), row.astype(np.float32), row[::-1], torch.tensor([1, 2]), "1.0", 1.0, begin()]
    assert len({digest(part) for part in parts}) == len(parts)
    assert digest(row, "a") != digest("a", row)
    assert digest(row.copy(), "a") == digest(row, "a")
