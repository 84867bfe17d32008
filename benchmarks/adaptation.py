"""Whether adaptation pays: alarms within their budget after the market has changed, and what is found meanwhile.

    python -m benchmarks.adaptation --data ../shared/data

**Simulated.** Twenty instruments trade for thirty days; on the eleventh volatility is three times what it was, on the
21st what it was. Ticks go through the daemon's engine, scores of `market_anomaly` become episodes as triage makes them,
each over at once 300 s after the last score above its threshold. The fixed threshold is the one that opened as many
episodes as the budget allows on days 4 to 10; with a budget (`engines.alert_budget`, in the daemon where a rule asks
for it) the threshold begins there. A day three jumps are injected, of a quarter, half and all of the size that the
simulator usually gives them (5 to 9 % within seconds, which comes back within minutes); one is found if an episode of
its instrument opens from a minute before it to ten minutes after its end.

**stocknet.** 87 stocks, a bar a day, the fused risk of the bundle that ships (of bars alone), which has learnt nothing
from March 2015 on. The threshold is what a tenth of rows exceed from March to May 2015; June to September are judged,
August is the storm. A row rings or does not; found are days before a large move (more than two trailing standard
deviations). Beside the threshold of each stock that follows its own budget stands one that follows the market
(`engines.conformal.Follow`, which no daemon uses: it looks at all stocks at once), told of all rows, not of quiet ones;
and the same over members that learn (`engines.online`, at its defaults, nor in the daemon): the bundle's risk as it is,
a logistic regression and a forest of River's, each day told what came of the day before.

A fixed threshold that rings more often finds more, too. So beside it stands one that is moved **by hindsight**, to the
level at which it rings as often over the judged days as the budget of each instrument does: the same number of alarms,
placed by what nobody could know before. And beside recall stands what a desk *sees* that has room for the budget and no
more: of each day's alarms the first so many (stocknet, where all come at the close: the highest).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import msgspec
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

from benchmarks.harness import close, table
from engines import alert_budget, anomaly, episodes, features
from engines.alert_budget import Spent
from engines.backtest.bootstrap import average_precision
from engines.bundle import DEFAULT, Bundle
from engines.conformal import Follow, follow, followed_p_values, rings, seen, settled
from engines.episodes import Episode, Transition
from engines.fusion import FusionModel
from engines.online import Forest, Logistic, Online
from engines.opinion import Features
from engines.simulator.events import SHAPES, Effects
from engines.simulator.flow import SECOND_NS, background, ticks_of
from engines.ticks import TickConfig, TickEngine
from engines.training.fusion import FEATURES, load_days
from engines.training.split import SHIPPED
from engines.typologies import TypologySpec

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEEDS = (7201, 7202, 7203)
INSTRUMENTS = 20
DAY_NS = 86_400 * SECOND_NS
BEGIN_NS = 1_741_012_200 * SECOND_NS
SECONDS = 23_400  # of a session
WARM, CALM, STORM, AFTER = 3, 10, 20, 30  # the last day of each part, exclusive
TURMOIL = 3.0
SIZES = (0.25, 0.5, 1.0)
#: Episodes a day of one instrument.
BUDGET = 0.4
#: What the market of stocknet is told of a day: the share of rows that may ring.
SHARE = 0.1
FOLLOW = Follow(levels=(0.02, 0.05, SHARE, 0.2, 0.5), kept=87, step=0.002)
NEAR = 0.2


@dataclass(frozen=True, slots=True)
class Jump:
    """An injected jump: ``size`` is of the usual one, times are int64 ns."""

    instrument: int
    day: int
    size: float
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """Moments that scored more than 0, (n, 2) of ns and score, of each instrument, and what was injected."""

    moments: list[tuple[Ints, Floats]]
    jumps: list[Jump]


@dataclass(frozen=True, slots=True)
class Held:
    """How a threshold did: alarms over the budget, all and by part; recall, and what of it a desk sees."""

    ratio: float
    by_part: dict[str, float]
    recall: dict[str, float]
    sees: float
    daily: Floats


def simulated(seed: int) -> Market:
    """Return what the engine says of thirty days."""
    engine, setup = TickEngine(TickConfig()), np.random.default_rng([seed, 0])
    prices = np.asarray(np.round(np.exp(setup.normal(3.6, 0.7, INSTRUMENTS)), 2), np.float64)
    activity = 1.0 / setup.permutation(np.arange(3, INSTRUMENTS + 3)) ** 0.7
    activity /= activity.sum()
    states = [engine.new_state() for _ in range(INSTRUMENTS)]
    times: list[list[Ints]] = [[] for _ in range(INSTRUMENTS)]
    scores: list[list[Floats]] = [[] for _ in range(INSTRUMENTS)]
    jumps = []
    for day in range(AFTER):
        open_ns, draw = BEGIN_NS + day * DAY_NS, np.random.default_rng([seed, 1 + day])
        base = background(draw, prices, activity, SECONDS, 13.0, TURMOIL if CALM <= day < STORM else 1.0)
        effects = [Effects.none(SECONDS) for _ in range(INSTRUMENTS)]
        for size, i in zip(SIZES, draw.choice(INSTRUMENTS, len(SIZES), replace=False).tolist(), strict=True):
            onset = int(draw.integers(1_800, SECONDS - 1_800))
            start, end, _ = SHAPES["market_anomaly"](draw, effects[i], onset, size, 1.0)
            jumps.append(Jump(i, day, size, open_ns + (start - 60) * SECOND_NS, open_ns + (end + 600) * SECOND_NS))
        for i in range(INSTRUMENTS):
            frame = ticks_of(np.random.default_rng([seed, 1 + day, i]), f"I{i}.X", base, i, effects[i], open_ns)
            prices[i] = float(np.exp(base.log_price[i, -1] + effects[i].drift[-1]))
            for at in range(0, len(frame), 500):
                for track in engine.apply(states[i], frame[at : at + 500]).tracks:
                    if track.head == "anomaly" and not track.silent:
                        times[i].append(track.ts_event[track.score > 0])
                        scores[i].append(track.score[track.score > 0])
    moments = [(np.concatenate(ts), np.concatenate(score)) for ts, score in zip(times, scores, strict=True)]
    return Market(moments, jumps)


def spec_of(opens: float) -> TypologySpec:
    """Return the typology with another threshold, whose episodes end a hold after the last score above it."""
    return msgspec.structs.replace(anomaly.SPEC, open=opens, close=min(0.05, opens), momentary=True)


def openings(market: Market, spec: TypologySpec, budget: float = 0.0) -> list[tuple[int, int]]:
    """Return time (ns) and instrument of each episode, in order; ``budget`` 0: the threshold is fixed."""
    found: list[tuple[int, int]] = []
    for i, (ts, score) in enumerate(market.moments):
        told: list[Transition]
        if budget:
            told = alert_budget.step(spec, budget, Spent(0.0, BEGIN_NS + WARM * DAY_NS), Episode(), ts, score)
        else:
            told = episodes.step(spec, Episode(), ts, score)
        found += [(one.ts, i) for one in told if one.activity == "create"]
    return sorted(found)


def day_of(ts: int) -> int:
    """Return the number of a time's day."""
    return (ts - BEGIN_NS) // DAY_NS


