"""What trades mean: which of them belong together, for whom they are a way in or out, what they did to the price."""

from __future__ import annotations

from collections.abc import MutableMapping
from itertools import islice
from typing import TypeVar

import numpy as np

from engines.order_findings import NOBODY, SIDES, OrderConfig, Pass
from engines.order_state import MINUTE_NS, SILENCE_NS, Account, Link, Order, OrderState, Run, Stake
from engines.sessions import SECOND_NS, Session, Stretch, stretch_at
from engines.typologies import (
    circular_trading,
    front_running,
    influencing_the_open,
    marking_the_close,
    momentum_ignition,
    wash_trading,
)
from engines.typologies.conditions import LEAST_MET
from engines.typologies.cross_product import CrossProductConfig
from schemas.records import Half

#: A pause between fills that ends a run.
_RUN_NS = 60 * SECOND_NS
#: Remembered at most: buyers of an account, trades with one side told.
_BUYERS, _HALVES = 16, 1_024
#: A buyer is asked about, as one of a ring, from this share of what the seller sold, and it bought, on.
_MAIN = 0.2
K = TypeVar("K")
V = TypeVar("V")


class Trades:
    """Asks the typologies of trades, by the parameters of ``config``."""

    def __init__(self, config: OrderConfig) -> None:
        self.config = config
        self._least_run = LEAST_MET * min(config.momentum_ignition.size, config.front_running.own)
        self._least_out = LEAST_MET * min(config.momentum_ignition.out, config.front_running.out)
        self._least_marked = LEAST_MET * min(config.marking_the_close.size, config.influencing_the_open.size)

    def take(self, run: Pass, account: Account, order: Order, price: float, size: float, trade: int) -> None:
        """Take a fill of ``size`` units at ``price``, already in the order and its account's sums of orders."""
        state, side = run.state, order.side
        faded = size * state.hourly.weight
        account.traded[side] += faded
        quick = state.newest_ns - order.touched_ns <= self.config.taker_ns
        took = size if quick or not order.price else 0.0
        if not trade or trade != state.last_trade:  # its two sides come one after the other
            state.last_trade, state.price_before, state.last_price = trade, state.last_price or price, price
        self._run_on(state, account, side, size, took)
        if account.run.took > self.config.cross_product.took * state.depth:
            _push(self.config.cross_product, run, account)
        _stake(state, account, side, size)
        if took:
            state.traded += faded
            if run.session is not None:
                self._watch_stretch(run, run.session, account, side, took)
        if trade:
            self._match(run, account, side, trade, size)
        out, built = account.run, account.before
        if built.took > self._least_run * state.depth and out.units >= self._least_out * built.units:
            self._judge_out(run, account)

    def judge_opened(self, run: Pass) -> None:
        """Judge an opening that has passed, once it is known what is usual."""
        state, opened = run.state, run.state.opened
        if state.depth == np.inf or state.minute_sd == np.inf:
            return
        for account in state.accounts.values():
            if account.marked_ns == opened.start_ns and any(account.marked):
                found = influencing_the_open.measure(
                    self.config.influencing_the_open, state, account, opened, opened.end_ns
                )
                run.find("influencing_the_open", account, opened.start_ns, found)
        state.opened = Stretch()

    def _run_on(self, state: OrderState, account: Account, side: int, size: float, took: float) -> None:
        now_ns, ran = state.newest_ns, account.run
        if ran.side != side or now_ns - ran.last_ns > _RUN_NS:
            if ran.units:
                account.before = ran
            account.run = ran = Run(side, now_ns, price_before=state.price_before, taken_before=state.taken)
        ran.last_ns, ran.price_after = now_ns, state.last_price
        ran.units += size
        if took:
            ran.took += took
            state.taken += took
        ran.taken = state.taken - ran.taken_before

    def _judge_out(self, run: Pass, account: Account) -> None:
        """Ask what a run was for that is being traded out."""
        built = account.before
        if built.side == account.run.side:
            return
        found = momentum_ignition.measure(self.config.momentum_ignition, run.state, account)
        run.find("momentum_ignition", account, built.start_ns, found)
        if found := front_running.measure(self.config.front_running, run.state, account):
            run.find("front_running", account, built.start_ns, found)

    def _match(self, run: Pass, account: Account, side: int, trade: int, size: float) -> None:
        """Join a fill with that of the trade's other side, and ask what the two are to each other."""
        state = run.state
        half = state.halves.pop(trade, None)
        if half is None or half[1] == side:
            _remember(state.halves, trade, (account.number, side, account.trader), _HALVES)
            return
        other_number, _, trader = half
        other = state.accounts.get(other_number)
        if other is None or NOBODY in (account.number, other_number):
            return
        if other is account or (trader and trader == account.trader):
            for one in (account, other):
                one.washed += size * state.hourly.weight
                one.washes += state.hourly.weight * (0.5 if other is account else 1.0)
            for one in {account.number: account, other.number: other}.values():
                found = wash_trading.measure(self.config.wash_trading, state, one)
                run.find("wash_trading", one, state.newest_ns - 60 * MINUTE_NS, found)
            return
        seller, buyer = (other, account) if side else (account, other)
        link = seller.sold_to.pop(buyer.number, None) or Link()
        link.units += size * state.hourly.weight
        link.trades += state.hourly.weight
        _remember(seller.sold_to, buyer.number, link, _BUYERS)
        config, weight = self.config.circular_trading, state.hourly.weight
        if link.trades > LEAST_MET * config.rounds * weight and link.units > _MAIN * max(
            seller.traded[0], buyer.traded[1]
        ):
            found = circular_trading.measure(config, state, seller)
            if found:
                run.find("circular_trading", seller, state.newest_ns - 60 * MINUTE_NS, found)

    def _watch_stretch(self, run: Pass, session: Session, account: Account, side: int, took: float) -> None:
        """Add what was taken to the opening or close that is on."""
        state, config, now_ns = run.state, self.config, run.state.newest_ns
        stretch = state.stretch
        if now_ns >= stretch.end_ns:
            if any(stretch.took) and not stretch.closing:
                state.opened = stretch
            opening_ns, closing_ns = config.influencing_the_open.opening_ns, config.marking_the_close.closing_ns
            stretch = state.stretch = stretch_at(session, now_ns, opening_ns, closing_ns)
        if now_ns < stretch.start_ns:
            return
        if account.marked_ns != stretch.start_ns:
            account.marked_ns, account.marked = stretch.start_ns, [0.0, 0.0]
            # The price before an opening's first trade is another day's.
            account.marked_from = state.price_before if stretch.closing or any(stretch.took) else state.last_price
            account.furthest = [state.last_price, state.last_price]
            account.traded_before = max(0.0, sum(account.traded) / state.hourly.weight - took)
        account.marked[side] += took
        stretch.took[side] += took
        leader = state.accounts.get(stretch.leader)
        if leader is None or leader.marked_ns != stretch.start_ns or sum(account.marked) >= sum(leader.marked):
            leader, stretch.leader = account, account.number
        # Who took most presses by orders that rest too: others then trade where it wants them.
        for one in (account, leader) if stretch.closing and leader is not account else (account,):
            one.furthest = [min(one.furthest[0], state.last_price), max(one.furthest[1], state.last_price)]
            if sum(one.marked) < self._least_marked * state.depth or state.minute_sd == np.inf:
                continue
            if stretch.closing:
                found = marking_the_close.measure(config.marking_the_close, state, one)
                run.find("marking_the_close", one, stretch.start_ns, found)
            else:
                found = influencing_the_open.measure(config.influencing_the_open, state, one, stretch, now_ns)
                run.find("influencing_the_open", one, stretch.start_ns, found)


