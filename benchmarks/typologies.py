"""Typologies of order events: what they cost, all together, and what of simulated misconduct they find.

    python -m benchmarks.typologies [--rows 5000000] [--days 5] [--levels full half ...] [--workers 2] [--seed N]

What is found, and how that is counted, stands in `benchmarks.misconduct`.

What it costs. An instrument of three makers and four hundred takers trades day after day: orders and quotes of half an
hour are made once (`tests/order_flow.py`) and told again, half an hour later each time, with numbers of orders and
trades of their own, and every tenth time with names of accounts of their own. Frames have 500 rows; quotes come between
them. Taken is the CPU of `engines.orders.OrderEngine` alone (`observe` and `apply`), user and system. What the state
weighs is its bytes; the process's resident memory is taken when a fifth of the rows has been applied, and at the end:
what has no bound would show between the two. Then the same again, a tenth of the rows, with the bundle's order-flow
model asked beside the rules.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import harness, misconduct, misconduct_days
from engines import order_flow
from engines.bundle import DEFAULT, Bundle
from engines.order_findings import SPECS, OrderConfig
from engines.order_flow import OrderFlowModel
from engines.orders import OrderEngine
from schemas.frames import Frame
from schemas.order_frames import OrderFrame
from tests.order_flow import Market, S

ROWS = 500
SECONDS = 1_800
TAKERS = 400
_RENAMED_EVERY = 10


def later(orders: OrderFrame, ticks: Frame, times: int) -> tuple[OrderFrame, Frame]:
    """Return what happens when the same comes again for the ``times``-th time."""
    shift_ns, number = times * SECONDS * S, times * len(orders)
    names = tuple(f"{name} {times // _RENAMED_EVERY}" for name in orders.accounts)
    orders = msgspec.structs.replace(
        orders,
        ts_event=orders.ts_event + shift_ns,
        ts_available=orders.ts_available + shift_ns,
        order=orders.order + number,
        trade=np.where(orders.trade > 0, orders.trade + number, 0),
        accounts=names,
    )
    quotes = msgspec.structs.replace(
        ticks, ts_event=ticks.ts_event + shift_ns, ts_available=ticks.ts_available + shift_ns
    )
    return orders, quotes


def resident_mb() -> float:
    """Return the memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def cost(least_rows: int, flow: OrderFlowModel | None = None) -> dict[str, float]:
    """Apply so many rows or a little more, print the table, return the closing figures."""
    market = Market()
    market.quiet(SECONDS, takers=TAKERS)
    orders, ticks = market.orders(), market.ticks()
    engine = OrderEngine(OrderConfig(), flow)
    state = engine.new_state()
    cpu_s = early_mb = 0.0
    applied = findings = times = 0
    while applied < least_rows:
        told, quotes = later(orders, ticks, times)
        seen = 0
        for first in range(0, len(told), ROWS):
            part = told[first : first + ROWS]
            until = int(quotes.ts_event.searchsorted(part.ts_event[-1], side="right"))
            between = quotes[seen:until]
            begin = time.process_time()
            engine.observe(state, between)
            findings += len(engine.apply(state, part).tracks)
            cpu_s += time.process_time() - begin
            seen = until
        applied += len(told)
        times += 1
        if not early_mb and applied >= least_rows / 5:
            early_mb = resident_mb()
    rows = [
        ("order events", applied),
        ("rows a second of the market's", len(orders) / SECONDS),
        ("typologies", len(SPECS)),
        ("µs CPU/row", 1e6 * cpu_s / applied),
        ("accounts that ever were", len(orders.accounts) * (1 + (times - 1) // _RENAMED_EVERY)),
        ("accounts kept", len(state.names)),
        ("state, kB", len(state.pack()) / 1e3),
        ("resident after a fifth, MB", early_mb),
        ("resident at the end, MB", resident_mb()),
        ("findings", findings),
    ]
    what = "all typologies of order events" + (", and the order-flow model" if flow else "")
    harness.table(f"frames of {ROWS} rows", (what, ""), rows)
    return {
        "cpu_us_per_tick": round(1e6 * cpu_s / applied, 3),
        "rows": applied,
        "state_kb": round(len(state.pack()) / 1e3),
        "grown_mb": round(resident_mb() - early_mb, 1),
    }


def main() -> None:
    """Measure the cost, play the days, print the tables and the closing JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000, help="order events in all; 50 million take minutes")
    parser.add_argument("--days", type=int, default=5, help="simulated days of each model, strength and disguise")
    parser.add_argument("--levels", nargs="+", choices=misconduct_days.LEVELS, default=list(misconduct_days.LEVELS))
    parser.add_argument("--workers", type=int, default=2, help="processes that play them")
    parser.add_argument("--seed", type=int, default=misconduct_days.SEED, help="of the first day")
    arguments = parser.parse_args()
    spent = cost(arguments.rows)
    both = cost(arguments.rows // 10, order_flow.of(Bundle.load(DEFAULT)))
    spent["learned_us_per_tick"] = round(both["cpu_us_per_tick"] - spent["cpu_us_per_tick"], 3)
    days = misconduct_days.played(arguments.days, arguments.levels, arguments.workers, arguments.seed)
    harness.close(benchmark="typologies", **misconduct.report(days), **spent)


if __name__ == "__main__":
    main()
