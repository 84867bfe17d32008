"""What accounts do in a simulated day: order events around trades of the tape, and transfers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.simulator.events import Event
from engines.simulator.flow import SECOND_NS
from schemas.frames import Frame, Kind
from schemas.records import OrderEvent, Transfer

ACCOUNTS = 400
_SAMPLED = 0.012
_RING = 5
_FEED_NS = 400_000


def account(number: int) -> str:
    """Return an account's name."""
    return f"A{number:05d}"


def trader(name: str) -> str:
    """Return the trader of an account."""
    return name.replace("A", "T")


def ring_of(event_number: int) -> list[str]:
    """Return the accounts of the organisers of the day's event ``event_number``: none of them trades otherwise."""
    first = ACCOUNTS + event_number * _RING
    return [account(first + k) for k in range(_RING)]


def orders_of(
    rng: np.random.Generator, frame: Frame, plots: list[tuple[Event, list[str]]], open_ns: int, prefix: str
) -> list[OrderEvent]:
    """Return order events of one instrument: a sample of its trades as orders, and orders that were cancelled.

    ``plots`` are the pumps in this instrument with their rings, which own every fifth buy until the burst ends and
    every third sell after it.
    """
    trades = np.flatnonzero(frame.kind == Kind.TRADE)
    owner = np.full(len(trades), -1)
    sampled = rng.random(len(trades)) < _SAMPLED
    owner[sampled] = rng.integers(0, ACCOUNTS, int(sampled.sum()))
    names: dict[int, str] = {}
    for event, ring in plots:
        second = (frame.ts_event[trades] - open_ns) // SECOND_NS
        buys = (second >= event.start_s) & (second < event.onset_s + 90) & (frame.side[trades] > 0)
        sells = (second >= event.onset_s + 90) & (second <= event.end_s) & (frame.side[trades] < 0)
        mine = (buys & (rng.random(len(trades)) < 0.2)) | (sells & (rng.random(len(trades)) < 0.33))
        owner[mine] = ACCOUNTS + rng.integers(0, len(ring), int(mine.sum()))
        names |= {ACCOUNTS + k: name for k, name in enumerate(ring)}
    events: list[OrderEvent] = []
    for number, row in enumerate(np.flatnonzero(owner >= 0)):
        tick = int(trades[row])
        name = names.get(int(owner[row])) or account(int(owner[row]))
        placed_ns = int(frame.ts_event[tick]) - int(rng.exponential(2.0) * SECOND_NS) - 1_000_000
        cancelled = rng.random() < 0.3
        chain = [(max(open_ns, placed_ns), "new"), (int(frame.ts_event[tick]), "cancel" if cancelled else "fill")]
        events.extend(
            OrderEvent(
                ts_event=at,
                ts_available=at + _FEED_NS,
                instrument=frame.instrument,
                order_id=f"{prefix}-{frame.instrument}-{number}",
                action=action,  # type: ignore[arg-type]
                side="buy" if frame.side[tick] > 0 else "sell",
                price=float(frame.price[tick]),
                size=float(frame.size[tick]),
                account=name,
                trader=trader(name),
                trade_id=str(int(frame.trade_id[tick])) if action == "fill" else "",
            )
            for at, action in chain
        )
    return events


def transfers_of(
    rng: np.random.Generator, plots: list[tuple[Event, list[str]]], open_ns: int, seconds: int, prefix: str
) -> list[Transfer]:
    """Return the day's payments: some between ordinary accounts, and the organisers' to their rings beforehand."""
    pairs: list[tuple[int, str, str, float]] = []
    for at in rng.integers(0, seconds, max(4, seconds // 500)):
        payer, payee = rng.choice(ACCOUNTS, 2, replace=False)
        pairs.append((int(at), account(int(payer)), account(int(payee)), float(np.exp(rng.normal(7.5, 1.2)))))
    for event, ring in plots:
        for name in ring[1:]:
            at = int(event.start_s * rng.uniform(0.3, 0.9))
            pairs.append((at, ring[0], name, float(rng.uniform(8_500, 9_900))))
    return [
        Transfer(
            ts_event=open_ns + at * SECOND_NS,
            ts_available=open_ns + at * SECOND_NS + 2_000_000,
            transfer_id=f"{prefix}-{k}",
            account=payer,
            counterparty=payee,
            amount=round(amount, 2),
            currency="USD",
        )
        for k, (at, payer, payee, amount) in enumerate(sorted(pairs))
    ]


def minute_bars(frame: Frame, open_ns: int, seconds: int) -> npt.NDArray[np.float64]:
    """Return one-minute bars of the trades, by ``ts_event``.

    Shape (minutes, 5): open, high, low, close in currency, volume in units. A minute
    without a trade repeats the last close with volume 0; before the first trade it is NaN.
    """
    minutes = -(-seconds // 60)
    bars = np.full((minutes, 5), np.nan)
    bars[:, 4] = 0.0
    trades = np.flatnonzero(frame.kind == Kind.TRADE)
    trades = trades[np.argsort(frame.ts_event[trades], kind="stable")]
    minute = np.clip((frame.ts_event[trades] - open_ns) // (60 * SECOND_NS), 0, minutes - 1)
    price, size = frame.price[trades], frame.size[trades]
    present, first = np.unique(minute, return_index=True)
    last = np.append(first[1:], len(minute)) - 1
    if len(present):
        bars[present, 0] = price[first]
        bars[present, 1] = np.maximum.reduceat(price, first)
        bars[present, 2] = np.minimum.reduceat(price, first)
        bars[present, 3] = price[last]
        bars[present, 4] = np.add.reduceat(size, first)
    for k in range(1, minutes):
        if np.isnan(bars[k, 3]):
            bars[k, :4] = bars[k - 1, 3]
    return bars
