"""A torch module as the ONNX graph that serves: nothing but the computation, the same file for the same weights."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn

from engines.training.encoder import OPSET


def onnx_of(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> bytes:
    """Return the ONNX of ``module``, whose inputs and outputs may have any number of rows.

    Parameters
    ----------
    inputs
        The names of what `forward` takes, in its order, each with an example of two rows or more (row, …).
    outputs
        The names of what it returns, each (row, …).
    """
    module.eval()
    rows = torch.export.Dim("batch", min=1)  # as `engines.plans.PROFILE` calls it
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision is not missed
    with warnings.catch_warnings(), io.BytesIO() as file:
        warnings.simplefilter("ignore")  # of its own deprecations, and of what it cannot name
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            file,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_shapes=tuple({0: rows} for _ in inputs),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        model = onnx.load_from_string(file.getvalue())
    # The exporter leaves paths and stack traces of the machine that it ran on.
    model.ClearField("metadata_props")
    model.ClearField("producer_version")
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in model.graph.initializer:
        tensor.ClearField("metadata_props")
        tensor.ClearField("doc_string")
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
