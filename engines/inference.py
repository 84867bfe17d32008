"""The inference runtime: one session, on the best back end that is here and agrees with the reference.

Order: TensorRT → TensorRT-RTX → ONNX Runtime CUDA → OpenVINO → ONNX Runtime CPU. ONNX Runtime on the CPU in fp32 is
the reference: any other must agree with it on real inputs, and with itself, before it serves.
"""

from __future__ import annotations

import ctypes
import importlib.util
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Inputs = Mapping[str, Array]
Run = Callable[[Inputs], tuple[Array, ...]]

TENSORRT = "tensorrt"
TENSORRT_RTX = "tensorrt-rtx"
ORT_CUDA = "onnxruntime-cuda"
OPENVINO = "openvino"
ORT_CPU = "onnxruntime-cpu"
ORDER = (TENSORRT, TENSORRT_RTX, ORT_CUDA, OPENVINO, ORT_CPU)

#: Largest absolute difference from the reference, on outputs of order 1, at which a back end may serve in fp32.
TOLERANCE = 1e-4

Precision = Literal["fp32", "fp16", "bf16", "int8"]
#: Largest change of the score that a coarser precision may bring. INT8 runs a graph of its own, with Q/DQ nodes.
SCORE_TOLERANCE: Mapping[Precision, float] = {"fp16": 1e-3, "bf16": 1e-3, "int8": 0.02}


class Unavailable(RuntimeError):
    """A back end cannot serve here; the message is the reason that is logged and exported."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A back end that stood earlier in the order and why it does not serve."""

    backend: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """A model that runs: ``run(inputs)`` returns its outputs in the graph's order; threads may share it.

    ``equality`` is "reference", or "tolerance" with ``difference`` the largest seen in the parity gate.
    """

    backend: str
    version: str
    precision: str
    equality: Literal["reference", "tolerance"]
    difference: float
    skipped: tuple[Skip, ...]
    run: Run


def open_session(
    model: bytes,
    probes: Sequence[Inputs],
    prefer: Sequence[str] = ORDER,
    *,
    precision: Precision = "fp32",
    int8: bytes | None = None,
    score: Run | None = None,
) -> Session:
    """Return a session of the first back end in ``prefer`` that is here and passes the parity gate.

    Parameters
    ----------
    model
        An ONNX file's bytes, nothing of it outside.
    probes
        Real inputs, one for each shape that will be served: what the gate compares on.
    prefer
        Names of back ends, best first; `ORT_CPU` always stands last, being the reference.
    precision
        What back ends compute in; one that has it not, or does not pass with it, is skipped. The reference is fp32.
    int8
        The model again with Q/DQ nodes, an ONNX file's bytes: what precision "int8" runs.
    score
        Takes the model's outputs by their numbers ("0", "1", …), returns the scores that precisions other than fp32
        are judged by (see `SCORE_TOLERANCE`); None: the outputs themselves.

    Raises
    ------
    ValueError
        ``prefer`` names an unknown back end, or precision and graph do not belong together: INT8 without Q/DQ nodes, or
        Q/DQ nodes in bf16 or fp16, which would round twice.

    Example
    -------
    >>> from engines.bundle import Bundle
    >>> open_session(Bundle.load("bundles/default").read("encoder.onnx"), [], [ORT_CPU]).equality
    'reference'
    """
    if unknown := [name for name in prefer if name not in ORDER]:
        raise ValueError(f"unknown back end {', '.join(unknown)}; expected some of {', '.join(ORDER)}")
    asked = model if precision != "int8" else int8 or b""
    if (_QUANTIZED in asked) != (precision == "int8"):
        raise ValueError(f"precision {precision} with{'out' if precision == 'int8' else ''} Q/DQ nodes in the graph")
    tolerance = SCORE_TOLERANCE.get(precision, TOLERANCE)
    skipped: list[Skip] = []
    reference, version = _ort_cpu(model)
    for name in prefer:
        if name == ORT_CPU:
            break
        try:
            run, found_version = _open(name, asked, precision)
            judged = score if precision != "fp32" else None
            difference = parity(run, reference, probes, tolerance, judged)
        except Unavailable as reason:
            skipped.append(Skip(name, str(reason)))
            continue
        return Session(name, found_version, precision, "tolerance", difference, tuple(skipped), run)
    return Session(ORT_CPU, version, "fp32", "reference", 0.0, tuple(skipped), reference)