def within(found: Sequence[tuple[int, int]], first: int, last: int) -> int:
    """Return how many episodes opened on days ``[first, last)``."""
    return sum(first <= day_of(ts) < last for ts, _ in found)


def fixed_threshold(markets: Sequence[Market], first: int, last: int, share: float = 1.0) -> float:
    """Return the threshold that opens as many episodes on days ``[first, last)`` as a share of the budget, or fewer."""
    wanted = share * BUDGET * INSTRUMENTS * (last - first) * len(markets)
    low, high = -7.0, 14.0  # log odds
    for _ in range(40):
        middle = (low + high) / 2
        count = sum(within(openings(market, spec_of(1 / (1 + np.exp(-middle)))), first, last) for market in markets)
        low, high = (low, middle) if count <= wanted else (middle, high)
    return float(1 / (1 + np.exp(-high)))


def held(markets: Sequence[Market], opens: float, budget: float) -> Held:
    """Return how a threshold did from the change on."""
    said = [openings(market, spec_of(opens), budget) for market in markets]
    daily = np.array([np.mean([within(found, day, day + 1) for found in said]) for day in range(AFTER)])
    daily /= BUDGET * INSTRUMENTS
    room = round(BUDGET * INSTRUMENTS)
    caught: dict[float, list[bool]] = {size: [] for size in SIZES}
    looked: list[bool] = []
    for market, found in zip(markets, said, strict=True):
        seen_first = [one for day in range(AFTER) for one in [it for it in found if day_of(it[0]) == day][:room]]
        for jump in market.jumps:
            if CALM <= jump.day < STORM:
                caught[jump.size].append(_found(jump, found))
                looked.append(_found(jump, seen_first))
    recall = {f"{size:g}": float(np.mean(hits)) for size, hits in caught.items()}
    parts = {"storm, first half": (CALM, CALM + 5), "storm, second half": (CALM + 5, STORM), "after": (STORM, AFTER)}
    return Held(
        ratio=float(daily[CALM:STORM].mean()),
        by_part={name: float(daily[a:b].mean()) for name, (a, b) in parts.items()},
        recall=recall | {"all": float(np.mean([hit for hits in caught.values() for hit in hits]))},
        sees=float(np.mean(looked)),
        daily=daily,
    )


