"""One example of each typology of orders, at full strength after twenty minutes of quiet, and what is nearly one.

Each begins at `AT`; ``who`` are the accounts that must be found.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from tests.order_flow import DEPTH, OPEN_NS, Market, S

#: Seconds of quiet before, and after.
AT, AFTER = 1_200, 300
#: Seconds until the impact of news is known.
AFTER_NEWS = 660
#: When the market begins, in seconds of the UTC day, where that decides.
BEGINS_S = {"marking_the_close": 75_600 - AT - 120, "influencing_the_open": 52_200 - AT}
DAY_S = 86_400


Act = Callable[[Market, float], None]
ACTS: dict[str, tuple[Act, frozenset[str]]] = {}
NEARLY: dict[str, dict[str, Act]] = {}


def misconduct(name: str, *who: str) -> Callable[[Act], Act]:
    """Register an example of a typology."""

    def register(act: Act) -> Act:
        ACTS[name] = act, frozenset(who)
        return act

    return register


def nearly(name: str, why: str) -> Callable[[Act], Act]:
    """Register what lacks one condition of a typology."""

    def register(act: Act) -> Act:
        NEARLY.setdefault(name, {})[why] = act
        return act

    return register


@cache
def market(name: str, why: str = "") -> Market:
    """Return twenty minutes of quiet, the example of a typology or what is nearly one, then five or eleven more."""
    return played(NEARLY[name][why] if why else ACTS[name][0], name)


def played(act: Act, name: str) -> Market:
    """Return a day like that of a typology's example, with another act in it."""
    begins_s = BEGINS_S.get(name, OPEN_NS // S % DAY_S)
    made = Market(start_ns=OPEN_NS - OPEN_NS % (DAY_S * S) + begins_s * S)
    made.quiet(AT)
    act(made, made.mid)
    made.quiet(AFTER_NEWS if made.news else AFTER, seed=1, begin=AT)
    return made


def _spoof(market: Market, mid: float, *, size: float, wanted: float, other_side: float = 0.0) -> None:
    for k in range(3):
        at = AT + 20.0 * k
        wished = market.place(at, "spoofer", -1, mid + 0.01, wanted)
        leaning = market.place(at + 1, "spoofer", +1, mid - 0.02, size)
        if other_side:
            also = market.place(at + 1, "spoofer", -1, mid + 0.05, other_side)
            market.cancel(at + 5, also)
        if wanted > 0.1:
            market.take(at + 3, "taker-1", wished, wanted)
        market.cancel(at + 4, leaning)


@misconduct("spoofing", "spoofer")
def spoofing(market: Market, mid: float) -> None:
    """Three times an offer of half the depth is taken while a bid of six depths stands."""
    _spoof(market, mid, size=6 * DEPTH, wanted=DEPTH / 2)


@nearly("spoofing", "small")
def _(market: Market, mid: float) -> None:
    _spoof(market, mid, size=1.5 * DEPTH, wanted=DEPTH / 2)


@nearly("spoofing", "two-sided")
def _(market: Market, mid: float) -> None:
    _spoof(market, mid, size=6 * DEPTH, wanted=DEPTH / 2, other_side=6 * DEPTH)


@nearly("spoofing", "nothing filled")
def _(market: Market, mid: float) -> None:
    _spoof(market, mid, size=6 * DEPTH, wanted=0.1)


def _flood(market: Market, mid: float, *, rate: int, seconds: int, filled: int = 0) -> None:
    for k in range(rate * seconds):
        at = AT + k / rate
        order = market.place(at, "flooder", +1, mid - 0.05, 1.0)
        if filled and k % filled == 0:
            market.take(at + 0.3 / rate, "taker-2", order, 1.0)
        else:
            market.cancel(at + 0.5 / rate, order)


@misconduct("excessive_messages", "flooder")
def excessive_messages(market: Market, mid: float) -> None:
    """Two hundred orders come and go in each of a hundred seconds."""
    _flood(market, mid, rate=40, seconds=100)


@nearly("excessive_messages", "busy as makers are")
def _(market: Market, mid: float) -> None:
    _flood(market, mid, rate=3, seconds=100)


@nearly("excessive_messages", "it trades")
def _(market: Market, mid: float) -> None:
    _flood(market, mid, rate=40, seconds=100, filled=5)


def _layer(market: Market, mid: float, *, levels: int, size: float, wanted: float) -> None:
    for k in range(3):
        at = AT + 20.0 * k
        wished = market.place(at, "layerer", -1, mid + 0.01, wanted)
        layers = [market.place(at + 1, "layerer", +1, mid - 0.02 - 0.01 * n, size) for n in range(levels)]
        if wanted > 0.1:
            market.take(at + 3, "taker-1", wished, wanted)
        for layer in layers:
            market.cancel(at + 4, layer)


@misconduct("layering", "layerer")
def layering(market: Market, mid: float) -> None:
    """Three times an offer of half the depth is taken while five bids of two depths each stand."""
    _layer(market, mid, levels=5, size=2 * DEPTH, wanted=DEPTH / 2)


@nearly("layering", "one price")
def _(market: Market, mid: float) -> None:
    _layer(market, mid, levels=1, size=10 * DEPTH, wanted=DEPTH / 2)


@nearly("layering", "small")
def _(market: Market, mid: float) -> None:
    _layer(market, mid, levels=5, size=0.3 * DEPTH, wanted=DEPTH / 2)


@misconduct("quote_stuffing", "stuffer")
def quote_stuffing(market: Market, mid: float) -> None:
    """Four hundred orders a second come and go for three seconds."""
    _burst(market, mid, rate=400, life=0.001)


@nearly("quote_stuffing", "orders last")
def _(market: Market, mid: float) -> None:
    _burst(market, mid, rate=400, life=2.0)


@nearly("quote_stuffing", "as makers do")
def _(market: Market, mid: float) -> None:
    _burst(market, mid, rate=50, life=0.001)


def _burst(market: Market, mid: float, *, rate: int, life: float) -> None:
    for k in range(3 * rate):
        order = market.place(AT + k / rate, "stuffer", -1, mid + 0.06, 1.0)
        market.cancel(AT + k / rate + life, order)


@misconduct("wash_trading", "washer")
def wash_trading(market: Market, mid: float) -> None:
    """Eight trades with itself in four minutes."""
    _wash(market, mid, trades=8, buyer="washer")


@nearly("wash_trading", "once")
def _(market: Market, mid: float) -> None:
    _wash(market, mid, trades=1, buyer="washer")


@nearly("wash_trading", "two owners")
def _(market: Market, mid: float) -> None:
    _wash(market, mid, trades=8, buyer="another")


def _wash(market: Market, mid: float, *, trades: int, buyer: str, trader: str = "") -> None:
    for k in range(trades):
        offer = market.place(AT + 10.0 * k, "washer", -1, mid, DEPTH / 2, trader)
        market.take(AT + 10.0 * k + 0.1, buyer, offer, DEPTH / 2, trader)


@misconduct("circular_trading", "ring-0", "ring-1", "ring-2")
def circular_trading(market: Market, mid: float) -> None:
    """A position goes four times round three accounts."""
    _ring(market, mid, rounds=4, members=3)


@nearly("circular_trading", "one round")
def _(market: Market, mid: float) -> None:
    _ring(market, mid, rounds=1, members=3)


@nearly("circular_trading", "a chain that does not close")
def _(market: Market, mid: float) -> None:
    _ring(market, mid, rounds=4, members=3, closes=False)


@nearly("circular_trading", "to and fro")
def _(market: Market, mid: float) -> None:
    _ring(market, mid, rounds=4, members=3, back=True)


@nearly("circular_trading", "hardly any of what they trade")
def _(market: Market, mid: float) -> None:
    for k in range(3):
        _unload(market, mid, f"ring-{k}", steps=25, begin=AT - 150.0 + 0.1 * k)
        _push(market, mid, f"ring-{k}", steps=25, cents=0, begin=AT - 80.0 + 0.1 * k)
    _ring(market, mid, rounds=4, members=3)


def _ring(market: Market, mid: float, *, rounds: int, members: int, closes: bool = True, back: bool = False) -> None:
    for k in range(rounds * members):
        seller, buyer = k % members, (k + 1) % members
        name = f"ring-{buyer}" if closes or buyer else f"other-{k}"
        offer = market.place(AT + 10.0 * k, f"ring-{seller}", -1, mid, DEPTH)
        market.take(AT + 10.0 * k + 0.1, name, offer, DEPTH)
        if back:
            bid = market.place(AT + 10.0 * k + 2, f"ring-{seller}", +1, mid, DEPTH)
            market.take(AT + 10.0 * k + 2.1, name, bid, DEPTH)


@misconduct("fat_finger", "fat")
def fat_finger(market: Market, mid: float) -> None:
    """A purchase of forty depths at up to two per cent above the market."""
    market.place(AT, "fat", +1, mid * 1.02, 40 * DEPTH)


def mistyped(market: Market, mid: float) -> None:
    """A sale of an ordinary size at five per cent below the market, by who sends orders near it."""
    for k in range(10):
        market.place(AT - 100.0 + k, "fat", +1, mid * 0.999, DEPTH)
    market.place(AT, "fat", -1, mid * 0.95, DEPTH)


def short_of_far_ones(market: Market, mid: float) -> None:
    """As `fat_finger`, but a forgotten offer stands beyond its limit."""
    market.place(AT - 10.0, "forgotten", -1, mid * 1.05, DEPTH)
    market.place(AT - 10.0, "seller", -1, mid * 1.001, DEPTH)
    fat_finger(market, mid)


@nearly("fat_finger", "small, and not so far")
def _(market: Market, mid: float) -> None:
    market.place(AT, "fat", +1, mid * 1.008, 5 * DEPTH)


@nearly("fat_finger", "it sends all that is to trade at such limits")
def _(market: Market, mid: float) -> None:
    for k in range(10):
        market.cancel(AT - 99.5 + k, market.place(AT - 99.9 + k, "fat", +1, mid * 1.05, DEPTH))
    market.place(AT, "fat", +1, mid * 1.05, DEPTH)


@nearly("fat_finger", "an ordinary size waits far away")
def _(market: Market, mid: float) -> None:
    market.place(AT - 10.0, "fat", +1, mid * 0.9995, DEPTH)
    market.place(AT, "fat", +1, mid * 0.9, DEPTH)


@nearly("fat_finger", "it waits")
def _(market: Market, mid: float) -> None:
    market.place(AT, "fat", +1, mid * 0.99, 40 * DEPTH)


def _push(
    market: Market, mid: float, account: str, *, steps: int, cents: int, begin: float = AT, size: float = DEPTH
) -> float:
    """Buy ``steps`` times ``size`` units at prices that rise by ``cents`` each time; return the last."""
    for k in range(steps):
        mid = round(mid + 0.01 * cents, 2)
        offer = market.place(begin + 2.0 * k, "seller", -1, mid, size)
        market.take(begin + 2.0 * k + 0.5, account, offer, size)
    return mid


def _unload(market: Market, mid: float, account: str, *, steps: int, begin: float, cents: int = 0) -> None:
    """Sell ``steps`` times a depth at prices that fall by ``cents`` each time."""
    for k in range(steps):
        mid = round(mid - 0.01 * cents, 2)
        bid = market.place(begin + 2.0 * k, "buyer", +1, mid, DEPTH)
        market.take(begin + 2.0 * k + 0.5, account, bid, DEPTH)


@misconduct("momentum_ignition", "igniter")
def momentum_ignition(market: Market, mid: float) -> None:
    """Ten depths bought at prices that rise, others buy too, ten depths sold a minute later."""
    top = _push(market, mid, "igniter", steps=10, cents=10)
    _push(market, top, "follower", steps=6, cents=0, begin=AT + 20)
    _unload(market, top, "igniter", steps=10, begin=AT + 40)


def pressed_on_its_way_out(market: Market, mid: float) -> None:
    """Ten depths bought at a price that stays, ten sold within twenty seconds at prices that fall."""
    _push(market, mid, "igniter", steps=10, cents=0)
    _unload(market, mid, "igniter", steps=10, begin=AT + 40, cents=10)


@nearly("momentum_ignition", "it keeps what it bought")
def _(market: Market, mid: float) -> None:
    top = _push(market, mid, "igniter", steps=10, cents=10)
    _push(market, top, "follower", steps=6, cents=0, begin=AT + 20)


@nearly("momentum_ignition", "the price stays")
def _(market: Market, mid: float) -> None:
    _push(market, mid, "igniter", steps=10, cents=0)
    _push(market, mid, "follower", steps=6, cents=0, begin=AT + 20)
    _unload(market, mid, "igniter", steps=10, begin=AT + 40)


@nearly("momentum_ignition", "one order is no run")
def _(market: Market, mid: float) -> None:
    top = round(mid + 1.0, 2)
    for k, price in enumerate((mid, top)):
        offer = market.place(AT + 0.2 * k, "seller", -1, price, 5 * DEPTH)
        market.take(AT + 0.2 * k + 0.1, "igniter", offer, 5 * DEPTH)
    _unload(market, top, "igniter", steps=10, begin=AT + 40)


@nearly("momentum_ignition", "it runs to and fro all hour")
def _(market: Market, mid: float) -> None:
    for k in range(4):
        _push(market, mid, "igniter", steps=6, cents=0, begin=AT - 1_100.0 + 240 * k)
        _unload(market, mid, "igniter", steps=6, begin=AT - 980.0 + 240 * k)
    momentum_ignition(market, mid)


@nearly("momentum_ignition", "others take more")
def _(market: Market, mid: float) -> None:
    top = _push(market, mid, "igniter", steps=10, cents=10)
    for k in range(3):
        _push(market, top, f"rival-{k}", steps=10, cents=0, begin=AT + 0.3 * k)
    _unload(market, top, "igniter", steps=10, begin=AT + 40)


def _run_ahead(market: Market, mid: float, *, desk: str, lead: float) -> None:
    for name, trader, begin, steps in (("own", "dealer", AT, 3), ("client", desk, AT + lead, 12)):
        for k in range(steps):
            offer = market.place(begin + 2.0 * k, "seller", -1, mid, DEPTH)
            market.take(begin + 2.0 * k + 0.5, name, offer, DEPTH, trader)
    for k in range(3):
        bid = market.place(AT + 50 + 2.0 * k, "buyer", +1, mid, DEPTH)
        market.take(AT + 50 + 2.0 * k + 0.5, "own", bid, DEPTH, "dealer")


@misconduct("front_running", "own")
def front_running(market: Market, mid: float) -> None:
    """A dealer buys three depths, then twelve for a client, and sells its own."""
    _run_ahead(market, mid, desk="dealer", lead=10)


@nearly("front_running", "another's client")
def _(market: Market, mid: float) -> None:
    _run_ahead(market, mid, desk="another", lead=10)


@nearly("front_running", "after the client")
def _(market: Market, mid: float) -> None:
    _run_ahead(market, mid, desk="dealer", lead=-10)


@misconduct("marking_the_close", "marker")
def marking_the_close(market: Market, mid: float) -> None:
    """Thirty depths bought at prices that rise, in the last minutes."""
    _push(market, mid, "marker", steps=30, cents=5)


@nearly("marking_the_close", "it worked a large order before")
def _(market: Market, mid: float) -> None:
    for k in range(40):
        offer = market.place(AT - 900.0 + 10 * k, "seller", -1, mid, DEPTH)
        market.take(AT - 899.5 + 10 * k, "marker", offer, DEPTH)
    _push(market, mid, "marker", steps=30, cents=5)


@nearly("marking_the_close", "both sides")
def _(market: Market, mid: float) -> None:
    _push(market, mid, "marker", steps=30, cents=5)
    _unload(market, mid + 0.05, "marker", steps=30, begin=AT + 1)


@misconduct("influencing_the_open", "opener")
def influencing_the_open(market: Market, mid: float) -> None:
    """Thirty depths bought at prices that rise, in the first minutes."""
    _push(market, mid, "opener", steps=30, cents=5)


@nearly("influencing_the_open", "the price went the other way")
def _(market: Market, mid: float) -> None:
    _push(market, mid, "opener", steps=30, cents=-2)


def pressed_back(market: Market, mid: float) -> None:
    """As `influencing_the_open`, but others sell all the while, and it ends where it began."""
    _push(market, mid, "opener", steps=30, cents=5)
    for k in range(30):
        _unload(market, mid, f"rival-{k}", steps=1, begin=AT + 1 + 2.0 * k)


def met_by_strangers(market: Market, mid: float) -> None:
    """As `circular_trading`, but strangers buy twice as much of what the members offer."""
    for k in range(24):
        offer = market.place(AT + 4.0 * k + 0.5, f"ring-{k % 3}", -1, mid, DEPTH)
        market.take(AT + 4.0 * k + 0.6, f"stranger-{k}", offer, DEPTH)
    _ring(market, mid, rounds=4, members=3)


@nearly("influencing_the_open", "others as much")
def _(market: Market, mid: float) -> None:
    for k in range(4):
        _push(market, mid, f"rival-{k}", steps=30, cents=5, begin=AT + 0.3 * k)
    influencing_the_open(market, mid)


@nearly("influencing_the_open", "little")
def _(market: Market, mid: float) -> None:
    _push(market, mid, "opener", steps=3, cents=30, size=0.2 * DEPTH)


def _know(
    market: Market, mid: float, *, before: float = 0.0, jump: float = 0.02, gap: float = 18.4, out: bool = False
) -> None:
    """Buy sixty times until a minute before the end of quiet, then news, after which the price jumps."""
    for k in range(60 if before else 0):
        bid = market.place(AT - 1_100.0 + 4 * k, f"buyer-{k}", +1, mid, before)
        market.take(AT - 1_099.5 + 4 * k, "insider", bid, before)
    begin = AT - 62.0 - 60 * gap
    for k in range(60):
        offer = market.place(begin + gap * k, f"seller-{k}", -1, mid, 3.0)
        market.take(begin + 0.5 + gap * k, "insider", offer, 3.0)
    market.tell(AT - 60.0)
    market.mid = round(mid * (1 + jump), 2)
    for k in range(60 if out else 0):
        bid = market.place(AT + 100.0 + k, f"buyer-{k}", +1, mid, 3.0)
        market.take(AT + 100.5 + k, "insider", bid, 3.0)


@misconduct("insider_dealing", "insider")
def insider_dealing(market: Market, mid: float) -> None:
    """A position built in eighteen minutes, then news that lifts the price by two per cent."""
    _know(market, mid)


def answered_late() -> Market:
    """Return insider dealing ahead of news that the price answers twelve minutes after it."""
    made = played(partial(_know, jump=0.0), "insider_dealing")
    made.mid = round(made.mid * 1.03, 2)
    made.quiet(AFTER_NEWS, seed=2, begin=AT + AFTER_NEWS)
    return made


@nearly("insider_dealing", "the price fell")
def _(market: Market, mid: float) -> None:
    _know(market, mid, jump=-0.02)


@nearly("insider_dealing", "it trades all day")
def _(market: Market, mid: float) -> None:
    _know(market, mid, before=3.0)


@nearly("insider_dealing", "in one go")
def _(market: Market, mid: float) -> None:
    _know(market, mid, gap=2.0)


@nearly("insider_dealing", "it leaves at once")
def _(market: Market, mid: float) -> None:
    _know(market, mid, out=True)
