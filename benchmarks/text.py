"""The text encoder and fusion on this machine: ms a text by padded length and back end, µs a fused row, in one run.

    python -m benchmarks.text

CPU time of this process (threads counted), the median of 30 runs after 3, one text at a time; back ends take turns, so
that what else runs here meets them alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import msgspec
import numpy as np
import psutil

from benchmarks.harness import close, table
from engines import features
from engines.bundle import DEFAULT, Bundle
from engines.fusion import FusionModel
from engines.inference import ORDER
from engines.text import TextEncoder, TextSpec

RUNS, WARM = 30, 3
ROWS = (1, 8, 500)


def main() -> None:
    """Measure, print two tables and a line of JSON."""
    bundle = Bundle.load(DEFAULT)
    spec = msgspec.json.decode(bundle.read("text.json"), type=TextSpec)
    probes = dict(zip(spec.lengths, spec.probes, strict=True))
    encoders, absent = {}, []
    for name in ORDER:
        encoder = TextEncoder(bundle, [name])
        if encoder.session.backend == name:
            encoders[name] = encoder
        else:
            absent += [f"{skip.backend}: {skip.reason}" for skip in encoder.session.skipped]
    taken: dict[tuple[str, int], list[float]] = {(name, length): [] for name in encoders for length in probes}
    for run in range(WARM + RUNS):
        for (name, length), times in taken.items():
            spent = _cpu_ms(lambda name=name, length=length: encoders[name].encode(probes[length]))  # type: ignore[misc]
            if run >= WARM:
                times.append(spent)
    ms = {key: statistics.median(times) for key, times in taken.items()}
    table(
        f"bundle {bundle.id}: ms of CPU a text, tokenizing included, one thread",
        ["back end", "version", "difference", *(f"{length} tokens" for length in probes)],
        [
            [name, e.session.version, f"{e.session.difference:.1g}", *(ms[name, length] for length in probes)]
            for name, e in encoders.items()
        ],
    )
    for reason in absent:
        print(f"not here: {reason}")
    us = _fusion_us(FusionModel(bundle), encoders[ORDER[-1]])
    table("fusion: µs of CPU a call", ["rows", "µs"], [[rows, cost] for rows, cost in us.items()])
    best = min(encoders, key=ORDER.index)
    close(
        backend=best,
        ms_16=round(ms[best, 16], 2),
        ms_32=round(ms[best, 32], 2),
        ms_128=round(ms[best, 128], 2),
        ms_32_reference=round(ms[ORDER[-1], 32], 2),
        fusion_us_8=round(us[8], 1),
        rss_mb=round(psutil.Process().memory_info().rss / 1e6),
    )


def _cpu_ms(work: Callable[[], object]) -> float:
    before = time.process_time_ns()
    work()
    return (time.process_time_ns() - before) / 1e6


def _fusion_us(model: FusionModel, encoder: TextEncoder) -> dict[int, float]:
    """Return µs of CPU a call by rows: the median of batches of 200 calls."""
    text = encoder.encode("Shares fall after the auditor resigns")
    rng = np.random.default_rng(0)
    costs = {}
    for rows in ROWS:
        bars = rng.normal(size=(rows, len(features.NAMES))).astype(np.float32)
        age_ns = np.full(rows, 3_600_000_000_000)

        def calls(bars: np.ndarray = bars, age_ns: np.ndarray = age_ns) -> None:
            for _ in range(200):
                model.score(bars, text.vector, text.logits, age_ns)

        costs[rows] = statistics.median(_cpu_ms(calls) for _ in range(RUNS)) * 1000 / 200
    return costs


if __name__ == "__main__":
    main()
