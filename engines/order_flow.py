"""The order-flow model: what an account's last order events look like, said beside the rules and weighed with them.

A small convolutional network reads the last events of one account in one instrument, scale-free: no price, no name, no
time of day. It gives a calibrated probability a typology. With what the rule of the typology says, `score` makes one:

    score = 1 - (1 - rule) (1 - weight × learned)

So the rule rings as it does without the model, and the model rings alone where it is sure and has earned its weight (on
simulated days that it did not learn from). A rule's score counts for `MEMORY_NS`. It is asked at an account's 8th
event, at each 16th after it, and wherever a rule is half met.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from engines.bundle import Bundle, BundleError
from engines.inference import ORT_CPU, Session, open_session
from engines.order_findings import SPECS, Finding, Pass
from engines.order_state import Ruled
from engines.order_tail import BESIDE, EVENT, EVENTS, Ask
from engines.sessions import SECOND_NS
from engines.typologies import conditions
from engines.typologies.conditions import LEAST_SCORE, Conditions
from schemas.alerts import Attribution, Explanation, RuleResult

Singles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Number = TypeVar("Number", float, Floats)

#: Files of a bundle that has an order-flow model; those without one have neither.
MODEL, SPEC = "order_flow.onnx", "order_flow.json"
#: Rows that run together, always as many, filled up where there are fewer: one shape, so that a row's bits are its own.
BLOCK = 8
#: How long a rule's score counts beside what the model says later.
MEMORY_NS = 300 * SECOND_NS
#: What the network sees of an event, in this order; ``there`` is 0 where the account had no more events.
FEATURES = (
    *("new", "amend", "cancel", "fill", "side", "market", "distance", "size", "pause", "life", "met", "move", "there"),
)
_ACTIONS = ("placed", "amended", "withdrawn", "filled")
#: Stretches of events that are left out in turn to tell what a probability rests on, and how many of them are named.
_CUTS = [EVENTS * i // BLOCK for i in range(BLOCK + 1)]
_NAMED = 3


class OrderFlowSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What order_flow.json holds: a list a field, an entry a typology.

    ``slopes`` and ``intercepts`` turn logits into calibrated log odds; ``weights`` in [0, 1] are what the probability
    counts beside the rule's score, 0 for what is not told.
    """

    typologies: list[str]
    slopes: list[float]
    intercepts: list[float]
    weights: list[float]


