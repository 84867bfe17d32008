"""What each back end has done with the models that ship, and where: docs/backends.md.

    python -m benchmarks.backends [--out docs] [--runs 50]

Every plan that TensorRT-RTX builds is built twice, for each GPU that it knows and each precision, and the bytes
compared; that needs no GPU. Each back end of the daemon's order that is here is opened, passes the parity gate or does
not, and is timed; plans in fp16, which the daemon does not take, are run where a GPU is. What was measured on other
devices stays in docs/backends.json, and in the page that is made of it.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.harness import close
from engines import cuda
from engines.bundle import DEFAULT, Bundle
from engines.inference import OPENVINO, ORT_CPU, TENSORRT, TENSORRT_RTX, Inputs, open_session
from engines.plans import PlanError, key_of, obtain, supported
from engines.tensorrt import open_plan
from monitor.commands.engines import TOKENS, survey

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python -m benchmarks.backends"
SHAPES = ((1, 16), (1, TOKENS), (6, 24), (32, 128))
NEVER = "built, not executed"
_WARM = 3


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """A back end on a device. ``reason`` is why it was not executed there, or did not pass; "" if it did both.

    ``device`` is "" where there was none for it; ``difference`` the largest from the reference; ``load`` the machine's
    average of the minute when it was timed, 0 where that was not noted.
    """

    backend: str
    precision: str
    device: str
    version: str = ""
    deserialised: bool = False
    executed: bool = False
    difference: float = 0.0
    p50_ms: float = 0.0
    load: float = 0.0
    reason: str = ""
    when: str


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that was built, or why not; ``equal`` tells that a second build gave the same bytes."""

    flavour: str
    version: str
    model: str
    compute_capability: str
    precision: str
    size: int = 0
    seconds: float = 0.0
    equal: bool = False
    reason: str = ""
    when: str


class Record(msgspec.Struct, frozen=True):
    """All that docs/backends.json holds."""

    ran: list[Ran] = []
    compiled: list[Compiled] = []


