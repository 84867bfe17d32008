"""The inference runtime: one session, on the best back end that is here and agrees with the reference.

Order: TensorRT → TensorRT-RTX → ONNX Runtime CUDA → OpenVINO → ONNX Runtime CPU. ONNX Runtime on the CPU in fp32 is
the reference: any other must agree with it on real inputs, and with itself, before it serves. One that fails in service
is replaced by the next in the order, for good; the reference stands last.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from engines import cuda, tensorrt
from engines.plans import PlanError

if TYPE_CHECKING:
    import openvino as ov

# ONNX Runtime's wheels report to their maker, unless told otherwise before they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

Array = npt.NDArray[np.generic]
Inputs = Mapping[str, Array]
Run = Callable[[Inputs], tuple[Array, ...]]
#: Opens a model (ONNX), given the folder of compiled plans or None, and whether there is time to build one; returns
#: what runs it, and the back end's version.
Open = Callable[[bytes, "Path | None", bool], tuple[Run, str]]

TENSORRT = "tensorrt"
TENSORRT_RTX = "tensorrt-rtx"
ORT_CUDA = "onnxruntime-cuda"
OPENVINO = "openvino"
ORT_CPU = "onnxruntime-cpu"
ORDER = (TENSORRT, TENSORRT_RTX, ORT_CUDA, OPENVINO, ORT_CPU)

#: Largest absolute difference from the reference, on outputs of order 1, at which a back end may serve in fp32.
TOLERANCE = 1e-4

#: Rows that may run together, where a back end gives each the bits that it has alone: as many as wait, in so many runs.
BATCHES = (8, 4, 2)

Precision = Literal["fp32", "fp16", "bf16", "int8"]
#: Largest change of the score that a coarser precision may bring. INT8 runs a graph of its own, with Q/DQ nodes.
SCORE_TOLERANCE: Mapping[Precision, float] = {"fp16": 1e-3, "bf16": 1e-3, "int8": 0.02}


class Unavailable(RuntimeError):
    """A back end cannot serve here; the message is the reason that is logged and exported."""


class Disagrees(Unavailable):
    """A back end ran, and the parity gate refused it."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A back end that stood earlier in the order and why it does not serve; ``ran`` tells that it could run."""

    backend: str
    reason: str
    ran: bool = False


@dataclass(frozen=True, slots=True)
class Fallback:
    """A back end that failed in service, why, and which one serves from then on."""

    failed: str
    reason: str
    serves: str


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """A back end that serves. ``equality`` is "reference", or "tolerance": ``difference`` is the gate's largest.

    ``batches`` are the numbers of rows that it may run at once, most first, since each keeps its bits.
    """

    backend: str
    version: str
    precision: str
    equality: Literal["reference", "tolerance"]
    difference: float
    run: Run
    batches: tuple[int, ...]


