"""A module becomes a graph that says the same, for any number of rows, and tells nothing of where it was made."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import torch

from engines.inference import ORT_CPU, open_session
from engines.training.export import onnx_of


class Pair(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        said = self.inner(x)
        return said, said.sum(1)


def test_graph_is_the_module() -> None:
    torch.manual_seed(0)
    module = Pair()
    graph = onnx_of(module, {"x": torch.rand(2, 3)}, ["said", "whole"])
    assert graph == onnx_of(module, {"x": torch.rand(2, 3)}, ["said", "whole"])
    assert __file__.rpartition("/")[0].encode() not in graph
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    said, whole = open_session(graph, [], [ORT_CPU]).run({"x": x})
    with torch.inference_mode():
        expected = module(torch.from_numpy(x))
    np.testing.assert_allclose(said, expected[0].numpy(), atol=1e-6)
    np.testing.assert_allclose(whole, expected[1].numpy(), atol=1e-6)
