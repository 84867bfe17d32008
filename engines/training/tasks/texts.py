"""Classes of financial texts: a fine-tuned encoder and a TF-IDF model, stacked.

The encoder is MPNet where the processor multiplies in bf16, else MiniLM, several times, each without one part of the
texts. What weighs encoder and TF-IDF is a multinomial regression on what each says of the part that it has not seen
(stacking; Wolpert 1992), so the probabilities are calibrated by it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from rich.progress import Progress
from sklearn.cluster import DBSCAN
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from engines.training import leaks, pictures, robustness, text
from engines.training.encoder import DIM, Encoder, onnx_bytes
from engines.training.loop import Schedule
from engines.training.measures import MULTICLASS, Judged
from engines.training.pretrained import Pretrained, folder, has_mpnet, minilm, mpnet
from engines.training.robustness import Robustness
from engines.training.search import search
from engines.training.side_by_side import CORES, side_by_side
from engines.training.tasks import Outcome, Run
from engines.training.tasks.tables import FolderError, NoTableError, read_table, whole_numbers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEED = 0
#: The last epoch is kept: the part that could tell a better one is what the stack is fitted on.
SCHEDULE = Schedule(epochs=2, batch=16, rate=5e-5, head_rate=5e-4, layer_decay=0.9, keep="last", fused=True)
OF_MINILM = Schedule(epochs=4, keep="last", fused=True)
CLASSES = 3
#: Runs of neighbouring texts go to one part together.
RUN = 20
LEAST = 4 * RUN
#: Tokens of a text that are read: what follows says little more of its tone, and costs as much.
CUT = 64
#: Parts of the texts, of which each member does without one; and so as many members at the most.
PARTS = (2, 6)
#: What training may take where two learn at a time, and what is taken: ms a token, ms a token for a million weights
#: that learn (a core with AVX-512 or AMX; where they do not learn, a third of it), ms a step for a million weights.
TIME_S, TOKEN_MS, WEIGHT_MS, STEP_MS = 420, 0.2, 0.015, 3.0
#: By how much of it half of the texts may exceed it before less is learnt.
ENOUGH = 1.15
#: Texts of the part that a member does without that its learning curve is of: all of them are told at its end.
JUDGED = 500
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
        There is no such column, no labels where they are needed, or a year that is no number.
    """
    try:
        table = read_table(folder, "sentence")
        texts = table["sentence"].to_list()
    except NoTableError:
        table = read_table(folder, "text")
        texts = table["text"].to_list()
    if "label" not in table.columns or table["label"].null_count():
        if labelled:
            raise FolderError(f"{folder}: expected a label in every row of the texts, found rows without one")
        labels = []
    else:
        labels = table["label"].cast(pl.String).to_list()
    return Texts(["" if text is None else str(text) for text in texts], labels, whole_numbers(folder, table, "year"))


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
    attacked: Robustness | None = None
    for fold, (fit, held) in enumerate(folds):
        kept = run.keep and (run.keep / f"fold-{fold}" if len(folds) > 1 else run.keep)
        one = asked.take(held)
        truth = _truth(one, number) if run.attack and attacked is None else None
        found = _stacked(known.take(fit).text, labels[fit], one.text, truth, run._replace(keep=kept))
        parts.append(found.told)
        attacked = attacked or found.attacked
    rows = np.concatenate([held for _, held in folds])
    told = {name: np.concatenate([part[name] for part in parts])[np.argsort(rows)] for name in parts[0]}
    rows = np.sort(rows)
    best = told["tocsin"]
    columns: dict[str, object] = {"row": rows} if same else {}
    columns |= {"label": [classes[i] for i in best.argmax(1)]}
    columns |= {f"p_{name}": best[:, i] for i, name in enumerate(classes)}
    out.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_csv(out)
    truth = _truth(asked.take(rows), number)
    if truth is None:
        return Outcome({})
    # A text that was trained on, or nearly so, would prove nothing.
    new = np.ones(len(rows), np.bool_) if same else ~text.near_copies(asked.text, known.text)
    judged = Judged(tuple(classes), truth[new], {name: p[new] for name, p in told.items()}, np.flatnonzero(new) // RUN)
    return Outcome(judged.metrics(MEASURES, SEED), judged, attacked)


def _truth(texts: Texts, number: Mapping[str, int]) -> Ints | None:
    """Return the number of each text's class (n,); None without labels, or with one that is no class."""
    if not texts.label or not set(texts.label) <= set(number):
        return None
    return np.array([number[label] for label in texts.label])


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
    """Class probabilities (n, 3) by contender, and how the first encoder did under attack, where that was asked."""

    told: dict[str, Floats]
    attacked: Robustness | None


class _Member(NamedTuple):
    """What a member says, encoder's logits and TF-IDF's log odds: of what it did without (n, 6), of what is asked."""

    held: Floats
    asked: Floats
    attacked: Robustness | None


def start(name: str, device: str) -> tuple[Pretrained, Schedule]:
    """Return what encoders begin with, and how they learn: "mpnet", "minilm", a checkpoint's folder, or "auto".

    That is MPNet where ``device`` ("cpu", "cuda") multiplies in bf16 and it is installed, else MiniLM.

    Raises
    ------
    PretrainedError
        A folder holds no checkpoint that can be used.
    """
    if name == "auto":
        able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch has it not
        fast = device == "cuda" or any(able.get(unit) for unit in ("avx512_bf16", "amx_bf16", "bf16"))
        name = "mpnet" if fast and has_mpnet() else "minilm"
    if name == "minilm":
        return minilm(), OF_MINILM
    return (mpnet() if name == "mpnet" else folder(Path(name))), SCHEDULE


def _stacked(known: list[str], labels: Ints, asked: list[str], truth: Ints | None, run: Run) -> _Stack:
    """Return what is told of ``asked`` by the stack, by its members, and by the majority.

    Each of several encoders and TF-IDF models learns from all parts of ``known`` but one, and says what it makes of
    that one: on these answers the stack is fitted. Copies of a text are learnt from where the text is, and nothing is
    ever said about them. Of ``asked`` whose ``truth`` (n,) is given the first encoder is attacked.
    """
    begun, schedule = start(run.encoder, run.device)
    schedule = replace(schedule, **dict(run.changes))  # type: ignore[arg-type]
    tokenizer = begun.tokenizer(CUT)
    copies = run.augment.copies(known, SEED, run.progress) if run.augment else []
    learnt, of = [*known, *(copy for _, copy in copies)], np.append(np.arange(len(known)), [row for row, _ in copies])
    of = of.astype(np.int64)  # (known + copies,)
    tokens = sum(text.padded(len(e.ids)) for e in tokenizer.encode_batch(learnt))
    runs = np.arange(len(known)) // RUN  # (known,)
    schedule, whole_s = _fitting(begun, schedule, len(learnt), tokens, run.changes)
    parts, members = plan(whole_s, int(runs[-1]) + 1)
    part = np.random.default_rng(SEED).permutation(np.arange(runs[-1] + 1) % parts)[runs]  # (known,)
    is_copy = np.arange(len(of)) >= len(known)  # (known + copies,)
    without = [
        text.Posts(learnt, labels[of], np.where(part[of] != member, "train", np.where(is_copy, "none", "stop")))
        for member in range(members)
    ]
    if run.trials > 1:

        def trial(one: Schedule) -> float:
            tried = begun.encoder()
            curve = text.fine_tune(
                tried,
                tokenizer,
                without[0],
                one,
                SEED,
                run.progress,
                device=run.device,
                bf16=_bf16(tried),
            )
            return curve[-1].score

        ranked = search(schedule, run.trials, SEED, trial)
        run.progress.print(*(f"{score:.4f} {one}" for one, score in ranked), sep="\n")
        schedule = ranked[0].schedule
    jobs = [
        partial(
            _learn,
            run.encoder,
            posts,
            schedule,
            SEED + member,
            [known[i] for i in np.flatnonzero(part == member)],
            asked,
            None if member else truth,
            run.keep and run.keep / f"member-{member}",
            run.device,
        )
        for member, posts in enumerate(without)
    ]
    found = side_by_side(jobs, run.progress) if run.device == "cpu" else [job(run.progress) for job in jobs]
    held = np.concatenate([np.flatnonzero(part == member) for member in range(members)])
    stack = LogisticRegression(C=1.0, max_iter=2000).fit(np.concatenate([one.held for one in found]), labels[held])
    outside = np.mean([one.asked for one in found], 0)
    best = np.zeros((len(asked), CLASSES))
    best[:, stack.classes_] = stack.predict_proba(outside)  # a rare class may be in no part that a member did without
    contenders = {
        "tocsin": best,
        "encoder": text.softmax(outside[:, :CLASSES]),
        "TF-IDF": text.softmax(outside[:, CLASSES:]),
        "majority": np.tile(np.bincount(labels, minlength=CLASSES) / len(labels), (len(asked), 1)),
    }
    return _Stack(contenders, found[0].attacked)


def plan(whole_s: float, most: int) -> tuple[int, int]:
    """Return parts, ``most`` at most, and members for which two cores have time: one learns from all in ``whole_s``."""
    parts = next((n for n in range(min(most, PARTS[1]), PARTS[0], -1) if whole_s * (1 - 1 / n) <= TIME_S), PARTS[0])
    rounds = max(1, int(TIME_S / (whole_s * (1 - 1 / parts))))
    return parts, min(parts, CORES * rounds)


def _fitting(
    begun: Pretrained, schedule: Schedule, texts: int, tokens: int, changes: Mapping[str, object]
) -> tuple[Schedule, float]:
    """Return the schedule, thinned where half of the ``texts`` take too long, and the time for all of them (s).

    First what is near the words, with the least to learn, stays as it is, and steps are of twice as many texts; then
    there is one epoch. What somebody has changed is left.
    """
    still = ["word", "position", "norm", *(f"layers.{i}." for i in range(begun.depth // 3))]
    still += ["distance"] * (begun.shape.distances > 0)
    passes = 1 + (schedule.adversary.steps if schedule.adversary else 0)
    thinner: tuple[dict[str, Any], ...] = ({}, {"freeze": tuple(still), "batch": 2 * schedule.batch}, {"epochs": 1})
    for change in thinner:
        schedule = replace(schedule, **{k: v for k, v in change.items() if k not in changes})
        whole_s = passes * schedule.epochs * _epoch_s(begun, schedule, texts, tokens)
        if whole_s * (1 - 1 / PARTS[0]) <= TIME_S * ENOUGH:
            break
    return schedule, whole_s


def _epoch_s(begun: Pretrained, schedule: Schedule, texts: int, tokens: int) -> float:
    millions = [size / 1e6 for size in begun.layers]
    learning = sum(n for i, n in enumerate(millions) if not f"layers.{i}.".startswith(schedule.freeze))
    still = sum(millions) - learning
    token_ms = TOKEN_MS + WEIGHT_MS * (learning + still / 3)
    return (tokens * token_ms + texts / schedule.batch * STEP_MS * learning) / 1000


def _bf16(encoder: Encoder) -> bool:
    """Return whether an encoder is so large that it tells in bf16, in which it learns anyway."""
    return encoder.shape.dim > DIM


def _learn(
    name: str,
    posts: text.Posts,
    schedule: Schedule,
    seed: int,
    held: list[str],
    asked: list[str],
    truth: Ints | None,
    keep: Path | None,
    device: str,
    progress: Progress,
) -> _Member:
    """Train an encoder and a TF-IDF model on the part "train" of ``posts``, return what they say of the others."""
    begun, _ = start(name, device)
    encoder, tokenizer = begun.encoder(), begun.tokenizer(CUT)
    del begun  # as large as the encoder
    bf16 = _bf16(encoder)
    checkpoint = keep and keep / "checkpoint.pt"
    curve = text.fine_tune(
        encoder, tokenizer, posts, schedule, seed, progress, checkpoint, device=device, bf16=bf16, judged=JUDGED
    )
    bag = _bag().fit(*posts.of("train"))
    if keep:
        pictures.learning_curve(curve, schedule.keep, "macro-F1 on held-out texts", keep / "curve.svg")
        (keep / "encoder.onnx").write_bytes(onnx_bytes(encoder))
        (keep / "tokenizer.json").write_text(tokenizer.to_str())

    def told(texts: list[str]) -> Floats:
        _, logits = text.predict(encoder, [e.ids for e in tokenizer.encode_batch(texts)], bf16=bf16)
        return np.hstack([logits, np.log(np.maximum(bag.predict_proba(texts), 1e-6))])

    attacked = None
    if truth is not None:
        attacked = robustness.measure(
            encoder, tokenizer, posts, asked, truth, schedule, SEED, progress, device, bf16=bf16
        )
    return _Member(told(held), told(asked), attacked)


def _bag() -> Pipeline:
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=3, sublinear_tf=True)
    return make_pipeline(
        make_union(words, characters), LogisticRegression(C=10, max_iter=2000, class_weight="balanced")
    )
