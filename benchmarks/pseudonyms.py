"""What it costs to name accounts by a keyed hash: `python -m benchmarks.pseudonyms`.

Order frames whose accounts come again and again, frames each of whose rows names an account never seen before, and
single transfers of accounts that come again: CPU time, µs a row, the best of several rounds. What is done with a
message afterwards is not in it.
"""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from monitor.pseudonyms import Pseudonyms
from schemas import codec
from schemas.order_frames import order_frame_of
from schemas.records import Transfer

ROWS, FRAMES, ROUNDS, T0 = 500, 200, 7, 1_764_547_200_000_000_000
KEY = b"ACME.XTOC"


def frame(rng: np.random.Generator, accounts: Sequence[str]) -> bytes:
    """Return an order frame of `ROWS` rows whose accounts are drawn from some."""
    places = rng.permutation(ROWS) % len(accounts)
    times = T0 + np.arange(ROWS)
    columns = {"ts_event": times, "ts_available": times, "side": np.ones(ROWS), "order": times, "account": places}
    return codec.encode(order_frame_of(KEY.decode(), columns, accounts))


def best_us(made: Callable[[], Pseudonyms], messages: Sequence[tuple[str, bytes, bytes]], warm: bool) -> float:
    """Return the least CPU time of a round, µs."""
    taken = []
    for _ in range(ROUNDS):
        names = made()
        for _ in range(2 if warm else 1):
            began_s = time.process_time()
            for message in messages:
                if names.message(*message) is None:
                    raise AssertionError("not read")
            last_s = time.process_time() - began_s
        taken.append(last_s * 1e6)
    return min(taken)


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys"
        path.write_text(
            f"k1 - - {base64.b64encode(bytes(32)).decode()}\n"
            f"k2 2025-11-01T00:00:00Z 2026-02-01T00:00:00Z {base64.b64encode(bytes([1]) * 32).decode()}\n"
        )
        cases = {
            "frames of 500 rows, 100 accounts": [[f"ACC-{n:08}" for n in range(100)]] * FRAMES,
            "frames of 500 rows, 20 of 10,000 accounts": [
                [f"ACC-{n:08}" for n in rng.choice(10_000, 20, replace=False)] for _ in range(FRAMES)
            ],
            "frames of 500 rows, each another account": [
                [f"ACC-{k:05}{n:05}" for n in range(ROWS)] for k in range(FRAMES)
            ],
        }
        for name, tables in cases.items():
            messages = [("orders", KEY, frame(rng, table)) for table in tables]
            for warm in (False, True):
                us = best_us(lambda: Pseudonyms(path), messages, warm) / (ROWS * FRAMES)
                print(f"{name}, {'seen before' if warm else 'new':11}: {us:.3f} µs a row")
        paid = [
            Transfer(
                ts_event=T0, ts_available=T0, transfer_id=f"{n}", account=f"A{n % 97}", counterparty=f"B{n % 89}",
                amount=5.0, currency="USD",
            )
            for n in range(5_000)
        ]  # fmt: skip
        messages = [("transfers", one.account.encode(), codec.encode(one)) for one in paid]
        print(f"transfers: {best_us(lambda: Pseudonyms(path), messages, True) / len(messages):.2f} µs each")


if __name__ == "__main__":
    main()
