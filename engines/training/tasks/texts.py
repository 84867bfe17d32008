"""Classes of financial texts: a fine-tuned MiniLM and a TF-IDF model, stacked.

The encoder is `engines.training.text`'s with all six layers. What weighs the two is a multinomial regression on texts
that neither has seen (stacking; Wolpert 1992), so the probabilities are calibrated by it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.progress import Progress
from sklearn.cluster import DBSCAN
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from engines.bundle import Metric
from engines.training import text
from engines.training.measures import MULTICLASS, judge
from engines.training.tasks.tables import FolderError, read_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEED = 0
LAYERS = tuple(range(6))
EPOCHS, PATIENCE = 8, 2
CLASSES = 3
#: Runs of neighbouring texts go to one part together; the shares of them that training stops by and that weigh the two
#: members against each other.
RUN = 20
STOP, CALIBRATE = 0.08, 0.12
LEAST = 4 * RUN
#: Of a folder that is predicted by a model of its own, the share that is held out.
HELD_OUT = 0.2
MEASURES = {**MULTICLASS, "weighted_f1": lambda y, p: float(f1_score(y, p.argmax(1), average="weighted"))}


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts with their classes (empty where there are none), in the table's order; ``year`` where they are dated."""

    text: list[str]
    label: list[str]
    year: Ints | None

    def take(self, rows: Ints) -> Texts:
        """Return some of the rows."""
        return Texts(
            [self.text[i] for i in rows],
            [self.label[i] for i in rows] if self.label else [],
            None if self.year is None else self.year[rows],
        )


def read(folder: Path, labelled: bool) -> Texts:
    """Return the texts of a folder: the column ``sentence`` or ``text``, ``label``, and ``year`` where there is one.

    Raises
    ------
    FolderError
        There is no such column, or no labels where they are needed.
    """
    try:
        table = read_table(folder, "sentence")
        texts = table["sentence"].to_list()
    except FolderError:
        table = read_table(folder, "text")
        texts = table["text"].to_list()
    if "label" not in table.columns or table["label"].null_count():
        if labelled:
            raise FolderError(f"{folder}: expected a label in every row of the texts, found rows without one")
        labels = []
    else:
        labels = table["label"].cast(pl.String).to_list()
    dated = "year" in table.columns and not table["year"].null_count()
    return Texts([t or "" for t in texts], labels, table["year"].to_numpy().astype(np.int64) if dated else None)


def run(train: Path, test: Path, out: Path, progress: Progress) -> dict[str, Metric]:
    """Train on ``train``, write a row for each text of ``test`` to ``out``: ``label`` and ``p_<class>`` (see `Task`).

    Where both are one folder, a model of its earlier part (of four fifths of its groups of near copies where the texts
    have no years) predicts the rest, and the column ``row`` tells which rows those are.
    """
    known = read(train, labelled=True)
    if train.resolve() == test.resolve():
        held = _held_out(known)
        known, asked = known.take(np.flatnonzero(~held)), known.take(np.flatnonzero(held))
        rows = np.flatnonzero(held)
    else:
        asked, rows = read(test, labelled=False), None
    if len(known.text) < LEAST:
        raise FolderError(f"{train}: expected at least {LEAST} labelled texts, found {len(known.text)}")
    classes = sorted(set(known.label))
    if len(classes) != CLASSES:
        raise FolderError(f"{train}: expected {CLASSES} classes, found {', '.join(classes)}")
    number = {name: i for i, name in enumerate(classes)}
    told = _stacked(known.text, np.array([number[name] for name in known.label]), asked.text, progress)
    best = told["tocsin"]
    columns: dict[str, object] = {} if rows is None else {"row": rows}
    columns |= {"label": [classes[i] for i in best.argmax(1)]}
    columns |= {f"p_{name}": best[:, i] for i, name in enumerate(classes)}
    out.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_csv(out)
    if not asked.label or not set(asked.label) <= set(classes):
        return {}
    # A text that was trained on, or nearly so, would prove nothing.
    new = ~text.near_copies(asked.text, known.text)
    truth = np.array([number[name] for name in asked.label])[new]
    blocks = np.flatnonzero(new) // RUN
    return {
        f"{name} {measure}": value
        for name, p in told.items()
        for measure, value in judge(MEASURES, truth, p[new], blocks, SEED).items()
    }


def _held_out(texts: Texts) -> npt.NDArray[np.bool_]:
    """Return which rows are held out: the latest years, or else a fifth of the groups of near copies."""
    if texts.year is not None:
        return texts.year > np.quantile(texts.year, 1 - HELD_OUT)
    # With one neighbour enough, these clusters are the chains of near copies.
    group = DBSCAN(eps=1 - text.NEAR, min_samples=1, metric="cosine").fit_predict(
        text.copy_grams().fit_transform(texts.text)
    )
    chosen = np.random.default_rng(SEED).random(group.max() + 1) < HELD_OUT
    return np.asarray(chosen[group])


def _stacked(known: list[str], labels: Ints, asked: list[str], progress: Progress) -> dict[str, Floats]:
    """Return class probabilities (n, 3) of ``asked``: of the stack, of its members, and of the majority."""
    posts = text.Posts(known, labels, _deal(len(known)))
    tokenizer = text.make_tokenizer()
    schedule = text.Schedule(epochs=EPOCHS, patience=PATIENCE)
    encoder = text.fine_tune(text.pretrained(LAYERS), tokenizer, posts, schedule, SEED, progress)
    unseen, unseen_labels = posts.of("calibrate")
    bag = _bag().fit(*posts.of("train"))

    def members(texts: list[str]) -> tuple[Floats, Floats]:
        _, logits = text.predict(encoder, [e.ids for e in tokenizer.encode_batch(texts)])
        return logits, np.log(np.maximum(bag.predict_proba(texts), 1e-6))

    judge_of_both = LogisticRegression(C=1.0, max_iter=2000).fit(np.hstack(members(unseen)), unseen_labels)
    logits, odds = members(asked)
    shares = np.bincount(labels, minlength=CLASSES) / len(labels)
    return {
        "tocsin": np.asarray(judge_of_both.predict_proba(np.hstack([logits, odds])), np.float64),
        "encoder": text.softmax(logits),
        "TF-IDF": np.exp(odds),
        "majority": np.tile(shares, (len(asked), 1)),
    }


def _deal(n: int) -> npt.NDArray[np.str_]:
    """Return the part of each of n texts, in their order."""
    runs = -(-n // RUN)
    stop, calibrate = (max(1, round(runs * share)) for share in (STOP, CALIBRATE))
    parts = ["stop"] * stop + ["calibrate"] * calibrate + ["train"] * (runs - stop - calibrate)
    return np.random.default_rng(SEED).permutation(np.array(parts))[np.arange(n) // RUN]


def _bag() -> Pipeline:
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=3, sublinear_tf=True)
    return make_pipeline(
        make_union(words, characters), LogisticRegression(C=10, max_iter=2000, class_weight="balanced")
    )
