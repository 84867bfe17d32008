"""Pump-and-dump: a coordinated burst of buying lifts a price, to be sold into.

Definition. Within ``window_ns`` buyers take far more than the instrument's usual notional, in far more aggressive
orders than usual, and the price stands well above where it was before and above its high of hours. All must hold
together; the weakest decides. Each tick is judged with what stood before it, so the alert leaves with the tick that
completes the cause. The defaults are those of coins. A share moves and trades less by the minute: where the symbol
master calls an instrument an ``equity``, rise is 0.02, breakout 0.015, buying 3.5, orders 20 and order_rate 8.

Regulation. MAR (EU) 596/2014 Art. 12(1)(a): trades that give false or misleading signals, or secure a price at an
abnormal or artificial level; Art. 12(2)(d): gain from an opinion voiced in the media after taking a position, without
disclosing it; Delegated Regulation (EU) 2016/522 Annex II Section 1, point 4(c), and Section 2, point 1(c), list "pump
and dump" by name. The burst of orders within one instant as its mark: La Morgia, Mei, Sassi, Stefa (2020), *Pump and
Dumps in the Bitcoin Era*; Xu, Livshits (2019), *The Anatomy of a Cryptocurrency Pump-and-Dump Scheme*, USENIX Security.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
import numpy as np
import numpy.typing as npt

from engines.instruments import EQUITY
from engines.typologies import TypologySpec
from schemas.alerts import Explanation, RuleResult

Floats = npt.NDArray[np.float64]

SPEC = TypologySpec(
    name="pump_and_dump",
    version="1",
    title="Suspected pump-and-dump",
    regulation=(
        "MAR Art. 12(1)(a)",
        "MAR Art. 12(2)(d)",
        "Delegated Regulation (EU) 2016/522 Annex II Section 1",
    ),
    open=0.5,
    critical=0.9,
    close=0.1,
    hold_ns=3_600_000_000_000,
)


class PumpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters, all scale-free or times.

    | field | unit | meaning |
    |---|---|---|
    | window_ns | ns | what "now" is |
    | reference_ns, reference_lag_ns | ns | the price before: median of minute closes in [reference, lag] back |
    | warm_up_ns | ns | of event time before anything scores |
    | rise | relative | of the price over the one before |
    | high_ns | ns | how far back the highest price is looked for |
    | breakout | relative | of the price over that high: a rebound after a fall, or an echo of a pump, has none |
    | buying | multiple | taker buys in the window over the trailing notional of such a window |
    | orders | count | aggressive orders in the window |
    | order_rate | multiple | of those over the trailing number in such a window |
    """

    window_ns: int = 60_000_000_000
    reference_ns: int = 1_800_000_000_000
    reference_lag_ns: int = 300_000_000_000
    warm_up_ns: int = 1_800_000_000_000
    rise: float = 0.04
    high_ns: int = 21_600_000_000_000
    breakout: float = 0.02
    buying: float = 40.0
    orders: float = 150.0
    order_rate: float = 40.0


#: Defaults by asset class, of what has others than the rest.
OF_CLASS: Mapping[str, PumpConfig] = MappingProxyType(
    {EQUITY: PumpConfig(rise=0.02, breakout=0.015, buying=3.5, orders=20.0, order_rate=8.0)}
)


class Evidence(msgspec.Struct, frozen=True, eq=False):
    """What each tick is judged by: arrays of shape (n,), or numbers where all ticks have the same.

    ``price``, ``reference`` and ``high`` in quote currency; ``bought`` and ``orders`` in the window up to the tick;
    ``usual_notional`` and ``usual_orders`` what such a window usually has, infinite while warming up.
    """

    price: Floats
    reference: Floats | float
    high: Floats | float
    bought: Floats
    orders: Floats
    usual_notional: Floats | float
    usual_orders: Floats | float


def measures(config: PumpConfig, evidence: Evidence) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return rise, breakout, buying, orders and order multiple of each tick, shape (n,) each."""
    rise = np.maximum(evidence.price / evidence.reference - 1.0, 0.0)
    breakout = np.maximum(evidence.price / evidence.high - 1.0, 0.0)
    buying = evidence.bought / evidence.usual_notional
    return rise, breakout, buying, evidence.orders, evidence.orders / evidence.usual_orders


def score(config: PumpConfig, evidence: Evidence) -> Floats:
    """Return the score of each tick, float64 (n,) in [0, 1]: 0.5 where the weakest condition is just met.

    With m the smallest ratio of a measure to its threshold the score is m**2 / (1 + m**2).

    Example
    -------
    >>> config = PumpConfig(rise=0.05, breakout=0.02, buying=10.0, orders=20.0, order_rate=2.0)
    >>> tick = Evidence(np.array([105.0]), 100.0, 101.0, np.array([500.0]), np.array([60.0]), 10.0, 1.0)
    >>> round(float(score(config, tick)[0]), 6)
    0.5
    """
    rise, breakout, buying, orders, rate = measures(config, evidence)
    weakest = np.minimum(rise / config.rise, breakout / config.breakout)
    weakest = np.minimum(weakest, buying / config.buying)
    weakest = np.minimum(weakest, np.minimum(orders / config.orders, rate / config.order_rate))
    square = np.minimum(weakest, 1e6)
    square = square * square
    result: Floats = square / (1.0 + square)
    return result


def explain(config: PumpConfig, evidence: Evidence, i: int) -> Explanation:
    """Return the conditions of tick ``i`` with their values, and the smallest change that would clear it."""
    values = [float(measure[i]) for measure in measures(config, evidence)]
    rules = [
        RuleResult(name="rise over the price before", value=values[0], threshold=config.rise, unit="relative"),
        RuleResult(name="rise over the high before", value=values[1], threshold=config.breakout, unit="relative"),
        RuleResult(name="taker buys over usual", value=values[2], threshold=config.buying, unit="multiple"),
        RuleResult(name="aggressive orders", value=values[3], threshold=config.orders, unit="orders"),
        RuleResult(name="aggressive orders over usual", value=values[4], threshold=config.order_rate, unit="multiple"),
    ]
    binding = min(rules, key=lambda rule: rule.value / rule.threshold)
    clears = f"{binding.name} below {binding.threshold:g} ({binding.unit}; it was {binding.value:.4g})"
    return Explanation(rules=rules, clears=clears)
