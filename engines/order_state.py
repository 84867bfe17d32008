"""What is kept of one instrument's orders: open orders, accounts, and the instrument's usual ways; bounded.

Sums that fade are kept by **forward decay** (Cormode et al., 2009): an amount is added with the weight that doubles
each half-life, and a sum is read by dividing by the weight of the moment. So no row touches more than its own account.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate
from statistics import median

import msgspec

_MAGIC = b"ORDS\x01"
SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
#: Weights are brought back to 1 after so many half-lives, by a power of two: sums keep their bits.
_HALVINGS = 512
#: Samples of the quoted depth, one each `DEPTH_NS`: half an hour.
DEPTHS, DEPTH_NS = 180, 10 * SECOND_NS
#: Bins of messages a minute, two an octave.
BINS = 64
_MEMORY_MINUTES = 240
#: What is usual is known after so many samples of the depth, minutes of accounts, and moves of the price.
_LEAST_DEPTHS, _LEAST_MINUTES, _LEAST_MOVES = 12, 50, 10
#: A minute's move counts at most so many times the usual one.
_CAP = 4.0
_FLOOR = 1e-6
#: Of a normal distribution: standard deviation over mean absolute deviation.
_SD_OF_MEAN = math.sqrt(math.pi / 2.0)


def _units() -> list[float]:
    return msgspec.field(default_factory=lambda: [0.0, 0.0])


def _counts() -> list[int]:
    return msgspec.field(default_factory=lambda: [0, 0])


class Order(msgspec.Struct, array_like=True, gc=False):
    """An open order: ``side`` 1 buy, 0 sell; sizes in units.

    ``touched_ns`` is when it was placed or last amended; ``against`` is what its account had filled on the other side,
    ever, when it was placed.
    """

    account: int
    side: int
    price: float
    size: float
    left: float
    filled: float
    placed_ns: int
    touched_ns: int
    against: float


class Account(msgspec.Struct, array_like=True):
    """What one account does in one instrument; pairs are (sell, buy), sums in units.

    ``resting`` is open now. ``placed`` fades by half each minute, ``pulls`` (large orders withdrawn) each hour.
    ``filled`` is all that was ever filled, ``filled_ns`` when it last was. ``messages`` and ``fills`` are counts
    of the current minute.
    """

    number: int
    name: str
    seen_ns: int = 0
    judged_ns: int = 0
    resting: list[float] = _units()
    open: list[int] = _counts()
    placed: list[float] = _units()
    filled: list[float] = _units()
    filled_ns: list[int] = _counts()
    pulls: float = 0.0
    messages: int = 0
    fills: int = 0


class Fading(msgspec.Struct, array_like=True):
    """The weight of now, of sums that lose half each ``half_life_ns``."""

    half_life_ns: int
    since_ns: int = 0
    weight: float = 1.0

    def at(self, now_ns: int) -> float:
        """Bring the weight to ``now_ns``; return what sums are to be multiplied by, mostly 1."""
        halvings = (now_ns - self.since_ns) / self.half_life_ns
        if halvings < _HALVINGS:
            self.weight = math.exp2(halvings)
            return 1.0
        steps = int(halvings // _HALVINGS)
        self.since_ns += steps * _HALVINGS * self.half_life_ns
        self.weight = math.exp2((now_ns - self.since_ns) / self.half_life_ns)
        return math.ldexp(1.0, -_HALVINGS * steps) if steps < 4 else 0.0


class OrderState(msgspec.Struct, array_like=True):
    """All that is kept of an instrument's orders.

    Times count from ``origin_ns``, the first event's, so that nothing depends on the clock on the wall. ``depth`` is
    the median quoted size at the best price of a side (units), ``move`` the mean absolute return of a
    minute with trades, ``busy`` the messages that the busiest half per cent of accounts' minutes exceed; both are
    infinite while unknown, so that nothing is large beside them. ``depths`` holds (sample, units), oldest first.
    """

    origin_ns: int = -1
    newest_ns: int = 0
    minute: int = 0
    next_minute_ns: int = 0
    next_account: int = 0
    last_price: float = 0.0
    minute_price: float = 0.0
    priced_minute: int = 0
    moves: int = 0
    move: float = 0.0
    depth: float = math.inf
    busy: float = math.inf
    #: Faded number of minutes of accounts, by messages.
    rates: list[float] = msgspec.field(default_factory=lambda: [0.0] * BINS)
    depths: list[tuple[int, float]] = []
    names: dict[str, int] = {}
    accounts: dict[int, Account] = {}
    orders: dict[int, Order] = {}
    minutely: Fading = msgspec.field(default_factory=lambda: Fading(MINUTE_NS))
    hourly: Fading = msgspec.field(default_factory=lambda: Fading(HOUR_NS))
    deadline_ns: int = 0

    def begin(self, now_ns: int) -> None:
        """Let time begin, unless it has."""
        if self.origin_ns < 0:
            self.origin_ns = self.newest_ns = self.minutely.since_ns = self.hourly.since_ns = now_ns
            self.next_minute_ns = now_ns + MINUTE_NS

    def at(self, now_ns: int) -> None:
        """Bring sums that fade to ``now_ns``."""
        self.newest_ns = now_ns
        keep = self.minutely.at(now_ns)
        if keep != 1.0:
            for account in self.accounts.values():
                account.placed = [keep * units for units in account.placed]
        keep = self.hourly.at(now_ns)
        if keep != 1.0:
            for account in self.accounts.values():
                account.pulls *= keep

    def turn(self, now_ns: int) -> None:
        """Begin the minute that ``now_ns`` falls in: learn what is usual from those that have passed."""
        passed = (now_ns - self.origin_ns) // MINUTE_NS - self.minute
        self.minute += passed
        self.next_minute_ns = self.origin_ns + (self.minute + 1) * MINUTE_NS
        keep = math.exp2(-passed / _MEMORY_MINUTES)
        self.rates = [count * keep for count in self.rates]
        for account in self.accounts.values():
            if account.messages:
                self.rates[_bin(account.messages)] += 1.0
            account.messages = account.fills = 0
        self.busy = self._rate_above(0.005)
        # A quote may come a minute after orders that it was before: what decides must not hang on who came first.
        last = (self.minute - 1) * MINUTE_NS // DEPTH_NS
        known = [units for sample, units in self.depths if sample < last]
        self.depth = median(known) if len(known) >= _LEAST_DEPTHS else math.inf
        if self.last_price:
            if self.minute_price:
                gap = max(1, self.minute - self.priced_minute)
                move = abs(self.last_price / self.minute_price - 1.0) / math.sqrt(gap)
                self.moves += 1
                most = _CAP * self.move if self.move else move
                self.move += (min(move, most) - self.move) / min(self.moves, _MEMORY_MINUTES)
            self.minute_price, self.priced_minute = self.last_price, self.minute

    def sd(self, span_ns: int) -> float:
        """Return the usual standard deviation of the return over ``span_ns`` (ns, 10 s at least), inf while unknown."""
        if self.moves < _LEAST_MOVES:
            return math.inf
        return max(self.move, _FLOOR) * _SD_OF_MEAN * math.sqrt(max(span_ns, 10 * SECOND_NS) / MINUTE_NS)

    def _rate_above(self, share: float) -> float:
        above = list(accumulate(reversed(self.rates)))
        if above[-1] < _LEAST_MINUTES:
            return math.inf
        return math.exp2(0.5 * (BINS - bisect_left(above, share * above[-1])))

    def pack(self) -> bytes:
        """Return the state as bytes."""
        return _MAGIC + msgspec.msgpack.encode(self)

    @staticmethod
    def unpack(data: bytes) -> OrderState:
        """Return the state that `pack` wrote.

        Raises
        ------
        ValueError
            If the bytes are not such a state, or of another version.
        """
        if not data.startswith(_MAGIC):
            raise ValueError(
                f"order state: expected bytes that begin with {_MAGIC!r}, found {data[:5]!r}; replay from the "
                "recording, or run the release that wrote the checkpoint"
            )
        return msgspec.msgpack.decode(memoryview(data)[len(_MAGIC) :], type=OrderState)


def _bin(messages: int) -> int:
    return min(BINS - 1, int(2.0 * math.log2(messages)))
