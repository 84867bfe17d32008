"""Classes of financial texts: a fine-tuned MiniLM and a TF-IDF model, stacked.

The encoder is `engines.training.text`'s with all six layers, several times, each without one part of the texts. What
weighs the two is a multinomial regression on what each says of the part that it has not seen (stacking; Wolpert 1992),
so the probabilities are calibrated by it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.cluster import DBSCAN
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from tokenizers import Tokenizer

from engines.training import leaks, pictures, robustness, text
from engines.training.encoder import Encoder, onnx_bytes
from engines.training.loop import Schedule
from engines.training.measures import MULTICLASS, Judged
from engines.training.search import search
from engines.training.tasks import Outcome, Run
from engines.training.tasks.tables import FolderError, read_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEED = 0
LAYERS = tuple(range(6))
#: The last epoch is kept: the part that could tell a better one is what the stack is fitted on.
SCHEDULE = Schedule(epochs=4, keep="last")
CLASSES = 3
#: Runs of neighbouring texts go to one part together.
RUN = 20
LEAST = 4 * RUN
#: Tokens of a text that are read: what follows says little more of its tone, and costs as much.
CUT = 64
#: Encoders, and what all may cost: tokens, padded, times epochs, times encoders less one. A token takes some 0.35 ms.
MEMBERS, WORK = (3, 5), 1_900_000
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

    def copies(self) -> Ints:
        """Return the group of each row: with one neighbour enough, these clusters are the chains of near copies."""
        clusters = DBSCAN(eps=1 - text.NEAR, min_samples=1, metric="cosine")
        return np.asarray(clusters.fit_predict(text.copy_grams().fit_transform(self.text)), np.int64)


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


def run(train: Path, test: Path, out: Path, run: Run) -> Outcome:
    """Train on ``train``, write a row for each text of ``test`` to ``out``: ``label`` and ``p_<class>`` (see `Task`).

    Where both are one folder, parts of it are predicted by models of the rest: with dates, the latest years by those
    before (one by one with several folds); without, fifths of its groups of near copies. The column ``row`` tells which
    rows those are.
    """
    known = read(train, labelled=True)
    same = train.resolve() == test.resolve()
    asked = known if same else read(test, labelled=False)
    if len(known.text) < LEAST:
        raise FolderError(f"{train}: expected at least {LEAST} labelled texts, found {len(known.text)}")
    classes = sorted(set(known.label))
    if len(classes) != CLASSES:
        raise FolderError(f"{train}: expected {CLASSES} classes, found {', '.join(classes)}")
    number = {name: i for i, name in enumerate(classes)}
    labels = np.array([number[name] for name in known.label])
    every = np.arange(len(known.text))
    folds = _folds(known, run.folds) if same else [(every, np.arange(len(asked.text)))]
    if not same and known.year is not None and asked.year is not None:
        years = leaks.of_years(np.append(known.year, asked.year))
        leaks.check(every, len(every) + np.arange(len(asked.text)), years, tell=run.overlap(own=False))
    parts: list[dict[str, Floats]] = []
    first: _Stack | None = None
    for fold, (fit, held) in enumerate(folds):
        kept = run.keep and (run.keep / f"fold-{fold}" if len(folds) > 1 else run.keep)
        found = _stacked(known.take(fit).text, labels[fit], asked.take(held).text, run._replace(keep=kept))
        parts.append(found.told)
        first = first or found
    rows = np.concatenate([held for _, held in folds])
    told = {name: np.concatenate([part[name] for part in parts])[np.argsort(rows)] for name in parts[0]}
    rows = np.sort(rows)
    best = told["tocsin"]
    columns: dict[str, object] = {"row": rows} if same else {}
    columns |= {"label": [classes[i] for i in best.argmax(1)]}
    columns |= {f"p_{name}": best[:, i] for i, name in enumerate(classes)}
    out.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_csv(out)
    if not asked.label or not set(asked.label) <= set(classes):
        return Outcome({})
    # A text that was trained on, or nearly so, would prove nothing.
    new = np.ones(len(rows), np.bool_) if same else ~text.near_copies(asked.text, known.text)
    truth = np.array([number[asked.label[row]] for row in rows])
    judged = Judged(tuple(classes), truth[new], {name: p[new] for name, p in told.items()}, np.flatnonzero(new) // RUN)
    attacked = None
    if run.attack and first:
        at = np.flatnonzero(new & np.isin(rows, folds[0][1]))
        attacked = robustness.measure(
            first.encoder,
            first.tokenizer,
            first.posts,
            [asked.text[i] for i in rows[at]],
            truth[at],
            first.schedule,
            SEED,
            run.progress,
            run.device,
        )
    return Outcome(judged.metrics(MEASURES, SEED), judged, attacked)


def _folds(texts: Texts, folds: int) -> list[tuple[Ints, Ints]]:
    """Return the rows to train on and the rows held out, for each of up to ``folds`` parts."""
    if texts.year is not None:
        if folds == 1:
            late = texts.year > np.quantile(texts.year, 1 - HELD_OUT)
            found = [(np.flatnonzero(~late), np.flatnonzero(late))]
        else:
            last = np.unique(texts.year)[-folds:]
            found = [(np.flatnonzero(texts.year < year), np.flatnonzero(texts.year == year)) for year in last]
        for fit, held in found:
            leaks.check(fit, held, leaks.of_years(texts.year))
        return found
    group = texts.copies()
    part = np.random.default_rng(SEED).integers(0, round(1 / HELD_OUT), group.max() + 1)[group]
    found = [(np.flatnonzero(part != fold), np.flatnonzero(part == fold)) for fold in range(folds)]
    for fit, held in found:
        leaks.check(fit, held, group=group)
    return found


class _Stack(NamedTuple):
    """Class probabilities (n, 3) by contender, and the first encoder with what it has learnt from, and how."""

    told: dict[str, Floats]
    encoder: Encoder
    tokenizer: Tokenizer
    posts: text.Posts
    schedule: Schedule


def _stacked(known: list[str], labels: Ints, asked: list[str], run: Run) -> _Stack:
    """Return what is told of ``asked`` by the stack, by its members, and by the majority.

    Each of several encoders and TF-IDF models learns from all parts of ``known`` but one, and says what it makes of
    that one: on these answers the stack is fitted, so that every text has a say in both. Copies of a text are learnt
    from where the text is, and nothing is ever said about them.
    """
    tokenizer = text.make_tokenizer()
    tokenizer.enable_truncation(CUT)
    copies = run.augment.copies(known, SEED, run.progress) if run.augment else []
    learnt, of = [*known, *(copy for _, copy in copies)], np.append(np.arange(len(known)), [row for row, _ in copies])
    of = of.astype(np.int64)  # (known + copies,)
    tokens = sum(text.padded(len(e.ids)) for e in tokenizer.encode_batch(learnt))
    epochs = max(2, min(SCHEDULE.epochs, WORK // (tokens * (MEMBERS[0] - 1))))
    schedule = replace(SCHEDULE, **{"epochs": epochs} | dict(run.changes))  # type: ignore[arg-type]
    members = max(MEMBERS[0], min(MEMBERS[1], 1 + WORK // (tokens * schedule.epochs)))
    part = np.random.default_rng(SEED).permutation(np.arange(-(-len(known) // RUN)) % members)[
        np.arange(len(known)) // RUN
    ]
    is_copy = np.arange(len(of)) >= len(known)  # (known + copies,)
    without = [
        text.Posts(learnt, labels[of], np.where(part[of] != member, "train", np.where(is_copy, "none", "stop")))
        for member in range(members)
    ]
    if run.trials > 1:

        def trial(one: Schedule) -> float:
            curve = text.fine_tune(
                text.pretrained(LAYERS), tokenizer, without[0], one, SEED, run.progress, device=run.device
            )
            return curve[-1].score

        tried = search(schedule, run.trials, SEED, trial)
        run.progress.print(*(f"{score:.4f} {one}" for one, score in tried), sep="\n")
        schedule = tried[0].schedule
    inside, outside = np.zeros((len(known), 2 * CLASSES)), np.zeros((len(asked), 2 * CLASSES))
    kept: list[Encoder] = []
    for member, posts in enumerate(without):
        keep = run.keep and run.keep / f"member-{member}"
        encoder, told = _member(tokenizer, posts, schedule, SEED + member, run._replace(keep=keep))
        kept = kept or [encoder]
        held = np.flatnonzero(part == member)
        inside[held] = told([known[i] for i in held])
        outside += told(asked) / members
    stack = LogisticRegression(C=1.0, max_iter=2000).fit(inside, labels)
    contenders = {
        "tocsin": np.asarray(stack.predict_proba(outside), np.float64),
        "encoder": text.softmax(outside[:, :CLASSES]),
        "TF-IDF": text.softmax(outside[:, CLASSES:]),
        "majority": np.tile(np.bincount(labels, minlength=CLASSES) / len(labels), (len(asked), 1)),
    }
    return _Stack(contenders, kept[0], tokenizer, without[0], schedule)


def _member(
    tokenizer: Tokenizer, posts: text.Posts, schedule: Schedule, seed: int, run: Run
) -> tuple[Encoder, Callable[[list[str]], Floats]]:
    """Return an encoder, and what tells its logits and a TF-IDF model's log odds, both trained on "train": (n, 6)."""
    encoder, keep = text.pretrained(LAYERS), run.keep
    checkpoint = keep and keep / "checkpoint.pt"
    curve = text.fine_tune(encoder, tokenizer, posts, schedule, seed, run.progress, checkpoint, device=run.device)
    bag = _bag().fit(*posts.of("train"))
    if keep:
        pictures.learning_curve(curve, schedule.keep, "macro-F1 on held-out texts", keep / "curve.svg")
        (keep / "encoder.onnx").write_bytes(onnx_bytes(encoder))
        (keep / "tokenizer.json").write_text(tokenizer.to_str())

    def told(texts: list[str]) -> Floats:
        _, logits = text.predict(encoder, [e.ids for e in tokenizer.encode_batch(texts)])
        return np.hstack([logits, np.log(np.maximum(bag.predict_proba(texts), 1e-6))])

    return encoder, told


def _bag() -> Pipeline:
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=3, sublinear_tf=True)
    return make_pipeline(
        make_union(words, characters), LogisticRegression(C=10, max_iter=2000, class_weight="balanced")
    )
