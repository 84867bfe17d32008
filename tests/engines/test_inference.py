"""Which back end serves, and why the others do not."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engines.bundle import Bundle, BundleError
from engines.inference import (
    OPENERS,
    OPENVINO,
    ORT_CPU,
    SCORE_TOLERANCE,
    TENSORRT,
    TENSORRT_RTX,
    TOLERANCE,
    Array,
    Fallback,
    Inputs,
    Open,
    Precision,
    Run,
    Skip,
    Unavailable,
    open_session,
    parity,
)
from engines.text import TextEncoder
from tests.conftest import ROOT

PROBES: list[Inputs] = [{"x": np.arange(3, dtype=np.float32)}]


def test_a_back_end_within_tolerance_passes_with_its_difference() -> None:
    found = parity(lambda i: (i["x"] + np.float32(2**-14),), lambda i: (i["x"],), PROBES)
    assert found == pytest.approx(2**-14, rel=1e-2)


def test_a_back_end_beyond_tolerance_is_refused_with_both_numbers() -> None:
    with pytest.raises(Unavailable, match=r"differs from the reference by 0\.5, allowed is 0\.0001"):
        parity(lambda i: (i["x"] + np.float32(0.5),), lambda i: (i["x"],), PROBES)


def test_a_back_end_that_gives_nan_is_refused() -> None:
    with pytest.raises(Unavailable, match="differs from the reference by nan"):
        parity(lambda i: (i["x"] * np.float32("nan"),), lambda i: (i["x"],), PROBES)


def test_a_back_end_whose_bits_wander_is_refused_even_within_tolerance() -> None:
    step = itertools.count()
    with pytest.raises(Unavailable, match="other bits for the same input"):
        parity(lambda i: (i["x"] + np.float32(next(step) * TOLERANCE / 10),), lambda i: (i["x"],), PROBES)


def test_an_unknown_back_end_is_named_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="unknown back end onnxruntime-gpu; expected some of tensorrt, tensorrt-rtx"):
        open_session(b"", [], ["onnxruntime-gpu"])


def test_what_is_not_here_is_skipped_with_its_reason_and_the_reference_serves() -> None:
    model = Bundle.load(ROOT / "bundles" / "default").read("encoder.onnx")
    session = open_session(model, [], [TENSORRT, ORT_CPU])
    assert session.backend == ORT_CPU
    assert session.equality == "reference"
    assert [skip.backend for skip in session.skipped] == [TENSORRT]
    assert "tensorrt" in session.skipped[0].reason or "CUDA" in session.skipped[0].reason


def failing_at(call: int, how: Callable[[Inputs], tuple[Array, ...]]) -> Open:
    """Return the opener of a back end that serves as the reference does, and does ``how`` from that call on."""

    def open_model(model: bytes, plans: Path | None, may_build: bool) -> tuple[Run, str]:
        reference, calls = open_session(model, [], [ORT_CPU]), itertools.count(1)
        return lambda inputs: how(inputs) if next(calls) >= call else reference.run(inputs), "1.0"

    return open_model


def breaks(inputs: Inputs) -> tuple[Array, ...]:
    raise OSError("the device fell off the bus")


def nan(inputs: Inputs) -> tuple[Array, ...]:
    return (np.full((1, 384), np.nan, np.float32), np.zeros((1, 3), np.float32))


MODEL = Bundle.load(ROOT / "bundles" / "default").read("encoder.onnx")
TOKENS: Inputs = {"ids": np.full((1, 16), 2000), "mask": np.ones((1, 16), np.int64)}


@pytest.mark.parametrize(
    ("how", "reason"),
    [(breaks, "OSError: the device fell off the bus"), (nan, "gives what is not finite")],
)
def test_a_back_end_that_fails_in_service_is_replaced_by_the_next_and_loses_nothing(
    how: Callable[[Inputs], tuple[Array, ...]], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each is asked twice by the gate: the first fails at its third text, the second at its first.
    monkeypatch.setitem(OPENERS, TENSORRT, failing_at(5, how))
    monkeypatch.setitem(OPENERS, TENSORRT_RTX, failing_at(3, how))
    told: list[Fallback] = []
    session = open_session(MODEL, [TOKENS], [TENSORRT, TENSORRT_RTX], fell=told.append)
    expected = [output.tobytes() for output in open_session(MODEL, [], [ORT_CPU]).run(TOKENS)]
    served = []
    for _ in range(4):
        assert [output.tobytes() for output in session.run(TOKENS)] == expected
        served.append(session.backend)
    assert served == [TENSORRT, TENSORRT, ORT_CPU, ORT_CPU]
    assert told == [Fallback(TENSORRT, reason, TENSORRT_RTX), Fallback(TENSORRT_RTX, reason, ORT_CPU)]
    assert session.skipped == tuple(Skip(fall.failed, f"failed in service: {reason}", ran=True) for fall in told)
    assert session.equality == "reference"


def test_threads_that_fail_together_change_over_once(monkeypatch: pytest.MonkeyPatch) -> None:
    meet = threading.Barrier(4)

    def together(inputs: Inputs) -> tuple[Array, ...]:
        meet.wait(10)
        raise RuntimeError("lost")

    monkeypatch.setitem(OPENERS, TENSORRT, failing_at(1, together))
    told: list[Fallback] = []
    session = open_session(MODEL, [], [TENSORRT], fell=told.append)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(session.run, [TOKENS] * 4))) == 4
    assert told == [Fallback(TENSORRT, "RuntimeError: lost", ORT_CPU)]


def test_there_is_time_to_build_before_serving_and_none_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def noting(name: str, opener: Open) -> Open:
        def open_model(model: bytes, plans: Path | None, may_build: bool) -> tuple[Run, str]:
            asked.append((name, may_build))
            return opener(model, plans, may_build)

        return open_model

    monkeypatch.setitem(OPENERS, TENSORRT, noting(TENSORRT, failing_at(1, breaks)))
    monkeypatch.setitem(OPENERS, TENSORRT_RTX, noting(TENSORRT_RTX, failing_at(1, breaks)))
    open_session(MODEL, [], [TENSORRT, TENSORRT_RTX]).run(TOKENS)
    assert asked == [(TENSORRT, True), (TENSORRT_RTX, False)]


def test_a_back_end_that_fails_as_it_is_opened_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPENERS, TENSORRT, failing_at(1, breaks))
    session = open_session(MODEL, [TOKENS], [TENSORRT])
    assert session.skipped == (Skip(TENSORRT, "OSError: the device fell off the bus"),)


def test_what_the_reference_refuses_is_raised() -> None:
    with pytest.raises(Exception, match="indices element out of data bounds"):
        open_session(MODEL, [], [ORT_CPU]).run({**TOKENS, "ids": np.full((1, 16), 10**6)})


def test_a_coarser_precision_is_judged_by_the_score_and_its_own_tolerance() -> None:
    shares = {"wide": 1000.0, "narrow": 0.001}

    def off_by_a_half(inputs: Inputs) -> tuple[np.ndarray]:
        return (inputs["x"] + np.float32(0.5),)

    found = parity(off_by_a_half, lambda i: (i["x"],), PROBES, 1e-3, lambda out: (out["0"] * shares["narrow"],))
    assert found == pytest.approx(0.0005)
    with pytest.raises(Unavailable, match=r"differs from the reference by 5e\+02, allowed is 0\.001"):
        parity(off_by_a_half, lambda i: (i["x"],), PROBES, 1e-3, lambda out: (out["0"] * shares["wide"],))


def test_outputs_of_another_shape_are_refused() -> None:
    with pytest.raises(Unavailable, match=r"outputs of shape \(3,\), the reference \(1, 3\)"):
        parity(lambda i: (i["x"],), lambda i: (i["x"][None],), PROBES)


def test_bits_that_wander_are_refused_though_the_score_stays() -> None:
    step = itertools.count()
    with pytest.raises(Unavailable, match="other bits for the same input"):
        parity(lambda i: (i["x"] + np.float32(next(step)),), lambda i: (i["x"],), PROBES, 1, lambda out: (np.zeros(1),))


def test_int8_without_a_graph_of_its_own_is_forbidden() -> None:
    model = Bundle.load(ROOT / "bundles" / "default").read("encoder.onnx")
    for graph in (None, model):
        with pytest.raises(ValueError, match="precision int8 without Q/DQ nodes in the graph"):
            open_session(model, [], precision="int8", int8=graph)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_an_int8_graph_in_another_precision_is_forbidden(precision: Precision) -> None:
    with pytest.raises(ValueError, match=f"precision {precision} with Q/DQ nodes in the graph"):
        open_session(b"\x22\x0eQuantizeLinear", [], precision=precision)


def test_a_bundle_without_an_int8_file_says_so_where_one_is_asked_for() -> None:
    with pytest.raises(BundleError, match=r"has no encoder\.int8\.onnx"):
        TextEncoder(Bundle.load(ROOT / "bundles" / "default"), precision="int8")


def test_a_precision_that_the_gate_refuses_leaves_fp32() -> None:
    model = Bundle.load(ROOT / "bundles" / "default").read("encoder.onnx")
    probe = {"ids": np.array([[101, 2194, 4212, 102]]), "mask": np.ones((1, 4), np.int64)}
    session = open_session(model, [probe], [OPENVINO], precision="bf16", score=lambda out: (out["1"] * 1000,))
    assert session.precision == "fp32"
    # What is not installed or not in the CPU says so instead.
    assert re.search("differs from the reference|no bf16|not installed", session.skipped[0].reason)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_precision_serves_only_within_its_tolerance_of_the_score(precision: Precision) -> None:
    pytest.importorskip("openvino", reason="openvino: not installed (extra: openvino)")
    session = TextEncoder(Bundle.load(ROOT / "bundles" / "default"), [OPENVINO], precision=precision).session
    assert session.backend == OPENVINO
    if session.skipped:  # on this CPU it is not there, or changes the score
        assert (session.precision, session.skipped[0].backend) == ("fp32", OPENVINO)
    else:
        assert session.precision == precision
        assert 0 < session.difference <= SCORE_TOLERANCE[precision]


_LET_GO = """
import os, signal, threading
from engines.bundle import DEFAULT, Bundle
from engines.inference import OPENVINO, open_session
held = [open_session(Bundle.load(DEFAULT).read("chart.onnx"), [], [OPENVINO])]
assert held[0].backend == OPENVINO
thread = threading.Thread(target=held.clear)
thread.start()
thread.join()
signal.signal(signal.SIGUSR1, lambda *_: print("alive", flush=True))
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_signal_finds_the_process_alive_after_another_thread_let_openvinos_last_model_go() -> None:
    pytest.importorskip("openvino", reason="openvino: not installed (extra: openvino)")
    done = subprocess.run(
        [sys.executable, "-c", _LET_GO], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_onnx_runtime_reports_to_nobody() -> None:
    """Where it would, it says on its import that it cannot keep the name that it gave this machine."""
    command = [sys.executable, "-c", "import engines.inference, onnxruntime"]
    nowhere = {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none", "PATH": "/usr/bin"}
    done = subprocess.run(command, cwd=ROOT, env=nowhere, capture_output=True, text=True, check=True)
    assert "telemetry" not in done.stderr