def parity(
    run: Run, reference: Run, probes: Sequence[Inputs], tolerance: float = TOLERANCE, score: Run | None = None
) -> float:
    """Return the largest difference from the reference; raise `Unavailable` beyond tolerance or if bits wander.

    With ``score`` it is the difference of what that makes of the outputs (see `open_session`).
    """
    worst = 0.0
    for inputs in probes:
        expected, found, again = reference(inputs), run(inputs), run(inputs)
        if any(got.tobytes() != repeat.tobytes() for got, repeat in zip(found, again, strict=True)):
            raise Unavailable("gives other bits for the same input when asked again")
        if score is not None:
            expected, found = (score({str(i): x for i, x in enumerate(outputs)}) for outputs in (expected, found))
        for want, got in zip(expected, found, strict=True):
            difference = float(np.max(np.abs(got.astype(np.float64) - want.astype(np.float64))))
            if not difference <= tolerance:  # NaN is not
                raise Unavailable(f"differs from the reference by {difference:.2g}, allowed is {tolerance:.2g}")
            worst = max(worst, difference)
    return worst


def _ort(model: bytes, providers: list[tuple[str, dict[str, str]]]) -> tuple[Run, str]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # the split of a sum over threads would change its bits
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.enable_cpu_mem_arena = False  # it keeps the largest text's buffers for ever, for a few µs
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(model, options, providers=providers)
    if session.get_providers()[0] != providers[0][0]:
        raise Unavailable(f"ONNX Runtime took {session.get_providers()[0]} instead of {providers[0][0]}")

    def run(inputs: Inputs) -> tuple[Array, ...]:
        return tuple(session.run(None, dict(inputs)))

    return run, ort.__version__


def _ort_cpu(model: bytes) -> tuple[Run, str]:
    return _ort(model, [("CPUExecutionProvider", {})])


def _ort_cuda(model: bytes) -> tuple[Run, str]:
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise Unavailable("the ONNX Runtime installed has no CUDA provider (extra: cuda)")
    _cuda_driver()
    return _ort(model, [("CUDAExecutionProvider", {"use_tf32": "0"}), ("CPUExecutionProvider", {})])


def _open(name: str, model: bytes, precision: Precision) -> tuple[Run, str]:
    if name == OPENVINO:
        return _openvino(model, precision)
    if precision != "fp32":
        raise Unavailable(f"runs in fp32 here, asked for was {precision}")
    return _OPEN[name](model)


def _openvino(model: bytes, precision: Precision = "fp32") -> tuple[Run, str]:
    if importlib.util.find_spec("openvino") is None:
        raise Unavailable("not installed (extra: openvino)")
    import openvino as ov

    core = ov.Core()
    hint, capability = _HINTS[precision]
    if capability not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unavailable(f"this CPU has no {precision}")
    compiled = core.compile_model(
        core.read_model(model, b""),
        "CPU",
        {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1},
    )
    own = threading.local()  # a request is one thread's

    def run(inputs: Inputs) -> tuple[Array, ...]:
        request = getattr(own, "request", None)
        if request is None:
            request = own.request = compiled.create_infer_request()
        request.infer(dict(inputs))
        return tuple(request.get_output_tensor(i).data.copy() for i in range(len(compiled.outputs)))

    return run, str(ov.__version__).split("-")[0]


#: What OpenVINO is told, and what the CPU must have. What of an INT8 graph is not INT8 stays in fp32.
_HINTS: Mapping[Precision, tuple[str, str]] = {
    "fp32": ("f32", "FP32"),
    "fp16": ("f16", "FP16"),
    "bf16": ("bf16", "BF16"),
    "int8": ("f32", "INT8"),
}
#: An operator's name: where it stands in an ONNX file, the graph has Q/DQ nodes.
_QUANTIZED = b"QuantizeLinear"


def _tensorrt(module: str) -> Callable[[bytes], tuple[Run, str]]:
    def open_model(model: bytes) -> tuple[Run, str]:
        if importlib.util.find_spec(module) is None:
            raise Unavailable(f"package {module} is not installed")
        _cuda_driver()
        raise Unavailable("installed, but this version of Tocsin has no runner for it")

    return open_model


def _cuda_driver() -> None:
    """Raise `Unavailable` unless a CUDA driver answers and sees a device: some runtimes crash without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise Unavailable("no CUDA driver (libcuda.so.1)") from None
    if code := driver.cuInit(0):
        raise Unavailable(f"the CUDA driver does not start (cuInit gives {code})")
    count = ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        raise Unavailable("the CUDA driver sees no device")


_OPEN: dict[str, Callable[[bytes], tuple[Run, str]]] = {
    TENSORRT: _tensorrt("tensorrt"),
    TENSORRT_RTX: _tensorrt("tensorrt_rtx"),
    ORT_CUDA: _ort_cuda,
    OPENVINO: _openvino,
}
