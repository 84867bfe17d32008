"""The order engine: order frames and ticks in, tracks of the market's typologies out, one state an instrument.

Rows are taken one by one in order of arrival: an order's life is a sequence, and so every framing of the same rows
gives the same bits. A row costs a look-up of its order and its account and a few sums; typologies are asked where a
sum passes the least of their thresholds, which hardly ever happens.
"""

from __future__ import annotations

from itertools import islice

import msgspec
import numpy as np

from engines.order_findings import NOBODY, SIDES, SPECS, OrderConfig, Pass, Weigher
from engines.order_state import (
    BURST_NS,
    DEPTH_NS,
    DEPTHS,
    DEPTHS_AHEAD,
    MINUTE_NS,
    Account,
    Holder,
    Order,
    OrderState,
    Pending,
)
from engines.order_tail import note
from engines.order_trades import Trades
from engines.sessions import NEVER_NS, SECOND_NS, Stretch
from engines.tracks import OrderUpdate
from engines.typologies import (
    excessive_messages,
    fat_finger,
    insider_dealing,
    layering,
    quote_stuffing,
    spoofing,
)
from engines.typologies.conditions import LEAST_MET
from schemas.frames import Frame, Kind
from schemas.order_frames import Action, OrderFrame
from schemas.records import Half, News

#: As plain numbers: looking a member of an enum up takes longer than the comparison.
NEW, AMEND, CANCEL, FILL = int(Action.NEW), int(Action.AMEND), int(Action.CANCEL), int(Action.FILL)
_QUOTE = int(Kind.QUOTE)
_SIZED = (NEW, FILL)
#: Typologies that want to know what is usually quoted.
_BY_DEPTH = tuple(name for name in SPECS if name not in ("quote_stuffing", "excessive_messages", "insider_dealing"))
#: An account that sends too much is judged again after so long.
_PAUSE_NS = SECOND_NS
#: Remembered at most: holders at the moment of news, news whose impact is not measured yet. Of more the earliest, whose
#: time comes first: were it the latest, a stream of news would have none of it measured.
_HOLDERS, _NEWS = 64, 64


