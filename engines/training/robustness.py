"""What an encoder of texts is worth under attack: the vectors of words moved to where its loss is worse."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from engines.bundle import Metric
from engines.training import text
from engines.training.adversary import PGD_STEPS, Adversary, nudge_from
from engines.training.encoder import Encoder
from engines.training.loop import Schedule
from engines.training.measures import MULTICLASS, judge

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: How far a text is moved, as shares of the mean norm of the words' vectors; `HARDENED` is what is trained against.
RADII = (0.1, 0.3)
HARDENED = 0.3
#: Texts that are attacked, and texts that the pass against attacks learns from: a tenth of a task's time at most.
ATTACKED, LEARNT = 96, 192
#: What that pass's rates are multiplied by: at the full ones, few texts undo what many have taught.
GENTLER = 0.25
MEASURES = {name: MULTICLASS[name] for name in ("macro_f1", "accuracy")}


class Robustness(msgspec.Struct, frozen=True, kw_only=True):
    """How an encoder does on so many ``texts``, clean and attacked; ``metrics`` are "contender measure".

    ``norm`` is the mean Euclidean norm of the words' vectors, ``learnt`` the texts of the pass that hardens (0: none).
    """

    texts: int
    norm: float
    learnt: int
    metrics: dict[str, Metric]

    def sentence(self) -> str:
        """Return what was done, with norm and radius."""
        hardened = (
            f' "Hardened" is the encoder after one more pass over {self.learnt:,} of its texts with FGM at radius'
            f' {HARDENED:g}, "trained on" after the same pass without: what both gain is the pass\'s.'
            if self.learnt
            else ""
        )
        return (
            f"Under attack: one encoder on {self.texts:,} texts, whose words' vectors (mean norm {self.norm:.3f}) are"
            " moved up the loss. A radius is the Euclidean norm of what is added to a whole text, in mean norms; FGM is"
            f" one step, PGD {PGD_STEPS}.{hardened}"
        )


def measure(
    encoder: Encoder,
    tokenizer: Tokenizer,
    posts: text.Posts,
    asked: Sequence[str],
    labels: Ints,
    schedule: Schedule,
    seed: int,
    progress: Progress,
    device: str = "cpu",
    *,
    bf16: bool = False,
) -> Robustness:
    """Return how ``encoder`` does on some of the texts ``asked`` and ``labels`` (n,), clean and attacked.

    Beside it stand copies that went once more over some of the part "train" of ``posts``, one of them against attacks;
    of an encoder whose ``schedule`` has an adversary, nothing does.
    """
    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(len(asked))[:ATTACKED])
    rows, truth = [e.ids for e in tokenizer.encode_batch([asked[i] for i in some])], labels[some]
    norm = float(encoder.word.weight.norm(dim=1).mean())
    contenders = {"encoder": encoder}
    few = posts
    if schedule.adversary is None:
        train = rng.permutation(np.flatnonzero(posts.part == "train"))[:LEARNT]
        kept = np.sort(np.concatenate([train, np.flatnonzero(posts.part == "stop")[:LEARNT]]))
        few = text.Posts([posts.texts[i] for i in kept], posts.labels[kept], posts.part[kept])
        for name, adversary in (("trained on", None), ("hardened", Adversary(HARDENED * norm))):
            contenders[f"encoder, {name}"] = copy.deepcopy(encoder)
            once = replace(
                schedule,
                epochs=1,
                rate=schedule.rate * GENTLER,
                head_rate=schedule.head_rate * GENTLER,
                keep="last",
                adversary=adversary,
            )
            text.fine_tune(
                contenders[f"encoder, {name}"], tokenizer, few, once, seed, progress, device=device, bf16=bf16
            )
    attacks = {"clean": None} | {
        f"{name} at {radius:g}": Adversary(radius * norm, steps)
        for radius in RADII
        for name, steps in (("FGM", 1), ("PGD", PGD_STEPS))
    }
    metrics = {
        f"{contender}, {attack} {name}": metric
        for contender, model in contenders.items()
        for attack, logits in zip(attacks, attacked(model, rows, truth, list(attacks.values()), bf16=bf16), strict=True)
        for name, metric in judge(MEASURES, truth, text.softmax(logits), np.arange(len(truth)), seed).items()
    }
    learnt = int((few.part == "train").sum()) if schedule.adversary is None else 0
    return Robustness(texts=len(rows), norm=round(norm, 4), learnt=learnt, metrics=metrics)


def attacked(
    encoder: Encoder,
    rows: list[list[int]],
    labels: Ints,
    adversaries: Sequence[Adversary | None],
    *,
    bf16: bool = False,
) -> list[Floats]:
    """Return logits (n, 3) of tokenized texts under each adversary, who knows weights and ``labels`` (n,); None: clean.

    Dropout is off, all is in fp32, or with ``bf16`` in bf16 where that serves.
    """
    encoder.eval()
    found = [np.zeros((len(rows), encoder.head.out_features)) for _ in adversaries]

    def said(ids: Tensor, mask: Tensor, nudge: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits: Tensor = encoder(ids, mask, nudge)[1]  # (batch, 3)
        return logits.float()

    for ids, mask, group in text.batches(rows, 64):
        truth = torch.from_numpy(labels[group])  # (batch,)

        def loss(nudge: Tensor, ids: Tensor = ids, mask: Tensor = mask, truth: Tensor = truth) -> Tensor:
            return F.cross_entropy(said(ids, mask, nudge), truth, reduction="sum")

        still = torch.zeros((*ids.shape, encoder.word.embedding_dim), requires_grad=True)  # (batch, time, dim)
        (gradient,) = torch.autograd.grad(loss(still), still)  # (batch, time, dim)
        for logits, adversary in zip(found, adversaries, strict=True):
            nudge = still if adversary is None else nudge_from(gradient, loss, adversary)
            with torch.no_grad():
                logits[group] = said(ids, mask, nudge).numpy()
    return found