def _found(jump: Jump, found: Sequence[tuple[int, int]]) -> bool:
    return any(i == jump.instrument and jump.first_ns <= ts <= jump.last_ns for ts, i in found)


@dataclass(frozen=True, slots=True, eq=False)
class Stocks:
    """A row a stock and day: (n,) number of stock and of trading day, risk, large move to come, judged, month.

    ``inputs`` (n, F) is what members learn from as they go.
    """

    stock: Ints
    day: Ints
    risk: Floats
    large: Bools
    judged: Bools
    month: npt.NDArray[np.str_]
    inputs: Floats


class Shipped:
    """The bundle's fused risk as a member that learns nothing."""

    def told(self, features: Features) -> float:
        """Return the probability of a large move."""
        return float(1 / (1 + np.exp(-features["0"])))

    def learn(self, features: Features, risk: bool, weight: float) -> None:
        """Stay as it is."""


def stocknet(data: Path) -> Stocks:
    """Return the rows from March 2015 on."""
    days, model = load_days(data / "stocknet", SHIPPED), FusionModel(Bundle.load(DEFAULT))
    end = days.day * DAY_NS
    risk = np.concatenate(
        [
            model.score(days.bars[at : at + 1024], end[at : at + 1024], {}, end[at : at + 1024]).risk
            for at in range(0, len(end), 1024)
        ]
    )
    stock = np.cumsum(np.diff(days.day, prepend=days.day[0]) < 0)  # rows are by stock, then by day
    kept = days.part != "train"
    _, number = np.unique(days.day[kept], return_inverse=True)
    month = days.day[kept].astype("datetime64[D]").astype("datetime64[M]").astype(np.str_)
    odds = np.log(risk / (1 - risk))
    bars = days.bars[:, [features.NAMES.index(name) for name in FEATURES]]
    return Stocks(
        stock[kept],
        number,
        risk[kept].astype(np.float64),
        days.label[kept] == 1,
        days.part[kept] == "test",
        month,
        np.column_stack([odds, bars, days.trailing])[kept].astype(np.float64),
    )


def learning(stocks: Stocks) -> Stocks:
    """Return the rows with the risk that members tell which learn each day what came of the day before."""
    online = Online({"shipped": Shipped(), "logistic": Logistic(), "forest": Forest(trees=5)})
    risk = np.zeros(len(stocks.risk))
    for day in np.unique(stocks.day).tolist():
        for row in np.flatnonzero(stocks.day == day - 1).tolist():
            online.learn(str(row), risk=bool(stocks.large[row]))
        for row in np.flatnonzero(stocks.day == day).tolist():
            told = {str(number): value for number, value in enumerate(stocks.inputs[row].tolist())}
            risk[row] = online.tell(str(row), told)
    return replace(stocks, risk=risk)


def own_budget(stocks: Stocks, opens: float) -> Bools:
    """Return which rows ring where each stock's threshold follows its own budget, a day being a trading day."""
    rang, spec = np.zeros(len(stocks.risk), np.bool_), msgspec.structs.replace(spec_of(opens), hold_ns=1)
    for stock in np.unique(stocks.stock).tolist():
        rows = np.flatnonzero(stocks.stock == stock)
        ts = (1 + stocks.day[rows]) * DAY_NS
        found = alert_budget.step(spec, SHARE, Spent(0.0, 0), Episode(), ts, stocks.risk[rows])
        rang[rows[[one.index for one in found if one.activity == "create"]]] = True
    return rang


def market_budget(stocks: Stocks) -> Bools:
    """Return which rows ring where one threshold follows all stocks; it begins with the first five days' rows."""
    odds = np.log(stocks.risk / (1 - stocks.risk))
    p = np.ones(len(odds))
    state = follow(FOLLOW, odds[stocks.day < 5])
    for day in range(5, int(stocks.day.max()) + 1):
        rows = np.flatnonzero(stocks.day == day)
        state = seen(FOLLOW, state, odds[rows])
        p[rows] = followed_p_values(FOLLOW, state, odds[rows])
        state = settled(FOLLOW, state, p[rows])
    return rings(FOLLOW, p, SHARE)


def judged(stocks: Stocks, rang: Bools) -> Held:
    """Return how alarms did on the judged months."""
    judged = stocks.judged
    room = np.zeros(len(rang), np.bool_)
    for day in np.unique(stocks.day[judged]).tolist():
        rows = np.flatnonzero((stocks.day == day) & rang)
        most = max(1, round(SHARE * int((stocks.day == day).sum())))
        room[rows[np.argsort(-stocks.risk[rows], kind="stable")][:most]] = True
    large = judged & stocks.large
    months = {str(name): float(rang[judged & (stocks.month == name)].mean() / SHARE) for name in
              np.unique(stocks.month[judged])}  # fmt: skip
    first = int(stocks.day[judged].min())
    daily = np.array([rang[stocks.day == day].mean() / SHARE for day in range(first, int(stocks.day.max()) + 1)])
    return Held(
        ratio=float(rang[judged].mean() / SHARE),
        by_part=months,
        recall={"all": float(rang[large].mean())},
        sees=float(room[large].mean()),
        daily=daily,
    )


