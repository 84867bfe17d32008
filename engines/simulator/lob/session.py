"""A day's session in order books: conditions, background, events, and what the feed says of all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import Literal

import numpy as np

from engines.simulator import people
from engines.simulator.events import ALL, Effects, Event, Floats, Happened, ramp
from engines.simulator.flow import ROWS_PER_ARRIVAL, SECOND_NS, TICK, Background, clusters
from engines.simulator.lob import agents, arbitrage, queues
from engines.simulator.lob.plan import Planned, Scheme, place
from engines.simulator.lob.stage import Stage
from engines.simulator.lob.tape import orders_of, ticks_of
from engines.simulator.lob.units import Units, measure
from engines.simulator.lob.world import CLIENTS, FIRST_OF_EVENTS, Conditions, Model, World
from engines.simulator.words import Company, Tone
from schemas.frames import Frame
from schemas.order_frames import OrderFrame

MODELS: dict[str, tuple[Callable[[World], Model], float]] = {
    "agents": (agents.Agents, agents.ROWS_PER_ARRIVAL),
    "queues": (queues.Queues, queues.ROWS_PER_ARRIVAL),
}
#: Every so manieth company is listed on the second venue too.
SECOND_VENUE_EVERY = 5
SECOND_VENUE = "XTOD"
_CLUSTER = 3.0
_BURST_S, _BURST_STEP_S, _BURST = 40, 10, 0.65  # memory and grid of how lively the market is, deviation of its log
_ACCOUNTS_A_DAY = 200
_LEAST_NS = 60 * SECOND_NS  # of a label: an event of one order is still to be found once it is over


@dataclass(frozen=True, slots=True)
class _Weight:
    """How words move the value: by a share of it between two bounds, from some seconds after them, over some more."""

    least: float
    most: float
    lag_s: tuple[int, int]
    span_s: tuple[int, int]


#: By what was written or said; a headline about the whole market moves each instrument by a quarter.
_WEIGHTS = {
    "news": _Weight(0.001, 0.006, (2, 20), (30, 120)),
    "post": _Weight(0.0002, 0.001, (20, 90), (60, 240)),
    "call": _Weight(0.0003, 0.0012, (5, 30), (30, 90)),
}


@dataclass(frozen=True, slots=True)
class Heard:
    """Words of the background that move a price: about company ``index`` or `ALL`, in a second of the session."""

    second: int
    index: int
    tone: Tone
    channel: Literal["news", "post", "call"]


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """Frames of the whole day: those of companies in their order, then those of second venues."""

    ticks: list[Frame]
    orders: list[OrderFrame]
    happened: list[Happened]


@dataclass(frozen=True, slots=True, eq=False)
class _Company:
    """A company's instruments and the seeds of its day; the first instrument is its main one."""

    number: int
    instruments: list[str]
    arrivals: np.random.SeedSequence
    feed: np.random.SeedSequence
    bursts: Floats  # how lively each second is, mean square 1
    seed: int


