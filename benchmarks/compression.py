"""What each way to make the text encoder smaller or cheaper gives: size, speed, accuracy, change of the score.

    python -m benchmarks.compression --data ../shared/data

Judged on the bundle's test part, on which nothing is chosen. Speed is CPU time of one thread, the median of rounds in
which all contenders take turns; the ratio is to torch eager with the bundle's encoder. Changes of the score P(bearish)
are against torch in fp32, "beyond" counts the texts that change by more than the precision may. A teacher of
six layers and what learns from it are trained here, each alike, on ``--share`` of the bundle's training part: their
accuracy compares with each other, not with the bundle's, which saw all of it.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from sklearn.metrics import f1_score

from benchmarks.harness import close, table
from engines.bundle import DEFAULT, Bundle
from engines.inference import OPENVINO, ORT_CPU, SCORE_TOLERANCE, TOLERANCE, Inputs, Precision, Run, open_session
from engines.text import TextSpec
from engines.training import compress, text
from engines.training.encoder import Encoder, from_onnx, onnx_bytes
from engines.training.loop import Schedule
from engines.training.pretrained import minilm
from engines.typologies import adverse_text

SEED = 0
EAGER = "torch eager"
RUNS, WARM = 10, 2
TOKENS, BATCHES = 32, (1, 8)
HEADS, WIDE = 8, 1024
CALIBRATION = 300


class Contender(NamedTuple):
    """A graph and what it runs on; ``shipped``: its weights are those that ship."""

    name: str
    model: bytes
    backend: str
    precision: Precision
    shipped: bool


def main() -> None:
    """Train, compress, measure, print the table and a line of JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.compression", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds twitter_fin_news")
    parser.add_argument("--share", type=float, default=0.25, help="of the training part to learn from; 0: none")
    parser.add_argument("--epochs", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    bundle = Bundle.load(DEFAULT)
    temperature = msgspec.json.decode(bundle.read("text.json"), type=TextSpec).temperature
    posts = text.load_posts(chosen.data / "twitter_fin_news", SEED)
    shipped = from_onnx(bundle.read("encoder.onnx"))
    measure = Measure(shipped, temperature, *posts.of("test"))
    figures = measure.show(f"bundle {bundle.id}, fewer bits", _coarser(shipped, posts))
    if chosen.share:
        measure.show(f"learned from {chosen.share:.0%}, {chosen.epochs} epochs", _smaller(posts, chosen))
    close(texts=len(measure.texts), **figures)


def _coarser(shipped: Encoder, posts: text.Posts) -> list[Contender]:
    tokenizer = minilm().tokenizer()
    known = posts.of("train")[0]
    calibration = known[:: max(1, len(known) // CALIBRATION)]
    whole = onnx_bytes(shipped)
    int8 = compress.int8_bytes(shipped, tokenizer, calibration)
    plain = compress.int8_bytes(shipped, tokenizer, calibration, plain=True)
    return [
        Contender("as shipped, ONNX Runtime", whole, ORT_CPU, "fp32", True),
        Contender("as shipped, OpenVINO", whole, OPENVINO, "fp32", True),
        Contender("OpenVINO fp16", whole, OPENVINO, "fp16", True),
        Contender("OpenVINO bf16", whole, OPENVINO, "bf16", True),
        Contender("fp16 products, ONNX Runtime", compress.fp16_bytes(shipped), ORT_CPU, "fp16", True),
        Contender("INT8 without the three, OpenVINO", plain, OPENVINO, "int8", True),
        Contender("INT8, OpenVINO", int8, OPENVINO, "int8", True),
    ]


def _smaller(posts: text.Posts, chosen: argparse.Namespace) -> list[Contender]:
    tokenizer = minilm().tokenizer()
    drawn = (posts.part != "train") | (np.random.default_rng(SEED).random(len(posts.part)) < chosen.share)
    few = text.Posts(
        [t for t, kept in zip(posts.texts, drawn, strict=True) if kept], posts.labels[drawn], posts.part[drawn]
    )
    schedule = Schedule(epochs=chosen.epochs)
    with Progress() as progress:

        def learn(encoder: Encoder, schedule: Schedule = schedule) -> Encoder:
            text.fine_tune(encoder, tokenizer, few, schedule, SEED, progress)
            return encoder

        teacher = learn(minilm().encoder())
        pruned = compress.prune(teacher, tokenizer, few, heads=HEADS, wide=WIDE)
        student = minilm().encoder(text.LAYERS)
        compress.distil(teacher, student, tokenizer, few, schedule, SEED, progress)
        found = {
            "six layers": teacher,
            "three layers, from labels": learn(minilm().encoder(text.LAYERS)),
            "three layers, distilled": student,
            "six layers, three dropped": compress.keep_layers(teacher, text.LAYERS),
            f"six layers, {HEADS} heads, {WIDE} columns": pruned,
            f"six layers, {HEADS} heads, {WIDE} columns, tuned": learn(
                copy.deepcopy(pruned), replace(schedule, epochs=1)
            ),
        }
    return [Contender(name, onnx_bytes(encoder), ORT_CPU, "fp32", False) for name, encoder in found.items()]


class Measure(NamedTuple):
    """What contenders are measured against and on."""

    shipped: Encoder
    temperature: float
    texts: list[str]
    labels: npt.NDArray[np.int64]

    def show(self, title: str, contenders: list[Contender]) -> dict[str, float]:
        """Print a table of the contenders; return each one's greatest change of the score, where it has one."""
        sessions = {c.name: _session(c) for c in contenders}
        ms = _speed(sessions, self.shipped)
        rows = [e.ids for e in minilm().tokenizer().encode_batch(self.texts)]
        lines: list[list[object]] = []
        figures: dict[str, float] = {}
        want = text.softmax(text.predict(self.shipped, rows)[1], self.temperature)
        for name, model, _, precision, shipped in contenders:
            logits = _logits(sessions[name], rows)
            line: list[object] = [name, len(model) / 1e6]
            for n in BATCHES:
                line += [ms[name, n], ms[EAGER, n] / ms[name, n]]
            line.append(round(float(f1_score(self.labels, logits.argmax(1), average="macro")), 3))
            if not shipped:
                lines.append(line)
                continue
            got = text.softmax(logits, self.temperature)
            change = np.abs(want - got)[:, 0]
            beyond = int((change > SCORE_TOLERANCE.get(precision, TOLERANCE)).sum())
            same = np.mean(want.argmax(1) == got.argmax(1))
            decided = np.mean((want[:, 0] >= adverse_text.SPEC.open) == (got[:, 0] >= adverse_text.SPEC.open))
            lines.append([*line, f"{change.max():.1e}", beyond, f"{same:.2%}", f"{decided:.2%}"])
            figures[name] = float(change.max())
        speeds = [head for n in BATCHES for head in (f"ms, {n} x {TOKENS}", "ratio")]
        heads = ["", "MB", *speeds, "macro-F1", "change", "beyond", "same class", "same decision"]
        eager = ", ".join(f"{ms[EAGER, n]:.1f} ms" for n in BATCHES)
        table(f"{title}: {len(rows):,} texts; {EAGER}: {eager}", heads[: len(lines[0])], lines)
        return figures


def _session(c: Contender) -> Run:
    """Return what runs the contender, with no gate before it."""
    return open_session(c.model, [], [c.backend], precision=c.precision, int8=c.model).run


def _speed(sessions: Mapping[str, Run], eager: Encoder) -> dict[tuple[str, int], float]:
    """Return ms of CPU by contender, torch eager among them, and batch."""

    def torch_run(inputs: Inputs) -> None:
        with torch.inference_mode():
            eager(torch.from_numpy(inputs["ids"]), torch.from_numpy(inputs["mask"]))

    works: dict[str, Callable[[Inputs], object]] = {EAGER: torch_run, **sessions}
    rng = np.random.default_rng(SEED)
    taken: dict[tuple[str, int], list[float]] = {(name, n): [] for name in works for n in BATCHES}
    for _ in range(WARM + RUNS):
        for (name, n), times in taken.items():
            inputs = {"ids": rng.integers(1000, 20_000, (n, TOKENS)), "mask": np.ones((n, TOKENS), np.int64)}
            times.append(min(_cpu_ms(works[name], inputs) for _ in range(3)))
    return {key: statistics.median(times[WARM:]) for key, times in taken.items()}


def _cpu_ms(work: Callable[[Inputs], object], inputs: Inputs) -> float:
    before = time.process_time_ns()
    work(inputs)
    return (time.process_time_ns() - before) / 1e6


def _logits(run: Run, rows: list[list[int]]) -> npt.NDArray[np.float64]:
    """Return logits (n, 3) of tokenized texts, each run alone."""
    logits = np.zeros((len(rows), 3))
    for ids, mask, group in text.batches(rows, 1):
        logits[group] = run({"ids": ids.numpy(), "mask": mask.numpy()})[1]
    return logits


if __name__ == "__main__":
    main()