class Session:
    """A model that runs: ``run(inputs)`` returns its outputs in the graph's order; threads may share it.

    What says which back end serves may change between two runs; ``serving`` has it all of one moment.
    """

    #: Who stood earlier in the order and does not serve, those that failed in service at the end.
    skipped: tuple[Skip, ...]
    serving: Serving

    def __init__(
        self,
        model: bytes,
        probes: Sequence[Inputs],
        order: Sequence[str],
        plans: Path | None,
        fell: Callable[[Fallback], None],
        precision: Precision,
        int8: bytes | None,
        score: Run | None,
        batched: bool,
    ) -> None:
        self._batched = batched
        self._model, self._probes, self._plans, self._fell = model, probes, plans, fell
        self._int8, self._score = int8, score
        # A back end that has not the precision asked for, or disagrees in it, serves in fp32 rather than not at all.
        self._left = [(name, coarse) for name in order for coarse in dict.fromkeys((precision, "fp32"))]
        self._change = threading.Lock()
        self.skipped = ()
        self.serving = self._next(may_build=True)

    @property
    def backend(self) -> str:
        """Name of the back end that serves."""
        return self.serving.backend

    @property
    def version(self) -> str:
        """Its version."""
        return self.serving.version

    @property
    def precision(self) -> str:
        """What it computes in."""
        return self.serving.precision

    @property
    def equality(self) -> str:
        """Whether it is the reference or within tolerance of it."""
        return self.serving.equality

    @property
    def difference(self) -> float:
        """Largest difference from the reference in the parity gate."""
        return self.serving.difference

    def run(self, inputs: Inputs) -> tuple[Array, ...]:
        """Return the model's outputs; whichever back end fails at it, the next one gives them.

        What the reference raises is raised.
        """
        while True:
            serving = self.serving
            if (outputs := self._try(serving, inputs)) is not None:
                return outputs

    def run_rows(self, rows: Sequence[Inputs]) -> list[tuple[Array, ...]]:
        """Return `run` of each of ``rows``, inputs of one row and of one shape: at once where that changes no bit."""
        found: list[tuple[Array, ...]] = []
        while left := len(rows) - len(found):
            serving = self.serving
            n = next((n for n in serving.batches if n <= left), 1)
            some = rows[len(found) : len(found) + n]
            if (outputs := self._try(serving, _stacked(some))) is not None:
                found += [tuple(output[i : i + 1] for output in outputs) for i in range(n)]
        return found

    def _try(self, serving: Serving, inputs: Inputs) -> tuple[Array, ...] | None:
        """Return the outputs, or None once another back end serves in place of the one that failed at it."""
        if serving.equality == "reference":
            return serving.run(inputs)
        try:
            outputs = serving.run(inputs)
            if all(np.isfinite(output).all() for output in outputs):
                return outputs
            reason = "gives what is not finite"
        except Exception as error:  # the back ends' own errors have no other base in common
            reason = f"{type(error).__name__}: {error}"
        self._fall(serving, reason)
        return None

    def _fall(self, failed: Serving, reason: str) -> None:
        with self._change:
            if self.serving is not failed:
                return  # another thread has seen to it
            self.skipped += (Skip(failed.backend, f"failed in service: {reason}", ran=True),)
            self.serving = self._next(may_build=False)
            # Told before anything that the next one gave can be: the journal says it first.
            self._fell(Fallback(failed.backend, reason, self.serving.backend))

    def _next(self, may_build: bool) -> Serving:
        """Return the first of those left that is here and passes the parity gate, at last the reference."""
        reference, version = _ort_cpu(self._model)
        while self._left:
            name, precision = self._left.pop(0)
            if name == ORT_CPU:
                break
            try:
                run, found_version, difference = self._open(name, precision, reference, may_build)
                batches = self._batches(run)
            except (Unavailable, PlanError, cuda.CudaError) as reason:
                self.skipped += (Skip(name, str(reason), isinstance(reason, Disagrees)),)
            except Exception as error:  # the same: one that fails as it is opened is one that is not there
                self.skipped += (Skip(name, f"{type(error).__name__}: {error}"),)
            else:
                return Serving(name, found_version, precision, "tolerance", difference, run, batches)
        batches = self._batches(reference)
        self._model, self._int8, self._probes, self._left = b"", None, (), []  # nobody comes after the reference
        return Serving(ORT_CPU, version, "fp32", "reference", 0.0, reference, batches)

    def _batches(self, run: Run) -> tuple[int, ...]:
        single = [probe for probe in self._probes if all(len(x) == 1 for x in probe.values())]
        return BATCHES if self._batched and single and all(_keeps_bits(run, probe) for probe in single) else ()

    def _open(self, name: str, precision: Precision, reference: Run, may_build: bool) -> tuple[Run, str, float]:
        """Return what runs the model on a back end, its version and the difference that the parity gate found."""
        if precision == "fp32":
            run, version = OPENERS[name](self._model, self._plans, may_build)
            return run, version, parity(run, reference, self._probes)
        if name not in COARSER:
            raise Unavailable(f"runs in fp32 here, asked for was {precision}")
        run, version = COARSER[name](self._int8 or self._model, precision)
        tolerance = SCORE_TOLERANCE[precision]
        return run, version, parity(run, reference, self._probes, tolerance, self._score)


