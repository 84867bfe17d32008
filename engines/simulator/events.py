"""Events injected into a simulated day: what they do to price, rate, side and size, second by second.

An event adds to the log price and multiplies or tilts the flow of one instrument; every instrument draws its own random
numbers, so a day with an event and the same day without differ in that instrument's ticks alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Typology → how many a day. The first four harm; the others only look like it.
PLAN: dict[str, int] = {
    "pump_and_dump": 2,
    "market_anomaly": 2,
    "news_shock": 3,
    "market_wide": 1,
    "orderly_rise": 2,
    "block_trade": 2,
    "trading_halt": 1,
}
#: The index of an event that concerns all instruments.
ALL = -1
BENIGN = frozenset({"orderly_rise", "block_trade", "trading_halt"})


@dataclass(slots=True, eq=False)
class Effects:
    """What happens to one instrument. Arrays have shape (T,): one entry a second of the session.

    ``drift`` is added to the log price; ``rate`` multiplies arrivals (0 halts trading); ``pressure`` in [-1, 1] is the
    probability, with its sign, that an arrival follows the event; ``size`` multiplies trade sizes.
    """

    drift: Floats
    rate: Floats
    pressure: Floats
    size: Floats
    blocks: list[tuple[int, int, float]] = field(default_factory=list)  # second, side, multiple of the usual size
    halts: list[tuple[int, int]] = field(default_factory=list)  # first and last second

    @classmethod
    def none(cls, seconds: int) -> Effects:
        """Return effects that change nothing."""
        return cls(np.zeros(seconds), np.ones(seconds), np.zeros(seconds), np.ones(seconds))


@dataclass(frozen=True, slots=True)
class Event:
    """An event in seconds of the session. ``public_s`` is when words about it begin, None if there are none."""

    typology: str
    index: int  # of the instrument, or `ALL`
    start_s: int
    onset_s: int
    end_s: int
    public_s: int | None
    side: int = 0  # +1 where the words are good, -1 where bad, 0 as the typology has it


@dataclass(frozen=True, slots=True)
class Happened:
    """An event as it came out: where, by whom, and when, ns since 1970."""

    event: Event
    instruments: list[str]
    accounts: list[str]
    start_ns: int
    onset_ns: int
    end_ns: int


Shape = Callable[[np.random.Generator, Effects, int, float, float], tuple[int, int, int | None]]


def _span(seconds: int, start: int, end: int) -> slice:
    return slice(max(0, min(start, seconds)), max(0, min(end, seconds)))


def ramp(effects: Effects, start: int, end: int, rise: float, bend: float) -> None:
    """Move the log price by ``rise`` from ``start`` to ``end`` and leave it there; a large ``bend`` is fast first."""
    x = np.clip((np.arange(len(effects.drift)) - start) / max(1, end - start), 0.0, 1.0)
    effects.drift += rise * (-np.expm1(-bend * x) / -np.expm1(-bend))


def _pump_and_dump(
    rng: np.random.Generator, effects: Effects, onset: int, strength: float, open_share: float
) -> tuple[int, int, int | None]:
    """Quiet accumulation, coordinated posts, a burst of buys, and the organisers' exit."""
    n = len(effects.drift)
    accumulation = min(1_800, n // 12)
    burst, hold, dump = (int(rng.integers(low, high)) for low, high in ((90, 200), (15, 45), (360, 720)))
    start = onset - accumulation
    rise = rng.uniform(0.12, 0.25) * strength
    quiet, loud = _span(n, start, onset), _span(n, onset, onset + burst)
    out = _span(n, onset + burst + hold, onset + burst + hold + dump)
    ramp(effects, start, onset, 0.012 * strength, 1.0)
    ramp(effects, onset, onset + burst, rise, 3.0)
    ramp(effects, onset + burst + hold, onset + burst + hold + dump, -rise - 0.02 * strength, 4.0)
    effects.rate[quiet] *= 1.4
    effects.rate[onset : onset + burst + hold] *= 1 + 45 * strength * open_share
    effects.rate[out] *= 1 + 20 * strength * open_share * np.exp(-3 * np.linspace(0, 1, out.stop - out.start))
    effects.pressure[quiet] = 0.35 * open_share
    effects.pressure[loud] = 0.9 * open_share
    effects.pressure[out] = -0.7 * open_share
    effects.size[loud] *= 1.8
    return start, onset + burst + hold + dump, onset - min(480, accumulation // 2)


def _market_anomaly(
    rng: np.random.Generator, effects: Effects, onset: int, strength: float, open_share: float
) -> tuple[int, int, int | None]:
    """A jump within seconds that comes back within minutes, as after a wrong order."""
    jump = float(rng.choice([-1, 1])) * rng.uniform(0.05, 0.09) * strength
    back = int(rng.integers(60, 180))
    ramp(effects, onset, onset + 3, jump, 1.0)
    ramp(effects, onset + 12, onset + 12 + back, -jump, 2.0)
    effects.rate[onset : onset + 8] *= 1 + 25 * open_share
    effects.pressure[onset : onset + 4] = np.sign(jump) * 0.95 * open_share
    effects.rate[onset + 8 : onset + 12 + back] *= 5
    return onset, onset + 12 + back, None


def _news_shock(
    rng: np.random.Generator, effects: Effects, onset: int, strength: float, open_share: float
) -> tuple[int, int, int | None]:
    """Bad news, then a fall that takes minutes; the onset is the article."""
    reaction, fall = int(rng.integers(20, 60)), int(rng.integers(240, 480))
    ramp(effects, onset + reaction, onset + reaction + fall, -rng.uniform(0.03, 0.07) * strength, 3.0)
    window = slice(onset + reaction, onset + reaction + fall)
    effects.rate[window] *= 6
    effects.pressure[window] = -0.5 * open_share
    return onset, onset + reaction + fall + 300, onset


def _orderly_rise(
    rng: np.random.Generator, effects: Effects, onset: int, strength: float, open_share: float
) -> tuple[int, int, int | None]:
    """Good news and a steady rise on moderate volume."""
    rise = min(2_400, len(effects.drift) // 10)
    ramp(effects, onset + 30, onset + 30 + rise, rng.uniform(0.015, 0.03), 1.0)
    effects.rate[onset + 30 : onset + 30 + rise] *= 1.8
    effects.pressure[onset + 30 : onset + 30 + rise] = 0.25
    return onset, onset + 30 + rise, onset


def _block_trade(
    rng: np.random.Generator, effects: Effects, onset: int, strength: float, open_share: float
) -> tuple[int, int, int | None]:
    """One very large trade at the market, announced nowhere."""
    effects.blocks.append((onset, int(rng.choice([-1, 1])), float(rng.uniform(60, 120))))
    return onset, onset + 60, None


def _trading_halt(
    rng: np.random.Generator, effects: Effects, onset: int, strength: float, open_share: float
) -> tuple[int, int, int | None]:
    """The venue halts trading for five minutes and says so; the price comes back elsewhere, not wildly."""
    pause = min(300, len(effects.drift) // 20)
    effects.rate[onset : onset + pause] = 0.0
    effects.halts.append((onset, onset + pause))
    ramp(effects, onset, onset + pause, rng.uniform(-0.008, 0.008), 1.0)
    return onset, onset + pause, onset + 5


SHAPES: dict[str, Shape] = {
    "pump_and_dump": _pump_and_dump,
    "market_anomaly": _market_anomaly,
    "news_shock": _news_shock,
    "orderly_rise": _orderly_rise,
    "block_trade": _block_trade,
    "trading_halt": _trading_halt,
}


def place(
    rng: np.random.Generator,
    typologies: tuple[str, ...],
    activity: Floats,
    seconds: int,
    strength: float,
    disguise: float,
) -> tuple[list[Event], list[Effects]]:
    """Choose instruments and times, and work the events into one `Effects` an instrument.

    Parameters
    ----------
    typologies
        Names in `PLAN`; each comes as often as the plan says.
    activity
        Share of the flow of each instrument, shape (n,). Pumps choose among the quieter half.
    seconds
        Length of the session.
    strength, disguise
        Multiple of the usual size; share of the tell-tale flow that is left out, in [0, 1].

    Returns
    -------
    Events by onset, and effects of every instrument. No two events of an instrument overlap: where there are more
    events than instruments, each round of them has its own part of the session.
    """
    n = len(activity)
    effects = [Effects.none(seconds) for _ in range(n)]
    wanted = [name for name in SHAPES if name in typologies for _ in range(PLAN[name])]
    quiet = list(rng.permutation(np.argsort(activity)[: max(1, n // 2)]))
    others = [i for i in rng.permutation(n) if i not in quiet]
    pumps = wanted.count("pump_and_dump")
    order = quiet[:pumps] + [int(i) for i in rng.permutation(quiet[pumps:] + others)]
    rounds = -(-len(wanted) // n)
    events = []
    for k, name in enumerate(wanted):
        low = 0.2 + 0.7 * (k // n) / rounds
        room = 0.7 / rounds
        onset = int(seconds * (low + room * (0.35 + 0.3 * rng.random() if rounds > 1 else rng.random())))
        index = int(order[k % n])
        start, end, public = SHAPES[name](rng, effects[index], onset, strength, 1.0 - disguise)
        events.append(Event(name, index, max(0, start), onset, min(end, seconds - 1), public))
    if "market_wide" in typologies:
        events.append(market_wide(rng, effects, seconds, strength, 1.0 - disguise))
    return sorted(events, key=lambda event: event.onset_s), effects


def market_wide(
    rng: np.random.Generator, effects: list[Effects], seconds: int, strength: float, open_share: float
) -> Event:
    """Let everything fall within seconds and come half back in minutes, late in the session, after the other events."""
    onset = int(seconds * rng.uniform(0.94, 0.96))
    back = min(600, seconds - onset - 20)
    for effect in effects:
        begin = onset + int(rng.integers(0, 6))
        fall = rng.uniform(0.035, 0.06) * strength
        ramp(effect, begin, begin + 4, -fall, 1.0)
        ramp(effect, begin + 20, begin + 20 + back, fall / 2, 2.0)
        effect.rate[begin : begin + 10] *= 1 + 25 * open_share
        effect.pressure[begin : begin + 5] = -0.9 * open_share
        effect.rate[begin + 10 : begin + 20 + back] *= 3
    return Event("market_wide", ALL, onset, onset, onset + 20 + back, onset + 45)
