"""The engines on this machine, in one run: the encoder by length and precision, MiniLM beside torch, fusion, the event.

    python -m benchmarks.engines

CPU time of this process, one thread, the median of rounds in which all contenders take turns, so that what else runs
here meets them alike. Precisions are timed whether or not the parity gate lets them serve (`benchmarks.compression`
says what they change). Last, a process of its own loads what the daemon loads, and says how long that took and what it
holds.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec
import numpy as np
import torch

from benchmarks.harness import close, table
from engines import features
from engines.bundle import DEFAULT, Bundle
from engines.fusion import TICKS, FusionModel, Kept
from engines.inference import OPENVINO, ORDER, ORT_CPU, Array, Precision, Run, open_session
from engines.text import TextEncoder, TextSpec
from engines.training import compress
from engines.training.encoder import Encoder, from_onnx, onnx_bytes
from engines.training.pretrained import minilm

T = TypeVar("T")
K = TypeVar("K")

RUNS, WARM = 15, 2
TOKENS = 32
BATCHES = (1, 8)
ROWS = (1, 8, 500)
HOUR_NS = 3_600_000_000_000

_START = """
import json, psutil, sys, time
import monitor.app
from monitor.settings import Settings
from monitor.stage import load_stages
about = load_stages(Settings(), lambda counts: None).about
this = psutil.Process()
heavy = sorted({name.split(".")[0] for name in sys.modules} & {"torch", "transformers", "sklearn", "polars", "onnx"})
print(json.dumps({"backend": about["backend"], "ready_s": round(time.time() - this.create_time(), 2),
                  "rss_mb": round(this.memory_info().rss / 1e6), "torch": "torch" in heavy, "heavy": heavy}))