def play(
    model: str,
    seed: np.random.SeedSequence,
    base: Background,
    companies: Sequence[Company],
    activity: Floats,
    heard: Sequence[Heard],
    typologies: tuple[str, ...],
    *,
    strength: float,
    disguise: float,
    open_ns: int,
    number: int,
    first_order: int,
) -> Session:
    """Play one day; ``number`` counts days, orders are numbered from ``first_order``."""
    seconds = base.log_price.shape[1]
    plan_seed, news_seed, accounts_seed, *others = seed.spawn(3 + 2 * len(companies))
    made = [
        _Company(
            i,
            [company.instrument, *([f"{company.symbol}.{SECOND_VENUE}"] if i % SECOND_VENUE_EVERY == 0 else [])],
            others[2 * i],
            others[2 * i + 1],
            _bursts(np.random.default_rng(others[2 * i].spawn(1)[0]), seconds),
            int(others[2 * i].generate_state(1)[0]),
        )
        for i, company in enumerate(companies)
    ]
    planned, effects = place(
        np.random.default_rng(plan_seed),
        typologies,
        activity,
        [len(one.instruments) for one in made],
        seconds,
        strength,
    )
    quiet = [Effects.none(seconds) for _ in companies]
    _hear(np.random.default_rng(news_seed), heard, (quiet, effects))
    cast = _cast(np.random.default_rng(accounts_seed), planned, disguise, FIRST_OF_EVENTS + number * _ACCOUNTS_A_DAY)
    ticks: list[list[Frame]] = []
    orders: list[list[OrderFrame]] = []
    happened = [_everywhere(one.event, made, open_ns) for one in planned if one.event.index == ALL]
    for company in made:
        mine = [(one, cast[k]) for k, one in enumerate(planned) if one.event.index == company.number]
        played = [(one, accounts, one.kind.scheme) for one, accounts in mine if one.kind.scheme]
        units: list[Units] = []
        if played:
            before = _world(model, company, base, quiet[company.number], [], [], strength, disguise, [])
            units = [
                measure(*_frames(company, venue, before, [], open_ns, 0), open_ns, seconds)
                for venue in range(len(company.instruments))
            ]
        stages: list[Stage] = []
        world = _world(model, company, base, effects[company.number], played, units, strength, disguise, stages)
        frames = [
            _frames(company, venue, world, effects[company.number].halts, open_ns, first_order + 10_000_000 * k)
            for venue, k in enumerate((company.number, len(companies) + company.number))
            if venue < len(company.instruments)
        ]
        ticks.append([frame for frame, _ in frames])
        orders.append([frame for _, frame in frames])
        happened += [_plain(one.event, company, open_ns) for one, _ in mine if not one.kind.scheme]
        happened += [
            _acted(one.event, stage, company, open_ns)
            for (one, *_), stage in zip(played, stages, strict=True)
            if stage.first_ns >= 0
        ]
    return Session(
        [one[0] for one in ticks] + [one[1] for one in ticks if len(one) > 1],
        [one[0] for one in orders] + [one[1] for one in orders if len(one) > 1],
        sorted(happened, key=lambda one: (one.onset_ns, one.event.typology)),
    )


def _hear(rng: np.random.Generator, words: Sequence[Heard], heard_by: tuple[list[Effects], list[Effects]]) -> None:
    """Let words move what they are about, as `_WEIGHTS` says."""
    for one in words:
        weight, side = _WEIGHTS[one.channel], {"bearish": -1, "neutral": 0, "bullish": 1}[one.tone]
        begin = one.second + int(rng.integers(*weight.lag_s))
        rise = side * rng.uniform(weight.least, weight.most) * (0.25 if one.index == ALL else 1.0)
        end = begin + int(rng.integers(*weight.span_s))
        for effects in heard_by:
            for effect in effects if one.index == ALL else [effects[one.index]]:
                ramp(effect, begin, end, rise, 3.0)


def _cast(rng: np.random.Generator, planned: Sequence[Planned], disguise: float, first: int) -> list[list[int]]:
    """Return the accounts of each event: its own, or the background's."""
    cast = []
    for one in planned:
        n = one.kind.accounts if one.kind.scheme else 0
        if one.event.typology == "wash_trading":
            n = 1 if disguise < 0.5 else 2
        if one.kind.clients or disguise >= 0.5:
            cast.append([int(account) for account in rng.choice(CLIENTS, n, replace=False)])
        else:
            cast.append(list(range(first, first + n)))
            first += n
    return cast


def _bursts(rng: np.random.Generator, seconds: int) -> Floats:
    """Return how lively each second is, mean square 1, shape (T,): its log is an AR(1)."""
    steps = seconds // _BURST_STEP_S + 2
    shocks, level = rng.standard_normal(steps) * _BURST, np.zeros(steps)
    stays = exp(-_BURST_STEP_S / _BURST_S)
    for k in range(1, steps):
        level[k] = stays * level[k - 1] + sqrt(1 - stays**2) * shocks[k]
    lively = np.exp(np.interp(np.arange(seconds), np.arange(steps) * _BURST_STEP_S, level))
    return np.asarray(lively / np.sqrt(np.mean(lively**2)), dtype=np.float64)


