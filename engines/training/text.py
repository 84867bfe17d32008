"""Trains the text encoder and its head on labelled posts, and says what it is worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from rich.progress import Progress
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from engines.bundle import Part
from engines.text import LABELS
from engines.training.checkpoints import digest
from engines.training.encoder import Encoder, round_to_fp16
from engines.training.loop import Epoch, Lesson, Schedule, fit
from engines.training.measures import MULTICLASS, judge
from engines.training.pretrained import POSITIONS, minilm

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Padded lengths in tokens. A quarter of the posts fits 16, two thirds fit 24, all but articles fit 48.
LENGTHS = (16, 24, 32, 48, 64, 96, POSITIONS)
MAX_CHARS = 4_000
LAYERS = (0, 2, 5)

#: A run of neighbouring documents goes to one part; of 25 runs of like tone, so many go to each.
RUN = 50
SLOTS = {"train": 17, "stop": 2, "calibrate": 2, "test": 4}
NEAR = 0.8

SPLIT_RULE = (
    "The set has no times. Runs of 50 neighbouring documents go to one part together, since neighbours speak of the "
    "same events; runs are dealt out by their mean label. A document of another part that is nearly one of the test "
    "part (cosine of character 4-grams >= 0.8) is dropped, as is a second copy. So this is no forecast of how it does "
    "on later news."
)


@dataclass(frozen=True, slots=True)
class Posts:
    """Texts and labels (0 bearish, 1 bullish, 2 neutral), and the part that each is in."""

    texts: list[str]
    labels: Ints
    part: npt.NDArray[np.str_]

    def of(self, part: str) -> tuple[list[str], Ints]:
        """Return the texts and labels of one part."""
        rows = np.flatnonzero(self.part == part)
        return [self.texts[i] for i in rows], self.labels[rows]


def load_posts(folder: Path, seed: int) -> Posts:
    """Return the posts of ``folder``/train.csv, split as `SPLIT_RULE` says."""
    table = pl.read_csv(folder / "train.csv").unique("text", keep="first", maintain_order=True)
    texts, labels = table["text"].to_list(), table["label"].to_numpy().astype(np.int64)
    part = _deal(labels, seed)[np.arange(len(texts)) // RUN]
    grams = copy_grams().fit_transform(_bare(texts))
    held = np.flatnonzero(part == "test")
    near = np.asarray((grams @ grams[held].T).max(axis=1).toarray()).ravel() >= NEAR
    keep = ~near | (part == "test")
    return Posts([text for text, kept in zip(texts, keep, strict=True) if kept], labels[keep], part[keep])


def copy_grams() -> TfidfVectorizer:
    """Return what near copies are told by: texts whose vectors have a cosine of at least `NEAR`."""
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4), min_df=2)


def near_copies(texts: list[str], others: list[str]) -> npt.NDArray[np.bool_]:
    """Return which of ``texts`` are nearly one of ``others`` (cosine of character 4-grams at least `NEAR`)."""
    grams = copy_grams().fit(others)
    nearest = (grams.transform(texts) @ grams.transform(others).T).max(axis=1)
    return np.asarray(nearest.toarray()).ravel() >= NEAR


def _deal(labels: Ints, seed: int) -> npt.NDArray[np.str_]:
    """Return the part of each run. The file has stretches of one label, so runs are dealt out by their mean label."""
    rng = np.random.default_rng(seed)
    means = np.array([labels[i : i + RUN].mean() for i in range(0, len(labels), RUN)])
    slots = np.repeat(list(SLOTS), list(SLOTS.values()))
    rounds = -(-len(means) // len(slots))
    dealt = np.concatenate([rng.permutation(slots) for _ in range(rounds)])[: len(means)]
    part = np.empty(len(means), dtype=dealt.dtype)
    part[np.argsort(means, kind="stable")] = dealt
    return part


def _bare(texts: list[str]) -> list[str]:
    return list(pl.Series(texts).str.to_lowercase().str.replace_all(r"https?://\S+", ""))


def padded(tokens: int) -> int:
    """Return the length that a text of so many tokens is padded to."""
    return next(n for n in LENGTHS if n >= tokens)


Batch = tuple[Tensor, Tensor, Ints]


def batches(rows: list[list[int]], size: int, rng: np.random.Generator | None = None) -> Iterator[Batch]:
    """Yield ids, mask (both int64 (batch, time)) and the rows' numbers; texts of one length go together."""
    length = np.array([padded(len(row)) for row in rows])
    order = np.arange(len(rows)) if rng is None else rng.permutation(len(rows))
    order = order[np.argsort(length[order], kind="stable")]
    groups = [part for n in LENGTHS for part in _chunks(order[length[order] == n], size)]
    if rng is not None:
        rng.shuffle(groups)
    for group in groups:
        ids = torch.zeros((len(group), int(length[group[0]])), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(group):
            ids[i, : len(rows[row])] = torch.tensor(rows[row])
            mask[i, : len(rows[row])] = 1
        yield ids, mask, group


def _chunks(order: Ints, size: int) -> list[Ints]:
    return [order[i : i + size] for i in range(0, len(order), size)]


def predict(encoder: Encoder, rows: list[list[int]], *, bf16: bool = False) -> tuple[npt.NDArray[np.float32], Floats]:
    """Return vectors (n, dim) and logits (n, 3) of tokenized texts, by the device that the encoder is on.

    They are computed in fp32, or with ``bf16`` in bf16 where that serves.
    """
    encoder.eval()
    device = encoder.head.weight.device
    vectors = np.zeros((len(rows), encoder.head.in_features), np.float32)
    logits = np.zeros((len(rows), len(LABELS)))
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for ids, mask, group in batches(rows, 64):
            found, said = encoder(ids.to(device), mask.to(device))
            vectors[group], logits[group] = found.float().cpu().numpy(), said.float().cpu().numpy()
    return vectors, logits


def fine_tune(
    encoder: Encoder,
    tokenizer: Tokenizer,
    posts: Posts,
    schedule: Schedule,
    seed: int,
    progress: Progress,
    checkpoint: Path | None = None,
    soft: Floats | None = None,
    device: str = "cpu",
    bf16: bool = False,
    judged: int | None = None,
) -> list[Epoch]:
    """Leave the encoder as it was after its best epoch, weights rounded to fp16, and return the learning curve.

    The score is macro-F1 on the part "stop", or on its first ``judged`` texts, told in fp32 or with ``bf16`` in bf16.
    ``checkpoint`` and ``device`` are as in `engines.training.loop.fit`; ``soft`` (n, 3) are probabilities to learn in
    place of the n labels of the part "train".
    """
    texts, labels = posts.of("train")
    rows = [e.ids for e in tokenizer.encode_batch(texts)]
    stop_texts, stop_labels = posts.of("stop")
    stop_rows, stop_labels = [e.ids for e in tokenizer.encode_batch(stop_texts[:judged])], stop_labels[:judged]
    targets = (torch.tensor(labels) if soft is None else torch.tensor(soft, dtype=torch.float32)).to(device)

    def loss(batch: Batch, nudge: Tensor | None) -> Tensor:
        ids, mask, group = batch
        with torch.autocast(device, torch.bfloat16):
            _, logits = encoder(ids.to(device), mask.to(device), nudge)  # (batch, 3)
        return F.cross_entropy(logits.float(), targets[torch.tensor(group, device=device)])

    def score() -> float:
        _, logits = predict(encoder, stop_rows, bf16=bf16)
        return float(f1_score(stop_labels, logits.argmax(1), average="macro"))

    lesson = Lesson(
        name="text encoder",
        data=digest(repr((rows, labels.tolist(), stop_rows, stop_labels.tolist())), encoder),
        steps=sum(1 for _ in batches(rows, schedule.batch)),
        batches=lambda rng: batches(rows, schedule.batch, rng),
        loss=loss,
        score=score,
        nudged=lambda batch: (*batch[0].shape, encoder.shape.dim),
    )
    curve = fit(
        encoder, encoder.head, lesson, schedule, seed=seed, progress=progress, checkpoint=checkpoint, device=device
    )
    round_to_fp16(encoder)
    return curve


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Return the probabilities (n, k) of ``logits`` (n, k)."""
    odds = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float64)


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """Return the temperature under which ``labels`` are likeliest (Guo et al. 2017, temperature scaling)."""
    rows = np.arange(len(labels))
    candidates = np.geomspace(0.2, 10, 800)
    likelihood = [float(np.mean(np.log(softmax(logits, t)[rows, labels] + 1e-12))) for t in candidates]
    return round(float(candidates[int(np.argmax(likelihood))]), 4)


def report(posts: Posts, encoder: Encoder, tokenizer: Tokenizer, seed: int) -> tuple[float, Part]:
    """Return the temperature and what the encoder and its baselines reach on the test part."""
    calibrate_texts, calibrate_labels = posts.of("calibrate")
    texts, labels = posts.of("test")
    temperature = fit_temperature(_logits(encoder, tokenizer, calibrate_texts), calibrate_labels)
    logits = _logits(encoder, tokenizer, texts)
    train_texts, train_labels = posts.of("train")
    contenders = {
        "encoder, calibrated": softmax(logits, temperature),
        "encoder, as trained": softmax(logits),
        "frozen MiniLM (6 layers) + logistic": _frozen(tokenizer, train_texts, train_labels, texts),
        "TF-IDF + logistic": _tfidf(train_texts, train_labels, texts),
        "majority": np.tile(np.bincount(train_labels, minlength=3) / len(train_labels), (len(texts), 1)),
    }
    documents = np.arange(len(labels))
    metrics = {name: judge(MULTICLASS, labels, p, documents, seed) for name, p in contenders.items()}
    short = np.array([len(e.ids) <= 48 for e in tokenizer.encode_batch(texts)])
    for name, rows in (("posts", short), ("articles", ~short)):
        told = contenders["encoder, calibrated"][rows]
        metrics[f"encoder, calibrated, {name} only"] = judge(MULTICLASS, labels[rows], told, documents[rows], seed)
    parts, sizes = np.unique(posts.part, return_counts=True)
    return temperature, Part(
        task="tone of a financial text: bearish, bullish, neutral",
        split={str(name): int(size) for name, size in zip(parts, sizes, strict=True)},
        split_rule=SPLIT_RULE,
        metrics=metrics,
        notes=[
            f"Layers {list(LAYERS)} of 6, all weights but the words' trained. Temperature {temperature}, fitted on the "
            "part calibrate.",
            f"Posts are texts of at most 48 tokens ({int(short.sum())} in test), articles the rest, cut at 128 tokens.",
        ],
    )


def _logits(encoder: Encoder, tokenizer: Tokenizer, texts: list[str]) -> Floats:
    return predict(encoder, [e.ids for e in tokenizer.encode_batch(texts)])[1]


def _frozen(tokenizer: Tokenizer, train: list[str], labels: Ints, test: list[str]) -> Floats:
    encoder = minilm().encoder()
    vectors, _ = predict(encoder, [e.ids for e in tokenizer.encode_batch(train + test)])
    model = LogisticRegression(C=100, max_iter=2000).fit(vectors[: len(train)], labels)
    return np.asarray(model.predict_proba(vectors[len(train) :]), np.float64)


def _tfidf(train: list[str], labels: Ints, test: list[str]) -> Floats:
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=2000).fit(vectorizer.fit_transform(_bare(train)), labels)
    return np.asarray(model.predict_proba(vectorizer.transform(_bare(test))), np.float64)