def open_session(
    model: bytes,
    probes: Sequence[Inputs],
    prefer: Sequence[str] = ORDER,
    *,
    plans: Path | None = None,
    fell: Callable[[Fallback], None] = lambda _: None,
    precision: Precision = "fp32",
    int8: bytes | None = None,
    score: Run | None = None,
    batched: bool = False,
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
    plans
        The folder that keeps compiled plans (see `engines.plans`); None compiles without keeping.
    fell
        Is told, by the thread that ran, of a back end that failed in service.
    precision
        What back ends compute in; one that has it not, or does not pass with it, computes in fp32.
    int8
        The model again with Q/DQ nodes, an ONNX file's bytes: what precision "int8" runs.
    score
        Takes the model's outputs by their numbers ("0", "1", …), returns the scores that precisions other than fp32
        are judged by (see `SCORE_TOLERANCE`); None: the outputs themselves.
    batched
        Whether rows may run together (`Session.run_rows`) on a back end that keeps their bits: each is asked, on the
        probes of one row.

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
    if precision == "fp32":
        int8 = score = None  # not asked, and often bound to what holds the session: neither could be let go at once
    return Session(model, probes, prefer, plans, fell, precision, int8 if precision == "int8" else None, score, batched)


def parity(
    run: Run, reference: Run, probes: Sequence[Inputs], tolerance: float = TOLERANCE, score: Run | None = None
) -> float:
    """Return the largest difference from the reference; raise `Disagrees` beyond tolerance or if bits wander.

    With ``score`` it is the difference of what that makes of the outputs (see `open_session`).
    """
    worst = 0.0
    for inputs in probes:
        expected, found, again = reference(inputs), run(inputs), run(inputs)
        if any(got.tobytes() != repeat.tobytes() for got, repeat in zip(found, again, strict=True)):
            raise Disagrees("gives other bits for the same input when asked again")
        if score is not None:
            expected, found = (score({str(i): x for i, x in enumerate(outputs)}) for outputs in (expected, found))
        for want, got in zip(expected, found, strict=True):
            if want.shape != got.shape:
                raise Disagrees(f"gives outputs of shape {got.shape}, the reference {want.shape}")
            difference = float(np.max(np.abs(got.astype(np.float64) - want.astype(np.float64))))
            if not difference <= tolerance:  # NaN is not
                raise Disagrees(f"differs from the reference by {difference:.2g}, allowed is {tolerance:.2g}")
            worst = max(worst, difference)
    return worst


def _stacked(rows: Sequence[Inputs]) -> Inputs:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]} if len(rows) > 1 else rows[0]


def _keeps_bits(run: Run, probe: Inputs) -> bool:
    """Return whether rows like the one of ``probe`` have the same bits alone and among others, in each of `BATCHES`."""
    rows = [{name: np.roll(x, i, axis=-1) for name, x in probe.items()} for i in range(BATCHES[0])]
    alone = [run(row) for row in rows]
    for n in BATCHES:
        together = run(_stacked(rows[:n]))
        for i, outputs in enumerate(alone[:n]):
            if any(many[i : i + 1].tobytes() != one.tobytes() for many, one in zip(together, outputs, strict=True)):
                return False
    return True


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
    options.add_session_config_entry("session.load_model_format", "ONNX")  # nothing that only looks like it
    session = ort.InferenceSession(model, options, providers=providers)
    if session.get_providers()[0] != providers[0][0]:
        raise Unavailable(f"ONNX Runtime took {session.get_providers()[0]} instead of {providers[0][0]}")

    def run(inputs: Inputs) -> tuple[Array, ...]:
        return tuple(session.run(None, dict(inputs)))

    return run, ort.__version__


def _ort_cpu(model: bytes) -> tuple[Run, str]:
    return _ort(model, [("CPUExecutionProvider", {})])


def _ort_cuda(model: bytes, plans: Path | None, may_build: bool) -> tuple[Run, str]:
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise Unavailable("the ONNX Runtime installed has no CUDA provider (extra: cuda)")
    cuda.device()
    return _ort(model, [("CUDAExecutionProvider", {"use_tf32": "0"}), ("CPUExecutionProvider", {})])


@cache
def _openvino_core() -> ov.Core:
    """Return OpenVINO's core, one for the process, which keeps it for good.

    Its CPU plugin gives the thread that it is made in a stack for signals, and frees that stack together with itself:
    were the last model let go by another thread, the next signal (SIGTERM, SIGHUP) would be the end of the process.
    """
    import openvino as ov

    return ov.Core()


def _openvino(model: bytes, precision: Precision) -> tuple[Run, str]:
    if importlib.util.find_spec("openvino") is None:
        raise Unavailable("not installed (extra: openvino)")
    import openvino as ov

    core = _openvino_core()
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


def _tensorrt(flavour: str) -> Open:
    def open_model(model: bytes, plans: Path | None, may_build: bool) -> tuple[Run, str]:
        if plans is not None:
            return tensorrt.open_plan(flavour, model, plans, may_build=may_build)
        with tempfile.TemporaryDirectory(prefix="tocsin-plans-") as folder:
            return tensorrt.open_plan(flavour, model, Path(folder), may_build=may_build)

    return open_model


#: Each back end's opener but the reference's; what it raises is why the back end is skipped.
OPENERS: dict[str, Open] = {
    TENSORRT: _tensorrt("tensorrt"),
    TENSORRT_RTX: _tensorrt("tensorrt-rtx"),
    ORT_CUDA: _ort_cuda,
    OPENVINO: lambda model, plans, may_build: _openvino(model, "fp32"),
}
#: Those of the back ends that serve in coarser precisions.
COARSER: dict[str, Callable[[bytes, Precision], tuple[Run, str]]] = {OPENVINO: _openvino}