class OrderFlowModel:
    """The bundle's order-flow model, on the reference back end: a call costs less than the way to a device and back.

    Raises
    ------
    BundleError
        order_flow.json is malformed or names a typology that is none of orders, or order_flow.onnx does not take and
        give what it says.

    Example
    -------
    >>> model = of(Bundle.load("bundles/default"))
    >>> model.probabilities([]).shape == (0, len(model.spec.typologies))
    True
    """

    session: Session

    def __init__(self, bundle: Bundle) -> None:
        where = bundle.path / SPEC
        self.spec = bundle.decode(SPEC, OrderFlowSpec)
        heads = self.spec.typologies
        lengths = {len(heads), len(self.spec.slopes), len(self.spec.intercepts), len(self.spec.weights)}
        if len(lengths) != 1 or not set(heads) <= SPECS.keys() or not all(0 <= w <= 1 for w in self.spec.weights):
            raise BundleError(
                f"{where}: expected typologies out of {', '.join(SPECS)}, and of each a slope, an intercept and a "
                f"weight in [0, 1]; found {self.spec}"
            )
        graph = bundle.read(MODEL)
        self.digest = hashlib.sha256(graph + bundle.read(SPEC)).hexdigest()[:16]
        self._slopes, self._intercepts = np.array(self.spec.slopes), np.array(self.spec.intercepts)
        #: Of each typology that is told: where it stands, and its weight.
        self._places = {name: (k, w) for k, (name, w) in enumerate(zip(heads, self.spec.weights, strict=True)) if w}
        self.session = open_session(graph, [], [ORT_CPU])
        try:
            found: object = self.log_odds(*_empty(1)).shape
        except Exception as error:  # ONNX Runtime's own have no other base
            found = error
        if found != (1, len(heads)):
            raise BundleError(
                f"{bundle.path / MODEL}: expected a graph that makes (row, {len(heads)}) of events (row, {EVENTS}, "
                f"{len(FEATURES)}) and (row, {len(BESIDE)}); found {found}"
            )

    def probabilities(self, asks: Sequence[Ask]) -> Floats:
        """Return the calibrated probability of each typology, float64 (ask, typology); a row's bits are its own."""
        return sigmoid(self.log_odds(*seen(asks)))

    def weigh(self, run: Pass) -> None:
        """Let what the model says of the moments of ``run`` count beside what rules found at them, in place."""
        if not run.asks:
            return
        found = [finding for finding in run.findings if finding.ask < 0]
        for (ask, findings), told in zip(moments(run), self.probabilities(run.asks).tolist(), strict=True):
            found += self._weighed(ask, findings, told)
        run.findings = sorted(found, key=lambda finding: finding.ts_event)

    def _weighed(self, ask: Ask, findings: list[Finding], told: list[float]) -> Iterator[Finding]:
        """Yield the rules' findings of one moment, weighed, and those that the model adds."""
        rules = remember(ask, findings)
        heads = {finding.head for finding in findings}
        for head, (k, weight) in self._places.items():
            if head not in heads and weight * told[k] >= LEAST_SCORE:
                rule = rules.get(head, Ruled(0, 0.0, ()))
                first_ns = int(np.frombuffer(ask.events, EVENT, 1)["ts"][0])
                moment = (head, ask.account.name, ask.ts_event, ask.ts_available, first_ns)
                findings.append(Finding(*moment, rule.conditions, rule.score))
        for one in findings:
            k, weight = self._places.get(one.head, (0, 0.0))
            if not weight:
                yield one
                continue
            explain = partial(self.explain, ask, k, one.score, one.conditions)
            yield one._replace(score=score(one.score, told[k], weight), explain=explain)

    def explain(self, ask: Ask, k: int, rule: float, found: Conditions) -> Explanation:
        """Return what typology ``k`` rests on: each of the rule's conditions, the model's part, and which events."""
        head, weight = self.spec.typologies[k], self.spec.weights[k]
        events, beside = seen([ask])
        whole = self.log_odds(events, beside)[0, k]
        without = np.repeat(events, BLOCK, axis=0)  # (BLOCK, event, feature)
        for row, (a, b) in zip(without, itertools.pairwise(_CUTS), strict=True):
            row[a:b] = 0.0
        moved = whole - self.log_odds(without, np.repeat(beside, BLOCK, axis=0))[:, k]  # (BLOCK,)
        learned, spec = float(sigmoid(whole)), SPECS[head]
        told = conditions.explain(found) if found else Explanation()
        # What the model may say at most for the two together to stay below.
        most = 1.0 - (1.0 - spec.open) / (1.0 - rule) if rule < spec.open else 0.0
        parts = [
            RuleResult(name=f"rule of {head}", value=rule, threshold=spec.open, unit="score"),
            RuleResult(
                name="order-flow model", value=learned, threshold=most / weight, unit="probability", weight=weight
            ),
        ]
        if rule >= spec.open:
            clears = told.clears if learned * weight < LEAST_SCORE else f"{told.clears}; and order-flow model lower"
        else:
            clears = f"order-flow model below {most / weight:.4g} (probability; it was {learned:.4g})"
        return Explanation(
            rules=[*told.rules, *parts],
            attributions=_attributions(np.frombuffer(ask.events, EVENT), moved),
            clears=clears,
        )

    def log_odds(self, events: Singles, beside: Singles) -> Floats:
        """Return calibrated log odds (row, typology) of events (row, event, feature) and what stands beside them."""
        n = len(events)
        rows = -(-n // BLOCK) * BLOCK
        x, c = _empty(rows)
        x[:n], c[:n] = events, beside
        cuts = [slice(i, i + BLOCK) for i in range(0, rows, BLOCK)]
        told = [np.zeros((0, len(self._slopes)))]
        told += [np.asarray(self.session.run({"events": x[cut], "beside": c[cut]})[0], np.float64) for cut in cuts]
        return np.asarray(np.concatenate(told)[:n] * self._slopes + self._intercepts, np.float64)


def of(bundle: Bundle) -> OrderFlowModel | None:
    """Return the bundle's order-flow model, None where it has none.

    Raises
    ------
    BundleError
        The bundle has one of the two files only, or they do not fit.
    """
    return OrderFlowModel(bundle) if bundle.has_both(MODEL, SPEC) else None


def moments(run: Pass) -> list[tuple[Ask, list[Finding]]]:
    """Return each ask of ``run`` with what rules found at that moment."""
    found: list[list[Finding]] = [[] for _ in run.asks]
    for finding in run.findings:
        if finding.ask >= 0:
            found[finding.ask].append(finding)
    return list(zip(run.asks, found, strict=True))


def remember(ask: Ask, findings: Sequence[Finding]) -> dict[str, Ruled]:
    """Note what rules found at a moment in its account, and return what each said highest within `MEMORY_NS`."""
    kept, since_ns = ask.account.ruled, ask.ts_event - MEMORY_NS
    for one in findings:
        before = kept.get(one.head)
        if before is None or before.ts_event < since_ns or before.score <= one.score:
            kept[one.head] = Ruled(ask.ts_event, one.score, one.conditions)
    return {head: rule for head, rule in kept.items() if rule.ts_event >= since_ns}


def score(rule: Number, learned: Number, weight: float) -> Number:
    """Return the one score of both, of any shape: a rule's where the model says nothing, and more where it agrees.

    Example
    -------
    >>> score(0.5, 0.0, 0.8), round(score(0.3, 0.9, 0.5), 3)
    (0.5, 0.615)
    """
    return 1.0 - (1.0 - rule) * (1.0 - weight * learned)


def seen(asks: Sequence[Ask]) -> tuple[Singles, Singles]:
    """Return what the network sees: float32 (ask, EVENTS, FEATURES), the newest event last, and (ask, BESIDE).

    Distances and moves of the price are in the instrument's standard deviations of a minute, sizes in median depths;
    sides are those of the newest event or the other (so that buying and selling look alike). What the oldest event came
    after is not known, and 0.
    """
    x, beside = _empty(len(asks))
    if not asks:
        return x, beside
    counts = np.array([len(one.events) // EVENT.itemsize for one in asks])
    raw = np.frombuffer(b"".join(one.events for one in asks), EVENT)  # (event of all,)
    row = np.repeat(np.arange(len(asks)), counts)
    ends = np.cumsum(counts)
    place = np.arange(len(raw)) - np.repeat(ends - EVENTS, counts)  # the newest of each row is at EVENTS - 1
    first = np.zeros(len(raw), bool)
    first[ends - counts] = True
    action, sign = raw["code"] % 4, np.where(raw["code"] >= 4, 1.0, -1.0)
    sd = np.repeat([one.minute_sd for one in asks], counts)
    depth = np.repeat([one.depth for one in asks], counts)
    last, price = raw["last"].astype(np.float64), raw["price"].astype(np.float64)
    move = np.where(first, 0.0, last / np.concatenate([last[:1], last[:-1]]) - 1.0) / sd
    pause_s = np.where(first, 0.0, np.diff(raw["ts"], prepend=raw["ts"][0]) / 1e9)
    columns = {
        "side": sign * np.repeat(sign[ends - 1], counts),
        "market": price == 0.0,
        "distance": np.where(price == 0.0, 0.0, np.tanh(0.25 * sign * (1.0 - price) / sd)),
        "size": 0.5 * np.log1p(raw["size"] / depth),
        "pause": np.where(first, 0.0, _decades(pause_s)),
        "life": np.where(action == 0, 0.0, _decades(raw["life"])),
        "met": raw["met"],
        "move": np.tanh(0.5 * sign * move),
        "there": 1.0,
    }
    for k, name in enumerate(FEATURES):
        x[row, place, k] = columns.get(name, action == k)
    beside[:] = [one.beside for one in asks]
    return x, beside


def _attributions(raw: npt.NDArray[np.void], moved: Floats) -> list[Attribution]:
    """Return the stretches of an account's events that moved the log odds most, of what each ``moved`` (BLOCK,)."""
    found = []
    for i in np.argsort(-np.abs(moved), kind="stable").tolist():
        part = raw[max(0, _CUTS[i] - EVENTS + len(raw)) : max(0, _CUTS[i + 1] - EVENTS + len(raw))]
        if len(part):
            action, buys = part["code"] % 4, int(np.count_nonzero(part["code"] >= 4))
            did = [f"{n} {name}" for k, name in enumerate(_ACTIONS) if (n := int(np.count_nonzero(action == k)))]
            found.append(
                Attribution(
                    topic="orders",
                    locator=f"ns {part['ts'][0]}:{part['ts'][-1]}",
                    weight=moved.item(i),
                    excerpt=f"{', '.join(did)}; {buys} of {len(part)} to buy",
                )
            )
    return found[:_NAMED]


def _empty(rows: int) -> tuple[Singles, Singles]:
    return np.zeros((rows, EVENTS, len(FEATURES)), np.float32), np.zeros((rows, len(BESIDE)), np.float32)


def _decades(seconds: npt.NDArray[np.floating]) -> Floats:
    """Return times in decades from a millisecond on, a third of each."""
    return np.asarray(np.log10(1.0 + 1e3 * seconds) / 3.0, np.float64)


def sigmoid(log_odds: Floats) -> Floats:
    """Return probabilities of log odds, both of any shape."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * log_odds), np.float64)  # without overflow