def _push(config: CrossProductConfig, run: Pass, account: Account) -> None:
    """Tell the market's scope how far an account's run has moved the price, again where it has moved on."""
    ran, side = account.run, SIDES[account.run.side]
    moved = side * (ran.price_after / ran.price_before - 1.0) / run.state.sd(ran.last_ns - ran.start_ns)
    if moved < config.moved or moved < config.again * ran.told or account.number == NOBODY:
        return
    ran.told = moved
    depths = ran.took / run.state.depth
    run.tell(
        Half(
            account=account.name, act="pushed", side=side, start_ns=ran.start_ns, end_ns=ran.last_ns,
            depths=depths, moved=moved,
        )
    )  # fmt: skip


def _stake(state: OrderState, account: Account, side: int, size: float) -> None:
    """Add a fill to what its account has traded since it was silent."""
    stake, now_ns = account.stake, state.newest_ns
    if now_ns - stake.last_ns > SILENCE_NS or not stake.moments:
        account.stake = stake = Stake(now_ns, now_ns, 0.0, 0.0, 1, sum(account.filled) - size)
    elif now_ns > stake.last_ns:
        stake.last_ns = now_ns
        stake.moments += 1
    if side:
        stake.bought += size
    else:
        stake.sold += size


def _remember(kept: MutableMapping[K, V], key: K, value: V, most: int) -> None:
    """Keep a value under a key, at most so many, the newest."""
    kept[key] = value
    if len(kept) > most:
        for gone in list(islice(kept, max(1, most // 4))):
            del kept[gone]
