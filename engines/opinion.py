"""An opinion of an alert: the probability that an analyst will find it to be a risk, by what was found of others.

It stands beside the score (``finding.probability``) and decides nothing: whether an alert rings is the typology's. What
says it is what River's members had learnt (`engines.progressive`), written down as numbers in a bundle's opinion.json:
a logistic regression and the trees of a forest, each with the weight that its losses of late have left it. So a worker
needs no River and learns nothing, and what it says changes where a model is promoted, at a place in the journal.

An opinion is of what the alert digest covers and nothing else, so that a replay says the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import msgspec

from engines.bundle import Bundle, BundleError
from schemas.alerts import SEVERITIES, Alert
from schemas.errors import UNREADABLE

SPEC = "opinion.json"
#: No probability is told nearer to 0 or 1.
LEAST = 1e-3
#: Digits that are told: the last ones are the machine's.
DIGITS = 4
MODALITIES = ("ticks", "text", "calls", "chart", "audio")
HOUR_NS = 3_600 * 10**9
Features = Mapping[str, float]


def features_of(alert: Alert, typologies: Sequence[str]) -> dict[str, float]:
    """Return what an opinion of an alert is of: always the same names, in the same order.

    ``typologies`` are those that it tells apart, without their versions.
    """
    finding, times = alert.finding, alert.times
    score = min(1 - LEAST, max(LEAST, finding.score))
    angle = 2 * math.pi * (times.event_end / HOUR_NS % 24) / 24
    held = {name: one for name, one in alert.modalities.items() if one.present}
    market = sum(one.kind == "market" for one in alert.quality.drift)
    name = finding.typology.partition("@")[0]
    return {
        "score": math.log(score / (1 - score)),
        "severity": float(SEVERITIES.index(finding.severity)),
        "surprise": 0.0 if finding.p_value is None else -math.log10(max(finding.p_value, 1e-12)),
        "length": math.log1p(max(0, times.event_end - times.event_start) / 1e9),
        "wait": math.log1p(max(0, times.available_at - times.event_end) / 1e9),
        "morning": math.sin(angle),
        "midnight": math.cos(angle),
        "account": float(bool(alert.subject.account)),
        "drift": float(market),
        "flaws": float(len(alert.quality.drift) - market),
        **{f"on {one}": (held[one].weight or 0.0) if one in held else 0.0 for one in MODALITIES},
        **{f"is {one}": float(one == name) for one in typologies},
    }


class Linear(msgspec.Struct, frozen=True, kw_only=True):
    """A logistic regression over features in deviations of those seen; a deviation of 0 says that one never varied."""

    bias: float
    weights: dict[str, float]
    means: dict[str, float]
    deviations: dict[str, float]

    def told(self, features: Features) -> float:
        """Return the probability of a risk."""
        odds = self.bias
        for name, weight in self.weights.items():
            if deviation := self.deviations[name]:
                odds += weight * (features[name] - self.means[name]) / deviation
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))


class Split(msgspec.Struct, frozen=True, array_like=True):
    """Where a tree parts: ``below`` where a feature is at most ``most``. A node is a split, or a leaf's probability."""

    feature: str
    most: float
    below: Split | float
    above: Split | float


class Tree(msgspec.Struct, frozen=True, array_like=True):
    """A tree, and what its vote weighs."""

    weight: float
    root: Split | float


def grown(trees: Sequence[Tree], features: Features) -> float:
    """Return the probability of a risk by a forest, 0.5 where nothing grows."""
    votes = [(tree.weight, _leaf(tree.root, features)) for tree in trees]
    total = sum(weight for weight, _ in votes)
    return sum(weight * share for weight, share in votes) / total if total else 0.5


def _leaf(node: Split | float, features: Features) -> float:
    while isinstance(node, Split):
        node = node.below if features[node.feature] <= node.most else node.above
    return node


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """What opinion.json holds: members, and what each weighs by its losses of late.

    Example
    -------
    >>> mind = Linear(bias=0.0, weights={"score": 1.0}, means={"score": 0.0}, deviations={"score": 1.0})
    >>> Opinion(typologies=[], logistic=mind, forest=[], logistic_weight=1.0, forest_weight=0.0).of({"score": 2.0})
    0.8808
    """

    typologies: list[str]
    logistic: Linear
    forest: list[Tree]
    logistic_weight: float
    forest_weight: float

    def of(self, features: Features) -> float:
        """Return the probability that what has these features is a risk."""
        members = ((self.logistic_weight, self.logistic.told), (self.forest_weight, self._grown))
        told = sum(weight * min(1 - LEAST, max(LEAST, member(features))) for weight, member in members)
        return round(told, DIGITS)

    def probability(self, alert: Alert) -> float:
        """Return the probability that an alert is a risk."""
        return self.of(features_of(alert, self.typologies))

    @property
    def digest(self) -> str:
        """What stands for all that it says."""
        return hashlib.sha256(encoded(self)).hexdigest()

    def _grown(self, features: Features) -> float:
        return grown(self.forest, features)


def encoded(opinion: Opinion) -> bytes:
    """Return what opinion.json is to hold."""
    return msgspec.json.encode(opinion, order="deterministic")


def of(bundle: Bundle) -> Opinion | None:
    """Return a bundle's opinion, or None where it has none.

    Raises
    ------
    BundleError
        It is malformed, or asks for features that there are not.
    """
    if SPEC not in bundle.manifest.files:
        return None
    where = bundle.path / SPEC
    try:
        opinion = msgspec.json.decode(bundle.read(SPEC), type=Opinion)
        names = dict.fromkeys(_names(opinion.typologies), 0.0)
        if unknown := sorted(_asked(opinion) - names.keys()):
            raise BundleError(f"{where} asks for {', '.join(unknown)}, which no alert has: learn it anew")
        opinion.of(names)
    except (*UNREADABLE, KeyError) as error:
        raise BundleError(f"{where} holds no opinion ({error}): learn it anew with `tocsin retrain opinion`") from error
    return opinion


def _names(typologies: Sequence[str]) -> list[str]:
    alone = ("score", "severity", "surprise", "length", "wait", "morning", "midnight", "account", "drift", "flaws")
    return [*alone, *(f"on {one}" for one in MODALITIES), *(f"is {one}" for one in typologies)]


def _asked(opinion: Opinion) -> set[str]:
    asked, waiting = set(opinion.logistic.weights), [tree.root for tree in opinion.forest]
    while waiting:
        if isinstance(node := waiting.pop(), Split):
            asked.add(node.feature)
            waiting += [node.below, node.above]
    return asked
