"""Typologies: what they cost, those of order events all together, and what of simulated misconduct they find.

    python -m benchmarks.typologies [--rows 5000000] [--instruments 1] [--days 5] [--levels full half ...] [--workers 2]
        [--seed N]

What is found, and how that is counted, stands in `benchmarks.misconduct`.

What it costs. Each instrument of three makers and four hundred takers trades day after day: orders and quotes of half
an hour are made once (`tests/order_flow.py`) and told again, half an hour later each time, with numbers of orders and
trades of their own, and every second time with accounts of their own, so that those before never come back. Frames have
500 rows; quotes come between them. Taken is the CPU of `engines.orders.OrderEngine` alone (`observe` and `apply`), user
and system. What the states weigh is their bytes; the process's resident memory is taken at each tenth of the rows: what
has no bound would show there. Then one instrument again, a tenth of the rows, with the bundle's order-flow model asked
beside the rules. Where days are played, also what typologies of words cost a text of the first of them (decoding
included), and those of money a transfer.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import deque
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import harness, misconduct, misconduct_days, money
from benchmarks.misconduct_days import Case
from engines import order_flow
from engines.bundle import DEFAULT, Bundle
from engines.order_findings import SPECS, OrderConfig
from engines.order_flow import OrderFlowModel
from engines.orders import OrderEngine
from engines.transfers import TransferConfig
from monitor.recordings import Recording
from schemas.frames import Frame
from schemas.order_frames import OrderFrame
from tests.order_flow import Market, S

ROWS = 500
SECONDS = 1_800
TAKERS = 400
_RENAMED_EVERY = 2


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


def cost(least_rows: int, instruments: int = 1, flow: OrderFlowModel | None = None) -> dict[str, float]:
    """Apply so many rows or a little more, to instruments in turn; print the table, return the closing figures."""
    market = Market()
    market.quiet(SECONDS, takers=TAKERS)
    orders, ticks = market.orders(), market.ticks()
    engine = OrderEngine(OrderConfig(), flow)
    states = [engine.new_state() for _ in range(instruments)]
    cpu_s, resident = 0.0, list[float]()
    applied = findings = 0
    while applied < least_rows:
        times, turn = divmod(applied // len(orders), instruments)
        state, seen = states[turn], 0
        told, quotes = later(orders, ticks, times)
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
        while len(resident) < min(10, 10 * applied // least_rows):
            resident.append(resident_mb())
    rows = [
        ("order events", applied),
        ("rows a second of an instrument's market", len(orders) / SECONDS),
        ("instruments", instruments),
        ("typologies", len(SPECS)),
        ("µs CPU/row", 1e6 * cpu_s / applied),
        (
            "accounts that ever were, each in one instrument",
            len(orders.accounts) * (1 + times // _RENAMED_EVERY) * instruments,
        ),
        ("accounts kept", sum(len(state.names) for state in states)),
        ("states, kB", sum(len(state.pack()) for state in states) / 1e3),
        ("resident at each tenth, MB", ", ".join(f"{mb:.0f}" for mb in resident)),
        ("findings", findings),
    ]
    what = "all typologies of order events" + (", and the order-flow model" if flow else "")
    harness.table(f"frames of {ROWS} rows", (what, ""), rows)
    return {
        "cpu_us_per_tick": round(1e6 * cpu_s / applied, 3),
        "rows": applied,
        "grown_mb": round(resident[-1] - resident[len(resident) // 2], 1),
    }


def beside(seed: int) -> dict[str, float]:
    """Return what typologies of words and of money cost, µs of CPU: a text of a simulated day, and a transfer."""
    recording = Recording.open(misconduct_days.recorded(Case("agents", "full"), seed), verify=False)
    texts = list(recording.messages(["news", "transcripts"]))
    days = money.simulated(seed, 1, 1.0)
    begin = time.process_time()
    deque(misconduct_days.said_in(texts), maxlen=0)
    between = time.process_time()
    deque(money.openings(days, TransferConfig()), maxlen=0)
    end = time.process_time()
    return {
        "cpu_us_per_text": round(1e6 * (between - begin) / len(texts), 1),
        "cpu_us_per_transfer": round(1e6 * (end - between) / len(days.transfers), 1),
    }


def main() -> None:
    """Measure the cost, play the days, print the tables and the closing JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000, help="order events in all; 50 million take minutes")
    parser.add_argument("--instruments", type=int, default=1, help="that take turns in them")
    parser.add_argument(
        "--days", type=int, default=5, help="simulated days of each model, strength and disguise; 0: only the cost"
    )
    parser.add_argument("--levels", nargs="+", choices=misconduct_days.LEVELS, default=list(misconduct_days.LEVELS))
    parser.add_argument("--workers", type=int, default=2, help="processes that play them")
    parser.add_argument("--seed", type=int, default=misconduct_days.SEED, help="of the first day")
    arguments = parser.parse_args()
    spent = cost(arguments.rows, arguments.instruments)
    both = cost(arguments.rows // 10, flow=order_flow.of(Bundle.load(DEFAULT)))
    spent["learned_us_per_tick"] = round(both["cpu_us_per_tick"] - spent["cpu_us_per_tick"], 3)
    found: dict[str, float | str] = {}
    if arguments.days:
        days = misconduct_days.played(arguments.days, arguments.levels, arguments.workers, arguments.seed)
        found = misconduct.report(days)
        spent |= beside(arguments.seed)
    harness.close(benchmark="typologies", **found, **spent)


if __name__ == "__main__":
    main()
