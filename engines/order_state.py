"""What is kept of one instrument's orders: open orders, accounts, and the instrument's usual ways; bounded.

Sums that fade are kept by **forward decay** (Cormode et al., 2009): an amount is added with the weight that doubles
each half-life, and a sum is read by dividing by the weight of the moment. So no row touches more than its own account.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from statistics import NormalDist, median
from typing import NamedTuple

import msgspec

from engines.sessions import NEVER_NS, SECOND_NS, Stretch
from engines.typologies.conditions import Conditions

_MAGIC = b"ORDS\x03"
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
#: Sums fade in steps of so much.
PACE_NS = 10 * SECOND_NS
#: Weights are brought back to 1 after so many half-lives, by a power of two: sums keep their bits.
_HALVINGS = 512
#: Samples of the quoted depth, one each `DEPTH_NS`: half an hour of them is learnt from; ticks may be an hour ahead.
DEPTHS, DEPTHS_AHEAD, DEPTH_NS = 90, 180, 20 * SECOND_NS
#: Time of a burst of messages.
BURST_NS = 10 * SECOND_NS
#: Bins of messages a minute, four an octave.
BINS = 64
_MEMORY_MINUTES = 240
#: So long without a fill, and an account begins anew.
SILENCE_NS = HOUR_NS
#: What is usual is known after so many samples of the depth, minutes of accounts, and moves of the price.
_LEAST_DEPTHS, _LEAST_MINUTES, _LEAST_MOVES = 6, 50, 6
#: Minutes whose moves and messages make the usual ones; how often those are learnt anew; the least usual move.
_MINUTES, _LEARN_MINUTES, _FLOOR = 120, 5, 1e-6
#: Of a normal distribution: standard deviation over median and mean absolute deviation.
_SD_OF_MEDIAN, _SD_OF_MEAN = 1.0 / NormalDist().inv_cdf(0.75), math.sqrt(math.pi / 2.0)


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


class Link(msgspec.Struct, array_like=True, gc=False):
    """What one account sold to another: units and trades, fading by half each hour."""

    units: float = 0.0
    trades: float = 0.0


class Run(msgspec.Struct, array_like=True, gc=False):
    """Fills of one account on one side without one on the other, and without a pause.

    ``units`` are all of them, ``took`` the aggressive ones, ``taken`` what all accounts took from the first of them to
    the newest, beyond the ``taken_before`` that ever were. ``price_before`` is the last price before the first of
    them, ``price_after`` that of the newest; ``told`` is how far it had moved the price when the market's scope was
    told of it, in standard deviations.
    """

    side: int = 0
    start_ns: int = 0
    last_ns: int = 0
    units: float = 0.0
    took: float = 0.0
    price_before: float = 0.0
    price_after: float = 0.0
    taken_before: float = 0.0
    taken: float = 0.0
    told: float = 0.0


class Stake(msgspec.Struct, array_like=True, gc=False):
    """What an account has traded since it was silent for `SILENCE_NS`.

    Units ``sold`` and ``bought`` at ``moments`` different times from ``start_ns`` to ``last_ns``; ``before`` is what it
    had ever traded until then.
    """

    start_ns: int = 0
    last_ns: int = 0
    sold: float = 0.0
    bought: float = 0.0
    moments: int = 0
    before: float = 0.0


class Ruled(NamedTuple):
    """What a rule said last of an account, or said highest of late, at ``ts_event`` (ns)."""

    ts_event: int
    score: float
    conditions: Conditions


class Account(msgspec.Struct, array_like=True):
    """What one account does in one instrument; pairs are (sell, buy), sums in units.

    ``resting`` is open now, in ``open`` orders. ``placed`` fades by half each minute; ``traded``, ``pulls`` (large
    orders withdrawn), ``washes`` and ``washed`` (trades with itself) each hour. ``filled`` is all that ever was,
    ``filled_ns`` when it last was; ``sent`` are all units in ``placings`` orders, ``strayed`` how far their limits
    lay from the last price, relative, together. ``messages`` and ``fills`` are counts
    of the current minute, ``peak`` is its largest burst; ``burst``, ``burst_short`` (withdrawn within a second) and
    ``burst_fills`` are counts since ``burst_ns``. ``run`` is of its newest fills, ``before`` of those before it.
    ``stake`` is what it has traded since it was silent. ``sold_to`` are its last buyers, the newest at the end;
    ``marked`` is what it took in the stretch that began at ``marked_ns``, from the price ``marked_from`` on,
    ``furthest`` the lowest and the highest price of that; ``traded_before`` is what it had traded in the hour before.
    ``tail`` are its last events (see `engines.order_tail`) of all that it ``told``; a model was asked at ``asked_ns``,
    beside which counts what rules said, ``ruled``, by typology.
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
    traded: list[float] = _units()
    pulls: float = 0.0
    washes: float = 0.0
    washed: float = 0.0
    sent: float = 0.0
    placings: int = 0
    messages: int = 0
    fills: int = 0
    burst_ns: int = 0
    burst: int = 0
    peak: int = 0
    burst_short: int = 0
    burst_fills: int = 0
    run: Run = msgspec.field(default_factory=Run)
    before: Run = msgspec.field(default_factory=Run)
    stake: Stake = msgspec.field(default_factory=Stake)
    sold_to: dict[int, Link] = {}
    marked_ns: int = 0
    marked: list[float] = _units()
    furthest: list[float] = _units()
    traded_before: float = 0.0
    trader: str = ""
    tail: bytearray = msgspec.field(default_factory=bytearray)
    told: int = 0
    asked_ns: int = 0
    ruled: dict[str, Ruled] = {}
    marked_from: float = 0.0
    strayed: float = 0.0


