"""Front running: who handles a client's large order trades ahead of it for another account, and out to it.

Definition. An account takes a position; then another account of the same trader begins to trade the same way, with far
more than is quoted; while that goes on or right after it the first trades out. The order events name the trader, which
is how the two are known to belong together; what a stranger did ahead of a large order may be foresight, and is not
told.

Regulation. MAR (EU) 596/2014 Art. 7(1)(d), 8 and 14(a): information conveyed by a client about pending orders is inside
information; FINRA 5270 (ahead of block transactions).

Sources. Bernhardt, Taub (2008), *Front-running dynamics*, Journal of Economic Theory 138.
"""

from __future__ import annotations

import msgspec

from engines.order_state import Account, OrderState
from engines.sessions import SECOND_NS
from engines.typologies import TypologySpec
from engines.typologies.conditions import Condition, Conditions, score

SPEC = TypologySpec(
    name="front_running",
    version="1",
    title="Suspected front running",
    regulation=(
        "MAR Art. 7(1)(d)",
        "MAR Art. 8",
        "MAR Art. 14(a)",
        "FINRA 5270",
    ),
    open=0.5,
    critical=0.8,
    close=0.3,
    hold_ns=1_800_000_000_000,
    momentary=True,
)


class FrontRunningConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters.

    | field | unit | meaning |
    |---|---|---|
    | own | median depths | of the position taken ahead |
    | client | median depths | of the order that it ran ahead of |
    | lead_ns | ns | from the first of the position to the first of the client's, at most |
    | late | share | of the time of taking it that was after the client began, at most |
    | out | share | of the position that is traded out |
    | wait_ns | ns | from the client's newest trade to the way out, at most |
    """

    own: float = 0.8
    client: float = 2.5
    lead_ns: int = 75_000_000_000
    late: float = 0.3
    out: float = 0.3
    wait_ns: int = 80_000_000_000


def measure(config: FrontRunningConfig, state: OrderState, account: Account) -> Conditions:
    """Return what the run before the present one amounts to, beside the client that fits best; () if there is none."""
    own, out = account.before, account.run
    found: Conditions = ()
    for number in state.desks.get(account.trader, ()):
        client = state.accounts[number]
        for run in (client.run, client.before) if client is not account else ():
            lead_ns = run.start_ns - own.start_ns
            if run.side != own.side or lead_ns <= 0 or not run.units:
                continue
            late = max(0, own.last_ns - run.start_ns) / max(1, own.last_ns - own.start_ns)
            wait_ns = max(0, out.start_ns - run.last_ns)
            conditions = (
                Condition("position taken ahead", own.units / state.depth, config.own, "median depths"),
                Condition("the client's order", run.units / state.depth, config.client, "median depths"),
                Condition("lead", lead_ns / SECOND_NS, config.lead_ns / SECOND_NS, "s", at_most=True),
                Condition("time of taking after the client began", late, config.late, "share", at_most=True),
                Condition("traded out", out.units / own.units, config.out, "share"),
                Condition("wait for the way out", wait_ns / SECOND_NS, config.wait_ns / SECOND_NS, "s", at_most=True),
            )
            if not found or score(conditions) > score(found):
                found = conditions
    return found