class OrderEngine:
    """Applies order frames, ticks and the passing of time to the state of an instrument's orders.

    ``flow`` is a model that is asked beside the rules, unless it is said that it is not to be (``asking``).

    Example
    -------
    >>> from schemas.order_frames import order_frame_of
    >>> engine = OrderEngine(OrderConfig())
    >>> state = engine.new_state()
    >>> columns = {"ts_event": [1, 2], "action": [0, 2], "side": [1, 1], "price": [5.0, 5.0], "size": [9.0, 9.0]}
    >>> update = engine.apply(state, order_frame_of("ACME.XTOC", columns | {"order": [7, 8], "account": [0, 0]}, ["a"]))
    >>> update.tracks, update.counts["unknown_order"], update.counts["no_quote: spoofing"]
    ((), 1, 2)
    """

    def __init__(self, config: OrderConfig, flow: Weigher | None = None) -> None:
        self.config, self._flow = config, flow
        self._least_pull = LEAST_MET * min(config.spoofing.size, config.layering.size)
        self._most_lag_ns = max(config.spoofing.lag_ns, config.layering.lag_ns) / LEAST_MET
        self._least_messages = LEAST_MET * config.excessive_messages.messages
        self._least_burst = LEAST_MET * config.quote_stuffing.messages * BURST_NS / MINUTE_NS
        self._least_size = LEAST_MET * config.fat_finger.size
        self._least_reach = LEAST_MET * config.fat_finger.limit
        self._trades = Trades(config)

    def new_state(self) -> OrderState:
        """Return the state of an instrument that has seen no order."""
        state = OrderState()
        state.accounts[NOBODY] = Account(NOBODY, "")
        return state

    def observe(self, state: OrderState, frame: Frame) -> OrderUpdate:
        """Learn the quoted depth from ticks of the instrument; crossed quotes are counted."""
        quotes = np.flatnonzero(frame.kind == _QUOTE)
        if not len(quotes):
            return OrderUpdate()
        state.begin(frame.ts_event.item(int(quotes[0])))
        crossed = frame.bid[quotes] >= frame.ask[quotes]
        sound = quotes[~crossed]
        sample = np.maximum.accumulate((frame.ts_event[sound] - state.origin_ns) // DEPTH_NS)
        last = np.flatnonzero(np.append(sample[1:] != sample[:-1], True)) if len(sound) else sound
        units = 0.5 * (frame.bid_size[sound[last]] + frame.ask_size[sound[last]])
        for number, depth in zip(sample[last].tolist(), units.tolist(), strict=True):
            if state.depths and number <= state.depths[-1][0]:
                number = state.depths.pop()[0]
            state.depths.append((number, depth))
        del state.depths[: -DEPTHS - DEPTHS_AHEAD]
        rows = int(crossed.sum())
        return OrderUpdate(counts={"crossed_quote": rows} if rows else {})

    def apply(self, state: OrderState, frame: OrderFrame, *, asking: bool = True) -> OrderUpdate:
        """Apply a frame to ``state``, in place, and return what it found.

        An event that is a little late counts as of the newest one before it.
        """
        if not len(frame):
            return OrderUpdate()
        state.begin(frame.ts_event.item(0))
        session = self.config.sessions.get(frame.instrument.rpartition(".")[2])
        if state.stretch.session != session:  # rules changed the hours
            state.stretch = Stretch(session=session)
        run = Pass(state, session, asking=asking and self._flow is not None)
        _count_missing(frame, run)
        accounts: list[Account | None] = [None] * len(frame.accounts)
        for ts, available, action, side, price, size, number, trade, place, trader in zip(
            frame.ts_event.tolist(),
            frame.ts_available.tolist(),
            frame.action.tolist(),
            (frame.side > 0).view(np.int8).tolist(),
            frame.price.tolist(),
            frame.size.tolist(),
            frame.order.tolist(),
            frame.trade.tolist(),
            frame.account.tolist(),
            frame.trader.tolist(),
            strict=True,
        ):
            run.available_ns = available
            if ts > state.newest_ns:
                if ts >= state.next_ns:
                    self._pass_to(run, ts)
                state.newest_ns = ts
            elif ts < state.newest_ns - self.config.late_ns:
                run.count("out_of_sequence")
                continue
            if size < 0.0 or price < 0.0:
                run.count("negative_size" if size < 0.0 else "negative_price")
                continue
            if (not size and action in _SIZED) or (not price and action == FILL):
                run.count("no_price" if size else "no_size")
                continue
            if action == NEW:
                account = state.accounts[NOBODY] if place < 0 else accounts[place]
                if account is None:
                    account, forgot = self._account(state, frame.accounts[place])
                    if forgot:
                        accounts = [None] * len(accounts)
                    accounts[place] = account
                if trader >= 0 and frame.traders[trader] != account.trader:
                    _employ(state, account, frame.traders[trader])
                self._place(run, account, side, price, size, number)
                continue
            order = state.orders.get(number)
            if order is None:
                run.count("unknown_order")
                continue
            account = state.accounts[order.account]
            if action == FILL:
                self._fill(run, account, number, order, price, size, trade)
            elif action == AMEND:
                self._amend(run, account, order, price, size)
            else:
                self._withdraw(run, account, number, order)
        return self._weighed(run)

    def hear(self, state: OrderState, news: News) -> None:
        """Note who holds what at the moment of news, until its impact is known."""
        if not state.last_price or not state.traded:
            return
        config, price, now_ns = self.config.insider_dealing, state.last_price, news.ts_event
        traded = state.traded / state.hourly.weight
        holders = [
            Holder(account.number, msgspec.structs.replace(stake), account.filled[:])
            for account in state.accounts.values()
            for stake in (account.stake,)
            if abs(stake.bought - stake.sold) > LEAST_MET * config.share * traded
            and now_ns - stake.start_ns < config.began_ns / LEAST_MET
            and account.number != NOBODY
        ]
        holders.sort(key=lambda one: (-abs(one.stake.bought - one.stake.sold), one.account))
        if holders:
            due_ns = now_ns + config.after_ns
            self._await(state, Pending(now_ns, due_ns, price, price, price, traded, holders[:_HOLDERS]))

    def advance(self, state: OrderState, now_ns: int, *, asking: bool = True) -> OrderUpdate:
        """Do what the clock ``now_ns`` (int64 ns) makes due: measure the impact of news after which nothing came."""
        run = Pass(state, asking=asking and self._flow is not None)
        while state.deadline_ns and state.deadline_ns <= now_ns:
            run.available_ns = state.deadline_ns
            self._measure_impact(run)
        return self._weighed(run)

    def _weighed(self, run: Pass) -> OrderUpdate:
        if self._flow is not None:
            self._flow.weigh(run)
        return run.update()

    def _await(self, state: OrderState, *more: Pending) -> None:
        """Let the impact of ``more`` news be measured in its time."""
        state.pending.extend(more)
        state.pending.sort(key=lambda one: one.due_ns)
        del state.pending[_NEWS:]
        state.due_ns = state.pending[0].due_ns if state.pending else NEVER_NS
        state.deadline_ns = state.due_ns + self.config.late_ns if state.pending else 0
        state.next_ns = min(state.next_ns, state.due_ns)

    def _pass_to(self, run: Pass, ts: int) -> None:
        """Let time pass until ``ts`` (ns)."""
        state = run.state
        while ts >= state.due_ns:
            self._measure_impact(run)
        if ts >= state.pace_ns:
            state.at(ts)
        if ts >= state.next_minute_ns:
            state.newest_ns = ts
            state.turn(ts)
            if state.opened.end_ns:
                self._trades.judge_opened(run)
        state.next_ns = min(state.pace_ns, state.next_minute_ns, state.due_ns)

    def _measure_impact(self, run: Pass) -> None:
        state = run.state
        news = state.pending.pop(0)
        news.see(state.last_price)
        config, due_ns = self.config.insider_dealing, news.due_ns + self.config.insider_dealing.after_ns
        again = due_ns <= news.news_ns + config.looks * config.after_ns
        self._await(state, *(msgspec.structs.replace(news, due_ns=due_ns),) if again else ())
        for holder in news.holders:
            if account := state.accounts.get(holder.account):
                found = insider_dealing.measure(config, state, account, news, holder)
                run.find("insider_dealing", account, holder.stake.start_ns, found, at_ns=news.due_ns)

    def _account(self, state: OrderState, name: str) -> tuple[Account, bool]:
        """Return the account of a name, and whether others were forgotten for it."""
        number = state.names.get(name)
        if number is not None:
            return state.accounts[number], False
        forgot = len(state.names) >= self.config.accounts
        if forgot:
            by_silence = sorted(state.names.values(), key=lambda one: (state.accounts[one].seen_ns, one))
            for gone in by_silence[: max(1, len(by_silence) // 4)]:
                account = state.accounts.pop(gone)
                del state.names[account.name]
                _employ(state, account, "")
            state.orders = {number: order for number, order in state.orders.items() if order.account in state.accounts}
        state.names[name] = state.next_account
        account = state.accounts[state.next_account] = Account(state.next_account, name)
        state.next_account += 1
        return account, forgot

    def _place(self, run: Pass, account: Account, side: int, price: float, size: float, number: int) -> None:
        state = run.state
        if number in state.orders:
            run.count("order_twice")
            return
        if len(state.orders) >= self.config.orders:
            for gone in list(islice(state.orders, max(1, self.config.orders // 4))):
                _close(state, state.accounts[state.orders[gone].account], gone)
                run.count("order_forgotten")
        now_ns = state.newest_ns
        against = account.filled[1 - side]
        order = Order(account.number, side, price, size, size, 0.0, now_ns, now_ns, against)
        state.orders[number] = order
        if run.asking and note(state, account, NEW, order, price, size):
            run.ask(account)
        account.resting[side] += size
        account.open[side] += 1
        account.placed[side] += size * state.minutely.weight
        last = state.last_price
        away = abs(price / last - 1.0) if price and last else 0.0
        if size > self._least_size * state.depth or (away > self._least_reach and (price > last) == side):
            run.find("fat_finger", account, now_ns, fat_finger.measure(self.config.fat_finger, state, account, order))
        account.strayed += away
        account.sent += size
        account.placings += 1
        self._message(run, account)

    def _amend(self, run: Pass, account: Account, order: Order, price: float, size: float) -> None:
        if run.asking and note(run.state, account, AMEND, order, price, size):
            run.ask(account)
        more = size - order.left
        account.resting[order.side] += more
        if more > 0.0:
            account.placed[order.side] += more * run.state.minutely.weight
        order.price, order.left, order.size = price, size, order.filled + size
        order.touched_ns = run.state.newest_ns
        self._message(run, account)

    def _withdraw(self, run: Pass, account: Account, number: int, order: Order) -> None:
        state, config, side = run.state, self.config, order.side
        if run.asking and note(state, account, CANCEL, order, order.price, order.left):
            run.ask(account)
        if (
            state.newest_ns - account.filled_ns[1 - side] <= self._most_lag_ns
            and account.resting[side] > self._least_pull * state.depth
            and account.filled[1 - side] > order.against
            and order.left
        ):
            found = spoofing.measure(config.spoofing, state, account, order)
            if run.find("spoofing", account, order.placed_ns, found) >= spoofing.SPEC.open:
                account.pulls += state.hourly.weight
            run.find("layering", account, order.placed_ns, layering.measure(config.layering, state, account, order))
        self._end(run, account, order)
        _close(state, account, number)
        self._message(run, account)
        account.burst_short += state.newest_ns - order.placed_ns <= SECOND_NS

    def _message(self, run: Pass, account: Account) -> None:
        """Count a message of an account, and ask whether it sends too many."""
        state = run.state
        now_ns = account.seen_ns = state.newest_ns
        if now_ns - account.burst_ns > BURST_NS:
            account.burst_ns, account.burst, account.burst_short, account.burst_fills = now_ns, 0, 0, 0
        if not account.messages and not account.fills:
            state.active.append(account.number)
        account.burst += 1
        if account.burst > account.peak:
            account.peak = account.burst
        account.messages += 1
        state.messages += 1
        if (
            account.messages > self._least_messages * state.busy or account.burst > self._least_burst * state.crowded
        ) and now_ns >= account.judged_ns + _PAUSE_NS:
            account.judged_ns = now_ns
            found = quote_stuffing.measure(self.config.quote_stuffing, state, account)
            run.find("quote_stuffing", account, account.burst_ns, found)
            found = excessive_messages.measure(self.config.excessive_messages, state, account)
            run.find("excessive_messages", account, state.next_minute_ns - MINUTE_NS, found)

    def _fill(
        self, run: Pass, account: Account, number: int, order: Order, price: float, size: float, trade: int
    ) -> None:
        state, side = run.state, order.side
        if size > order.left:
            run.count("overfilled")
            size = order.left
        order.left -= size
        order.filled += size
        account.seen_ns = state.newest_ns
        account.resting[side] -= size
        account.filled[side] += size
        account.filled_ns[side] = state.newest_ns
        if not account.messages and not account.fills:
            state.active.append(account.number)
        account.fills += 1
        account.burst_fills += 1
        if run.asking and note(state, account, FILL, order, price, size):
            run.ask(account)
        self._trades.take(run, account, order, price, size, trade)
        if order.left <= 1e-9 * order.size:
            self._end(run, account, order)
            _close(state, account, number)

    def _end(self, run: Pass, account: Account, order: Order) -> None:
        """Tell the market's scope of much that rested on one side, with the order of it that is filled or withdrawn."""
        state, config, side, ran = run.state, self.config.cross_product, order.side, account.run
        interest = account.resting[side]
        if ran.side == side and ran.last_ns >= order.placed_ns:
            interest += ran.units - ran.took
        if (
            interest > config.rested * state.depth
            and account.resting[1 - side] <= config.one_sided * interest
            and self.config.taker_ns < state.newest_ns - order.touched_ns
            and state.newest_ns - order.placed_ns <= config.span_ns
            and account.number != NOBODY
        ):
            run.tell(
                Half(
                    account=account.name, act="rested", side=SIDES[side], start_ns=order.placed_ns,
                    end_ns=state.newest_ns, depths=interest / state.depth,
                )
            )  # fmt: skip


def _employ(state: OrderState, account: Account, trader: str) -> None:
    """Let an account be another trader's."""
    if account.trader:
        desk = state.desks[account.trader]
        desk.remove(account.number)
        if not desk:
            del state.desks[account.trader]
    account.trader = trader
    if trader:
        state.desks.setdefault(trader, []).append(account.number)


def _close(state: OrderState, owner: Account, number: int) -> None:
    """Take an order out of the book."""
    order = state.orders.pop(number)
    side = order.side
    owner.open[side] -= 1
    # Nothing open is nothing at all: what rounding left of the sum goes with it.
    owner.resting[side] = owner.resting[side] - order.left if owner.open[side] else 0.0


def _count_missing(frame: OrderFrame, run: Pass) -> None:
    """Let each typology say which of its fields a frame lacks."""
    rows = int(np.count_nonzero(frame.account < 0))
    for name in SPECS if rows else ():
        run.count(f"no_account: {name}", rows)
    run.count("no_trader: front_running", int(np.count_nonzero((frame.action == NEW) & (frame.trader < 0))))
    for name in () if run.state.depths else _BY_DEPTH:
        run.count(f"no_quote: {name}", len(frame))
    rows = int(np.count_nonzero((frame.action == FILL) & (frame.trade == 0)))
    for name in ("wash_trading", "circular_trading"):
        run.count(f"no_trade: {name}", rows)
    if run.session is None:
        for name in ("marking_the_close", "influencing_the_open"):
            run.count(f"no_session: {name}", len(frame))
