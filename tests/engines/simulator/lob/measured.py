"""What an injected event comes to in the output, in the units in which docs/simulator.md defines its strength."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engines.labels import Label
from engines.simulator.lob.units import Units, mids_of
from schemas.frames import Frame, Kind
from schemas.order_frames import Action, OrderFrame

SECOND_NS = 10**9


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A label with what its main instrument's feed says, and the units of the quiet day."""

    label: Label
    ticks: Frame
    orders: OrderFrame
    units: Units

    def mine(self, *actions: Action) -> OrderFrame:
        """Order events of the label's accounts within it."""
        names = np.array([name in self.label.accounts for name in self.orders.accounts])
        ns = self.orders.ts_event
        inside = (ns >= self.label.start_ns) & (ns <= self.label.end_ns)
        return self.orders[inside & names[self.orders.account] & np.isin(self.orders.action, actions)]

    def move(self, start_ns: int, end_ns: int) -> float:
        """Change of the log mid from just before the start."""
        before, after = mids_of(self.ticks, np.array([start_ns - 1, end_ns]))
        return float(after - before)

    def held(self, start_ns: int, end_ns: int) -> float:
        """Change of the log mid from just before the start to where it is in most of the last ten seconds."""
        mids = mids_of(self.ticks, np.append(start_ns - 1, np.arange(end_ns - 10 * SECOND_NS, end_ns, SECOND_NS // 10)))
        return float(np.median(mids[1:]) - mids[0])

    def furthest(self, start_ns: int, end_ns: int) -> float:
        """Largest absolute change of the log mid from the start."""
        mids = mids_of(self.ticks, np.arange(start_ns - 1, end_ns, SECOND_NS // 10))
        return float(np.abs(mids - mids[0]).max())

    def tape_volume(self, start_ns: int, end_ns: int) -> float:
        """What traded between, units."""
        ticks = self.ticks
        return float(
            ticks.size[(ticks.kind == Kind.TRADE) & (ticks.ts_event >= start_ns) & (ticks.ts_event < end_ns)].sum()
        )


def shown(scene: Scene) -> float:
    """Mean, over the cycles, of the size that was new on the side shown and was cancelled, depths."""
    ended = scene.mine(Action.CANCEL)
    sides = [float(ended.size[ended.side == side].sum()) for side in (1, -1)]
    return max(sides) / 6 / scene.units.depth


def rate_of_bursts(scene: Scene) -> float:
    mine = scene.mine(Action.NEW, Action.CANCEL)
    by_second = np.bincount((mine.ts_event - mine.ts_event[0]) // SECOND_NS)
    return float(np.sort(by_second)[-9:].mean() / scene.units.second_rate)


def rate_of_minutes(scene: Scene) -> float:
    mine = scene.mine(Action.NEW, Action.AMEND, Action.CANCEL)
    by_minute = np.bincount((mine.ts_event - mine.ts_event[0]) // (60 * SECOND_NS))
    return float(np.median(by_minute[:10]) / scene.units.minute_rate)


def ignited(scene: Scene) -> float:
    return scene.furthest(scene.label.onset_ns, scene.label.onset_ns + 62 * SECOND_NS) / scene.units.sigma(60)


def both_sides(scene: Scene) -> float:
    """Size that the accounts traded with each other."""
    fills = scene.mine(Action.FILL)
    _, first, times = np.unique(fills.trade, return_index=True, return_counts=True)
    return float(fills.size[first[times == 2]].sum())


def washed(scene: Scene) -> float:
    return both_sides(scene) / (scene.units.volume * 900)


def round_the_ring(scene: Scene) -> float:
    return both_sides(scene) / (scene.units.volume * 1_200)


def at_the_close(scene: Scene) -> float:
    return abs(scene.held(scene.label.start_ns, scene.label.end_ns)) / scene.units.sigma(240)


def at_the_open(scene: Scene) -> float:
    return abs(scene.held(scene.label.start_ns, scene.label.start_ns + 180 * SECOND_NS)) / scene.units.sigma(180)


def pumped(scene: Scene) -> float:
    return float(np.expm1(scene.furthest(scene.label.onset_ns, scene.label.onset_ns + 300 * SECOND_NS)))


def ahead(scene: Scene) -> float:
    """Largest position of the first account over the four client orders, mean of those, depths."""
    name = scene.label.accounts[0]
    fills = scene.mine(Action.FILL)
    own = fills[np.array(fills.accounts)[fills.account] == name]
    held = np.abs(np.cumsum(own.side * own.size))
    cycles = np.array_split(held, np.flatnonzero(held < 1e-9) + 1)
    return float(np.mean(sorted((part.max() for part in cycles if len(part)), reverse=True)[:4]) / scene.units.depth)


def before_the_article(scene: Scene) -> float:
    fills = scene.mine(Action.FILL)
    early = fills[fills.ts_event < scene.label.public_ns]
    return abs(float((early.side * early.size).sum())) / (scene.units.volume * 1_800)


def waiting(scene: Scene) -> float:
    """Size that waits on the first venue, depths."""
    return float(scene.mine(Action.NEW).size.sum() / scene.units.depth)


def too_much(scene: Scene) -> float:
    return float(scene.mine(Action.NEW).size.max() / scene.units.depth)


#: Typology → what is measured, and what docs/simulator.md says it is at strength 1.
MEASURES: dict[str, tuple[Callable[[Scene], float], tuple[float, float]]] = {
    "spoofing": (shown, (10, 10)),
    "layering": (shown, (15, 15)),
    "quote_stuffing": (rate_of_bursts, (20, 20)),
    "momentum_ignition": (ignited, (6, 6)),
    "wash_trading": (washed, (0.5, 0.5)),
    "circular_trading": (round_the_ring, (0.5, 0.5)),
    "marking_the_close": (at_the_close, (4, 4)),
    "influencing_the_open": (at_the_open, (4, 4)),
    "pump_and_dump": (pumped, (0.12, 0.25)),
    "front_running": (ahead, (3, 3)),
    "insider_dealing": (before_the_article, (0.25, 0.25)),
    "cross_product": (waiting, (6, 6)),
    "excessive_messages": (rate_of_minutes, (8, 8)),
    "fat_finger": (too_much, (40, 40)),
}
