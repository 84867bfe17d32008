"""What is kept of one account: its latest transfers, and what is usual for it.

Amounts are compared in **units**: multiples of the usual transfer of all accounts in the same currency (a geometric
mean), so that neither the currency nor its scale matters. What is usual for an account is learnt of a transfer once it
is `SETTLED_NS` old, so that a burst does not make itself usual.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from typing import NamedTuple

import msgspec

from schemas.records import Transfer

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
#: Transfers of one direction that are kept, and for how long.
KEPT, KEPT_NS = 64, 7 * DAY_NS
SETTLED_NS = DAY_NS
#: Counterparties that an account is taken to know; what it dealt with before the last of them is new again.
KNOWN = 256
#: Time in which what was learnt loses half its weight.
HALF_LIFE_NS = 30 * DAY_NS
_LIFE_NS = HALF_LIFE_NS / math.log(2)
#: Before anything is learnt, an account is taken to move one unit, and to meet one new counterparty, in so much time.
PRIOR_NS = DAY_NS
#: The weight, in transfers, of one unit in what an account usually moves.
PRIOR_COUNT = 3.0


class Edge(NamedTuple):
    """A transfer as one end sees it: ``fresh`` where it had not dealt with ``other`` before. ``ts`` is event time, ns.

    ``amount`` is in ``currency``, ``units`` the same in units.
    """

    ts: int
    transfer_id: str
    other: str
    amount: float
    currency: str
    units: float
    fresh: bool


class Near(NamedTuple):
    """A listed account, so many ``hops`` away: ``path`` leads to it over ``transfers`` (ids), none where it is itself.

    ``ts`` is the event time (ns) of the newest of them, ``similarity`` that of the names, in [0, 100].
    """

    hops: int
    ts: int
    similarity: float
    listed: str
    path: tuple[str, ...]
    transfers: tuple[str, ...] = ()


class Usual(NamedTuple):
    """What is usual one way: a transfer's ``amount``, a ``large`` one, what a window brings (``flow``), in units.

    Large is the second largest: what came once is not usual yet. ``fresh`` is how many new counterparties a window
    brings.
    """

    amount: float
    large: float
    flow: float
    fresh: float


class Flow(msgspec.Struct, array_like=True):
    """What goes one way: ``edges``, oldest first, of which the first ``settled`` are learnt.

    ``count``, ``units``, ``logs`` and ``fresh`` are sums as of ``learnt_ns``, half as heavy after `HALF_LIFE_NS`: of
    transfers, of their units and the logarithms of those, and of new counterparties. ``largest`` are the two
    largest transfers, in units; they shrink by half in a year.
    """

    edges: list[Edge] = []
    settled: int = 0
    count: float = 0.0
    units: float = 0.0
    logs: float = 0.0
    fresh: float = 0.0
    largest: tuple[float, float] = (0.0, 0.0)
    learnt_ns: int = 0

    def add(self, edge: Edge) -> bool:
        """Take a transfer in; False where it was there before, or is older than what is learnt."""
        if any(one.transfer_id == edge.transfer_id for one in self.edges):
            return False
        if edge.ts < self.learnt_ns:
            return False
        insort(self.edges, edge)
        newest_ns = self.edges[-1].ts
        gone = max(len(self.edges) - KEPT, bisect_left(self.edges, (newest_ns - KEPT_NS,)))
        learnt = max(gone, bisect_left(self.edges, (newest_ns - SETTLED_NS,)))
        for one in self.edges[self.settled : learnt]:
            self.learn(one.ts, one.units, one.fresh)
        del self.edges[:gone]
        self.settled = max(self.settled, learnt) - gone
        return True

    def since(self, ts: int) -> list[Edge]:
        """Return the transfers from ``ts`` (event time, ns) on."""
        return self.edges[bisect_left(self.edges, (ts,)) :]

    def learn(self, ts: int, units: float, fresh: bool) -> None:
        """Add a transfer to what is usual."""
        fade = self._fade(ts)
        self.count = self.count * fade + 1.0
        self.units = self.units * fade + units
        self.logs = self.logs * fade + math.log(units)
        self.fresh = self.fresh * fade + fresh
        first, second = (one * fade ** (1 / 12) for one in self.largest)
        self.largest = max(first, units), max(second, min(first, units))
        self.learnt_ns = max(ts, self.learnt_ns)

    def usual(self, since_ns: int, now_ns: int, window_ns: int) -> Usual:
        """Return what is usual for who moved first at ``since_ns``, without the day before ``now_ns``."""
        fade = self._fade(now_ns - SETTLED_NS)
        past_ns = max(0, now_ns - SETTLED_NS - since_ns)
        share = window_ns / (PRIOR_NS - _LIFE_NS * math.expm1(-past_ns / _LIFE_NS))
        amount = math.exp(self.logs / (self.count + PRIOR_COUNT))
        large = self.largest[1] * fade ** (1 / 12)
        return Usual(amount, large, (self.units * fade + 1.0) * share, (self.fresh * fade + 1.0) * share)

    def _fade(self, ts: int) -> float:
        return math.exp(min(0, self.learnt_ns - ts) / _LIFE_NS) if self.learnt_ns else 1.0


class Account(msgspec.Struct, array_like=True):
    """One account. Times are int64 ns of event time, 0 for never.

    ``knows`` are counterparties, the latest last; ``near`` is the nearest listed account. ``woke_ns`` is when it last
    moved after ``quiet_ns`` of nothing, ``newest_ns`` its newest transfer; ``late`` counts transfers that came too late
    to be judged, or twice.
    """

    first_ns: int = 0
    newest_ns: int = 0
    woke_ns: int = 0
    quiet_ns: int = 0
    late: int = 0
    knows: list[str] = []
    near: Near | None = None
    sent: Flow = msgspec.field(default_factory=Flow)
    received: Flow = msgspec.field(default_factory=Flow)

    def take(self, transfer: Transfer, units: float, *, paying: bool) -> bool:
        """Take a transfer in, at the end that is ``paying`` or the other; False where it came too late, or twice."""
        flow, other = (self.sent, transfer.counterparty) if paying else (self.received, transfer.account)
        ts = transfer.ts_event
        fresh = other not in self.knows
        edge = Edge(ts, transfer.transfer_id, other, transfer.amount, transfer.currency, units, fresh)
        if not flow.add(edge):
            self.late += 1
            return False
        if not fresh:
            self.knows.remove(other)
        self.knows.append(other)
        del self.knows[:-KNOWN]
        if self.newest_ns and ts - self.newest_ns > KEPT_NS:
            self.woke_ns, self.quiet_ns = ts, ts - self.newest_ns
        self.first_ns = self.first_ns or ts
        self.newest_ns = max(self.newest_ns, ts)
        return True

    def others(self) -> dict[str, None]:
        """Return whom it knows, each once, in the order in which it dealt with them last."""
        return dict.fromkeys((*self.knows, *(edge.other for flow in (self.sent, self.received) for edge in flow.edges)))

    def rename(self, before: str, name: str) -> None:
        """Name an account anew, itself or another, wherever it is kept here."""
        self.knows = [name if one == before else one for one in self.knows]
        for flow in (self.sent, self.received):
            flow.edges = [edge._replace(other=name) if edge.other == before else edge for edge in flow.edges]
        if self.near is not None and before in self.near.path:
            self.near = self.near._replace(path=tuple(name if one == before else one for one in self.near.path))

    def usual(self, flow: Flow, window_ns: int) -> Usual:
        """Return what is usual for a ``flow`` of this account."""
        return flow.usual(self.first_ns, self.newest_ns, window_ns)
