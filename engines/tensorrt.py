"""Runs a plan: TensorRT and TensorRT-RTX by the API that both have, CUDA by `engines.cuda`.

Built where there is no GPU; what has been executed, and where, is in docs/backends.md.

What goes in and comes out is learned from the TensorRT engine itself: names, types, and the shapes of its profile. One
context with its buffers serves all threads in turn: the GPU runs one text after the other anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engines import cuda, plans

Array = npt.NDArray[np.generic]
Shape = tuple[int, ...]


class Tensor(NamedTuple):
    """An input of a plan: its type, and the least and greatest shape of its profile."""

    name: str
    dtype: np.dtype[Any]
    least: Shape
    most: Shape


def open_plan(
    flavour: str, model: bytes, cache: Path, precision: str = "fp32", *, may_build: bool = True
) -> tuple[Callable[[Mapping[str, Array]], tuple[Array, ...]], str]:
    """Return what runs ``model`` on the GPU that is here, and the flavour's version.

    The plan is taken out of the folder ``cache``, or built into it (``may_build``); one that the runtime refuses is
    built once more.

    Raises
    ------
    CudaError
        No GPU is here, or it fails.
    PlanError
        The plan cannot be built, or its tensors are not what this runner serves.
    OSError
        The folder cannot be written.
    """
    plans.installed(flavour)
    device = cuda.device()  # before anything is loaded: runtimes crash without a driver
    cuda.enter()
    key = plans.key_of(model, flavour, device.compute_capability, precision)
    trt = plans.api(flavour)
    plan = plans.obtain(model, key, cache, may_build=may_build)
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(plan.content)
    if engine is None and not plan.built:
        plan = plans.obtain(model, key, cache, anew=True, may_build=may_build)
        engine = runtime.deserialize_cuda_engine(plan.content)
    if engine is None:
        raise plans.PlanError(f"{flavour} {key.version} does not load its own plan on {device.name}")
    return _Runner(trt, runtime, engine).run, key.version


def check(tensors: Sequence[Tensor], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the inputs as contiguous arrays.

    Raises
    ------
    ValueError
        A name is missing or unknown, a type differs, or a shape is outside of the profile.

    Example
    -------
    >>> check([Tensor("x", np.dtype(np.float32), (1, 16), (32, 128))], {"x": np.zeros((1, 8), np.float32)})
    Traceback (most recent call last):
    ...
    ValueError: input x: expected a shape from (1, 16) to (32, 128), found (1, 8)
    """
    if inputs.keys() != (names := {tensor.name for tensor in tensors}):
        raise ValueError(f"expected inputs {', '.join(sorted(names))}, found {', '.join(sorted(inputs))}")
    for tensor in tensors:
        array = inputs[tensor.name]
        if array.dtype != tensor.dtype:
            raise ValueError(f"input {tensor.name}: expected {tensor.dtype}, found {array.dtype}")
        fits = array.ndim == len(tensor.least) and all(
            low <= extent <= high for low, extent, high in zip(tensor.least, array.shape, tensor.most, strict=True)
        )
        if not fits:
            raise ValueError(
                f"input {tensor.name}: expected a shape from {tensor.least} to {tensor.most}, found {array.shape}"
            )
    return {name: np.ascontiguousarray(array) for name, array in inputs.items()}


class _Runner:
    def __init__(self, trt: Any, runtime: Any, engine: Any) -> None:
        self._lock = threading.Lock()
        self._runtime, self._engine = runtime, engine  # both must outlive the context
        self._stream = cuda.Stream()
        self._context = _context(trt, engine)
        self._inputs: list[Tensor] = []
        self._outputs: dict[str, np.dtype[Any]] = {}
        for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
            plain = (
                engine.get_tensor_location(name) == trt.TensorLocation.DEVICE
                and engine.get_tensor_format(name) == trt.TensorFormat.LINEAR
                and not engine.is_shape_inference_io(name)
            )
            if not plain:
                raise plans.PlanError(f"tensor {name} is not a plain array in the GPU's memory")
            try:
                dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            except TypeError as error:
                raise plans.PlanError(f"tensor {name} is of a type that numpy has not: {error}") from error
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                least, _, most = (tuple(shape) for shape in engine.get_tensor_profile_shape(name, 0))
                self._inputs.append(Tensor(name, dtype, least, most))
            else:
                self._outputs[name] = dtype
        most_of = {tensor.name: tensor.most for tensor in self._inputs}
        sizes = {tensor.name: _bytes(tensor.most, tensor.dtype) for tensor in self._inputs}
        sizes |= {name: _bytes(shape, self._outputs[name]) for name, shape in self._shapes(most_of).items()}
        self._buffers = {name: cuda.Buffer(size) for name, size in sizes.items()}
        for name, buffer in self._buffers.items():
            if not self._context.set_tensor_address(name, buffer.address):
                raise plans.PlanError(f"tensor {name} takes no address")

    def run(self, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
        arrays = check(self._inputs, inputs)
        with self._lock:
            cuda.enter()
            shapes = self._shapes({name: array.shape for name, array in arrays.items()})
            outputs = {name: np.empty(shape, self._outputs[name]) for name, shape in shapes.items()}
            try:
                for name, array in arrays.items():
                    self._buffers[name].put(array, self._stream)
                if not self._context.execute_async_v3(self._stream.handle):
                    raise cuda.CudaError("the TensorRT engine does not run")
                for name, array in outputs.items():
                    self._buffers[name].get(array, self._stream)
            finally:
                self._stream.wait()  # also after a failure: copies may still read and write these arrays
        return tuple(outputs.values())

    def _shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Return the shapes of the outputs, in the graph's order, for those of the inputs."""
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise cuda.CudaError(f"input {name} does not take the shape {shape}")
        if missing := self._context.infer_shapes():
            raise cuda.CudaError(f"the shapes of {', '.join(missing)} are not known")
        found = {name: tuple(self._context.get_tensor_shape(name)) for name in self._outputs}
        if open_ := [name for name, shape in found.items() if any(extent < 0 for extent in shape)]:
            raise plans.PlanError(f"the shapes of {', '.join(open_)} depend on data")
        return found


def _context(trt: Any, engine: Any) -> Any:
    if not hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
        context = engine.create_execution_context()
    else:
        # RTX would compile a shape's own kernels beside, and change over to them when it has them: other bits for the
        # same text. Eager, it compiles them when a shape first comes, which for the served ones is in the parity gate.
        config = engine.create_runtime_config()
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        context = engine.create_execution_context(config)
    if context is None:
        raise cuda.CudaError("the TensorRT engine gives no context (is the GPU's memory full?)")
    return context


def _bytes(shape: Shape, dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape)) * dtype.itemsize
