"""Trains the order-flow model on simulated days, and says what it adds to the rules on days it never saw.

A row is a moment at which the daemon would ask: the order engine plays a day, and what it asks is kept. A row's label
is 1 for a typology from the onset of one of its events to the end, on its instruments, by its accounts; before the
onset, and within ten minutes after the end, it is not known. What is judged is an account's day in one instrument, by
the highest score in it: that is what an analyst opens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import torch
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from engines import order_flow
from engines.bundle import Metric, Part, Source, sha256_of
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.labels import Label
from engines.order_findings import SPECS, OrderConfig, Pass
from engines.order_flow import OrderFlowSpec, moments, remember, seen
from engines.order_tail import BESIDE, EVENTS
from engines.orders import OrderEngine
from engines.sessions import NEVER_NS
from engines.simulator.day import Config, simulate
from engines.simulator.lob import plan as lob_plan
from engines.simulator.words import Company
from engines.training.calibration import log_odds
from engines.training.export import onnx_of
from engines.training.measures import BINARY, Measure, judge
from engines.training.models import order_flow as network
from engines.training.models.order_flow import Bits, Floats, Halves, Ints, Singles
from schemas.frames import Frame
from schemas.order_frames import OrderFrame
from schemas.records import News

SEED = 0
TYPOLOGIES = tuple(SPECS)
#: A simulated day: its seed, and the strength and disguise of what is done in it.
Level = tuple[int, float, float]
#: The days that the shipped model is made of, of one model of order flow, and those that it is tested on, of both.
LEARN: tuple[Level, ...] = (
    *((7_001, 1.0, 0.0), (7_002, 0.5, 0.0), (7_003, 1.0, 0.5), (7_005, 0.5, 0.5)),
    *((7_006, 1.0, 0.25), (7_007, 0.75, 0.0), (7_008, 0.5, 0.25), (7_009, 1.0, 0.0)),
)
VALIDATE: tuple[Level, ...] = ((7_004, 0.25, 0.0), (7_010, 0.5, 0.0), (7_011, 1.0, 0.5))
PARTS: Mapping[str, tuple[Literal["agents", "queues"], tuple[Level, ...]]] = {
    "train": ("agents", LEARN),
    "validate": ("agents", VALIDATE),
    "test, agents": ("agents", ((7_101, 1.0, 0.0), (7_102, 0.5, 0.0), (7_103, 0.25, 0.0))),
    "test, queues": ("queues", ((7_151, 1.0, 0.0), (7_152, 0.5, 0.0), (7_153, 0.25, 0.0))),
}
SOURCE = Source(
    name="simulated order books",
    stage="training",
    origin="engines/simulator/lob",
    licence="Apache-2.0",
    may_train_what_ships=True,
    window="none: made by agents",
    sha256={
        f"engines/simulator/lob/{path.name}": sha256_of(path)
        for path in sorted(Path(lob_plan.__file__).parent.glob("*.py"))
    },
    note="No order of a real market is among them.",
)
#: How long after its end an event is not held against a row, ns.
_AFTER_NS = 600_000_000_000
#: Of rows that nothing happened at, one of so many is learnt from.
_EVERY = 4
#: A frame has at most so many rows, and is of one minute.
_ROWS, _MINUTE_NS = 500, 60_000_000_000
RINGS = 0.5
MEASURES: Mapping[str, Measure] = {
    "average_precision": BINARY["average_precision"],
    "recall": lambda y, p: float(np.mean(p[y == 1, 1] >= RINGS)) if y.any() else float("nan"),
    "false_per_1000": lambda y, p: 1e3 * float(np.mean((y == 0) & (p[:, 1] >= RINGS))),
}


#: Contenders of which it is known when they ring.
_RING = ("tocsin", "champion", "rules")
#: What contenders say of units (unit,), by typology and contender.
Said = Mapping[str, Mapping[str, Floats]]


class Played(NamedTuple):
    """A day: what came of each instrument in order, and what is known to have happened. ``model`` made its orders."""

    name: str
    model: str
    items: Mapping[str, Sequence[OrderFrame | Frame | News]]
    labels: Sequence[Label]


def simulated(part: str, advance: Callable[[], None] = lambda: None) -> Iterator[Played]:
    """Yield the days of a part (see `PARTS`); ``advance`` is called after each."""
    model, levels = PARTS[part]
    listings = SymbolMaster.load(DEFAULT_SYMBOLS).listings.values()
    companies = [Company(one.instrument, one.symbol, one.name or one.symbol) for one in listings]
    for seed, strength, disguise in levels:
        yield played(Config(model=model, seed=seed, strength=strength, disguise=disguise), companies)
        advance()


def played(config: Config, companies: list[Company]) -> Played:
    """Return a day of order books that is simulated here."""
    (day,) = simulate(config, companies)
    ticks = {frame.instrument: frame for frame in day.ticks}
    news: dict[str, list[News]] = {}
    for one in (one for article in day.articles for one in article.news()):
        news.setdefault(one.instrument, []).append(one)
    items = {o.instrument: items_of(o, ticks[o.instrument], news.get(o.instrument, ())) for o in day.order_frames}
    return Played(f"{config.model}-{config.seed}", config.model, items, day.labels)


@dataclass(slots=True)
class Rows:
    """Moments of days: ``events`` (row, EVENTS, feature), ``beside`` (row, number), ``labels`` (row, typology).

    ``rules`` (row, typology) are what rules said that counts then. ``unit`` (row,) numbers accounts' days in an
    instrument: ``happened`` and ``ruled`` (unit, typology), in ``block`` (unit,), an instrument's day; ``names`` of
    them are day, instrument, account.
    """

    events: Halves
    beside: Singles
    labels: Bits
    rules: Floats
    unit: Ints
    happened: Bits
    ruled: Floats
    block: Ints
    names: list[tuple[str, str, str]]


@dataclass(slots=True)
class _Asked:
    """A weigher that answers nothing and keeps what it was asked, and what rules found."""

    events: list[Halves] = field(default_factory=list)
    beside: list[Singles] = field(default_factory=list)
    rules: list[list[float]] = field(default_factory=list)
    at: list[tuple[str, int]] = field(default_factory=list)
    ruled: dict[str, dict[str, float]] = field(default_factory=dict)

    def weigh(self, run: Pass) -> None:
        """Keep what is asked."""
        for finding in run.findings:
            scores = self.ruled.setdefault(finding.account, {})
            scores[finding.head] = max(scores.get(finding.head, 0.0), finding.score)
        if run.asks:
            events, beside = seen(run.asks)
            self.events.append(events.astype(np.float16))
            self.beside.append(beside)
        for ask, findings in moments(run):
            rules = remember(ask, findings)
            self.rules.append([rules[name].score if name in rules else 0.0 for name in TYPOLOGIES])
            self.at.append((ask.account.name, ask.ts_event))


def rows_of(days: Iterable[Played], *, thinned: bool = False) -> Rows:
    """Return the rows of days, each instrument played by an engine of its own state.

    If ``thinned``, all that are near an event or a rule, and one of `_EVERY` others.
    """
    parts = [_of_instrument(day, key, thinned) for day in days for key in sorted(day.items)]
    units = np.cumsum([0, *(len(part.names) for part in parts)])
    return Rows(
        events=np.concatenate([part.events for part in parts]),
        beside=np.concatenate([part.beside for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        rules=np.concatenate([part.rules for part in parts]),
        unit=np.concatenate([part.unit + first for part, first in zip(parts, units, strict=False)]),
        happened=np.concatenate([part.happened for part in parts]),
        ruled=np.concatenate([part.ruled for part in parts]),
        block=np.repeat(np.arange(len(parts)), [len(part.names) for part in parts]),
        names=[name for part in parts for name in part.names],
    )


def _of_instrument(day: Played, key: str, thinned: bool) -> Rows:
    asked = _Asked()
    engine = OrderEngine(OrderConfig(), asked)
    state = engine.new_state()
    for item in day.items[key]:
        if isinstance(item, OrderFrame):
            engine.apply(state, item)
        elif state.origin_ns >= 0 and isinstance(item, Frame):
            engine.observe(state, item[item.ts_event >= state.origin_ns + _MINUTE_NS])  # as `agents.orders` does
        elif state.origin_ns >= 0 and isinstance(item, News):
            engine.hear(state, item)
    engine.advance(state, NEVER_NS)  # every look at news that is still to come
    names = sorted({account for account, _ in asked.at} | asked.ruled.keys())
    unit = {account: n for n, account in enumerate(names)}
    ts = np.array([ts_event for _, ts_event in asked.at], np.int64)
    of = np.array([unit[account] for account, _ in asked.at], np.int64)
    labels = np.zeros((len(ts), len(TYPOLOGIES)), np.int8)
    happened = np.zeros((len(names), len(TYPOLOGIES)), np.int8)
    for label in day.labels:
        if label.benign or label.typology not in TYPOLOGIES or key not in label.instruments:
            continue
        k = TYPOLOGIES.index(label.typology)
        for one in (unit[account] for account in label.accounts if account in unit):
            happened[one, k] = 1
            near = (of == one) & (ts >= label.start_ns) & (ts <= label.end_ns + _AFTER_NS)
            on = near & (ts >= label.onset_ns) & (ts <= label.end_ns)
            labels[near & (labels[:, k] == 0), k] = -1
            labels[on, k] = 1
    ruled = np.zeros((len(names), len(TYPOLOGIES)))
    for account, scores in asked.ruled.items():
        ruled[unit[account]] = [scores.get(name, 0.0) for name in TYPOLOGIES]
    events, beside = seen([])
    rules = np.array(asked.rules, np.float64).reshape(len(ts), len(TYPOLOGIES))
    near = (labels != 0).any(1) | rules.any(1)
    taken = np.flatnonzero(near | (np.arange(len(ts)) % _EVERY == 0)) if thinned else np.arange(len(ts))
    return Rows(
        events=np.concatenate([events.astype(np.float16), *asked.events])[taken],
        beside=np.concatenate([beside, *asked.beside])[taken],
        labels=labels[taken],
        rules=rules[taken],
        unit=of[taken],
        happened=happened,
        ruled=ruled,
        block=np.zeros(len(names), np.int64),
        names=[(day.name, key, account) for account in names],
    )


def items_of(orders: OrderFrame, ticks: Frame, news: Sequence[News]) -> list[OrderFrame | Frame | News]:
    """Return an instrument's day in order: frames of some hundred rows, each after what came before its end."""
    found: list[OrderFrame | Frame | News] = []
    minutes = 1 + np.flatnonzero(np.diff(orders.ts_available // _MINUTE_NS))
    heard = orders.ts_available.searchsorted([one.ts_available for one in news])
    cuts = sorted({*range(0, len(orders), _ROWS), *minutes.tolist(), *heard.tolist(), len(orders)})
    seen_ticks, told = 0, sorted(news, key=lambda one: one.ts_available)
    for first, last in pairwise(cuts):
        while told and told[0].ts_available <= orders.ts_available[first]:
            found.append(told.pop(0))
        until = int(ticks.ts_available.searchsorted(orders.ts_available[last - 1], side="right"))
        found += [ticks[seen_ticks:until], orders[first:last]]
        seen_ticks = until
    return found


class Learnt(NamedTuple):
    """What was learnt: the network, and its spec with calibration and weights."""

    model: network.Network
    spec: OrderFlowSpec

    def files(self) -> dict[str, bytes]:
        """Return the files of a bundle."""
        example = {
            "events": torch.zeros(2, EVENTS, len(order_flow.FEATURES)),
            "beside": torch.zeros(2, len(BESIDE)),
        }
        graph = onnx_of(self.model, example, ["logits"])
        return {order_flow.MODEL: graph, order_flow.SPEC: msgspec.json.format(msgspec.json.encode(self.spec), indent=1)}

    def said(self) -> str:
        """Say what it weighs."""
        weights = ", ".join(f"{name} {weight:g}" for name, weight in zip(TYPOLOGIES, self.spec.weights, strict=True))
        return f"Weights beside the rules, fitted on the days to validate: {weights}. It has no say in the fused risk."

    def probabilities(self, rows: Rows) -> Floats:
        """Return calibrated probabilities (row, typology)."""
        odds = network.logits(self.model, rows.events, rows.beside) * self.spec.slopes + self.spec.intercepts
        return order_flow.sigmoid(odds)


def learn(train: Rows, validate: Rows, step: Callable[[], None]) -> Learnt:
    """Return what is learnt from ``train``, calibrated and weighed on ``validate``; ``step`` is called each epoch."""
    model = network.fit(train.events, train.beside, train.labels, SEED, step)
    told = network.logits(model, validate.events, validate.beside)
    slopes, intercepts = [], []
    for k in range(len(TYPOLOGIES)):
        known = validate.labels[:, k] >= 0
        truth = validate.labels[known, k]
        slope, intercept = 0.0, float(log_odds(np.zeros(1))[0])  # what never happened is not told
        if truth.any():
            platt = LogisticRegression(C=1.0, max_iter=1000).fit(told[known, k : k + 1], truth)
            slope, intercept = float(platt.coef_[0, 0]), float(platt.intercept_[0])
        slopes.append(round(slope, 6))
        intercepts.append(round(intercept, 6))
    spec = OrderFlowSpec(
        typologies=list(TYPOLOGIES), slopes=slopes, intercepts=intercepts, weights=[0.0] * len(TYPOLOGIES)
    )
    learnt = Learnt(model, spec)
    weights = weights_of(validate, learnt.probabilities(validate))
    return learnt._replace(spec=msgspec.structs.replace(spec, weights=weights))


def weights_of(rows: Rows, probabilities: Floats) -> list[float]:
    """Return the weight of each typology at which most is gained: accounts' days caught less those rung for wrongly.

    Of weights that gain as much the one in their middle, 0 if none gains.
    """
    grid = np.round(np.arange(0.0, 1.001, 0.05), 2)
    weights = []
    for k in range(len(TYPOLOGIES)):
        gains = []
        for weight in grid:
            rings = scores(rows, probabilities[:, k], k, weight) >= RINGS
            gains.append(int(np.sum(rings & (rows.happened[:, k] == 1)) - np.sum(rings & (rows.happened[:, k] == 0))))
        best = np.flatnonzero(np.array(gains) == max(gains))
        weights.append(0.0 if gains[0] == max(gains) else float(grid[best[len(best) // 2]]))
    return weights


def scores(rows: Rows, probability: Floats, k: int, weight: float) -> Floats:
    """Return the highest score of each unit for typology ``k``: of rules, and of both, given ``probability`` (row,)."""
    found = rows.ruled[:, k].copy()
    np.maximum.at(found, rows.unit, order_flow.score(rows.rules[:, k], probability, weight))
    return found


def highest(rows: Rows, told: Floats) -> Floats:
    """Return the highest of ``told`` (row,) of each unit, 0 where there is no row."""
    found = np.zeros(len(rows.names))
    np.maximum.at(found, rows.unit, told)
    return found


def contenders(train: Rows, rows: Rows, learnt: Learnt) -> Said:
    """Return what everybody says of each typology of the units of ``rows``, the weighed score first."""
    probabilities = learnt.probabilities(rows)
    before, now = _summary(train), _summary(rows)
    said = {}
    for k, name in enumerate(TYPOLOGIES):
        known = train.labels[:, k] >= 0
        plain = np.zeros(len(now))
        if train.labels[known, k].any():
            fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
            plain = fitted.fit(before[known], train.labels[known, k]).predict_proba(now)[:, 1]
        said[name] = {
            "tocsin": scores(rows, probabilities[:, k], k, learnt.spec.weights[k]),
            "rules": rows.ruled[:, k],
            "network": highest(rows, probabilities[:, k]),
            "logistic": highest(rows, plain),
        }
    return said


def _summary(rows: Rows) -> Singles:
    """Return counts of what the events are (row, number): each feature's mean and deviation, how many, and beside."""
    parts = []
    for at in np.array_split(np.arange(len(rows.unit)), len(rows.unit) // 8192 + 1):
        events = rows.events[at].astype(np.float32)  # (part, event, feature)
        there = events[:, :, -1].sum(1, keepdims=True)  # (part, 1)
        mean = events.sum(1) / np.maximum(there, 1.0)  # (part, feature)
        square = (events**2).sum(1) / np.maximum(there, 1.0)  # (part, feature)
        parts.append(np.hstack([mean, np.sqrt(np.maximum(square - mean**2, 0.0)), there, rows.beside[at]]))
    return np.concatenate(parts).astype(np.float32)


def measure(rows: Rows, said: Said) -> dict[str, Metric]:
    """Return each measure of each contender by typology, and the prevalence; intervals draw instruments' days."""
    found: dict[str, Metric] = {}
    for name, told in said.items():
        truth = rows.happened[:, TYPOLOGIES.index(name)].astype(np.int64)
        if not truth.any():
            continue
        for contender, score in told.items():
            of = MEASURES if contender in _RING else {"average_precision": MEASURES["average_precision"]}
            for key, metric in judge(of, truth, np.stack([1 - score, score], 1), rows.block, SEED).items():
                found[f"{name} {contender} {key}"] = metric
        share = round(float(truth.mean()), 4)
        found[f"{name} prevalence average_precision"] = Metric(share, share, share)
    return found


def train(progress: Progress) -> tuple[dict[str, bytes], Part]:
    """Return the files of an order-flow model, learnt from days that are simulated here, and how it was made."""
    bar = progress.add_task("order books", total=sum(len(levels) for _, levels in PARTS.values()))
    days = {name: rows_of(simulated(name, lambda: progress.advance(bar)), thinned=name == "train") for name in PARTS}
    fits = progress.add_task("order flow", total=network.EPOCHS)
    return made(days, lambda: progress.advance(fits))


def made(days: Mapping[str, Rows], step: Callable[[], None]) -> tuple[dict[str, bytes], Part]:
    """Return the files of what is learnt from the rows of all `PARTS`, and how it was made; ``step`` as `learn`'s."""
    learnt = learn(days["train"], days["validate"], step)
    metrics: dict[str, dict[str, Metric]] = {}
    for name in ("test, agents", "test, queues"):
        metrics |= told(PARTS[name][0], days["train"], days[name], learnt)
    return learnt.files(), Part(
        task="misconduct in an account's last order events",
        split={name: len(rows.unit) for name, rows in days.items()},
        split_rule='By seed of the simulated day; the days of "queues" are of a model of order flow that nothing was '
        "learnt from. A row is a moment at which the daemon asks; measures are of accounts' days in an instrument, by "
        "the highest score of the day, and draw instruments' days.",
        metrics=metrics,
        notes=[
            "Never saw real order flow: the days are simulated, misconduct and all.",
            learnt.said(),
        ],
    )


def told(
    of: str, train: Rows, rows: Rows, learnt: Learnt, champion: Mapping[str, Floats] | None = None
) -> dict[str, dict[str, Metric]]:
    """Return what each contender reaches on the rows of days, as a bundle tells it; ``of`` names the days.

    ``champion`` (unit,) by typology is what the model says that serves, where there is one.
    """
    said = {
        name: {**each, **({"champion": champion[name]} if champion and name in champion else {})}
        for name, each in contenders(train, rows, learnt).items()
    }
    found: dict[str, dict[str, Metric]] = {}
    for key, metric in measure(rows, said).items():
        who, _, measured = key.rpartition(" ")
        found.setdefault(f"{of} {who}", {})[measured] = metric
    return found