def told_well(stocks: Stocks) -> dict[str, float]:
    """Return how well risk tells large moves on the judged months, whatever rings."""
    risk, large = stocks.risk[stocks.judged], stocks.large[stocks.judged]
    loss = -np.log(np.where(large, risk, 1 - risk)).mean()
    return {"average precision": average_precision(large, risk) or 0.0, "log loss": float(loss)}


def draw(path: Path, left: dict[str, Held], right: dict[str, Held]) -> None:
    """Draw alarms over their budget by day, a mean of five days, simulated and of stocknet."""
    with matplotlib.rc_context({"svg.hashsalt": "tocsin", "font.size": 9}):
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
        panels = figure.subplots(1, 2)
        for panel, told, title in zip(
            panels, (left, right), ("simulated", "stocknet, June to September 2015"), strict=True
        ):
            panel.axhspan(1 - NEAR, 1 + NEAR, color="0.9")
            panel.axhline(1, color="0.6", linewidth=0.8)
            for name, one in told.items():
                mean = np.convolve(one.daily, np.ones(5) / 5, "valid")
                panel.plot(np.arange(4, len(one.daily)) + 1, mean, label=name)
            panel.set(title=title, xlabel="trading day", ylabel="alarms over budget, mean of 5 days", ylim=(0, None))
            panel.legend(frameon=False)
        panels[0].axvspan(CALM + 0.5, STORM + 0.5, color="tab:red", alpha=0.06)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with stocknet")
    parser.add_argument("--out", type=Path, default=Path("docs/adaptation.svg"))
    options = parser.parse_args()
    with Progress(console=Console(stderr=True)) as progress, ProcessPoolExecutor() as pool:
        markets = list(progress.track(pool.map(simulated, SEEDS), total=len(SEEDS), description="simulated markets"))
    opens = fixed_threshold(markets, WARM, CALM)
    budget = held(markets, opens, BUDGET)
    hindsight = fixed_threshold(markets, CALM, STORM, budget.ratio)
    simulation = {
        "fixed": held(markets, opens, 0.0),
        "budget": budget,
        "fixed, by hindsight": held(markets, hindsight, 0.0),
    }
    stocks = stocknet(options.data)
    threshold = float(np.quantile(stocks.risk[~stocks.judged], 1 - SHARE))
    learnt = learning(stocks)
    own = own_budget(stocks, threshold)
    spent = float(np.sort(stocks.risk[stocks.judged])[-int(own[stocks.judged].sum())])
    stock = {
        "fixed": judged(stocks, stocks.risk >= threshold),
        "budget of each stock": judged(stocks, own),
        "fixed, by hindsight": judged(stocks, stocks.risk >= spent),
        "budget of the market": judged(stocks, market_budget(stocks)),
        "that, and members that learn": judged(learnt, market_budget(learnt)),
    }
    for title, told in (
        (
            f"Simulated, {len(SEEDS)} markets: alarms over budget (volatility × {TURMOIL:g} on days 11 to 20)",
            simulation,
        ),
        ("stocknet: alarms over budget, June to September 2015", stock),
    ):
        parts, sizes = next(iter(told.values())).by_part, next(iter(told.values())).recall
        table(
            title,
            ["threshold", "whole", *parts, *(f"recall {size}" for size in sizes), "seen"],
            [
                [
                    name,
                    *(f"{value:.2f}" for value in (one.ratio, *one.by_part.values(), *one.recall.values(), one.sees)),
                ]
                for name, one in told.items()
            ],
        )
    risks = {"as it ships": told_well(stocks), "members that learn": told_well(learnt)}
    table(
        "stocknet: risk of a large move, all judged rows",
        ["risk", *risks["as it ships"]],
        [[name, *(f"{value:.3f}" for value in one.values())] for name, one in risks.items()],
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    draw(options.out, simulation, stock)
    close(
        benchmark="adaptation",
        **{
            f"{where}: {name}: {what}": round(value, 3)
            for where, told in (("simulated", simulation), ("stocknet", stock))
            for name, one in told.items()
            for what, value in (("alarms over budget", one.ratio), ("recall", one.recall["all"]), ("seen", one.sees))
        },
        **{f"stocknet: {name}: {what}": round(v, 3) for name, one in risks.items() for what, v in one.items()},
    )


if __name__ == "__main__":
    main()