def _conditions(base: Background, company: _Company, effects: Effects, rows_per_arrival: float) -> Conditions:
    index, lively = company.number, company.bursts
    opening = float(np.exp(base.log_price[index, 0]))
    moves = np.diff(base.log_price[index], prepend=base.log_price[index, 0]) * lively
    arrivals = base.arrivals[index] * ROWS_PER_ARRIVAL / rows_per_arrival
    return Conditions(
        value=(opening * np.exp(np.cumsum(moves) + effects.drift) / TICK).tolist(),
        rate=(arrivals * lively / lively.mean() * effects.rate).tolist(),
        calm=(base.volatility[index] * lively).tolist(),
        pressure=effects.pressure.tolist(),
        half=opening * float(base.spread_bps[index]) * 0.5e-4 / TICK,
        lot=float(base.lot[index]),
        halts=[(first * SECOND_NS, last * SECOND_NS) for first, last in effects.halts],
    )


def _world(
    model: str,
    company: _Company,
    base: Background,
    effects: Effects,
    played: Sequence[tuple[Planned, list[int], Scheme]],
    units: Sequence[Units],
    strength: float,
    disguise: float,
    stages: list[Stage],
) -> World:
    """Return the company's world after its day, in which ``played`` happened on ``stages``, which it fills."""
    flow, rows_per_arrival = MODELS[model]
    conditions = _conditions(base, company, effects, rows_per_arrival)
    seconds = len(conditions.value)
    world = World(company.seed, len(company.instruments), conditions, company.number)
    for k, (one, accounts, scheme) in enumerate(played):
        stage = Stage(
            world,
            units,
            company.seed + 1 + k,
            strength=strength,
            disguise=disguise,
            accounts=accounts,
            seconds=seconds,
            onset_s=one.event.onset_s,
            side=one.side,
        )
        stages.append(stage)
        start_ns = one.event.start_s * SECOND_NS
        world.start(start_ns, scheme(stage))
        for account in accounts if disguise and not one.kind.clients else []:
            world.start(max(0, start_ns - stage.minutes(30)), stage.ordinary(account))
    if len(world.books) > 1:
        world.start(SECOND_NS, arbitrage.between(world))
    rng = np.random.default_rng(company.arrivals)
    arrivals = clusters(rng, rng.poisson(np.array(conditions.rate) / _CLUSTER))
    world.run(flow(world), arrivals.tolist(), seconds * SECOND_NS)
    return world


def _frames(
    company: _Company, venue: int, world: World, halts_s: list[tuple[int, int]], open_ns: int, first_order: int
) -> tuple[Frame, OrderFrame]:
    instrument, book = company.instruments[venue], world.books[venue]
    rng = np.random.default_rng(company.feed.spawn(1)[0] if venue else company.feed)
    return (
        ticks_of(rng, instrument, book, halts_s, open_ns),
        orders_of(instrument, book, world.traders, first_order, open_ns),
    )


def _everywhere(event: Event, made: Sequence[_Company], open_ns: int) -> Happened:
    names = ["market", *(company.instruments[0] for company in made)]
    return Happened(event, names, [], *(open_ns + s * SECOND_NS for s in (event.start_s, event.onset_s, event.end_s)))


def _plain(event: Event, company: _Company, open_ns: int) -> Happened:
    times = (open_ns + s * SECOND_NS for s in (event.start_s, event.onset_s, event.end_s))
    return Happened(event, company.instruments[:1], [], *times)


def _acted(event: Event, stage: Stage, company: _Company, open_ns: int) -> Happened:
    onset_ns = stage.onset_ns if stage.onset_ns >= 0 else stage.first_ns
    return Happened(
        event,
        company.instruments if event.typology == "cross_product" else company.instruments[:1],
        [people.account(account) for account in stage.accounts],
        open_ns + stage.first_ns,
        open_ns + onset_ns,
        open_ns + max(stage.last_ns, onset_ns + _LEAST_NS),
    )