def main(arguments: Sequence[str] | None = None) -> None:
    """Build, run, write both files and print a line of JSON."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of backends.json and backends.md")
    parser.add_argument("--runs", type=int, default=50, help="texts that are timed")
    given = parser.parse_args(arguments)
    stored = given.out / "backends.json"
    before = msgspec.json.decode(stored.read_bytes(), type=Record) if stored.exists() else Record()
    bundle, today = Bundle.load(DEFAULT), datetime.now(UTC).date().isoformat()
    with tempfile.TemporaryDirectory(prefix="tocsin-plans-") as folder:
        compiled = _compile(bundle, Path(folder), today)
        ran = _run(bundle, Path(folder), given.runs, today)
    record = merged(before, Record(ran, compiled))
    stored.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    (given.out / "backends.md").write_text(page(record))
    close(
        plans=sum(not one.reason for one in compiled),
        equal=sum(one.equal for one in compiled),
        executed=", ".join(f"{one.backend} {one.precision}" for one in ran if one.executed),
    )


def _compile(bundle: Bundle, folder: Path, today: str) -> list[Compiled]:
    found = []
    try:
        capabilities = supported(TENSORRT_RTX)
    except PlanError as error:
        print(f"nothing is compiled: {error}")
        return []
    for name in sorted(name for name in bundle.manifest.files if name.endswith(".onnx")):
        model = bundle.read(name)
        for precision in ("fp32", "fp16"):
            for capability in capabilities:
                key = key_of(model, TENSORRT_RTX, capability, precision)
                made = Compiled(
                    flavour=key.flavour,
                    version=key.version,
                    model=name,
                    compute_capability=capability,
                    precision=precision,
                    when=today,
                )
                began_s = time.perf_counter()
                try:
                    plan = obtain(model, key, folder)
                    seconds = time.perf_counter() - began_s
                    equal = obtain(model, key, folder, anew=True).content == plan.content
                except PlanError as error:
                    made = msgspec.structs.replace(made, reason=str(error))
                else:
                    size = len(plan.content)
                    made = msgspec.structs.replace(made, size=size, seconds=round(seconds, 1), equal=equal)
                found.append(made)
                print(f"{name} {capability} {precision}: {made.reason or f'{made.seconds} s, equal: {made.equal}'}")
    return found


def _run(bundle: Bundle, cache: Path, runs: int, today: str) -> list[Ran]:
    try:
        gpu = cuda.device().name
    except cuda.CudaError:
        gpu = ""
    found = [
        Ran(
            backend=one.backend,
            precision=one.precision or "fp32",
            device=_cpu() if one.backend in (OPENVINO, ORT_CPU) else gpu,
            version=one.version,
            deserialised=one.ran,
            executed=one.ran,
            difference=one.difference,
            p50_ms=one.p50_ms,
            load=_load(one.ran),
            reason=one.reason,
            when=today,
        )
        for one in survey(bundle, cache, runs)
    ]
    return found + [_half(flavour, bundle, cache, runs, gpu, today) for flavour in (TENSORRT, TENSORRT_RTX)]


def _half(flavour: str, bundle: Bundle, cache: Path, runs: int, gpu: str, today: str) -> Ran:
    model = bundle.read("encoder.onnx")
    ran = Ran(backend=flavour, precision="fp16", device=gpu, when=today)
    try:
        run, version = open_plan(flavour, model, cache, "fp16")
        ran = msgspec.structs.replace(ran, version=version, deserialised=True)
        reference = open_session(model, [], [ORT_CPU])
        difference = max(
            float(np.abs(want.astype(np.float64) - got.astype(np.float64)).max())
            for shape in SHAPES
            for want, got in zip(reference.run(_tokens(*shape)), run(_tokens(*shape)), strict=True)
        )
        text, taken_s = _tokens(1, TOKENS), []
        for _ in range(_WARM + runs):
            began_s = time.perf_counter()
            run(text)
            taken_s.append(time.perf_counter() - began_s)
    except (PlanError, cuda.CudaError) as error:
        return msgspec.structs.replace(ran, reason=str(error))
    p50_ms = round(statistics.median(taken_s[_WARM:]) * 1000, 3)
    return msgspec.structs.replace(ran, executed=True, difference=difference, p50_ms=p50_ms, load=_load(True))


def _load(ran: bool) -> float:
    return round(os.getloadavg()[0], 1) if ran else 0.0


def _tokens(rows: int, length: int) -> Inputs:
    ids = np.random.default_rng(rows * length).integers(1_000, 20_000, (rows, length))
    return {"ids": ids, "mask": np.ones_like(ids)}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def merged(before: Record, now: Record) -> Record:
    """Return what is known after a run: of the same back end, precision and device the newer.

    What was not executed for want of a device is left out where it has been executed on one.
    """
    ran = {(one.backend, one.precision, one.device): one for one in (*before.ran, *now.ran)}
    executed = {(one.backend, one.precision) for one in ran.values() if one.executed}
    compiled = {
        (one.flavour, one.model, one.compute_capability, one.precision): one
        for one in (*before.compiled, *now.compiled)
    }
    return Record(
        [one for one in ran.values() if one.device or (one.backend, one.precision) not in executed],
        list(compiled.values()),
    )


def page(record: Record) -> str:
    """Return docs/backends.md."""
    built = {(one.flavour, one.precision) for one in record.compiled if not one.reason}
    lines = [
        "# Back ends",
        "",
        f"Written by `{COMMAND}`; what it found on other devices before is kept in [backends.json](backends.json).",
        "The order is the daemon's. `fp32` is without TF32; the daemon takes coarser ones of OpenVINO only.",
        "",
        "| back end | precision | version | device | compiled | deserialised | executed | parity | a text, ms | load "
        "| when |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in record.ran:
        needs_plan = one.backend in (TENSORRT, TENSORRT_RTX)
        was_built = (one.backend, one.precision) in built
        compiled = ("yes" if was_built or one.executed else "no") if needs_plan else "needs no plan"
        executed = "yes" if one.executed else NEVER if needs_plan and was_built else "no"
        parity = cost = "–"
        if one.executed:
            parity = "is the reference" if one.backend == ORT_CPU else f"{one.difference:.1e}"
            parity, cost = (f"failed: {one.reason}", "–") if one.reason else (parity, f"{one.p50_ms:.2f}")
        cells = [one.backend, one.precision, one.version or "–", one.device or "none", compiled]
        loaded = ("yes" if one.deserialised else "no") if needs_plan else "–"
        cells += [loaded, executed, parity, cost, f"{one.load:g}" if one.load else "–", one.when]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Parity is the largest difference from the reference on vectors of length 1 and logits: at most 1e-4 to serve",
        f"in fp32. A text has {TOKENS} tokens and runs alone; median, wall clock, beside the load that is told.",
    ]
    if reasons := [one for one in record.ran if not one.executed]:
        lines += ["", "What was not executed, and why:", ""]
        lines += [f"- {one.backend} {one.precision}: {one.reason}" for one in reasons]
    lines += [
        "",
        "## Plans",
        "",
        "Built by TensorRT-RTX's own parser and builder, which need no GPU, for 1 to 32 texts of 16 to 128 tokens.",
        f"A row here says that a plan was built, and no more: it is `{NEVER}` unless the table above says otherwise.",
        "",
        "| model | compute capability | precision | version | MB | s | built again: equal bytes | when |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for plan in record.compiled:
        cells = [plan.model, plan.compute_capability, plan.precision, plan.version]
        if plan.reason:
            cells += ["–", "–", "refused", plan.when]
        else:
            cells += [f"{plan.size / 1e6:.1f}", f"{plan.seconds:.1f}", "yes" if plan.equal else "NO", plan.when]
        lines.append(f"| {' | '.join(cells)} |")
    if refused := [plan for plan in record.compiled if plan.reason]:
        lines += ["", "Refused:", ""]
        lines += [
            f"- {plan.model} for {plan.compute_capability} in {plan.precision}: {plan.reason}" for plan in refused
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
