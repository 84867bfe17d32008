"""What other ways to calibrate the shipped text head would give on its test part, on which nothing is chosen.

    python -m benchmarks.calibration --data ../shared/data [--crossed 4]

Each way learns from the part "calibrate", and from it and "stop" together; "foretold" is the log loss on five folds of
runs of what it learns from, by which one would choose. What the test part itself would fit is shown as the least that
one temperature could reach.

With ``--crossed`` each way learns from all that is learnt from, too: so many encoders, made as the one that ships is,
tell each a fold that they have not seen (4 minutes of a core an encoder).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss
from tokenizers import Tokenizer
from torch.nn import functional as F

from benchmarks.harness import close, table
from engines.bundle import DEFAULT, Bundle
from engines.inference import ORT_CPU, open_session
from engines.training import text
from engines.training.loop import Schedule
from engines.training.measures import MULTICLASS, judge
from engines.training.pretrained import minilm
from engines.training.side_by_side import side_by_side
from engines.training.text import RUN, Posts, fit_temperature, softmax

SEED = 0
FOLDS = 5
ROWS = 16

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
#: Takes logits (n, 3) and labels (n,); returns what makes probabilities (m, 3) of logits (m, 3).
Way = Callable[[Floats, Ints], Callable[[Floats], Floats]]


def temperature(logits: Floats, labels: Ints) -> Callable[[Floats], Floats]:
    """One number, by which logits are divided: what ships."""
    fitted = fit_temperature(logits, labels)
    return lambda others: softmax(others, fitted)


def biases(logits: Floats, labels: Ints) -> Callable[[Floats], Floats]:
    """A number by which logits are multiplied, and one that is added for each class."""
    scale, bias = torch.zeros((), requires_grad=True), torch.zeros(3, requires_grad=True)
    descent = torch.optim.LBFGS([scale, bias], max_iter=200, line_search_fn="strong_wolfe")

    def step() -> float:
        descent.zero_grad()
        said = torch.tensor(logits, dtype=torch.float32) * scale.exp() + bias  # (n, 3)
        loss = F.cross_entropy(said, torch.tensor(labels))
        loss.backward()
        return float(loss.detach())

    descent.step(step)
    times, plus = float(scale.exp().detach()), bias.detach().numpy()
    return lambda others: softmax(others * times + plus)


def isotonic(logits: Floats, labels: Ints) -> Callable[[Floats], Floats]:
    """A rising step function a class, of the probability at the temperature, brought to a sum of 1."""
    cooled = temperature(logits, labels)
    steps = [
        IsotonicRegression(y_min=1e-3, out_of_bounds="clip").fit(cooled(logits)[:, k], labels == k) for k in range(3)
    ]

    def apply(others: Floats) -> Floats:
        told = np.column_stack([step.predict(cooled(others)[:, k]) for k, step in enumerate(steps)])
        return np.asarray(told / told.sum(1, keepdims=True), np.float64)

    return apply


WAYS: Mapping[str, Way] = {"temperature (ships)": temperature, "and a bias a class": biases, "isotonic": isotonic}


def main() -> None:
    """Hear the three parts, calibrate, print the table and a line of JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.calibration", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds twitter_fin_news")
    parser.add_argument("--crossed", type=int, default=0, metavar="FOLDS", help="encoders to learn, 0 (or 2 and more)")
    chosen = parser.parse_args()
    posts = text.load_posts(chosen.data / "twitter_fin_news", SEED)
    (fit, fit_labels), (stop, stop_labels), (test, labels) = (heard(posts, p) for p in ("calibrate", "stop", "test"))
    parts = {
        "calibrate": (fit, fit_labels),
        "and stop": (np.concatenate([fit, stop]), np.concatenate([fit_labels, stop_labels])),
    }
    if chosen.crossed:
        with Progress() as progress:
            parts["crossed"] = crossed(posts, chosen.crossed, Schedule(), progress)
    rows: list[tuple[object, ...]] = []
    for name, way in WAYS.items():
        for part, (logits, truth) in parts.items():
            rows.append((name, part, foretold(way, logits, truth), *judged(way(logits, truth)(test), labels)))
    rows.append(("temperature", "the test part itself", "–", *judged(temperature(test, labels)(test), labels)))
    table("Calibration of the text head", ("way", "learnt from", "foretold", "ECE", "its floor", "Brier"), rows)
    close(texts=len(labels), classes=" ".join(f"{share:.3f}" for share in np.bincount(labels) / len(labels)))


def heard(posts: Posts, part: str) -> tuple[Floats, Ints]:
    """Return what the shipped head says of a part, logits (n, 3), and its labels (n,)."""
    bundle = Bundle.load(DEFAULT)
    tokenizer = Tokenizer.from_str(bundle.read("tokenizer.json").decode())
    session = open_session(bundle.read("encoder.onnx"), [], [ORT_CPU])
    texts, labels = posts.of(part)
    logits = np.zeros((len(texts), 3))
    for ids, mask, rows in text.batches([one.ids for one in tokenizer.encode_batch(texts)], ROWS):
        logits[rows] = session.run({"ids": ids.numpy(), "mask": mask.numpy()})[1]
    return logits, labels


def crossed(posts: Posts, folds: int, schedule: Schedule, progress: Progress) -> tuple[Floats, Ints]:
    """Return logits (n, 3) and labels (n,) of all but the part "test", each said by an encoder that has not seen it.

    A run is in one fold.
    """
    rows = np.flatnonzero(posts.part != "test")  # (n,)
    texts, labels, runs = [posts.texts[i] for i in rows], posts.labels[rows], rows // RUN
    fold = np.random.default_rng(SEED).permutation(np.arange(runs[-1] + 1) % folds)[runs]  # (n,)
    jobs = [partial(_told, texts, labels, fold == k, schedule, SEED + k) for k in range(folds)]
    logits = np.zeros((len(rows), 3))
    for k, said in enumerate(side_by_side(jobs, progress)):
        logits[fold == k] = said
    return logits, labels


def _told(
    texts: list[str], labels: Ints, held: npt.NDArray[np.bool_], schedule: Schedule, seed: int, progress: Progress
) -> Floats:
    """Return the logits (m, 3) of the m texts ``held`` (n,) back, by an encoder of the others, less their near copies.

    It stops by them, as the one that ships does by the part "stop".
    """
    own = [one for one, out in zip(texts, held, strict=True) if out]
    part = np.where(held, "stop", np.where(text.near_copies(texts, own), "none", "train"))
    begun = minilm()
    encoder, tokenizer = begun.encoder(text.LAYERS), begun.tokenizer()
    text.fine_tune(encoder, tokenizer, Posts(texts, labels, part), schedule, seed, progress)
    return text.predict(encoder, [one.ids for one in tokenizer.encode_batch(own)])[1]


def foretold(way: Way, logits: Floats, labels: Ints) -> float:
    """Return the log loss of what each fold of runs is told by the others."""
    fold = np.arange(len(labels)) // RUN % FOLDS
    told = np.zeros_like(logits)
    for k in range(FOLDS):
        told[fold == k] = way(logits[fold != k], labels[fold != k])(logits[fold == k])
    return float(log_loss(labels, told))


def judged(told: Floats, labels: Ints) -> tuple[str, str, float]:
    """Return the calibration error with its interval, its floor with its range, and the Brier score."""
    found = judge({name: MULTICLASS[name] for name in ("ece", "brier")}, labels, told, np.arange(len(labels)), SEED)
    said = [f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in (found["ece"], found["ece_floor"])]
    return said[0], said[1], found["brier"].value


if __name__ == "__main__":
    main()
