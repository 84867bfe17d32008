"""What keeps a share's prices on two venues together: an arbitrageur who takes both where they cross."""

from __future__ import annotations

from engines.simulator.flow import SECOND_NS
from engines.simulator.lob.world import ARBITRAGEUR, Process, World


def between(world: World) -> Process:
    """Look about every half second whether one venue bids as much as the other asks, and take both."""
    while True:
        yield int(world.rng.expovariate(2.0) * SECOND_NS)
        one, other = world.books
        for dear, cheap in ((one, other), (other, one)):
            bid, ask = dear.best(1), cheap.best(-1)
            if ask and bid >= ask:
                size = min(dear.bids.top(1), cheap.asks.top(1))
                cheap.submit(world.now, ARBITRAGEUR, 1, ask, size, rests=False)
                dear.submit(world.now, ARBITRAGEUR, -1, bid, size, rests=False)
