"""Labels of texts that a desk makes itself, from a few examples (`engines.few_shot`), each a file and a typology.

A text's **statistic** is how far its vector lies from a background of usual texts towards the examples; its p-value is
the share of the background that lies as far. The **budget** is the p-value at which a label rings: the share of usual
texts that may ring by chance.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from engines.bundle import Bundle, Source
from engines.conformal import allowed
from engines.few_shot import LEAST, MOST, fit
from engines.inference import Precision
from engines.text import INT8
from engines.typologies import TypologySpec
from schemas.alerts import Severity

Floats = npt.NDArray[np.float64]

FORMAT = 1
#: Of the background's statistics so many are kept: the highest half of them one by one, then evenly by rank.
KEPT = 2_000
#: A label's head and typology: this and its name.
PREFIX = "label_"
#: A finding is critical at this part of the budget.
CRITICAL = 10
HOLD_NS = 1_800_000_000_000
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class LabelFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a label's file holds.

    ``encoder`` is `encoder_digest` of the bundle that the vectors are from, ``bundle`` that bundle's id. ``examples``
    counts those, ``calibrated`` the background texts that p-values are told by. A text rings where its statistic, the
    product of ``direction`` (dim,) and its vector, is above ``threshold``. ``statistics`` are some of the background's,
    descending, and ``ranks`` their ranks in it, 1 the highest: between two of them a p-value is rounded up.
    ``source`` is the set that it was learnt from, whose window tells which times it may know of; of a desk's few
    examples nothing is known.
    """

    format: int
    name: str
    title: str
    severity: Severity
    budget: float
    bundle: str
    encoder: str
    examples: int
    calibrated: int
    threshold: float
    direction: list[float]
    statistics: list[float]
    ranks: list[int]
    source: Source | None = None


class Judgement(NamedTuple):
    """What a label says of a text; ``score`` in [0, 1] is 0.5 at the budget."""

    statistic: float
    p_value: float
    score: float


class TextLabel:
    """A label that judges.

    ``head`` names it; ``spec`` is its typology: an episode opens at the budget as the label's severity, is critical at
    a tenth of the budget (which takes a background large enough to tell), and calm above the budget's square root.

    Raises
    ------
    ValueError
        The file does not fit together: a name, a share, a number or a length is not what it can be.
    """

    def __init__(self, file: LabelFile) -> None:
        _check(file)
        self.file = file
        self.head = PREFIX + file.name
        self._direction = np.array(file.direction, np.float64)  # (dim,)
        self._lower = -np.array(file.statistics, np.float64)  # (kept,), ascending
        if (found := self.p_value(file.threshold)) <= file.budget:
            raise ValueError(f"a text at the threshold has p-value {found:g}, within the budget of {file.budget:g}")
        if (found := self.p_value(math.nextafter(file.threshold, math.inf))) > file.budget:
            raise ValueError(
                f"a text above the threshold has p-value {found:g}, not within the budget of {file.budget:g}"
            )
        self.spec = TypologySpec(
            name=self.head,
            version="1",
            title=file.title,
            open=0.5,
            critical=score(file.budget / CRITICAL, file.budget),
            close=score(math.sqrt(file.budget), file.budget),
            hold_ns=HOLD_NS,
            opens_as=file.severity,
            momentary=True,
        )

    @property
    def digest(self) -> str:
        """What stands for all that the label decides by: another is another configuration."""
        return hashlib.sha256(msgspec.json.encode(self.file)).hexdigest()

    def judge(self, vector: npt.NDArray[np.float32]) -> Judgement:
        """Return what the label says of a text's vector (dim,)."""
        statistic = float(self._direction @ vector)
        p_value = self.p_value(statistic)
        return Judgement(statistic, p_value, score(p_value, self.file.budget))

    def p_value(self, statistic: float) -> float:
        """Return the share of the background that reaches ``statistic``, itself counted; see `engines.conformal`."""
        higher = int(np.searchsorted(self._lower, -statistic, side="right"))
        reached = self.file.ranks[higher] - 1 if higher < len(self.file.ranks) else self.file.calibrated
        return (1 + reached) / (self.file.calibrated + 1)


