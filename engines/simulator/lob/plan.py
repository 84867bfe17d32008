"""Which events a simulated day in an order book has, in which company each plays, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engines.simulator import events
from engines.simulator.events import Effects, Event, Floats
from engines.simulator.lob import schemes
from engines.simulator.lob.stage import FULL_SESSION_S, Stage
from engines.simulator.lob.world import Process

Scheme = Callable[[Stage], Process]
Place = Literal["open", "free", "close"]


def _insider_article(rng: np.random.Generator, effects: Effects, onset: int, side: int) -> None:
    """Move the value by 3 to 5 % within minutes of an article."""
    events.ramp(effects, onset + 5, onset + 240, side * rng.uniform(0.03, 0.05), 3.0)
    effects.rate[onset + 5 : onset + 240] *= 5
    effects.pressure[onset + 5 : onset + 240] = 0.4 * side


@dataclass(frozen=True, slots=True)
class Kind:
    """How a typology is played. ``before_min`` and ``after_min`` are what it needs on each side of its onset."""

    count: int  # a day
    scheme: Scheme | None  # what its accounts do, if it has any
    accounts: int = 1
    before_min: float = 0.0
    after_min: float = 10.0
    place: Place = "free"
    venues: int = 1
    clients: bool = False  # whose accounts are the background's at any disguise


_PLAYED: dict[str, Kind] = {
    "spoofing": Kind(2, schemes.spoofing, after_min=14),
    "layering": Kind(2, schemes.layering, after_min=14),
    "quote_stuffing": Kind(2, schemes.quote_stuffing, after_min=4),
    "momentum_ignition": Kind(2, schemes.momentum_ignition, after_min=8),
    "wash_trading": Kind(2, schemes.wash_trading, after_min=20),
    "circular_trading": Kind(2, schemes.circular_trading, accounts=4, after_min=30),
    "marking_the_close": Kind(2, schemes.marking_the_close, place="close", after_min=4),
    "influencing_the_open": Kind(2, schemes.influencing_the_open, place="open"),
    "pump_and_dump": Kind(2, schemes.pump_and_dump, accounts=5, before_min=30, after_min=17),
    "front_running": Kind(2, schemes.front_running, accounts=2, after_min=45),
    "insider_dealing": Kind(2, schemes.insider_dealing, before_min=30, after_min=40),
    "cross_product": Kind(2, schemes.cross_product, after_min=6, venues=2),
    "excessive_messages": Kind(2, schemes.excessive_messages, after_min=12),
    "fat_finger": Kind(2, schemes.fat_finger, after_min=5),
    "news_shock": Kind(2, None, after_min=20),
    "market_anomaly": Kind(0, None, after_min=6),
    "aggressive_maker": Kind(2, schemes.aggressive_maker, after_min=22),
    "block_trade": Kind(2, schemes.block_trade, accounts=2, after_min=2, clients=True),
    "index_rebalancing": Kind(3, schemes.index_rebalancing, accounts=40, place="close", after_min=10, clients=True),
    "orderly_rise": Kind(1, None, after_min=42),
    "trading_halt": Kind(1, None, after_min=8),
}
#: Typology → how many a day; what comes 0 times comes once where it is asked for.
PLAN = {name: kind.count for name, kind in _PLAYED.items()} | {"market_wide": 0}
BENIGN = events.BENIGN | {"aggressive_maker", "index_rebalancing"}
#: The free parts of a session, as shares of it.
_FREE = ((0.09, 0.48), (0.53, 0.93))
_SCALED = frozenset({"news_shock", "market_anomaly", "pump_and_dump"})


@dataclass(frozen=True, slots=True)
class Planned:
    """An event and how it is played; ``side`` is that of who gains by it."""

    event: Event
    kind: Kind
    side: int


def place(
    rng: np.random.Generator,
    typologies: tuple[str, ...],
    activity: Floats,
    venues: list[int],
    seconds: int,
    strength: float,
) -> tuple[list[Planned], list[Effects]]:
    """Choose companies and times.

    Every company has the open, two free parts and the close, one event each; what finds no room is left out, so a few
    companies have the first of each typology before the second of any.

    Parameters
    ----------
    typologies
        Names in `PLAN`.
    activity
        Share of the flow of each company, shape (n,). Pumps choose the quieter ones.
    venues
        Number of venues of each company.
    strength
        Multiple of the usual size of what changes the value itself; schemes have their own.

    Returns
    -------
    Events by onset, and what they do to value and flow of each company.
    """
    n = len(activity)
    effects = [Effects.none(seconds) for _ in range(n)]
    rooms: dict[Place, list[tuple[int, int]]] = {
        "open": [(int(i), 0) for i in rng.permutation(n)],
        "free": [(int(i), part) for part in range(len(_FREE)) for i in rng.permutation(n)],
        "close": [(int(i), 0) for i in rng.permutation(n)],
    }
    typologies, everywhere = tuple(name for name in typologies if name in _PLAYED), "market_wide" in typologies
    most = max([1, *(PLAN[name] for name in typologies)])
    # What needs a certain company chooses first.
    first = sorted(typologies, key=lambda name: (_PLAYED[name].venues == 1, name != "pump_and_dump"))
    wanted = [name for number in range(most) for name in first if number < max(1, PLAN[name])]
    planned = []
    for name in wanted:
        kind = _PLAYED[name]
        open_rooms = [room for room in rooms[kind.place] if venues[room[0]] >= kind.venues]
        if not open_rooms:
            continue
        if name == "pump_and_dump":
            open_rooms.sort(key=lambda room: activity[room[0]] > np.median(activity))
        room = open_rooms[0]
        rooms[kind.place].remove(room)
        planned.append(_planned(rng, name, kind, room, effects[room[0]], seconds, strength))
    if everywhere:
        planned.append(Planned(events.market_wide(rng, effects, seconds, strength, 1.0), Kind(1, None), -1))
    return sorted(planned, key=lambda one: one.event.onset_s), effects


def _planned(
    rng: np.random.Generator,
    name: str,
    kind: Kind,
    room: tuple[int, int],
    effects: Effects,
    seconds: int,
    strength: float,
) -> Planned:
    index, part = room
    scale = min(1.0, seconds / FULL_SESSION_S)
    before, after = int(60 * kind.before_min * scale), int(60 * kind.after_min * scale)
    side = int(rng.choice([-1, 1]))
    if kind.place == "open":
        onset = 0
    elif kind.place == "close":
        onset = seconds - after
    else:
        low, high = (int(share * seconds) for share in _FREE[part])
        onset = int(rng.integers(low + before, max(low + before + 1, high - after)))
    start, end, public = onset - before, min(onset + after, seconds - 1), None
    if name in events.SHAPES and name != "block_trade":
        side, scaled = (-1 if name == "news_shock" else 1), strength if name in _SCALED else 1.0
        start, end, public = events.SHAPES[name](rng, effects, onset, scaled, 1.0)
        end = min(end, seconds - 1)
    elif name == "insider_dealing":
        _insider_article(rng, effects, onset, side)
        public = onset
    return Planned(Event(name, index, max(0, start), onset, end, public, side if public == onset else 0), kind, side)
