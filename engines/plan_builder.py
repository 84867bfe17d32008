"""Builds one plan, in a process of its own: ``python -P plan_builder.py REQUEST OUT < model.onnx``.

A process of its own because the order of a plan's tables follows the addresses of the builder's objects: in a fresh
process whose addresses the kernel does not shuffle equal input gives equal bytes, in another it does not. And a builder
that crashes takes nothing with it. Nothing of Tocsin is imported here: the file is run by its path. REQUEST is JSON
(see `Request`); the plan is written to OUT, and a refusal's reason to stderr (exit code 1).

FP16 is made here, out of the network that the ONNX file describes: networks are strongly typed, so every input,
constant and cast that gives fp32 gives fp16 instead, and the outputs are cast back. LayerNormalization still sums in
fp32.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

_ASK, _NO_SHUFFLING = 0xFFFFFFFF, 0x0040000  # of personality(2); ADDR_NO_RANDOMIZE


class Request(TypedDict):
    """``compute_capability`` "" is the GPU's that is here; ``profile`` gives min, opt and max by a dimension's name."""

    module: str
    compute_capability: str
    precision: str
    profile: dict[str, list[int]]


def build(request: Request, model: bytes) -> bytes:
    """Return the plan; exit with the reason if there is none."""
    trt = importlib.import_module(request["module"])

    class Log(trt.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)

    log = Log()
    builder = trt.Builder(log)
    builder.max_threads = 1
    network = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        sys.exit("the parser refuses: " + "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors)))
    kept = _halve(trt, network) if request["precision"] == "fp16" else []
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # 10 bits of mantissa under the name of fp32
    if capability := request["compute_capability"]:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, "SM" + capability.replace(".", "")), 0)
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        profile.set_shape(tensor.name, *zip(*_bounds(tensor, request["profile"]), strict=True))
    if config.add_optimization_profile(profile) < 0:
        sys.exit("the builder refuses the profile: " + "; ".join(log.errors))
    plan = builder.build_serialized_network(network, config)
    kept.clear()
    if plan is None:
        sys.exit("the builder refuses: " + "; ".join(log.errors))
    return bytes(plan)


def _strongly_typed(trt: Any) -> int:
    # TensorRT 10 has networks of both kinds, and this flag; from 11 on there is but the one.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _bounds(tensor: Any, profile: dict[str, list[int]]) -> list[list[int]]:
    """Return min, opt and max of each dimension of an input."""
    bounds = []
    for i, extent in enumerate(tensor.shape):
        name = tensor.get_dimension_name(i)
        if extent < 0 and name not in profile:
            known = ", ".join(profile)
            sys.exit(f"input {tensor.name} has a dimension {name or i} of any size, the profile has {known}: add it")
        bounds.append(profile[name] if extent < 0 else [extent] * 3)
    return bounds


def _halve(trt: Any, network: Any) -> list[Any]:
    """Turn a network's fp32 into fp16; names are given, for what the builder names itself differs from run to run.

    Returns
    -------
    Weights that the network holds no copy of: they must outlive it.
    """

    def cast(tensor: Any, kind: Any, name: str) -> Any:
        layer = network.add_cast(tensor, kind)
        layer.name, layer.get_output(0).name = f"make_{name}", name
        return layer.get_output(0)

    layers = [network.get_layer(i) for i in range(network.num_layers)]
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    kept: list[Any] = []
    instead: dict[str, Any] = {
        tensor.name: cast(tensor, trt.float16, f"{tensor.name}_fp16")
        for tensor in inputs
        if tensor.dtype == trt.float32
    }
    for layer in layers:
        for i in range(layer.num_inputs):
            tensor = layer.get_input(i)
            if tensor is not None and tensor.name in instead:
                layer.set_input(i, instead[tensor.name])
        if layer.type == trt.LayerType.CONVOLUTION and layer.num_inputs == 1:  # its weights are no tensors
            layer.__class__ = trt.IConvolutionLayer
            kept += [np.asarray(layer.kernel, np.float16), np.asarray(layer.bias, np.float16)]
            layer.kernel, layer.bias = kept[-2:]
        if layer.type in (trt.LayerType.CAST, trt.LayerType.CONSTANT):
            made = layer.get_output(0)
            if made.dtype == trt.float32:
                source = layer.get_input(0) if layer.type == trt.LayerType.CAST else made
                half = source.dtype == trt.float16
                instead[made.name] = source if half else cast(source, trt.float16, f"{made.name}_fp16")
    for output in [network.get_output(i) for i in range(network.num_outputs)]:
        if output.dtype == trt.float16:
            name = output.name
            network.unmark_output(output)
            output.name = f"{name}_fp16"
            network.mark_output(cast(output, trt.float32, name))
    return kept


def _fix_addresses() -> None:
    """Start this process again without the shuffling of addresses, where the kernel lets us (Linux does)."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "personality"):
        return
    persona = libc.personality(_ASK)
    if persona >= 0 and not persona & _NO_SHUFFLING and libc.personality(persona | _NO_SHUFFLING) >= 0:
        os.execv(sys.executable, [sys.executable, "-P", *sys.argv])


if __name__ == "__main__":
    _fix_addresses()
    Path(sys.argv[2]).write_bytes(build(json.loads(sys.argv[1]), sys.stdin.buffer.read()))