def score(p_value: float, budget: float) -> float:
    """Return how far a p-value is beyond chance, in [0, 1): 0.5 at the budget, 0 at 1.

    With e the digits of rarity, -log10 p, and b those of the budget it is e / (e + b): no probability.

    Example
    -------
    >>> score(0.001, 0.001), round(score(0.0001, 0.001), 3), score(1.0, 0.001)
    (0.5, 0.571, 0.0)
    """
    rarity = -math.log10(p_value)
    return rarity / (rarity - math.log10(budget)) if rarity else 0.0


def make(
    *,
    name: str,
    title: str,
    severity: Severity,
    budget: float,
    bundle: str,
    encoder: str,
    examples: Floats,
    background: Floats,
    source: Source | None = None,
) -> LabelFile:
    """Return a new label of vectors (k, dim) and (n, dim), the background's in the order in which it came.

    With a ``source`` there may be any number of examples.

    Raises
    ------
    ValueError
        There are too few of either or too many examples (see `engines.few_shot.fit`), or the background is too small
        for ``budget`` (`engines.conformal.BudgetError`).
    """
    head = fit(examples, background, len(examples) if source else MOST)
    calibrated = len(head.quiet)
    last = allowed(calibrated, budget)
    ordered = np.sort(head.quiet)[::-1]
    dense = min(calibrated, KEPT // 2)
    ranks = np.union1d(np.arange(dense) + 1, np.linspace(dense, calibrated, KEPT // 2 - 1).round())
    ranks = np.union1d(ranks, [last]).astype(np.int64)
    return LabelFile(
        format=FORMAT,
        name=name,
        title=title,
        severity=severity,
        budget=budget,
        bundle=bundle,
        encoder=encoder,
        examples=len(examples),
        calibrated=calibrated,
        threshold=float(ordered[last - 1]),
        direction=head.direction.tolist(),
        statistics=ordered[ranks - 1].tolist(),
        ranks=ranks.tolist(),
        source=source,
    )


def encoder_digest(bundle: Bundle, precision: Precision = "fp32") -> str:
    """Return 12 hex digits that stand for what makes vectors of texts: another encoder, other vectors."""
    model = INT8 if precision == "int8" and INT8 in bundle.manifest.files else "encoder.onnx"
    files = (bundle.manifest.files[name].sha256 for name in (model, "tokenizer.json", "text.json"))
    return hashlib.sha256("\n".join(files).encode()).hexdigest()[:12]


def _check(file: LabelFile) -> None:
    if file.format != FORMAT:
        raise ValueError(f"it has format {file.format}, this version of Tocsin reads format {FORMAT}")
    if not NAME.fullmatch(file.name):
        raise ValueError(f"{file.name!r} is no name: expected up to 40 of a-z, 0-9 and _, a letter first")
    if not file.title.strip():
        raise ValueError("its title is empty")
    if not 0 < file.budget < 1:
        raise ValueError(f"its budget is {file.budget:g}: expected more than 0 and less than 1")
    if not LEAST <= file.examples <= (file.examples if file.source else MOST):
        raise ValueError(f"it has {file.examples} examples: expected {LEAST} to {MOST}")
    if not np.isfinite([file.threshold, *file.direction, *file.statistics]).all():
        raise ValueError("not all of its numbers are finite")
    if not any(file.direction):
        raise ValueError("its direction is 0 throughout")
    ranks = np.array(file.ranks)
    if not 0 < len(ranks) == len(file.statistics) <= KEPT:
        raise ValueError(
            f"it has {len(file.statistics)} statistics and {len(ranks)} ranks: expected 1 to {KEPT} of both"
        )
    if ranks[0] != 1 or ranks[-1] != file.calibrated or (np.diff(ranks) <= 0).any():
        raise ValueError(f"its ranks do not ascend from 1 to {file.calibrated}")
    if (np.diff(file.statistics) > 0).any():
        raise ValueError("its statistics do not descend")