class Holder(msgspec.Struct, array_like=True, gc=False):
    """An account at the moment of news: its stake, and what it had ever filled, (sell, buy)."""

    account: int
    stake: Stake
    filled: list[float]


class Pending(msgspec.Struct, array_like=True):
    """News whose impact is to be measured next at ``due_ns``.

    ``price`` is the last one before it, ``low`` to ``high`` are those at the ends of minutes since; ``traded`` are the
    units of the hour before it, of all accounts.
    """

    news_ns: int
    due_ns: int
    price: float
    low: float
    high: float
    traded: float
    holders: list[Holder]

    def see(self, price: float) -> None:
        """Note a price since the news."""
        self.low, self.high = min(self.low, price), max(self.high, price)


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

    Times count from ``origin_ns``, the first event's, so that nothing depends on the clock on the wall. ``moves`` are
    absolute returns of the last minutes, ``minute_sd`` is the standard deviation that follows; ``depth``
    (units) is the median quoted size at the best price of a side, of ``depths``: (sample, units), oldest first;
    ``busy`` are the messages that the busiest hundredth of accounts' minutes exceeds, by ``rates``, faded numbers of
    such minutes by messages; ``crowded`` are the messages of all in a minute that one in twenty exceeds, of the last
    ``counts``. These four are infinite while unknown, so that nothing is large beside them.

    ``messages`` are of the current minute, ``active`` the accounts that did anything in it. ``traded`` is what was
    taken of late, fading by half each hour, ``taken`` all that ever was; ``price_before`` is the last price before the
    trade ``last_trade``. ``stretch`` is of the opening or close that is on or comes next, ``opened``
    an opening that is still to be judged. ``halves`` are trades of which one side was told: account, side, trader.
    ``desks`` are accounts by trader. The next impact of news is measured at ``due_ns``, by the clock at
    ``deadline_ns`` if no event comes (0: none). Before ``next_ns`` a row has nothing to do but to be taken.
    """

    origin_ns: int = -1
    newest_ns: int = 0
    minute: int = 0
    learnt_minute: int = 0
    next_minute_ns: int = 0
    pace_ns: int = 0
    next_ns: int = 0
    next_account: int = 0
    messages: int = 0
    active: list[int] = []
    last_trade: int = 0
    price_before: float = 0.0
    last_price: float = 0.0
    taken: float = 0.0
    minute_price: float = 0.0
    priced_minute: int = 0
    moves: list[float] = []
    minute_sd: float = math.inf
    depth: float = math.inf
    busy: float = math.inf
    crowded: float = math.inf
    counts: list[int] = []
    rates: list[float] = msgspec.field(default_factory=lambda: [0.0] * BINS)
    depths: list[tuple[int, float]] = []
    names: dict[str, int] = {}
    accounts: dict[int, Account] = {}
    orders: dict[int, Order] = {}
    halves: dict[int, tuple[int, int, str]] = {}
    desks: dict[str, list[int]] = {}
    traded: float = 0.0
    opened: Stretch = msgspec.field(default_factory=Stretch)
    stretch: Stretch = msgspec.field(default_factory=Stretch)
    pending: list[Pending] = []
    due_ns: int = NEVER_NS
    minutely: Fading = msgspec.field(default_factory=lambda: Fading(MINUTE_NS))
    hourly: Fading = msgspec.field(default_factory=lambda: Fading(HOUR_NS))
    deadline_ns: int = 0

    def begin(self, now_ns: int) -> None:
        """Let time begin, unless it has."""
        if self.origin_ns < 0:
            self.origin_ns = self.newest_ns = self.minutely.since_ns = self.hourly.since_ns = now_ns
            self.next_minute_ns = now_ns + MINUTE_NS

    def at(self, now_ns: int) -> None:
        """Bring sums that fade to ``now_ns``; until `PACE_NS` later they stand as they are."""
        self.pace_ns = now_ns + PACE_NS
        keep = self.minutely.at(now_ns)
        if keep != 1.0:
            for account in self.accounts.values():
                account.placed = [keep * units for units in account.placed]
        keep = self.hourly.at(now_ns)
        if keep != 1.0:
            self.traded *= keep
            for account in self.accounts.values():
                account.traded = [keep * units for units in account.traded]
                account.pulls, account.washes, account.washed = (
                    keep * number for number in (account.pulls, account.washes, account.washed)
                )
                for link in account.sold_to.values():
                    link.units, link.trades = keep * link.units, keep * link.trades

    def turn(self, now_ns: int) -> None:
        """Begin the minute that ``now_ns`` falls in: keep what the one before it amounts to."""
        self.minute = (now_ns - self.origin_ns) // MINUTE_NS
        self.next_minute_ns = self.origin_ns + (self.minute + 1) * MINUTE_NS
        for number in self.active:
            if account := self.accounts.get(number):
                if account.messages:
                    self.rates[_bin(account.messages)] += 1.0
                account.messages = account.fills = account.peak = 0
        self.active = []
        self.counts.append(self.messages)
        del self.counts[:-_MINUTES]
        self.messages = 0
        if self.last_price:
            for news in self.pending:
                news.see(self.last_price)
            if self.minute_price:
                gap = self.minute - self.priced_minute
                self.moves.append(abs(self.last_price / self.minute_price - 1.0) / math.sqrt(gap))
                del self.moves[:-_MINUTES]
            self.minute_price, self.priced_minute = self.last_price, self.minute
        known = self.depth < math.inf and self.minute_sd < math.inf and self.busy < math.inf
        if self.minute >= self.learnt_minute + (_LEARN_MINUTES if known else 1):
            self._learn()

    def _learn(self) -> None:
        """Learn what is usual from what was kept."""
        keep = math.exp2((self.learnt_minute - self.minute) / _MEMORY_MINUTES)
        self.rates = [count * keep for count in self.rates]
        self.learnt_minute = self.minute
        self.busy = self._rate_above(0.01)
        # A quote may come a minute after orders that it was before: what decides must not hang on who came first.
        last = (self.minute - 1) * MINUTE_NS // DEPTH_NS
        units = [depth for sample, depth in self.depths if sample < last]
        del self.depths[: max(0, len(units) - DEPTHS)]
        self.depth = (median(units[-DEPTHS:]) if len(units) >= _LEAST_DEPTHS else 0.0) or math.inf
        if len(self.counts) >= _LEAST_MOVES:
            self.crowded = float(max(1, sorted(self.counts)[len(self.counts) * 19 // 20]))
        if len(self.moves) >= _LEAST_MOVES:
            # What moved the price lately must not hide itself nor what comes after it: most of the mean where most
            # minutes stand still, of moves that are cut at the tenth largest of a hundred.
            most = sorted(self.moves)[len(self.moves) * 9 // 10]
            mean = sum(min(move, most) for move in self.moves) / len(self.moves)
            self.minute_sd = max(_SD_OF_MEDIAN * median(self.moves), 0.6 * _SD_OF_MEAN * mean, _FLOOR)

    def rekey(self, moved: Mapping[str, str]) -> None:
        """Name accounts and traders anew; a name that another has already stays as it is."""
        moved = {old: name for old, name in moved.items() if name not in self.names}
        self.names = {moved.get(name, name): number for name, number in self.names.items()}
        for account in self.accounts.values():
            account.name, account.trader = (
                moved.get(account.name, account.name),
                moved.get(account.trader, account.trader),
            )
        self.desks = {moved.get(name, name): desk for name, desk in self.desks.items()}
        self.halves = {
            trade: (account, side, moved.get(name, name)) for trade, (account, side, name) in self.halves.items()
        }

    def orders_of(self, account: Account, side: int) -> Iterator[Order]:
        """Yield the account's open orders on a side, the oldest first."""
        for order in self.orders.values():
            if order.account == account.number and order.side == side:
                yield order

    def sd(self, span_ns: int) -> float:
        """Return the usual standard deviation of the return over ``span_ns`` (ns, 10 s at least), inf while unknown."""
        return self.minute_sd * math.sqrt(max(span_ns, 10 * SECOND_NS) / MINUTE_NS)

    def _rate_above(self, share: float) -> float:
        above = list(accumulate(reversed(self.rates)))
        if above[-1] < _LEAST_MINUTES:
            return math.inf
        return math.exp2(0.25 * (BINS - bisect_left(above, share * above[-1])))

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
    return min(BINS - 1, int(4.0 * math.log2(messages)))