"""


def main() -> None:
    """Measure, print tables and a line of JSON."""
    torch.set_num_threads(1)
    bundle = Bundle.load(DEFAULT)
    spec = msgspec.json.decode(bundle.read("text.json"), type=TextSpec)
    lengths = _lengths(bundle, spec)
    shipped, ratios = from_onnx(bundle.read("encoder.onnx")), {}
    for title, encoder in (
        (f"bundle {bundle.id}", shipped),
        ("MiniLM, six layers", minilm().encoder()),
    ):
        ratios = _beside_torch(title, encoder, spec)
    fused = _fusion(bundle)
    events = _events(bundle, shipped, spec)
    told = subprocess.run([sys.executable, "-c", _START], capture_output=True, text=True, check=True)
    close(
        **{f"ms_{TOKENS}_{name}": round(ms, 2) for name, ms in lengths.items()},
        **{f"minilm_8_{name}": round(ratio, 2) for name, ratio in ratios.items()},
        **{f"fused_rows_s_{rows}": round(rate) for rows, rate in fused.items()},
        **{f"events_s_{name}": round(rate) for name, rate in events.items()},
        **json.loads(told.stdout.splitlines()[-1]),
    )


def _lengths(bundle: Bundle, spec: TextSpec) -> dict[str, float]:
    """Print ms a text by padded length and back end as the daemon runs it; return those at `TOKENS`."""
    probes = dict(zip(spec.lengths, spec.probes, strict=True))
    encoders = {name: TextEncoder(bundle, [name]) for name in ORDER}
    here = {name: encoder for name, encoder in encoders.items() if encoder.session.backend == name}
    works = {(name, length): _bound(here[name].encode, probe) for name in here for length, probe in probes.items()}
    ms = _turns(works)
    table(
        f"bundle {bundle.id}: ms of CPU a text, tokenizing included",
        ["back end", "version", "difference", *(f"{length} tokens" for length in probes)],
        [
            [name, e.session.version, f"{e.session.difference:.1g}", *(ms[name, length] for length in probes)]
            for name, e in here.items()
        ],
    )
    for encoder in encoders.values():
        for skip in encoder.session.skipped:
            print(f"not here: {skip.backend}: {skip.reason}")
    return {name: ms[name, TOKENS] for name in here}


def _sessions(encoder: Encoder, spec: TextSpec) -> dict[str, Run]:
    """Return what runs the encoder, by back end and precision, with no gate before it.

    INT8 is calibrated on the gate's sentences: its time does not depend on that.
    """
    whole, int8 = onnx_bytes(encoder), compress.int8_bytes(encoder, minilm().tokenizer(), spec.probes)
    asked: list[tuple[str, Precision]] = [(ORT_CPU, "fp32"), *((OPENVINO, p) for p in ("fp32", "fp16", "bf16", "int8"))]
    opened = {
        f"{name}-{precision}": (name, open_session(whole, [], [name], precision=precision, int8=int8))
        for name, precision in asked
    }
    return {label: session.run for label, (name, session) in opened.items() if session.backend == name}


def _beside_torch(title: str, encoder: Encoder, spec: TextSpec) -> dict[str, float]:
    """Print ms a batch of `TOKENS` tokens and ratios to torch eager; return the ratios of the largest batch."""
    rng = np.random.default_rng(0)
    inputs: dict[int, dict[str, Array]] = {
        n: {"ids": rng.integers(1000, 20_000, (n, TOKENS)), "mask": np.ones((n, TOKENS), np.int64)} for n in BATCHES
    }

    def eager(given: Mapping[str, Array]) -> None:
        with torch.inference_mode():
            encoder(torch.from_numpy(given["ids"]), torch.from_numpy(given["mask"]))

    runs: dict[str, Callable[[Mapping[str, Array]], object]] = {"torch eager": eager, **_sessions(encoder, spec)}
    ms = _turns({(name, n): _bound(run, inputs[n]) for name, run in runs.items() for n in BATCHES})
    ratio = {(name, n): ms["torch eager", n] / ms[name, n] for name in runs for n in BATCHES}
    table(
        f"{title}: ms of CPU a batch of {TOKENS} tokens each, one core; how many times as fast as torch eager",
        ["", *(head for n in BATCHES for head in (f"{n} x {TOKENS}", "ratio"))],
        [[name, *(x for n in BATCHES for x in (ms[name, n], ratio[name, n]))] for name in runs],
    )
    return {name: ratio[name, BATCHES[-1]] for name in runs if name != "torch eager"}


def _fusion(bundle: Bundle) -> dict[int, float]:
    """Print µs a call of fusion on kept embeddings of all modalities by rows; return rows a second."""
    model, rng = FusionModel(bundle), np.random.default_rng(0)
    kept = _kept(model)
    calls = 50

    def work(rows: int) -> Callable[[], object]:
        bars = rng.normal(size=(rows, len(features.NAMES))).astype(np.float32)
        now = np.full(rows, HOUR_NS)
        return lambda: [model.score(bars, now, kept, now) for _ in range(calls)]

    us = {rows: ms * 1000 / calls for rows, ms in _turns({rows: work(rows) for rows in ROWS}).items()}
    rate = {rows: rows * 1e6 / cost for rows, cost in us.items()}
    table("fusion on kept embeddings", ["rows a call", "µs a call", "rows/s"], [[n, us[n], rate[n]] for n in ROWS])
    return rate


def _events(bundle: Bundle, shipped: Encoder, spec: TextSpec) -> dict[str, float]:
    """Print and return events a second: each a text of `TOKENS` tokens, encoded and fused with all that is kept."""
    tokenizer, model = minilm().tokenizer(), FusionModel(bundle)
    said = spec.probes[spec.lengths.index(TOKENS)]
    bars, now, kept = np.zeros((1, len(features.NAMES)), np.float32), np.array([HOUR_NS]), _kept(model)

    def event(run: Run) -> None:
        ids = np.zeros((1, TOKENS), np.int64)
        tokens = tokenizer.encode(said).ids
        ids[0, : len(tokens)] = tokens
        vector, logits = run({"ids": ids, "mask": (ids != 0).astype(np.int64)})
        text = np.concatenate([np.asarray(vector[0], np.float32), np.asarray(logits[0], np.float32)])
        model.score(bars, now, kept | {"text": Kept(text, 0)}, now)

    ms = _turns({name: _bound(event, run) for name, run in _sessions(shipped, spec).items()})
    rate = {name: 1000 / cost for name, cost in ms.items()}
    table(f"an event: {TOKENS} tokens and fusion", ["", "events/s"], [[name, rate[name]] for name in ms])
    return rate


def _kept(model: FusionModel) -> dict[str, Kept]:
    """Return an embedding, an hour old, of each modality that the model fuses with bars."""
    widths = {name: at.stop - at.start for name, at in model.columns.items() if name != TICKS}
    return {name: Kept(np.full(width, width**-0.5, np.float32), 0) for name, width in widths.items()}


def _bound(work: Callable[[T], object], argument: T) -> Callable[[], object]:
    return lambda: work(argument)


def _turns(works: Mapping[K, Callable[[], object]]) -> dict[K, float]:
    """Return ms of CPU of each work: they take turns, each three times in a row, of which the least counts."""
    taken: dict[K, list[float]] = {key: [] for key in works}
    for _ in range(WARM + RUNS):
        for key, work in works.items():
            taken[key].append(min(_cpu_ms(work) for _ in range(3)))
    return {key: statistics.median(times[WARM:]) for key, times in taken.items()}


def _cpu_ms(work: Callable[[], object]) -> float:
    before = time.process_time_ns()
    work()
    return (time.process_time_ns() - before) / 1e6


if __name__ == "__main__":
    main()
