"""Momentum ignition: an account drives the price for others to follow, and trades out to them.

Definition. A run of aggressive orders of one account on one side, over some seconds, larger than what is quoted and
much of all that is taken in that time, moves the price by several of its usual moves; within a minute or so the account
begins to trade it out on the other side. It hardly traded otherwise in the hour: who keeps two venues together or makes
a market runs to and fro all day. Whether others did follow is not asked, nor whether they let it out: the attempt is
enough. A push that is over within less than ``span_ns`` scores lower: one large order would look the same. Trades show
a push only in part, since the one before it may have been at the other side's price; so once a good part is out, the
price's move on the way out counts where it is larger.

Regulation. MAR (EU) 596/2014 Art. 12(1)(a) and 12(2)(c)(iii): entering orders to initiate or exacerbate a trend;
Delegated Regulation (EU) 2016/522 Annex II Section 1, point 4(e), by name; FINRA 5210.

Sources. Credit Suisse (2012), *High Frequency Trading: Measurement, Detection and Response*; ESMA (2012), *Guidelines
on systems and controls in an automated trading environment*.
"""

from __future__ import annotations

import msgspec

from engines.order_state import Account, OrderState, Run
from engines.sessions import SECOND_NS
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions

SPEC = TypologySpec(
    name="momentum_ignition",
    version="3",
    title="Suspected momentum ignition",
    regulation=(
        "MAR Art. 12(1)(a)",
        "MAR Art. 12(2)(c)(iii)",
        "Delegated Regulation (EU) 2016/522 Annex II Section 1",
        "FINRA 5210",
    ),
    open=0.5,
    critical=0.8,
    close=0.3,
    hold_ns=600_000_000_000,
    momentary=True,
)


class MomentumIgnitionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | size | median depths | taken in the run |
    | span_ns | ns | from the first of the run to its last, at least: one order is no run |
    | passive | share | of the run that was not taken, at most |
    | share | share | of all that was taken from the run's first to its last |
    | move | standard deviations of such a time | of the price over the run, its way, or over the way out |
    | out | share | of the run that is traded out |
    | back | share | of the run that is traded out, from which on the price's move on the way out counts too |
    | hour | share | of what the account traded in the hour, its way out aside, that the run is |
    | wait_ns | ns | from the run's end to the way out, at most |
    """

    size: float = 1.75
    span_ns: int = 5_000_000_000
    passive: float = 0.55
    share: float = 0.45
    move: float = 2.25
    out: float = 0.1
    back: float = 0.25
    hour: float = 0.65
    wait_ns: int = 70_000_000_000


def measure(config: MomentumIgnitionConfig, state: OrderState, account: Account) -> Conditions:
    """Return what the run before the present one, its way out, amounts to."""
    run, out = account.before, account.run
    move = _moved(state, run)
    if out.units >= config.back * run.units:
        move = max(move, _moved(state, out))
    hour = sum(account.traded) / state.hourly.weight - out.units
    wait_ns = out.start_ns - run.last_ns
    return (
        Condition("taken in the run", run.took / state.depth, config.size, "median depths"),
        Condition("time of the run", (run.last_ns - run.start_ns) / SECOND_NS, config.span_ns / SECOND_NS, "s"),
        Condition("not taken of the run", 1.0 - run.took / run.units, config.passive, "share", at_most=True),
        Condition("share of what was taken", run.took / run.taken if run.taken else 0.0, config.share, "share"),
        Condition("move of the price by it", move, config.move, "standard deviations"),
        Condition("traded out", out.units / run.units, config.out, "share"),
        Condition("share of its hour", run.units / max(run.units, hour), config.hour, "share"),
        Condition("wait for the way out", wait_ns / SECOND_NS, config.wait_ns / SECOND_NS, "s", at_most=True),
    )


def _moved(state: OrderState, run: Run) -> float:
    """Return how far the price went a run's way, in usual moves of such a time."""
    return (2 * run.side - 1) * (run.price_after / run.price_before - 1.0) / state.sd(run.last_ns - run.start_ns)
